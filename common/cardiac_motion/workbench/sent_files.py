"""The files of a case that are sent: those that its page draws, and those to take away."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from starlette.responses import FileResponse, Response, StreamingResponse

from cardiac_motion.serving.settings import METHODS, VOLUME_METHODS
from cardiac_motion.serving.validation import RequestRejected
from cardiac_motion.workbench.requests import BLOCK

TAKE = "take.zip"
ALL = "all.zip"
SHOWN_FILES = {"frames": "frames.webps", "thumbnail": "thumbnail.webp", "volume": "volume.bin", "label": "label.bin"}
SHOWN_FILES |= {f"{kind}_{name}": f"{kind}_{name}.bin" for kind in ("arrows", "labels")
                for name in (*METHODS, *VOLUME_METHODS)}  # fmt: skip
REPORT = {"Content-Security-Policy": "sandbox allow-scripts; default-src 'none'; img-src data:; "
          "style-src 'unsafe-inline'; script-src 'unsafe-inline'"}  # fmt: skip


def send_taken(zipped: Path, files: dict[str, Any] | None, wanted: str) -> Response:
    """A file that was made to be taken away, or all of them, by the name of its case.

    Raises:
        RequestRejected: there is none of that name.
    """
    if not files or (wanted != ALL and wanted not in files["names"]) or not zipped.is_file():
        raise RequestRejected(404, "no such file")
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
