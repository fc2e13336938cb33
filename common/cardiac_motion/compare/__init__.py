"""Many bundles on one datalist: ``python -m cardiac_motion.compare``."""
