"""The examples of docs/monailabel.md, word for word but for the address of the server."""

import os
import re
import shutil
import subprocess
import sys

import pytest

from tests.monailabel.serving import ROOT

PAGE = (ROOT / "docs" / "monailabel.md").read_text(encoding="utf-8")
BLOCKS = [
    (kind, text)
    for kind, text in re.findall(r"```(python|bash)\n(.*?)```", PAGE, re.DOTALL)
    if "127.0.0.1:8000" in text
]


@pytest.fixture(scope="module")
def visited(server):
    """The server; afterwards what the examples leave behind is removed."""
    yield server
    server.json("DELETE", "/train/")
    server.json("DELETE", "/datastore/label?id=apical_4ch&tag=final")
    (server.folder / "studies" / ".motion" / "segmentation.pt").unlink(missing_ok=True)


@pytest.mark.parametrize("number", range(len(BLOCKS)))
def test_example_runs(visited, number):
    kind, text = BLOCKS[number]
    folder = visited.folder / "examples"
    folder.mkdir(exist_ok=True)
    text = text.replace("http://127.0.0.1:8000", visited.url)
    if kind == "bash":
        if shutil.which("curl") is None:
            pytest.skip("curl is not installed")
        text = "set -e\n" + text.replace("curl -s ", "curl -s --fail-with-body ").replace(
            "$(python ", f"$({sys.executable} "
        )
    command = [sys.executable, "-c", text] if kind == "python" else ["bash", "-c", text]
    ended = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, timeout=900, check=False,
        env={**os.environ, "TMPDIR": str(folder)},
    )  # fmt: skip
    assert ended.returncode == 0, ended.stdout + ended.stderr


def test_there_are_examples_of_both_kinds():
    kinds = [kind for kind, _ in BLOCKS]
    assert kinds.count("python") >= 5 and kinds.count("bash") >= 2
