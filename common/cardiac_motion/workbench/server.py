"""The pages and the interface of the workbench.

What changes a case names the ``revision`` that it was asked of, the number of steps that the page had seen; where the
case has gone on since, the answer is 409 and nothing is changed.
"""

from __future__ import annotations

import asyncio
import json
import os
import uuid
import zipfile
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import anyio
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import FileResponse, JSONResponse, Response, StreamingResponse
from starlette.routing import Mount, Route, WebSocketRoute
from starlette.staticfiles import StaticFiles
from starlette.websockets import WebSocket, WebSocketDisconnect

from cardiac_motion.serving.settings import (
    KINDS,
    METHODS,
    MOST_PICTURES,
    MOST_POINTS,
    PICTURE_FOLDER,
    PICTURES,
    SUFFIXES,
    VOLUME_METHODS,
    page_settings,
)
from cardiac_motion.serving.validation import Refused, choice, json_object, number, shorten, suffix_of
from cardiac_motion.ventricle.views import APICAL
from cardiac_motion.workbench.guard import Guard
from cardiac_motion.workbench.steps import FRAME, change, check_places, check_value
from cardiac_motion.workbench.store import Store
from cardiac_motion.workbench.studies import Studies

STATIC = Path(__file__).parent / "static"
REVISION = number(0, 1e9, whole=True)
TAKE = "take.zip"
ALL = "all.zip"
SHOWN_FILES = {"frames": "frames.webps", "thumbnail": "thumbnail.webp", "volume": "volume.bin", "label": "label.bin"}
SHOWN_FILES |= {f"{kind}_{name}": f"{kind}_{name}.bin" for kind in ("arrows", "labels")
                for name in (*METHODS, *VOLUME_METHODS)}  # fmt: skip
REPORT = {"Content-Security-Policy": "sandbox allow-scripts; default-src 'none'; img-src data:; "
          "style-src 'unsafe-inline'; script-src 'unsafe-inline'"}  # fmt: skip
LONGEST_HEADER = 2**20  # bytes of the list of a folder's pictures
BLOCK = 2**20


async def in_thread(call: Callable[..., Any], *args: Any, **values: Any) -> Any:
    """What a call gives that would keep the server waiting."""
    return await anyio.to_thread.run_sync(partial(call, *args, **values))


def user_of(request: Request) -> str:
    """Who asks, as the page says it; for the log."""
    return request.headers.get("x-who", "")[:60]


async def body_of(request: Request) -> dict[str, Any]:
    """The JSON object of a body."""
    return json_object((await request.body()).decode("utf-8", "replace"), "body")


def revision_of(body: dict[str, Any]) -> int:
    """The number of steps that the asker has seen.

    Raises:
        Refused: it is not said.
    """
    return int(check_value(REVISION, body.get("revision"), "revision"))


def send_taken(zipped: Path, files: dict[str, Any] | None, wanted: str) -> Response:
    """A file that was made to be taken away, or all of them, by the name of its case.

    Raises:
        Refused: there is none of that name.
    """
    if not files or (wanted != ALL and wanted not in files["names"]) or not zipped.is_file():
        raise Refused(404, "no such file")
    if wanted == ALL:
        return FileResponse(zipped, filename=f"{files['name']}.zip", media_type="application/zip")
    member = f"{files['name']}/{wanted}"

    def pieces() -> Iterator[bytes]:
        with zipfile.ZipFile(zipped) as archive, archive.open(member) as file:
            while block := file.read(BLOCK):
                yield block

    if wanted.endswith("report.html"):
        return StreamingResponse(pieces(), media_type="text/html; charset=utf-8", headers=REPORT)
    named = f"{files['name']}_{wanted.replace('/', '_')}"
    headers = {"Content-Disposition": f'attachment; filename="{named}"'}
    return StreamingResponse(pieces(), media_type="application/octet-stream", headers=headers)


