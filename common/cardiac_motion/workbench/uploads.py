"""Files that come from a page: how they become cases."""

from __future__ import annotations

import json
import os
import uuid
from pathlib import Path

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from cardiac_motion.serving.settings import MOST_PICTURES, PICTURE_FOLDER, PICTURES, SUFFIXES
from cardiac_motion.serving.validation import RequestRejected, suffix_of
from cardiac_motion.workbench.requests import BLOCK, in_thread, user_of
from cardiac_motion.workbench.store import Store
from cardiac_motion.workbench.studies import Studies

LONGEST_HEADER = 2**20  # bytes of the list of a folder's pictures


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
        """Create a case from a request's body: a file, or a folder of images or of one-frame DICOM files.

        The body of a folder is the length of its list in 4 bytes, the list of [name, size], and the files.
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
                    raise RequestRejected(400, "the pictures are shorter than their list says") from None
            found = bytes(waiting[:count])
            del waiting[:count]
            return found

        length = int.from_bytes(await take(4), "big")
        if length > LONGEST_HEADER:
            raise RequestRejected(413, "the list of pictures is too long")
        try:
            listed = [(str(name), int(size)) for name, size in json.loads(await take(length))]
        except (ValueError, TypeError, OverflowError, RecursionError) as error:
            raise RequestRejected(400, "the list of pictures can't be read") from error
        if not 2 <= len(listed) <= MOST_PICTURES or min(size for _, size in listed) < 1:
            raise RequestRejected(400, f"a folder of pictures has 2 to {MOST_PICTURES} pictures")
        folder.mkdir()
        for k, (name, size) in enumerate(listed):
            suffix = suffix_of(name, (*PICTURES, ".dcm"), "picture")
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
                raise RequestRejected(409, "a label belongs to a volume")
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
