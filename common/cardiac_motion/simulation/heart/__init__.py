"""Hearts with known motion: anatomy, contraction and surrounding tissue."""

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach(
    __name__,
    submod_attrs={
        "motion": ["Motion"],
        "scenarios": ["draw_scenario"],
        "template": ["Template", "read_template"],
    },
)
