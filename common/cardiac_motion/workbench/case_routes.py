"""The interface of cases.

What changes a case names the ``revision`` that it was asked of, the number of steps that the page had seen; where the
case has gone on since, the answer is 409 and nothing is changed.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Route

from cardiac_motion.serving.settings import KINDS, METHODS, MOST_POINTS, VOLUME_METHODS
from cardiac_motion.serving.validation import RequestRejected, choice
from cardiac_motion.workbench.requests import REVISION, body_of, in_thread, revision_of, user_of
from cardiac_motion.workbench.sent_files import SHOWN_FILES, TAKE, send_taken
from cardiac_motion.workbench.steps import FRAME, change, check_places, check_value
from cardiac_motion.workbench.store import Store


class Cases:
    """Cases: what is known of them, their files, and what is done with them.

    Args:
        store: of the cases.
    """

    def __init__(self, store: Store) -> None:
        self.store = store
        self.acts: dict[str, Callable[..., Any]] = {
            "measure": self.begin, "take": self.begin, "step": self.step, "undo": self.turn, "redo": self.turn,
            "points": self.follow, "line": self.follow, "retry": self.retry,
        }  # fmt: skip

    def routes(self) -> list[Route]:
        """Its part of the interface."""
        return [
            Route("/api/cases", self.list),
            Route("/api/cases/{name}", self.show, methods=["GET"]),
            Route("/api/cases/{name}", self.remove, methods=["DELETE"]),
            Route("/api/cases/{name}/shown/{file}", self.file),
            Route("/api/cases/{name}/take/{file}", self.send_file),
            Route("/api/cases/{name}/{what}", self.act, methods=["POST"]),
        ]

    async def list(self, _: Request) -> Response:
        """All cases."""
        return JSONResponse(await in_thread(self.store.list_cases))

    async def show(self, request: Request) -> Response:
        """Everything that a page shows of a case."""
        return JSONResponse(await in_thread(self.store.show, request.path_params["name"]))

    async def remove(self, request: Request) -> Response:
        """Remove a case, as it was seen."""
        name = request.path_params["name"]
        await in_thread(self.store.place, name)
        revision = check_value(REVISION, request.query_params.get("revision"), "revision")
        await in_thread(self.store.check_revision, name, revision)
        await in_thread(self.store.remove, name)
        return JSONResponse({})

    async def file(self, request: Request) -> Response:
        """A file that the page draws."""
        place = await in_thread(self.store.place, request.path_params["name"])
        known = SHOWN_FILES.get(request.path_params["file"])
        if known is None or not (place / "shown" / known).is_file():
            raise RequestRejected(404, "no such file")
        return FileResponse(place / "shown" / known)

    async def send_file(self, request: Request) -> Response:
        """A file to take away."""
        name, wanted = request.path_params["name"], request.path_params["file"]
        case = await in_thread(self.store.read, name)
        return send_taken(self.store.place(name) / TAKE, case.get("files"), wanted)

    async def act(self, request: Request) -> Response:
        """Do something with a case, as it was seen."""
        name, what = request.path_params["name"], request.path_params["what"]
        await in_thread(self.store.place, name)
        body = await body_of(request)
        if what == "cancel":
            await in_thread(self.store.cancel, name)
            return JSONResponse({})
        if what not in self.acts:
            raise RequestRejected(404, "no such thing to do")
        kind = (self.store.read(name).get("about") or {}).get("kind", "cine")
        known = METHODS if kind == "cine" else VOLUME_METHODS
        method = check_value(choice(*known), body.get("method", KINDS[kind]), "method")
        if kind != "cine" and what not in ("measure", "take", "retry"):
            raise RequestRejected(409, "a volume has no wall to correct, and no points to follow")
        revision = revision_of(body)
        await in_thread(self.store.check_revision, name, revision)
        answer = await self.acts[what](name, what, body, method, user_of(request))
        return JSONResponse(answer or {})

    async def begin(self, name: str, what: str, body: dict[str, Any], method: str, who: str) -> None:
        """Measure by a method, or make the files to take away."""
        await in_thread(self.store.begin, name, what, method, who)

    async def retry(self, name: str, what: str, body: dict[str, Any], method: str, who: str) -> None:
        """Open a case again that could not be opened."""
        await in_thread(self.store.begin, name, "open", None, who)

    async def step(self, name: str, what: str, body: dict[str, Any], method: str, who: str) -> Any:
        """Take a step."""
        return await in_thread(self.store.step, name, revision_of(body), method, who, partial(change, body))

    async def turn(self, name: str, what: str, body: dict[str, Any], method: str, who: str) -> Any:
        """Undo or redo a step."""
        return await in_thread(self.store.turn, name, revision_of(body), method, who, what)

    async def follow(self, name: str, what: str, body: dict[str, Any], method: str, who: str) -> Any:
        """Follow points, or a line."""
        frame = check_value(FRAME, body.get("frame"), "frame")
        low, high = (2, 2) if what == "line" else (1, MOST_POINTS)
        points = check_places(body.get("points"), low, high, "points")
        methods = await in_thread(self.store.methods_of, name)
        if not methods:
            raise RequestRejected(409, "nothing is measured yet: there is no motion to follow points by")
        by = method if method in methods else methods[0]
        return await in_thread(self.store.ask, name, what, method=by, points=points, frame=frame)
