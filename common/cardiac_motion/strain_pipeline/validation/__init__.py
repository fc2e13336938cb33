"""How far the pipeline can be relied on: invariance tests and coverage of intervals."""

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach(
    __name__,
    submod_attrs={
        "coverage": ["measure_truth"],
        "metamorphic": ["recording"],
        "repeatability": ["compare_beats", "compare_halves"],
    },
)
