"""The workbench: a page in the browser to see, correct and take away strain."""

import lazy_loader as lazy

from cardiac_motion.core.extras import import_extra

for _module in ("starlette", "uvicorn", "websockets"):
    import_extra(_module, "the workbench")

__getattr__, __dir__, __all__ = lazy.attach(
    __name__,
    submod_attrs={
        "server": ["make_server"],
        "store": ["Store"],
    },
)
