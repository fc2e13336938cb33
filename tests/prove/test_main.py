"""The command: tables on disk, and refusals in one line."""

import csv

import pytest

from cardiac_motion.prove.__main__ import main
from tests.bundles.running import ROOT


def test_without_any_file_the_tables_say_what_is_missing(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(ROOT)
    words = ["--data", str(tmp_path), "--output_dir", str(tmp_path / "out"), "--methods", "Farnebäck"]
    main([*words, "--bundles", str(ROOT / "bundles")])
    text = (tmp_path / "out/results.md").read_text(encoding="utf-8")
    assert "missing: erizmr/UnLiteFlowNet-PIV/" in text and text in capsys.readouterr().out
    with open(tmp_path / "out/results.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert {row["data"] for row in rows} == {
        "particle images", "Middlebury", "FlyingChairs", "vortex pair, two time steps", "hippocampus, other scans",
        "CAMUS, end-diastole to end-systole", "Learn2Reg Hippocampus MR, unseen pairs", "simulated DENSE of a heart",
    }  # fmt: skip
    assert not any(row["value"] for row in rows)


def test_a_folder_that_is_not_there_is_one_line(tmp_path):
    with pytest.raises(SystemExit, match=r"error: --data .*none: no such folder"):
        main(["--data", str(tmp_path / "none")])
