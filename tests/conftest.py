"""Shared by all tests: the folder of real data, and small cines with a known motion."""

import os
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import ndimage

from cardiac_motion.core import bars
from tests.browser import CHROMIUM

os.environ.setdefault("ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS", "1")  # which ITK settles once, whoever asks it first


@pytest.fixture(scope="session", autouse=True)
def store_of_the_tests(tmp_path_factory):
    """No test sends a run to the store that the user has."""
    before = os.environ.get("MLFLOW_TRACKING_URI")
    os.environ["MLFLOW_TRACKING_URI"] = f"sqlite:///{tmp_path_factory.mktemp('store')}/mlruns.db"
    yield
    if before is None:
        del os.environ["MLFLOW_TRACKING_URI"]
    else:
        os.environ["MLFLOW_TRACKING_URI"] = before


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory):
    """A store without runs, to copy: MLflow takes seconds to make one."""
    from mlflow.tracking import MlflowClient

    path = tmp_path_factory.mktemp("empty") / "empty.db"
    MlflowClient(f"sqlite:///{path}").search_experiments()
    return path


@pytest.fixture(scope="module")
def browser():
    """Headless Chromium, one for each file of tests."""
    sync_api = pytest.importorskip("playwright.sync_api", reason="needs playwright")
    with sync_api.sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield found
        found.close()


@pytest.fixture
def bar_names(monkeypatch):
    """Names of the bars that are made meanwhile, in order."""
    names = []

    class Named(bars.tqdm):
        def __init__(self, *args, **settings):
            names.append(settings["desc"])
            super().__init__(*args, **settings)

    monkeypatch.setattr(bars, "tqdm", Named)
    return names


@pytest.fixture
def small_disk():
    """A context in which no file can grow beyond 64 kB: a full disk, to whoever writes."""
    resource = pytest.importorskip("resource", reason="Windows has no limits of a process")

    @contextmanager
    def limit():
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 16, before[1]))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)

    return limit


@pytest.fixture(autouse=True)
def one_seed():
    """What torch draws is the same in every run, whichever tests ran before."""
    torch.manual_seed(0)


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The folder named by ``DATA_DIR``; a test that needs it is skipped without."""
    folder = os.environ.get("DATA_DIR")
    if not folder or not Path(folder).is_dir():
        pytest.skip("DATA_DIR does not name the folder of real data")
    return Path(folder)


def moving_cine(frames: int = 4, size: tuple[int, int] = (72, 80)) -> tuple[torch.Tensor, float]:
    """Speckle that rotates about the centre: ``[T, H, W]`` in [0, 1], and the radians a frame."""
    angle = 0.03
    rng = np.random.default_rng(0)
    pad = 40
    texture = ndimage.gaussian_filter(rng.random((size[0] + 2 * pad, size[1] + 2 * pad)), 1.6)
    texture = (texture - texture.min()) / (texture.max() - texture.min())
    rows, columns = np.mgrid[: size[0], : size[1]].astype(float)
    r, c = rows - (size[0] - 1) / 2, columns - (size[1] - 1) / 2
    loop = []
    for t in range(frames):  # frame t at p shows the material that lay at R(−angle·t)·p at first
        cos, sin = np.cos(-angle * t), np.sin(-angle * t)
        at = [cos * r - sin * c + (size[0] - 1) / 2 + pad, sin * r + cos * c + (size[1] - 1) / 2 + pad]
        loop.append(ndimage.map_coordinates(texture, at, order=3))
    return torch.tensor(np.stack(loop), dtype=torch.float32).clamp(0, 1), angle


def rotation(points: torch.Tensor, angle: float, size: tuple[int, int]) -> torch.Tensor:
    """``points [..., 2]`` (row, column) turned by ``angle`` about the centre of an image of ``size``."""
    centre = torch.tensor([(size[0] - 1) / 2, (size[1] - 1) / 2])
    turn = torch.tensor([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]], dtype=torch.float32)
    return (points - centre) @ turn.T + centre
