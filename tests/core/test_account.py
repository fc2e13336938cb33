"""A user without a name, as a container's often is."""

from __future__ import annotations

import os
import pwd

import pytest

from cardiac_motion.core.account import ensure_user_name


def test_a_user_without_a_name_gets_one(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(uid: int) -> None:
        raise KeyError(f"getpwuid(): uid not found: {uid}")

    for name in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(pwd, "getpwuid", missing)
    monkeypatch.setenv("LOGNAME", "")
    ensure_user_name()
    assert os.environ["LOGNAME"] == "unknown"
    monkeypatch.setenv("LOGNAME", "somebody")
    ensure_user_name()
    assert os.environ["LOGNAME"] == "somebody"
