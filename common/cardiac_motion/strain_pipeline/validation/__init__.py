"""How far the pipeline can be relied on: invariance tests and coverage of intervals."""
