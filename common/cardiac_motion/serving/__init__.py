"""Requests of the servers, each run in a worker process."""

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach(
    __name__,
    submod_attrs={
        "validation": ["RequestRejected"],
        "workers": ["Job", "Results", "Workers"],
    },
)
