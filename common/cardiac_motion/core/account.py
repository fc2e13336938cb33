"""The name of the user, which other libraries ask for when they are imported."""

from __future__ import annotations

import getpass
import os


def ensure_user_name() -> None:
    """Give a user without a name one in the environment: a container's user often has no line in /etc/passwd.

    MONAI asks for the name when it is imported, and PyTorch when it makes a cache; both would end in a ``KeyError``.
    """
    try:
        getpass.getuser()
    except (KeyError, OSError, ImportError):
        os.environ["LOGNAME"] = "unknown"
