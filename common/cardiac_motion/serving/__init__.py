"""Requests of the servers, answered in a process of their own."""

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach(
    __name__,
    submod_attrs={
        "validation": ["Refused"],
        "workers": ["Job", "Results", "Workers"],
    },
)
