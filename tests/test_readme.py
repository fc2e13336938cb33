"""Every command of README.md and of nmsr_echo's page is run word for word, on the smallest input and settings."""

import configparser
import doctest
import json
import re
import shlex
import subprocess
import sys

import pytest

from cardiac_motion.cine.cases import demo_cine
from cardiac_motion.cine.write import write_cine
from tests.bundles.running import ROOT, run_module_here
from tests.conftest import moving_cine

PAGES = ("README.md", "bundles/nmsr_echo/docs/README.md")
SMALLEST = {
    "strain_pipeline/configs/inference.json": "--segment_stride 3 --save_figures False --mlflow False",
    "cpwc_echo/configs/inference.json": "--max_frames 3 --save_figures False --mlflow False",
    "inference.json": "--max_frames 3 --steps 1 --save_figures False --mlflow False",
    "train.json": "--epochs 1 --pairs_per_epoch 2 --validation_pairs 2 --batch_size 1 --crop [48,48]",
}


def commands(page):
    blocks = re.findall(r"```bash\n(.*?)```", (ROOT / page).read_text(encoding="utf-8"), re.DOTALL)
    lines = (line.split(" #")[0].strip() for block in blocks for line in block.splitlines())
    return [line for line in lines if line]


def tox_commands(name):
    """What ``tox run -e name`` runs, without what the user may add."""
    parser = configparser.ConfigParser(interpolation=None)
    parser.read(ROOT / "tox.ini")
    return re.sub(r"\{posargs(:([^}]*))?\}", r"\2", parser[f"testenv:{name}"]["commands"]).strip()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("readme")
    cine, _ = moving_cine(4, (112, 112))
    write_cine(folder / "cine.nii.gz", cine[None])
    folds = {fold: [{"image": "cine.nii.gz"}] for fold in ("training", "validation", "test")}
    (folder / "LIST.json").write_text(json.dumps(folds), encoding="utf-8")
    return folder


def run(command, folder, tmp_path):
    words = command.replace("LIST.json", str(folder / "LIST.json")).replace(
        "--dataset_dir DIR", f"--dataset_dir {folder}"
    )
    heart = "strain_pipeline" in command  # refuses what is no heart
    words = words.replace("FILE", demo_cine() if heart else str(folder / "cine.nii.gz")).replace(
        "--output_dir DIR", f"--output_dir {tmp_path / 'out'}"
    )
    words = shlex.split(words)
    config = words[words.index("--config_file") + 1]
    small = next(options for name, options in SMALLEST.items() if name in config)
    if "--output_dir" not in words:
        small += f" --output_dir {tmp_path / 'out'}"
    if "--dataset_dir" not in words and "--datalist" in words:
        small += f" --dataset_dir {folder}"
    words += small.split()
    if words[0] == "torchrun":
        words[0:1] = [sys.executable, "-m", "torch.distributed.run"]
        done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=900, check=False)
    else:
        assert words[:2] == ["python", "-m"]
        done = run_module_here(*words[2:])
    assert done.returncode == 0, f"{command}\n{done.stdout[-2000:]}\n{done.stderr[-3000:]}"
    return tmp_path / "out"


def test_the_two_first_commands_are_toxs():
    first = commands("README.md")[:2]
    assert first == [
        "python -m pip install tox && python -m tox run -e demo",
        "python -m pip install tox && python -m tox run",
    ]
    assert "pytest" in tox_commands("tests")
    assert (ROOT / ".ci/run").read_text(encoding="utf-8").rstrip().endswith("python -m tox run")


def test_demo_of_tox(folder, tmp_path):
    out = run(tox_commands("demo"), folder, tmp_path)
    assert (out / "examples_ybr_color/summary.json").is_file()


def test_the_command_measures_strain(tmp_path):
    line = next(c for c in commands("README.md") if c.startswith("cardiac-motion strain"))
    words = shlex.split(line.replace("FILE", demo_cine()))[1:]
    words += ["--output_dir", str(tmp_path), *SMALLEST["strain_pipeline/configs/inference.json"].split()]
    done = run_module_here("cardiac_motion.command", *words)
    assert done.returncode == 0 and "GLS" in done.stdout, done.stdout[-1000:] + done.stderr[-2000:]
    assert (tmp_path / "examples_ybr_color/summary.json").is_file()


@pytest.mark.parametrize(
    "command", {c: 0 for page in PAGES for c in commands(page) if "monai.bundle run" in c}, ids=lambda x: x[-50:]
)
def test_bundle_commands(command, folder, tmp_path):
    out = run(command, folder, tmp_path)
    assert any((out / name).is_file() for name in ("cine/summary.json", "examples_ybr_color/summary.json", "model.pt"))


@pytest.mark.parametrize(
    ("page", "least"), [("docs/python.md", 40), ("docs/concepts/fields.md", 6), ("docs/reading.md", 4)]
)
def test_the_examples_of_a_page_do_what_they_say(page, least, monkeypatch):
    monkeypatch.chdir(ROOT)
    code = "\n".join(re.findall(r"```python\n(.*?)```", (ROOT / page).read_text(encoding="utf-8"), re.DOTALL))
    examples = doctest.DocTestParser().get_doctest(code, {}, page, page, 0)
    report: list[str] = []
    done = doctest.DocTestRunner(verbose=False).run(examples, out=report.append)
    assert done.attempted >= least and done.failed == 0, "".join(report)


def test_no_command_is_left_out():
    known = ("tox run", "pip install", "monai.bundle run", "cardiac-motion strain")
    assert not [c for page in PAGES for c in commands(page) if not any(k in c for k in known)]


@pytest.mark.parametrize(
    "page",
    ["README.md", "CONTRIBUTING.md"]
    + [str(page.relative_to(ROOT)) for folder in ("", "bundles/*/") for page in ROOT.glob(f"{folder}docs/**/*.md")],
)
def test_links_lead_somewhere(page):
    folder = (ROOT / page).parent
    for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", (ROOT / page).read_text(encoding="utf-8")):
        if "://" not in target and not target.startswith(("reference/", "../reference/")):  # made with the site
            assert (folder / target).exists(), f"{page}: {target}"
