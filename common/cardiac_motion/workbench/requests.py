"""What a request says: who asks, its body, and the state of the case that it was asked of."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import anyio
from starlette.requests import Request

from cardiac_motion.serving.validation import json_object, number
from cardiac_motion.workbench.steps import check_value

REVISION = number(0, 1e9, whole=True)
BLOCK = 2**20  # bytes that are read at a time


async def in_thread(call: Callable[..., Any], *args: Any, **values: Any) -> Any:
    """What a call gives that would keep the server waiting."""
    return await anyio.to_thread.run_sync(partial(call, *args, **values))


def user_of(request: Request) -> str:
    """Who asks, as the page says it; for the log."""
    return str(request.headers.get("x-who", ""))[:60]


async def body_of(request: Request) -> dict[str, Any]:
    """The JSON object of a body."""
    return json_object((await request.body()).decode("utf-8", "replace"), "body")


def revision_of(body: dict[str, Any]) -> int:
    """The number of steps that the asker has seen.

    Raises:
        RequestRejected: it is not said.
    """
    return int(check_value(REVISION, body.get("revision"), "revision"))
