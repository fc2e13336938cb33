"""The part of MONAI Label's REST interface that is served here, with MONAI Label's addresses, forms and answers.

MONAI Label's own endpoints take paths for ids and run inference in the event loop; these check what they are given, let
a request wait in a thread and end it when its client goes away. What is not here answers 404.
"""

from __future__ import annotations

import asyncio
import json
import tempfile
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import anyio
from fastapi import FastAPI, Request
from fastapi.responses import FileResponse, JSONResponse, Response
from requests_toolbelt import MultipartEncoder
from starlette.datastructures import FormData, UploadFile
from starlette.exceptions import HTTPException
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.types import ASGIApp, Receive, Scope, Send

from cardiac_motion.serving.request_body import BodyLimit, header_texts
from cardiac_motion.serving.validation import (
    CONTOUR_SUFFIXES,
    IMAGE_SUFFIXES,
    LABEL_SUFFIXES,
    LONGEST_PARAMS,
    RequestRejected,
    check_new_name,
    json_object,
    shorten,
    suffix_of,
    tag_name,
)
from cardiac_motion.serving.workers import Job
from lib.infers import InferRequest, store_upload

OUTPUTS = ("all", "image", "json")
LOOK = 0.2  # seconds between two looks at whether a client is still there


class Guard:
    """Refuses pages of other origins, and bodies above a size, before anything reads them.

    Args:
        most: bytes of a body.
        origins: that may send requests from a browser.
    """

    def __init__(self, app: ASGIApp, most: int, origins: tuple[str, ...] = ()) -> None:
        self.app, self.limit, self.origins = app, BodyLimit(most), origins

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = header_texts(scope)
        origin = headers.get("origin")
        if origin is not None and origin not in self.origins and urlsplit(origin).netloc != headers.get("host"):
            answer = JSONResponse({"detail": f"origin {shorten(origin)} is not allowed"}, 403)
        elif not self.limit.is_declared(headers):
            answer = JSONResponse({"detail": self.limit.reason}, 413)
        else:
            await self.app(scope, self.limit.count_bytes(receive, HTTPException(413, self.limit.reason)), send)
            return
        await answer(scope, receive, send)


