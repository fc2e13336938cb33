"""What the bundles share: fields, similarity, tracking, strain, and the networks that meet one contract."""
