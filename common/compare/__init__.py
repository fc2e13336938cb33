"""Many bundles on one datalist: ``python -m common.compare``."""