def make_server(app: Any, hosts: list[str], origins: tuple[str, ...]) -> FastAPI:
    """The server of an app (``main.MotionApp``).

    Args:
        hosts: ``Host`` headers that are taken.
        origins: ``Origin`` headers that are taken beside the server's own.
    """
    limiter = anyio.CapacityLimiter(2 * (app.workers.waiting + app.workers.count) + 16)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        app.close()

    server = FastAPI(title=app.name, version=app.version, lifespan=lifespan, docs_url=None, redoc_url=None)
    server.add_middleware(Guard, most=app.upload, origins=origins)
    server.add_middleware(TrustedHostMiddleware, allowed_hosts=hosts)

    @server.exception_handler(RequestRejected)
    async def answer_refusal(_: Request, error: RequestRejected) -> JSONResponse:
        return JSONResponse({"detail": error.reason}, error.status)

    async def call_in_thread(call: Callable[[], Any]) -> Any:
        return await anyio.to_thread.run_sync(call, limiter=limiter)

    async def watch(request: Request, job: Job, call: Callable[[], Any]) -> Any:
        """The call in a thread; the job is cancelled when the client goes away."""
        task = asyncio.ensure_future(call_in_thread(call))
        try:
            while not task.done():
                await asyncio.wait([task], timeout=LOOK)
                if not task.done() and await request.is_disconnected():
                    job.cancel()
        except asyncio.CancelledError:
            job.cancel()
            raise
        return task.result()

    @asynccontextmanager
    async def form_of(request: Request) -> AsyncIterator[FormData]:
        async with request.form(max_files=4, max_fields=16, max_part_size=LONGEST_PARAMS) as form:
            if not form and request.headers.get("content-length", "0") != "0":
                raise RequestRejected(400, "the form is broken, or is none")
            yield form

    def text(form: FormData, name: str) -> str:
        value = form.get(name, "")
        return value if isinstance(value, str) else ""

    async def store_file(form: FormData, name: str, folder: Path, suffixes: tuple[str, ...]) -> Path | None:
        """A file of the form in ``folder``, under a name of ours."""
        file = form.get(name)
        if not isinstance(file, UploadFile):
            return None
        suffix = suffix_of(file.filename, suffixes, name)
        return await call_in_thread(partial(store_upload, file.file, folder / f"{name}{suffix}"))

    def check_files(folder: Path, **files: Path) -> None:
        """See that uploaded files can be read, in a process of its own."""
        place = app.results.create()
        request = {"task": "check", "folder": str(place), **{name: str(path) for name, path in files.items()}}
        try:
            app.checks.run(request)
        except RequestRejected as error:
            reason = error.reason
            for path in files.values():
                reason = reason.replace(str(path), path.name).replace(f"{app.store.root}/", "")
            raise RequestRejected(error.status, reason) from error
        finally:
            app.results.finish(place, False)

    @server.get("/info/")
    async def info() -> Any:
        def describe() -> Any:
            app.store.refresh()
            return {**app.info(), "state": app.workers.state()}

        return await call_in_thread(describe)

    @server.post("/infer/{model}")
    async def infer(request: Request, model: str, image: str = "", output: str = "all", session_id: str = "") -> Any:
        if model not in app.info()["models"]:
            raise RequestRejected(404, f"model {shorten(model)}: there is none of that name")
        if output not in OUTPUTS:
            raise RequestRejected(400, f"output {shorten(output)}: expected one of {', '.join(OUTPUTS)}")
        with tempfile.TemporaryDirectory() as place:
            folder, job = Path(place), Job()
            async with form_of(request) as form:
                params = json_object(text(form, "params"))
                file = await store_file(form, "file", folder, IMAGE_SUFFIXES)
                label = await store_file(form, "label", folder, CONTOUR_SUFFIXES)
            if file is None:
                file = sessions.image(session_id) if session_id else app.store.image(image)
            elif image:
                raise RequestRejected(400, "both an image and a file are given: one of them")
            second = params.get("second")
            wanted = InferRequest(
                file, image or file.name, params, label, None if second is None else app.store.image(str(second)), job
            )
            found = await watch(request, job, partial(app.infer, {"model": model, "request": wanted}))
        return await call_in_thread(partial(answer, found, output))

    def answer(result: dict[str, Any], output: str) -> Response:
        file, params = result["file"], result["params"]
        if output == "json" or (file is None and output == "all"):
            return JSONResponse(params)
        if file is None:
            raise RequestRejected(406, "this result has no image: ask for output=json")
        if output == "image":
            return FileResponse(file, filename=Path(file).name, media_type="application/octet-stream")
        with open(file, "rb") as content:
            body = MultipartEncoder(
                {
                    "params": (None, json.dumps(params), "application/json"),
                    "image": (Path(file).name, content, "application/octet-stream"),
                }
            )
            return Response(body.to_string(), media_type=body.content_type)

    @server.get("/result/{name}/{file}")
    async def result(name: str, file: str) -> Any:
        path = app.results.file(name, file)
        return FileResponse(path, filename=path.name, media_type="application/octet-stream")

    @server.get("/datastore/")
    async def datastore(output: str = "stats") -> Any:
        def list_content() -> Any:
            app.store.refresh()
            if output == "all":
                return app.store.json()
            if output == "train":
                return app.store.pairs()
            return app.store.status()

        return await call_in_thread(list_content)

    @server.put("/datastore/")
    @server.put("/datastore/image")
    async def add_image(request: Request, image: str = "") -> Any:
        with tempfile.TemporaryDirectory() as place:
            async with form_of(request) as form:
                params = json_object(text(form, "params"))
                file = await store_file(form, "file", Path(place), IMAGE_SUFFIXES)
                given = form.get("file")
            if file is None or not isinstance(given, UploadFile):
                raise RequestRejected(400, "no file: send the image as the form's 'file'")
            name = check_new_name(image or Path(str(given.filename)).name.removesuffix(file.name.removeprefix("file")))
            if app.store.get_image_uri(name):
                raise RequestRejected(409, f"image {name}: is there already; delete it first, or take another id")
            await call_in_thread(partial(check_files, Path(place), image=file))
            await call_in_thread(
                partial(app.store.add_image, name, str(file), {"client": str(params.get("client_id", ""))[:100]})
            )
        return {"image": name}

    @server.delete("/datastore/")
    @server.delete("/datastore/image")
    async def remove_image(id: str) -> Any:
        await call_in_thread(partial(app.store.remove, id))
        return {}

    @server.api_route("/datastore/image", methods=["GET", "HEAD"])
    async def download_image(image: str) -> Any:
        path = await call_in_thread(partial(app.store.image, image))
        return FileResponse(path, filename=path.name, media_type="application/octet-stream")

    @server.get("/datastore/image/info")
    async def image_info(image: str) -> Any:
        path = await call_in_thread(partial(app.store.image, image))
        return {**app.store.get_image_info(image), "path": path.name}

    @server.put("/datastore/label")
    async def save_label(request: Request, image: str, tag: str = "final") -> Any:
        path, tag = await call_in_thread(partial(app.store.image, image)), tag_name(tag or "final")
        with tempfile.TemporaryDirectory() as place:
            async with form_of(request) as form:
                params = json_object(text(form, "params"))
                label = await store_file(form, "label", Path(place), LABEL_SUFFIXES)
            if label is None:
                raise RequestRejected(400, "no label: send it as the form's 'label'")
            await call_in_thread(partial(check_files, Path(place), image=path, label=label))
            about = {"client": str(params.get("client_id", ""))[:100]}
            await call_in_thread(partial(app.store.save_label, image, str(label), tag, about))
        return {"image": image, "label": image}

    @server.delete("/datastore/label")
    async def remove_label(id: str, tag: str) -> Any:
        await call_in_thread(partial(app.store.remove, id, tag))
        return {}

    @server.api_route("/datastore/label", methods=["GET", "HEAD"])
    async def download_label(tag: str, label: str = "", image: str = "") -> Any:
        path = await call_in_thread(partial(app.store.label, label or image, tag))
        return FileResponse(path, filename=path.name, media_type="application/octet-stream")

    @server.get("/datastore/label/info")
    async def label_info(label: str, tag: str) -> Any:
        await call_in_thread(partial(app.store.label, label, tag))
        return app.store.get_label_info(label, tag)

    @server.post("/activelearning/{strategy}")
    async def next_sample(request: Request, strategy: str) -> Any:
        if strategy not in app.info()["strategies"]:
            raise RequestRejected(404, f"strategy {shorten(strategy)}: there is none of that name")
        json_object((await request.body()).decode("utf-8", "replace"), "body")
        job = Job()
        found = await watch(request, job, partial(app._strategies[strategy], {"job": job}, app.store))
        if not found:
            return {}
        return {**app.store.get_image_info(found["id"]), **found, "path": app.store.image(found["id"]).name}

    @server.get("/train/")
    async def train_status(all: bool = False, check_if_running: bool = False) -> Any:
        if check_if_running and not app.training.is_running():
            raise RequestRejected(404, "no training runs")
        found = await call_in_thread(app.training.status)
        return [found] if all else found

    @server.post("/train/")
    @server.post("/train/{model}")
    async def train(request: Request, model: str = "strain_pipeline") -> Any:
        if model not in app.info()["trainers"]:
            raise RequestRejected(404, f"model {shorten(model)}: there is no training of that name")
        params = json_object((await request.body()).decode("utf-8", "replace"), "body")
        return await call_in_thread(partial(app.training.start, params))

    @server.delete("/train/")
    async def train_stop() -> Any:
        return await call_in_thread(app.training.stop)

    sessions = Sessions()

    @server.put("/session/")
    async def create_session(request: Request) -> Any:
        async with form_of(request) as form:
            folder = sessions.create()
            try:
                file = await store_file(form, "files", folder, IMAGE_SUFFIXES)
                if file is None:
                    raise RequestRejected(400, "no file: send one image as the form's 'files'")
                await call_in_thread(partial(check_files, folder, image=file))
            except RequestRejected:
                sessions.remove(folder.name)
                raise
        return {"session_id": folder.name, "session_info": sessions.info(folder.name)}

    @server.get("/session/{name}")
    async def session(name: str, image: bool = False) -> Any:
        path = sessions.image(name)
        return FileResponse(path, filename=path.name) if image else sessions.info(name)

    @server.delete("/session/{name}")
    async def remove_session(name: str) -> Any:
        found = sessions.info(name)
        sessions.remove(name)
        return found

    return server


class Sessions:
    """Images that a client uploads for requests of its own, outside the studies; they go with the server.

    Args:
        keep: so many at most; the oldest goes first.
    """

    def __init__(self, keep: int = 32) -> None:
        self.keep = keep
        self.folders: dict[str, tempfile.TemporaryDirectory[str]] = {}

    def create(self) -> Path:
        """A folder for an image; its name is the session's."""
        while len(self.folders) >= self.keep:
            self.remove(next(iter(self.folders)))
        place = tempfile.TemporaryDirectory()
        name = uuid.uuid4().hex
        self.folders[name] = place
        folder = Path(place.name, name)
        folder.mkdir()
        return folder

    def image(self, name: str) -> Path:
        """The file of a session.

        Raises:
            RequestRejected: there is none of that id.
        """
        if name in self.folders:
            for path in Path(self.folders[name].name, name).iterdir():
                return path
        raise RequestRejected(404, f"session {shorten(name)}: there is none of that id")

    def info(self, name: str) -> dict[str, Any]:
        """What a client is told of a session."""
        return {"name": name, "image": self.image(name).name}

    def remove(self, name: str) -> None:
        """End a session."""
        place = self.folders.pop(name, None)
        if place is not None:
            place.cleanup()
