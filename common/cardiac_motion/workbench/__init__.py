"""The workbench: a page in the browser to see, correct and take away strain."""

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach(
    __name__,
    submod_attrs={
        "server": ["make_server"],
        "store": ["Store"],
    },
)