class Uploads:
    """Files that come: cines, volumes, folders of pictures, labels, and the example.

    Args:
        store: of the cases.
        studies: that a case may belong to.
        example: file of the built-in example.
    """

    def __init__(self, store: Store, studies: Studies, example: Path) -> None:
        self.store, self.studies, self.example = store, studies, example

    def routes(self) -> list[Route]:
        """Its part of the interface."""
        return [
            Route("/api/uploads", self.upload, methods=["POST"]),
            Route("/api/example", self.try_example, methods=["POST"]),
            Route("/api/shared", self.open_shared, methods=["POST"]),
            Route("/api/cases/{name}/label", self.label, methods=["POST"]),
        ]

    async def upload(self, request: Request) -> Response:
        """A case of a body: a file, or a folder of pictures (4 bytes, how long the list is; the list of [name, size];
        the pictures).
        """
        title = request.query_params.get("name", "").replace("\\", "/").rstrip("/").rsplit("/", 1)[-1]
        group = request.query_params.get("group") or None
        if group is not None:
            self.studies.place(group)
        suffix = suffix_of(title, (PICTURE_FOLDER, *SUFFIXES), "file")
        shown = title.removesuffix(PICTURE_FOLDER) if suffix == PICTURE_FOLDER else title
        name, target = await in_thread(self.store.create, shown, suffix, group)
        try:
            if suffix == PICTURE_FOLDER:
                await self._store_pictures(request, target)
            else:
                await self._store_body(request, target)
        except BaseException:
            await in_thread(self.store.remove, name)
            raise
        await in_thread(self.store.begin, name, "open", None, user_of(request))
        return JSONResponse({"id": name})

    async def _store_body(self, request: Request, target: Path) -> None:
        with open(target, "wb") as file:
            async for piece in request.stream():
                await in_thread(file.write, piece)

    async def _store_pictures(self, request: Request, folder: Path) -> None:
        stream, waiting = request.stream(), bytearray()

        async def take(count: int) -> bytes:
            while len(waiting) < count:
                try:
                    waiting.extend(await anext(stream))
                except StopAsyncIteration:
                    raise Refused(400, "the pictures are shorter than their list says") from None
            found = bytes(waiting[:count])
            del waiting[:count]
            return found

        length = int.from_bytes(await take(4), "big")
        if length > LONGEST_HEADER:
            raise Refused(413, "the list of pictures is too long")
        try:
            listed = [(str(name), int(size)) for name, size in json.loads(await take(length))]
        except (ValueError, TypeError, OverflowError, RecursionError) as error:
            raise Refused(400, "the list of pictures can't be read") from error
        if not 2 <= len(listed) <= MOST_PICTURES or min(size for _, size in listed) < 1:
            raise Refused(400, f"a folder of pictures has 2 to {MOST_PICTURES} pictures")
        folder.mkdir()
        for k, (name, size) in enumerate(listed):
            suffix = suffix_of(name, PICTURES, "picture")
            with open(folder / f"{k:05}{suffix}", "wb") as file:
                left = size
                while left:
                    piece = await take(min(left, BLOCK))
                    await in_thread(file.write, piece)
                    left -= len(piece)

    async def label(self, request: Request) -> Response:
        """A label that a volume is compared with."""
        name = request.path_params["name"]
        place = await in_thread(self.store.place, name)
        suffix_of(request.query_params.get("name", ""), (".nii.gz",), "label")
        target = place / "source" / f"label-{uuid.uuid4().hex[:8]}.part"
        try:
            await self._store_body(request, target)
            if (self.store.read(name).get("about") or {}).get("kind") != "volume":
                raise Refused(409, "a label belongs to a volume")
            await in_thread(os.replace, target, place / "source" / "label.nii.gz")
        finally:
            target.unlink(missing_ok=True)
        await in_thread(self.store.begin, name, "open", None, user_of(request))
        return JSONResponse({})

    async def try_example(self, request: Request) -> Response:
        """A case of the built-in example."""
        name, target = await in_thread(self.store.create, "Example, apical four-chamber.dcm", ".dcm")
        target.write_bytes(self.example.read_bytes())
        await in_thread(self.store.begin, name, "open", None, user_of(request))
        return JSONResponse({"id": name})

    async def open_shared(self, request: Request) -> Response:
        """A case of an image of MONAI Label's studies."""
        name = await in_thread(self.store.create_from_study, request.query_params.get("name", ""))
        if self.store.read(name)["status"] == "arriving":
            await in_thread(self.store.begin, name, "open", None, user_of(request))
        return JSONResponse({"id": name})


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
            raise Refused(404, "no such file")
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
            raise Refused(404, "no such thing to do")
        kind = (self.store.read(name).get("about") or {}).get("kind", "cine")
        known = METHODS if kind == "cine" else VOLUME_METHODS
        method = check_value(choice(*known), body.get("method", KINDS[kind]), "method")
        if kind != "cine" and what not in ("measure", "take", "retry"):
            raise Refused(409, "a volume has no wall to correct, and no points to follow")
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
            raise Refused(409, "nothing is measured yet: there is no motion to follow points by")
        by = method if method in methods else methods[0]
        return await in_thread(self.store.ask, name, what, method=by, points=points, frame=frame)


