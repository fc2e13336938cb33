"""Bundles are listed, found, copied to where they are found from anywhere, and downloaded."""

import pytest

from cardiac_motion.bundle import find
from cardiac_motion.command import bundles
from cardiac_motion.command.main import run_command
from tests.bundles.running import ROOT


@pytest.fixture
def user(monkeypatch, tmp_path):
    """The user's data folder, of the tests."""
    for module in (find, bundles):
        monkeypatch.setattr(module, "user_bundles", lambda: tmp_path / "home/bundles")
    monkeypatch.delenv(find.VARIABLE, raising=False)
    monkeypatch.chdir(ROOT)
    return tmp_path / "home/bundles"


def test_they_are_listed_and_found(user, capsys):
    assert run_command(["bundles", "list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == len(list((ROOT / "bundles").glob("*/configs/metadata.json")))
    assert any(line.startswith("strain_pipeline ") and "Left ventricular strain" in line for line in lines)
    assert run_command(["bundles", "path", "dis"]) == 0
    assert capsys.readouterr().out == f"{ROOT / 'bundles/dis'}\n"
    assert run_command(["bundles", "path", "diss"]) == 1
    assert "did you mean dis?" in capsys.readouterr().err


def test_an_exported_bundle_runs_from_an_installed_wheel(user, monkeypatch, tmp_path, capsys):
    assert run_command(["bundles", "export", "dis"]) == 0
    assert capsys.readouterr().out == f"{user / 'dis'}\n"
    assert {path.name for path in (user / "dis").iterdir()} >= {"configs", "docs"}
    monkeypatch.setattr(find, "REPOSITORY", tmp_path / "site-packages")
    monkeypatch.chdir(tmp_path)
    assert find.find_bundle("dis") == user / "dis"
    assert run_command(["track", "--method", "dis", "--max_frames", "3", "--save_figures", "False", "--mlflow", "False",
                        "--output_dir", "out"]) == 0  # fmt: skip
    assert (tmp_path / "out/examples_ybr_color/ddf.nii.gz").is_file()


def test_an_export_replaces_a_bundle_and_nothing_else(user, tmp_path, capsys):
    (user / "dis").mkdir(parents=True)
    (user / "dis/mine.txt").write_text("mine", encoding="utf-8")
    assert run_command(["bundles", "export", "dis"]) == 1 and "was not overwritten" in capsys.readouterr().err
    (user / "dis/configs").mkdir()
    (user / "dis/configs/metadata.json").write_text("{}", encoding="utf-8")
    assert run_command(["bundles", "export", "dis"]) == 0 and not (user / "dis/mine.txt").exists()
    assert run_command(["bundles", "export", "dis", "--output_dir", str(ROOT / "bundles")]) == 1
    assert "is the bundle itself" in capsys.readouterr().err and (ROOT / "bundles/dis/configs/inference.json").is_file()


def test_a_download_goes_to_the_users_folder(user, monkeypatch, capsys):
    asked = []

    def download(name, folder, revision):
        asked.append((name, folder, revision))
        return folder / "motion"

    monkeypatch.setattr(bundles, "download_bundle", download)
    assert run_command(["bundles", "download", "somebody/motion", "--revision", "v1"]) == 0
    assert asked == [("somebody/motion", user, "v1")] and capsys.readouterr().out == f"{user / 'motion'}\n"


def test_none_at_all_is_said(user, tmp_path, capsys):
    assert run_command(["bundles", "list", "--bundles", str(tmp_path)]) == 1
    assert capsys.readouterr().err == f"error: no bundles in {tmp_path}\n"
