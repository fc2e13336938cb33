"""Cardiac motion: registration of cines and volumes, strain, blood flow and segmentation, as MONAI bundles.

``import cardiac_motion as cm`` loads nothing heavy: each name is imported when it is first used, PyTorch with the first
that needs it. Public names are those of ``__all__``, here and in each sub-package.
"""

from typing import Any

import lazy_loader as lazy

from cardiac_motion.core.account import ensure_user_name
from cardiac_motion.core.threads import prefer_sleep

ensure_user_name()
prefer_sleep()
__version__ = "0.1.0"

_find, __dir__, _names = lazy.attach_stub(__name__, __file__)
__all__ = [*_names, "__version__", "from_pretrained"]  # noqa: F822 - found by __getattr__


def __getattr__(name: str) -> Any:
    return _find("load" if name == "from_pretrained" else name)
