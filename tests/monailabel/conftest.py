"""These tests need MONAI Label, which has an environment of its own: ``tox run -e label-test``."""

import importlib.util

import pytest

from tests.monailabel.serving import Server, write_cine_file

collect_ignore_glob = [] if importlib.util.find_spec("monailabel") else ["test_*.py"]


@pytest.fixture(scope="session")
def server(tmp_path_factory):
    """A server with the sample studies and a small cine, ``speckle``; of the comparators Farnebäck's flow too."""
    folder = tmp_path_factory.mktemp("served")
    (folder / "studies").mkdir()
    write_cine_file(folder / "studies" / "speckle.nii.gz")
    bundles = "nmsr_echo,ssmsr_hippocampus,cpwc_echo,strain_pipeline,farneback"
    with Server(folder, "--sample", str(folder), "--conf", "bundles", bundles, "--conf", "upload", "64") as running:
        yield running


@pytest.fixture
def own_server(tmp_path):
    """Starts servers of a test's own: ``own_server(conf…)`` serves ``tmp_path/studies`` with one small cine."""
    running = []

    def start(*words):
        studies = tmp_path / "studies"
        studies.mkdir(exist_ok=True)
        if not (studies / "speckle.nii.gz").exists():
            write_cine_file(studies / "speckle.nii.gz")
        running.append(Server(tmp_path, "--studies", str(studies), *words))
        return running[-1]

    yield start
    for found in running:
        found.stop()
