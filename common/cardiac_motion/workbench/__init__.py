"""The workbench: a page in the browser to see, correct and take away strain."""

import lazy_loader as lazy

from cardiac_motion.core.extras import require_extra

require_extra(["starlette", "uvicorn", "websockets"], "the workbench")

__getattr__, __dir__, __all__ = lazy.attach(
    __name__,
    submod_attrs={
        "server": ["make_server"],
        "store": ["Store"],
    },
)
