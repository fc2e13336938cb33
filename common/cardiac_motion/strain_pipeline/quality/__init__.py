"""What must hold before strain is given: view, orientation and checks; the choice of cines."""

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach(
    __name__,
    submod_attrs={
        "checks": ["Check", "Gate"],
        "choice": ["Listed", "choose_best"],
        "view": ["CineView"],
    },
)
