"""The interface of studies."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from cardiac_motion.serving.validation import RequestRejected, choice, shorten
from cardiac_motion.ventricle.views import APICAL
from cardiac_motion.workbench.requests import body_of, in_thread
from cardiac_motion.workbench.sent_files import TAKE, send_taken
from cardiac_motion.workbench.steps import check_value
from cardiac_motion.workbench.studies import Studies


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
            raise RequestRejected(400, f"case: expected its name, got {shorten(case)}")
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
