"""``python -m cardiac_motion.workbench``: the workbench on this machine; it prints the address to open."""

from __future__ import annotations

import secrets
import sys
from collections.abc import Sequence
from pathlib import Path

import psutil
import uvicorn
from filelock import FileLock, Timeout
from pydicom import examples

from cardiac_motion.bundle.find import find_bundle, is_bundle
from cardiac_motion.core.command import CommandParser
from cardiac_motion.core.errors import InputError
from cardiac_motion.serving.workers import Workers
from cardiac_motion.workbench.guard import read_passwords
from cardiac_motion.workbench.jobs import Lanes
from cardiac_motion.workbench.server import make_server
from cardiac_motion.workbench.store import Store

LOOPBACK = ("127.0.0.1", "localhost", "::1")
MAKE = "cardiac_motion.serving.workbench:open_workbench"
USES = 2000  # corrections of a process: another one would have to read and track again what this one keeps


def make_parser(prog: str = "python -m cardiac_motion.workbench") -> CommandParser:
    """The command line."""
    parser = CommandParser(prog=prog, description=__doc__)
    parser.add_argument("--workspace", type=Path, default=Path("output/workbench"), help="folder of the cases")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: this machine alone)")
    parser.add_argument("--port", type=int, default=8765)
    parser.add_argument("--password-file", help="lines name:password; needed for another host than this machine")
    parser.add_argument("--atlases", type=Path, help="folder with imagesTr and labelsTr, to segment hippocampi with")
    parser.add_argument("--studies", type=Path, help="MONAI Label's folder of studies; its labels are shared")
    parser.add_argument("--upload", type=int, default=2048, help="MiB of an upload at most")
    parser.add_argument("--timeout", type=float, default=3600, help="seconds that a measurement may take")
    parser.add_argument("--root", type=Path, help="folder that holds bundles/ (default: where they are found)")
    return parser


def main(words: Sequence[str] | None = None, prog: str = "python -m cardiac_motion.workbench") -> None:
    """Read the command line and serve until stopped."""
    given = make_parser(prog).parse_args(words)
    try:
        if given.host not in LOOPBACK and not given.password_file:
            raise InputError(f"--host {given.host}: others could come in; give --password-file too")
        passwords = read_passwords(given.password_file) if given.password_file else None
        root = (given.root or find_bundle("strain_pipeline").resolve().parents[1]).resolve()
        if not is_bundle(root / "bundles" / "strain_pipeline"):
            raise InputError(f"{root}: holds no bundles/strain_pipeline; name the repository's folder by --root")
        for name in ("atlases", "studies"):
            if getattr(given, name) and not getattr(given, name).is_dir():
                raise InputError(f"--{name} {getattr(given, name)}: no such folder")
        lock = workspace_lock(given.workspace)
    except InputError as error:
        sys.exit(f"error: {error}")
    memory = psutil.virtual_memory().total // 2
    lanes = Lanes(
        work=Workers(1, given.timeout, memory, 64, root, MAKE),
        quick=Workers(1, given.timeout, memory, 256, root, MAKE),
        hands=Workers(1, given.timeout, memory, 64, root, MAKE, uses=USES),
    )
    options = {"atlases": str(given.atlases.resolve()) if given.atlases else None}
    store = Store(given.workspace, lanes, options, given.studies)
    token = secrets.token_urlsafe(24)
    example = Path(str(examples.get_path("ybr_color")))
    server = make_server(store, (*LOOPBACK, given.host), token, passwords, given.upload * 2**20, example)
    print(f"The workbench: http://{given.host}:{given.port}/?token={token}", flush=True)
    uvicorn.run(server, host=given.host, port=given.port, log_level="warning", access_log=False,
                timeout_graceful_shutdown=3)  # fmt: skip
    lock.release()


def workspace_lock(folder: Path) -> FileLock:
    """The lock of a workspace, held.

    Raises:
        InputError: another server has it, or the folder can't be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / ".lock")
        lock.acquire(timeout=0)
    except Timeout as error:
        raise InputError(f"{folder}: another workbench works in it; take another --workspace") from error
    except OSError as error:
        raise InputError(f"{folder}: can't be written ({error.strerror})") from error
    return lock


if __name__ == "__main__":
    main()
