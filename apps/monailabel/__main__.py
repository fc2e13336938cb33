"""``python apps/monailabel --studies DIR``: serve the bundles, on this machine alone unless told otherwise."""

from __future__ import annotations

import sys
import types
from collections.abc import Sequence
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parents[1])]
# MONAI Label imports it for DICOM SEG, which is not served; it can't be imported beside pydicom 3.
sys.modules.setdefault("pydicom_seg", types.ModuleType("pydicom_seg"))

import uvicorn  # noqa: E402
from lib.server import make_server  # noqa: E402
from main import DEFAULTS, MotionApp  # noqa: E402
from sample import write_sample  # noqa: E402

from cardiac_motion.core.command import CommandParser  # noqa: E402
from cardiac_motion.core.errors import InputError  # noqa: E402


def main(words: Sequence[str] | None = None) -> None:
    """Read the command line and serve until stopped."""
    parser = CommandParser(prog="python apps/monailabel", description=__doc__)
    parser.add_argument("--studies", help="folder of the images; made if missing")
    parser.add_argument("--sample", type=Path, help="write sample studies and atlases to this folder, and serve them")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: this machine alone)")
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--conf", nargs=2, action="append", default=[], metavar=("NAME", "VALUE"),
                        help=f"one of {', '.join(DEFAULTS)}")  # fmt: skip
    given = parser.parse_args(words)
    if (given.studies is None) == (given.sample is None):
        parser.error("one of --studies and --sample is needed")
    conf = dict(given.conf)
    studies = given.studies
    try:
        if given.sample is not None:
            studies, atlases = write_sample(given.sample)
            conf.setdefault("atlases", str(atlases))
        app = MotionApp(str(HERE), str(studies), conf)
    except InputError as error:
        sys.exit(f"error: {error}")
    names = [name.strip() for name in app.conf["hosts"].split(",") if name.strip()]
    local = ["127.0.0.1", "localhost", given.host]
    hosts = [*local, *names] if names or given.host in local[:2] else ["*"]
    origins = tuple(name.strip() for name in app.conf["origins"].split(",") if name.strip())
    print(f"{len(app.store.list_images())} images in {studies}, http://{given.host}:{given.port}", flush=True)
    uvicorn.run(
        make_server(app, hosts, origins),
        host=given.host, port=given.port, log_level="info", access_log=False, timeout_graceful_shutdown=5,
    )  # fmt: skip


if __name__ == "__main__":
    main()
