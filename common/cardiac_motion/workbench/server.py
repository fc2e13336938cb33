"""The application of the workbench: its pages, all parts of its interface, and what is answered where one fails."""

from __future__ import annotations

import errno
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Mount, Route, WebSocketRoute
from starlette.staticfiles import StaticFiles

from cardiac_motion.core.errors import InputError
from cardiac_motion.serving.settings import page_settings
from cardiac_motion.serving.validation import RequestRejected
from cardiac_motion.workbench.case_routes import Cases
from cardiac_motion.workbench.events import Events
from cardiac_motion.workbench.guard import Guard
from cardiac_motion.workbench.requests import in_thread
from cardiac_motion.workbench.store import Store
from cardiac_motion.workbench.studies import Studies
from cardiac_motion.workbench.study_routes import StudyPages
from cardiac_motion.workbench.uploads import Uploads

STATIC = Path(__file__).parent / "static"
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)  # the disk, the user's share of it, the largest file


def make_server(
    store: Store, hosts: tuple[str, ...], token: str, passwords: dict[str, str] | None, most: int, example: Path
) -> Starlette:
    """The application; arguments as in ``Guard``, and the file of the built-in example."""

    async def page(_: Request) -> Response:
        return FileResponse(STATIC / "index.html", headers={"Cache-Control": "no-store"})

    async def settings(_: Request) -> Response:
        return JSONResponse({**page_settings(), "shared": await in_thread(store.study_names)})

    async def answer_refusal(_: Request, error: Exception) -> Response:
        assert isinstance(error, RequestRejected)
        return JSONResponse({"detail": error.reason}, error.status)

    async def answer_full_disk(_: Request, error: Exception) -> Response:
        cause = error.__cause__ if isinstance(error, InputError) else error
        if not isinstance(cause, OSError) or cause.errno not in FULL:
            raise error
        return JSONResponse({"detail": f"The server can't store this ({os.strerror(cause.errno).lower()})."}, 507)

    async def answer_gone(_: Request, error: Exception) -> Response:
        return JSONResponse({"detail": "the client is gone"}, 499)

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        yield
        store.close()

    studies = Studies(store)
    routes: list[Any] = [
        Route("/", page),
        Route("/api/settings", settings),
        *Uploads(store, studies, example).routes(),
        *StudyPages(studies).routes(),
        *Cases(store).routes(),
        WebSocketRoute("/api/events", Events(store, studies).listen),
        Mount("/static", StaticFiles(directory=STATIC)),
    ]
    guard = Middleware(Guard, hosts=hosts, token=token, passwords=passwords, most=most)
    handlers: dict[Any, Any] = {RequestRejected: answer_refusal, ClientDisconnect: answer_gone}
    handlers |= dict.fromkeys((OSError, InputError), answer_full_disk)
    return Starlette(routes=routes, middleware=[guard], exception_handlers=handlers, lifespan=lifespan)
