"""Hearts whose motion is known: anatomy, contraction and the tissue around."""

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach(
    __name__,
    submod_attrs={
        "motion": ["Motion"],
        "scenarios": ["draw_scenario"],
        "template": ["Template", "read_template"],
    },
)
