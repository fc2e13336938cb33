"""Configurations: files merged in order, options over them, their defaults listed, and one line for what is wrong."""

import json

import pytest

from cardiac_motion.bundle.config import config_files, content, list_options, merge_files, parse_config, read_json
from cardiac_motion.core.errors import InputError
from tests.bundles.running import ROOT

BASE = {
    "bundle_root": "bundles/b",
    "output_dir": "output/b",
    "levels": 3,
    "size": "$@levels * 2",
    "params": {"levels": "@levels"},
    "imports": ["$import torch"],
    "where": "$@bundle_root + '/models'",
    "broken": "$[][0]",
}


@pytest.fixture
def bundle(tmp_path):
    folder = tmp_path / "b"
    (folder / "configs").mkdir(parents=True)
    for name, values in {"inference": BASE, "evaluate": {"levels": 4}, "fast": {"levels": 1}}.items():
        (folder / f"configs/{name}.json").write_text(json.dumps(values), encoding="utf-8")
    return folder


def test_files_in_the_order_in_which_they_are_merged(bundle, tmp_path):
    files = config_files(bundle, evaluate=True, further=["fast.json"])
    assert [path.name for path in files] == ["inference.json", "evaluate.json", "fast.json"]
    assert [merge_files(files[:n])["levels"] for n in (1, 2, 3)] == [3, 4, 1]
    (tmp_path / "own.json").write_text("{}", encoding="utf-8")
    assert config_files(bundle, further=[tmp_path / "own.json"])[-1] == tmp_path / "own.json"
    with pytest.raises(InputError, match=r"fats\.json; did you mean .*fast\.json"):
        config_files(bundle, further=["fats.json"])


def test_options_over_the_files(bundle):
    files = config_files(bundle)
    parser = parse_config(files, {"levels": 5, "output_dir": "$a#1"})
    assert content(parser, "size") == 10 and content(parser, "params") == {"levels": 5}
    assert content(parse_config(files, {"output_dir": "a#1"}), "output_dir") == "a#1"
    assert content(parser, "where") == f"{bundle}/models", "found from any folder"
    with pytest.raises(InputError, match="b: has no option --levls; did you mean --levels"):
        parse_config(files, {"levls": 5})


def test_the_options_are_listed_with_their_defaults(bundle):
    assert list_options(config_files(bundle, further=["fast.json"])) == {
        "output_dir": "output/b", "levels": 1, "size": "$@levels * 2",
    }  # fmt: skip


@pytest.mark.parametrize("path", sorted((ROOT / "bundles").glob("*/configs/inference.json")), ids=lambda p: p.parts[-3])
def test_what_each_bundle_reads_and_writes_is_among_its_options(path):
    options = list_options([path])
    assert {"input", "output_dir", "datalist", "dataset_dir", "fold", "seed"} <= set(options)
    assert not {"network", "evaluator", "initialize", "run", "imports", "bundle_root"} & set(options)


def test_what_is_no_json(bundle):
    (bundle / "configs/bad.json").write_text("{,}", encoding="utf-8")
    with pytest.raises(InputError, match=r"bad\.json: no JSON"):
        parse_config(config_files(bundle, further=["bad.json"]), {})
    with pytest.raises(InputError, match=r"none\.json: no such file"):
        read_json(bundle / "none.json")
