"""The pages and the interface of the workbench."""

from __future__ import annotations

import asyncio
import json
import os
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import anyio
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Mount, Route, WebSocketRoute
from starlette.staticfiles import StaticFiles
from starlette.websockets import WebSocket, WebSocketDisconnect

from cardiac_motion.serving.settings import KINDS, METHODS, SUFFIXES, VOLUME_METHODS, page_settings
from cardiac_motion.serving.validation import Refused, choice, json_object, number, shorten, suffix_of
from cardiac_motion.ventricle.contours import LAYERS
from cardiac_motion.ventricle.views import APICAL
from cardiac_motion.workbench.guard import Guard
from cardiac_motion.workbench.log import history
from cardiac_motion.workbench.store import Store

STATIC = Path(__file__).parent / "static"
FRAME = number(0, 1e6, whole=True)
SHOWN_FILES = {"frames": "frames.webps", "thumbnail": "thumbnail.webp", "volume": "volume.bin", "label": "label.bin"}
SHOWN_FILES |= {f"{kind}_{name}": f"{kind}_{name}.bin" for kind in ("arrows", "labels")
                for name in (*METHODS, *VOLUME_METHODS)}  # fmt: skip
REPORT = {"Content-Security-Policy": "sandbox allow-scripts; default-src 'none'; img-src data:; "
          "style-src 'unsafe-inline'; script-src 'unsafe-inline'"}  # fmt: skip


def make_server(
    store: Store, hosts: tuple[str, ...], token: str, passwords: dict[str, str] | None, most: int, example: Path
) -> Starlette:
    """The application; arguments as in ``Guard``, and the file of the built-in example."""

    async def call_in_thread(call: Callable[..., Any], *args: Any, **values: Any) -> Any:
        return await anyio.to_thread.run_sync(partial(call, *args, **values))

    async def page(_: Request) -> Response:
        return FileResponse(STATIC / "index.html", headers={"Cache-Control": "no-store"})

    async def cases(_: Request) -> Response:
        return JSONResponse(await call_in_thread(store.list_cases))

    async def settings(_: Request) -> Response:
        return JSONResponse({**page_settings(), "studies": await call_in_thread(store.study_names)})

    async def upload(request: Request) -> Response:
        title = request.query_params.get("name", "").replace("\\", "/").rsplit("/", 1)[-1]
        suffix = suffix_of(title, SUFFIXES, "file")
        name, target = await call_in_thread(store.create, title, suffix)
        try:
            await store_body(request, target)
        except BaseException:
            await call_in_thread(store.remove, name)
            raise
        await call_in_thread(store.begin, name, "open", None, user_of(request))
        return JSONResponse({"id": name})

    async def label(request: Request) -> Response:
        name = request.path_params["name"]
        place = await call_in_thread(store.place, name)
        suffix_of(request.query_params.get("name", ""), (".nii.gz",), "label")
        target = place / "source" / f"label-{uuid.uuid4().hex[:8]}.part"
        try:
            await store_body(request, target)
            if store.read(name).get("about", {}).get("kind") != "volume":
                raise Refused(409, "a label belongs to a volume")
            await call_in_thread(os.replace, target, place / "source" / "label.nii.gz")
        finally:
            target.unlink(missing_ok=True)
        await call_in_thread(store.update, name, methods={})
        await call_in_thread(store.begin, name, "open", None, user_of(request))
        return JSONResponse({})

    async def store_body(request: Request, target: Path) -> None:
        with open(target, "wb") as file:
            async for piece in request.stream():
                await call_in_thread(file.write, piece)

    async def try_example(request: Request) -> Response:
        name, target = await call_in_thread(store.create, "Example: apical four-chamber", ".dcm")
        target.write_bytes(example.read_bytes())
        await call_in_thread(store.begin, name, "open", None, user_of(request))
        return JSONResponse({"id": name})

    async def study(request: Request) -> Response:
        name = await call_in_thread(store.create_from_study, request.query_params.get("name", ""))
        if store.read(name)["status"] == "arriving":
            await call_in_thread(store.begin, name, "open", None, user_of(request))
        return JSONResponse({"id": name})

    async def show_case(request: Request) -> Response:
        name = request.path_params["name"]

        def collect() -> dict[str, Any]:
            case, log = store.read(name), store.log(name)
            done, undone = history(log)
            return {**case, "progress": store.progress(name), "results": store.results(name), "log": log,
                    "edits": done[-1] if done else {}, "can": {"undo": bool(done), "redo": bool(undone)}}  # fmt: skip

        return JSONResponse(await call_in_thread(collect))

    async def remove(request: Request) -> Response:
        await call_in_thread(store.remove, request.path_params["name"])
        return JSONResponse({})

    async def file(request: Request) -> Response:
        place = await call_in_thread(store.place, request.path_params["name"])
        known = SHOWN_FILES.get(request.path_params["file"])
        if known is None or not (place / "shown" / known).is_file():
            raise Refused(404, "no such file")
        return FileResponse(place / "shown" / known)

    async def send_file(request: Request) -> Response:
        name, wanted = request.path_params["name"], request.path_params["file"]
        case = await call_in_thread(store.read, name)
        if wanted not in (case.get("files") or []):
            raise Refused(404, "no such file")
        path = store.place(name) / "take" / wanted
        if wanted == "report.html":
            return FileResponse(path, headers=REPORT)
        return FileResponse(path, filename=wanted, media_type="application/octet-stream")

    async def act(request: Request) -> Response:
        name, what = request.path_params["name"], request.path_params["what"]
        await call_in_thread(store.place, name)
        body = json_object((await request.body()).decode("utf-8", "replace"), "body")
        kind = (store.read(name).get("about") or {}).get("kind", "cine")
        known = METHODS if kind == "cine" else VOLUME_METHODS
        method = check_value(choice(*known), body.get("method", KINDS[kind]), "method")
        if what in ("measure", "take"):
            await call_in_thread(store.begin, name, what, method, user_of(request))
            return JSONResponse({})
        if kind != "cine" and what != "cancel":
            raise Refused(409, "a volume has no wall to correct, and no points to follow")
        if what == "cancel":
            await call_in_thread(store.cancel, name)
            return JSONResponse({})
        if what in ("undo", "redo"):
            return JSONResponse(await call_in_thread(store.turn, name, method, user_of(request), what))
        if what == "step":
            return JSONResponse(await call_in_thread(store.step, name, method, user_of(request), partial(change, body)))
        if what in ("points", "line"):
            answer = await call_in_thread(
                store.ask, name, what, method=method, points=body.get("points"),
                frame=check_value(FRAME, body.get("frame"), "frame"),
            )  # fmt: skip
            return JSONResponse(answer)
        raise Refused(404, "no such thing to do")

    async def events(socket: WebSocket) -> None:
        await socket.accept()
        loop, changed = asyncio.get_running_loop(), asyncio.Event()

        async def tell() -> None:
            last = None
            while True:
                changed.clear()
                now = json.dumps(await call_in_thread(store.list_cases))
                if now != last:
                    await socket.send_text(now)
                    last = now
                await changed.wait()

        with store.watch(lambda: loop.call_soon_threadsafe(changed.set)):
            telling = asyncio.ensure_future(tell())
            try:
                while not telling.done():  # what a page says here is not looked at; that it goes away is
                    await socket.receive_text()
            except (WebSocketDisconnect, RuntimeError):
                pass
            finally:
                telling.cancel()

    async def answer_refusal(_: Request, error: Exception) -> Response:
        assert isinstance(error, Refused)
        return JSONResponse({"detail": error.reason}, error.status)

    async def answer_gone(_: Request, error: Exception) -> Response:
        return JSONResponse({"detail": "the client is gone"}, 499)

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        yield
        store.close()

    routes: list[Any] = [
        Route("/", page),
        Route("/api/cases", cases),
        Route("/api/settings", settings),
        Route("/api/uploads", upload, methods=["POST"]),
        Route("/api/example", try_example, methods=["POST"]),
        Route("/api/studies", study, methods=["POST"]),
        Route("/api/cases/{name}", show_case, methods=["GET"]),
        Route("/api/cases/{name}", remove, methods=["DELETE"]),
        Route("/api/cases/{name}/shown/{file}", file),
        Route("/api/cases/{name}/take/{file}", send_file),
        Route("/api/cases/{name}/label", label, methods=["POST"]),
        Route("/api/cases/{name}/{what}", act, methods=["POST"]),
        WebSocketRoute("/api/events", events),
        Mount("/static", StaticFiles(directory=STATIC)),
    ]
    guard = Middleware(Guard, hosts=hosts, token=token, passwords=passwords, most=most)
    handlers: dict[Any, Any] = {Refused: answer_refusal, ClientDisconnect: answer_gone}
    return Starlette(routes=routes, middleware=[guard], exception_handlers=handlers, lifespan=lifespan)


