"""Parts of the MONAI Label app: models, trainers, strategies and studies."""
