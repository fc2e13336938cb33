"""The name of the user, which other libraries ask for when they are imported."""

from __future__ import annotations

import getpass
import os


def ensure_user_name() -> None:
    """Set a user name in the environment if the user has none, as in a container without an entry in /etc/passwd.

    MONAI asks for the name when it is imported, and PyTorch when it makes a cache; both would end in a ``KeyError``.
    """
    try:
        getpass.getuser()
    except (KeyError, OSError, ImportError):
        os.environ["LOGNAME"] = "unknown"
