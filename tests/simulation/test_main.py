"""The commands of ``python -m cardiac_motion.simulation``."""

import json

import numpy as np
import pytest

from cardiac_motion.core.errors import InputError
from cardiac_motion.simulation import __main__ as command_line
from cardiac_motion.simulation.__main__ import main
from cardiac_motion.simulation.heart.prior import read_prior
from cardiac_motion.ventricle.shape import read_shape_prior
from tests.bundles.running import run_module_here


def test_pairs_of_some_scenarios_with_settings(tmp_path):
    (tmp_path / "settings.json").write_text('{"scatterers": 4000, "shape": [48, 48]}', encoding="utf-8")
    arguments = ["pairs", "--output_dir", str(tmp_path / "out"), "--scenarios", "speckle", "coupled", "--count", "1"]
    main([*arguments, "--settings", str(tmp_path / "settings.json")])
    assert len(list((tmp_path / "out").glob("*/*.npz"))) == 2 and (tmp_path / "out" / "seed_0000.json").exists()
    with pytest.raises(InputError, match="other settings"):
        main(arguments)


def test_the_command_ends_in_one_line(tmp_path):
    words = ["write", "--output_dir", str(tmp_path / "out"), "--here", "--templates", "/nowhere"]
    ended = run_module_here("cardiac_motion.simulation", *words)
    assert ended.returncode == 1
    assert ended.stderr.strip() == "error: /nowhere: no such folder of templates"


@pytest.mark.parametrize(
    "words, said",
    [
        (["write", "--output_dir", "{}", "--settings", "{}/none.json"], "none.json: cannot be read as JSON"),
        (["write", "--output_dir", "{}", "--split", "{}/text.json"], "text.json: cannot be read as JSON"),
        (["testset", "--output_dir", "{}", "--templates", "{}", "--datalist", "{}/none.json"], "none.json"),
        (["blood", "--output_dir", "{}", "--datalist", "{}/none.json"], "none.json"),
        (["prior", "--contours", "{}/none.npz", "--output", "{}/prior.json"], "none.npz"),
        (["pairs", "--output_dir", "{}", "--templates", "{}", "--split", "{}/split.json"], "has no list 'train'"),
    ],
)
def test_what_cannot_be_read_is_one_line(tmp_path, words, said):
    (tmp_path / "text.json").write_text("no JSON", encoding="utf-8")
    (tmp_path / "split.json").write_text('{"test": []}', encoding="utf-8")
    with pytest.raises(InputError, match=said) as caught:
        main([word.format(tmp_path) for word in words])
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["paint"],
        ["write"],
        ["pairs", "--output_dir", "x", "--scenarios", "flat"],
        ["write", "--output_dir", "x", "--coutn", "1"],
    ],
)
def test_what_is_no_command_ends_in_a_line(words, capsys):
    with pytest.raises(SystemExit) as caught:
        main(words)
    (line,) = capsys.readouterr().err.splitlines()
    assert caught.value.code == 2 and line.startswith("error: ") and "python -m cardiac_motion.simulation" in line


def test_the_list_of_a_split_alone_is_rendered(tmp_path, monkeypatch):
    taken = {}
    monkeypatch.setattr(
        command_line, "TemplateSource", lambda folder, names, prior: taken.update(names=names, prior=prior)
    )
    monkeypatch.setattr(command_line, "write_pairs", lambda *given: taken.update(given=given[2:5]) or 0)
    (tmp_path / "split.json").write_text(json.dumps({"train": ["a", "b"], "test": ["c"]}), encoding="utf-8")
    words = [
        "pairs",
        "--output_dir",
        str(tmp_path / "out"),
        "--templates",
        str(tmp_path),
        "--count",
        "7",
        "--seed",
        "5",
    ]
    main([*words, "--split", str(tmp_path / "split.json"), "--scenarios", "coupled", "--prior", "0.25"])
    assert taken == {"names": ["a", "b"], "prior": 0.25, "given": (["coupled"], 7, 5)}


def test_patients_that_could_not_be_made_are_counted(tmp_path, monkeypatch):
    monkeypatch.setattr(command_line, "write_cases", lambda *given: ["0001_a: no myocardium", "0002_b: none"])
    with pytest.raises(InputError, match=r"^2 of 5 patients could not be simulated; the first: 0001_a: no myocardium$"):
        main(["write", "--output_dir", str(tmp_path), "--count", "5", "--here"])


def test_both_priors_are_made_of_contours(tmp_path):
    rng, angle = np.random.default_rng(0), np.linspace(0, np.pi, 21)
    widths = rng.uniform(18, 30, (30, 2, 1))
    contours = np.stack([60 - widths * np.cos(angle), 80 - 80 * np.sin(angle) + 0 * widths], -1)  # (x, y)
    np.savez(tmp_path / "contours.npz", contours=contours + rng.normal(0, 0.4, contours.shape))
    files = [str(tmp_path / name) for name in ("contours.npz", "prior.json", "shapes.json")]
    main(["prior", "--contours", files[0], "--output", files[1], "--shapes", files[2]])
    assert read_prior(files[1]) and read_shape_prior(files[2]).components.shape == (8, 21, 2)
