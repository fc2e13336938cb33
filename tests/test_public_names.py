"""``import cardiac_motion as cm``: what it offers, and what it does not load."""

import importlib
import pkgutil
import subprocess
import sys

import pytest

import cardiac_motion as cm
from tests.bundles.running import ROOT

PACKAGES = [m.name for m in pkgutil.walk_packages(cm.__path__, "cardiac_motion.") if m.ispkg]


def run_python(code):
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout.split()


def test_the_import_loads_nothing_heavy():
    """Modules are counted, since seconds depend on who else uses the machine."""
    code = "import sys; before = set(sys.modules); import cardiac_motion; print(*sorted(set(sys.modules) - before))"
    loaded = run_python(code)
    assert {name.split(".")[0] for name in loaded} & {"torch", "monai", "numpy", "scipy", "nibabel", "mlflow"} == set()
    own = {name for name in loaded if name.startswith("cardiac_motion")}
    assert own == {"cardiac_motion", *(f"cardiac_motion.core{name}" for name in ("", ".account", ".threads"))}
    assert len(loaded) < 60


def test_names_without_torch():
    code = "import sys, cardiac_motion as cm; cm.InputError; cm.__version__; dir(cm); print('torch' in sys.modules)"
    assert run_python(code) == ["False"]


def test_the_public_names():
    assert set(cm.__all__) >= {
        "read_cine", "read_volume", "load", "from_pretrained", "register", "warp", "compose", "invert", "local_ncc",
        "track", "measure_strain", "strain", "blood_flow", "segment_hippocampus", "save_itk_transform",
        "load_itk_transform", "InputError", "__version__",
    }  # fmt: skip
    assert 20 <= len(cm.__all__) <= 30 and set(dir(cm)) >= set(cm.__all__) - {"__version__", "from_pretrained"}
    assert cm.from_pretrained is cm.load and cm.strain.gls([[[0, 0], [0, 2]], [[0, 0], [0, 1]]]).tolist() == [0, -0.5]
    with pytest.raises(AttributeError, match="registr"):
        _ = cm.registr


@pytest.mark.parametrize("package", ["cardiac_motion", *PACKAGES])
def test_every_name_of_every_package_is_there(package):
    module = importlib.import_module(package)
    assert module.__all__ and len(set(module.__all__)) == len(module.__all__)
    for name in module.__all__:
        assert getattr(module, name) is not None


def test_each_public_name_is_documented_with_an_example():
    text = (ROOT / "docs/python.md").read_text(encoding="utf-8")
    assert not [name for name in cm.__all__ if f"cm.{name}" not in text]


def test_the_version_is_the_projects():
    assert f'version = "{cm.__version__}"' in (ROOT / "pyproject.toml").read_text(encoding="utf-8")