class StudyPages:
    """Studies: cines that belong together.

    Args:
        studies: of the workspace.
    """

    def __init__(self, studies: Studies) -> None:
        self.studies = studies

    def routes(self) -> list[Route]:
        """Its part of the interface."""
        return [
            Route("/api/studies", self.create, methods=["POST"]),
            Route("/api/studies", self.list, methods=["GET"]),
            Route("/api/studies/{name}", self.show, methods=["GET"]),
            Route("/api/studies/{name}", self.remove, methods=["DELETE"]),
            Route("/api/studies/{name}/choose", self.choose, methods=["POST"]),
            Route("/api/studies/{name}/take", self.take, methods=["POST"]),
            Route("/api/studies/{name}/take/{file:path}", self.send_file),
        ]

    async def create(self, request: Request) -> Response:
        """A study without cines."""
        title = str((await body_of(request)).get("title") or "Study")
        return JSONResponse({"id": await in_thread(self.studies.create, title)})

    async def list(self, _: Request) -> Response:
        """All studies, by name."""
        return JSONResponse(self.studies.known)

    async def show(self, request: Request) -> Response:
        """Everything that a page shows of a study."""
        return JSONResponse(await in_thread(self.studies.show, request.path_params["name"]))

    async def choose(self, request: Request) -> Response:
        """Take a cine for a view."""
        name, body = request.path_params["name"], await body_of(request)
        view = check_value(choice(*APICAL), body.get("view"), "view")
        case = body.get("case")
        if not isinstance(case, str):
            raise Refused(400, f"case: expected its name, got {shorten(case)}")
        await in_thread(self.studies.choose, name, view, case)
        return JSONResponse(await in_thread(self.studies.show, name))

    async def take(self, request: Request) -> Response:
        """Write the files of a study."""
        name = request.path_params["name"]
        await in_thread(self.studies.place, name)
        await in_thread(self.studies.take, name)
        return JSONResponse(await in_thread(self.studies.show, name))

    async def send_file(self, request: Request) -> Response:
        """A file of a study to take away."""
        name = request.path_params["name"]
        place = await in_thread(self.studies.place, name)
        return send_taken(place / TAKE, self.studies.known[name].get("files"), request.path_params["file"])

    async def remove(self, request: Request) -> Response:
        """Remove a study with its cases."""
        await in_thread(self.studies.remove, request.path_params["name"])
        return JSONResponse({})


class Events:
    """Tells a page, over a socket, whenever a case changes.

    Args:
        store: of the cases.
        studies: whose names a page shows.
    """

    def __init__(self, store: Store, studies: Studies) -> None:
        self.store, self.studies = store, studies

    async def listen(self, socket: WebSocket) -> None:
        """Serve a page until it goes away."""
        await socket.accept()
        loop, changed = asyncio.get_running_loop(), asyncio.Event()
        with self.store.watch(lambda: loop.call_soon_threadsafe(changed.set)):
            telling = asyncio.ensure_future(self._tell(socket, changed))
            try:
                while not telling.done():  # what a page says here is not looked at; that it goes away is
                    await socket.receive_text()
            except (WebSocketDisconnect, RuntimeError):
                pass
            finally:
                telling.cancel()

    async def _tell(self, socket: WebSocket, changed: asyncio.Event) -> None:
        last = None
        while True:
            changed.clear()
            cases = await in_thread(self.store.list_cases)
            now = json.dumps({"cases": cases, "studies": self.studies.known})
            if now != last:
                await socket.send_text(now)
                last = now
            await changed.wait()


def make_server(
    store: Store, hosts: tuple[str, ...], token: str, passwords: dict[str, str] | None, most: int, example: Path
) -> Starlette:
    """The application; arguments as in ``Guard``, and the file of the built-in example."""

    async def page(_: Request) -> Response:
        return FileResponse(STATIC / "index.html", headers={"Cache-Control": "no-store"})

    async def settings(_: Request) -> Response:
        return JSONResponse({**page_settings(), "shared": await in_thread(store.study_names)})

    async def answer_refusal(_: Request, error: Exception) -> Response:
        assert isinstance(error, Refused)
        return JSONResponse({"detail": error.reason}, error.status)

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
    handlers: dict[Any, Any] = {Refused: answer_refusal, ClientDisconnect: answer_gone}
    return Starlette(routes=routes, middleware=[guard], exception_handlers=handlers, lifespan=lifespan)
