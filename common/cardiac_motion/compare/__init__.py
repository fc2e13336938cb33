"""Comparison of bundles on one datalist: ``python -m cardiac_motion.compare``."""

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach(
    __name__,
    submod_attrs={
        "methods": ["Method", "list_variants"],
        "table": ["markdown"],
    },
)