def user_of(request: Request) -> str:
    """Who asks, as the page says it; for the log."""
    return request.headers.get("x-who", "")[:60]


def check_value(check: Callable[[Any], Any], value: Any, name: str) -> Any:
    """A value of a body.

    Raises:
        Refused: it is none.
    """
    try:
        return check(value)
    except ValueError as error:
        raise Refused(400, f"{name}: expected {error}, got {shorten(value)}") from error


def change(body: dict[str, Any], edits: dict[str, Any]) -> dict[str, Any]:
    """The step that a body asks for: a mark, a view, a line, a segment, or a wall.

    Raises:
        Refused: it asks for something else.
    """
    what, value = body.get("what"), body.get("value")
    if what in ("ed", "es"):
        return {"what": f"{what} {value}", "edits": {**edits, what: check_value(FRAME, value, what)}}
    if what == "view":
        return {
            "what": f"view {shorten(value)}",
            "edits": {**edits, "view": check_value(choice(*APICAL), value, what), "exclude_segments": []},
        }
    if what == "layer":
        return {
            "what": f"layer {shorten(value)}",
            "edits": {**edits, "layer": check_value(choice(*LAYERS), value, what)},
        }
    if what == "segment" and isinstance(value, str):
        off = list(edits.get("exclude_segments", []))
        off = [name for name in off if name != value] if value in off else [*off, value[:60]]
        return {
            "what": f"segment {value[:60]} {'off' if value in off else 'on'}",
            "edits": {**edits, "exclude_segments": off},
        }
    if what == "reset":
        return {"what": "all as it was found", "edits": {}}
    if what == "wall" and isinstance(value, dict):
        try:
            moved = [[float(a), float(b)] for a, b in value["moved"]]
            handles = {
                "frame": int(value["frame"]), "border": str(value.get("border", "endocardium")),
                "at": [float(a) for a in value["at"]], "moved": moved,
            }  # fmt: skip
        except (KeyError, TypeError, ValueError) as error:
            raise Refused(400, "a wall has frame, at and moved") from error
        if not all(abs(x) < 1e5 for pair in moved for x in pair):
            raise Refused(400, "a handle is moved too far")
        return {"what": f"wall at frame {handles['frame']}", "handles": handles}
    raise Refused(400, "what: expected ed, es, view, line, segment, wall or reset")
