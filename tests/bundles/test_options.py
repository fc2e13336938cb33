"""What a user mistypes, or calls a file, as a user runs a bundle."""

import json
import shutil

import pytest

from cardiac_motion.cine.write import write_cine
from cardiac_motion.core.errors import input_error_in
from tests.bundles.running import ROOT, run_command, run_command_here, run_module_here
from tests.conftest import moving_cine

FARNEBACK = "bundles/farneback/configs/inference.json"
CONFIGS = sorted(
    path.relative_to(ROOT / "bundles").as_posix()
    for path in (ROOT / "bundles").glob("*/configs/*.json")
    if '"initialize"' in path.read_text(encoding="utf-8")
)
BASES = {"multi_gpu_train": "train"}
QUICK = ("--save_figures", "False", "--mlflow", "False", "--levels", "1")


def last_line(done):
    assert done.returncode == 1, done.stdout
    assert "Traceback" not in done.stderr
    return done.stderr.strip().splitlines()[-1]


@pytest.mark.parametrize("config", CONFIGS)
def test_a_mistyped_option_of_every_configuration_is_refused(config, tmp_path):
    content = json.loads((ROOT / "bundles" / config).read_text(encoding="utf-8"))
    assert "$check_options(__local_refs)" in content["initialize"]
    if "multi_gpu" in config:
        return  # begins a process group, of which the unit test of its first words is enough
    stem = config.rsplit("/", 1)[-1].removesuffix(".json")
    base = config.replace(stem, BASES[stem]) if stem in BASES else None
    files = [f"bundles/{name}" for name in (base, config) if name]
    with pytest.raises(RuntimeError) as raised:
        run_command_here("--config_file", str(files), "--inptu", str(tmp_path), "--output_dri", str(tmp_path))
    assert "has no option --inptu" in str(input_error_in(raised.value))
    assert not list(tmp_path.iterdir())


def test_a_mistyped_option_is_one_line(tmp_path):
    done = run_command("--config_file", FARNEBACK, "--inptu", "a.dcm", "--output_dir", str(tmp_path))
    assert last_line(done).endswith("farneback: has no option --inptu; did you mean --input?")
    assert not list(tmp_path.iterdir())


def test_arguments_of_monai_are_known_and_a_file_of_arguments_is_checked(tmp_path):
    (tmp_path / "args.json").write_text(json.dumps({"max_frmes": 3}), encoding="utf-8")
    with pytest.raises(RuntimeError) as caught:
        run_command_here(
            "run", "--config_file", str([FARNEBACK, FARNEBACK.replace("inference", "evaluate")]),
            "--meta_file", "bundles/farneback/configs/metadata.json", "--args_file", str(tmp_path / "args.json"),
        )  # fmt: skip
    assert str(input_error_in(caught.value)).endswith("has no option --max_frmes; did you mean --max_frames?")


def test_names_of_files_that_mean_something_to_others(tmp_path):
    """One run over signs in the input's folder, its name, and a number as the output."""
    folder = tmp_path / "a#1 $b 100%"
    folder.mkdir()
    cine, _ = moving_cine(3, (64, 72))
    write_cine(folder / "20240115.nii.gz", cine[None])
    for name in ("bundles", "20240115"):
        (folder / name).symlink_to(ROOT / "bundles" if name == "bundles" else folder / "20240115.nii.gz")
    words = ["--config_file", FARNEBACK, *QUICK, "--input", str(folder / "20240115.nii.gz"), "--output_dir", "2024"]
    done = run_module_here("monai.bundle", "run", *words, folder=folder)
    assert done.returncode == 0, done.stderr
    summary = json.loads((folder / "2024/20240115/summary.json").read_text(encoding="utf-8"))
    assert summary["source"] == str(folder / "20240115.nii.gz")


def test_a_folder_whose_name_is_a_number(tmp_path):
    import imageio.v3 as iio

    cine, _ = moving_cine(3, (64, 72))
    (tmp_path / "20240115").mkdir()
    for t, frame in enumerate(cine):
        iio.imwrite(tmp_path / f"20240115/{t}.png", (frame * 255).byte().numpy())
    (tmp_path / "bundles").symlink_to(ROOT / "bundles")
    words = ["--config_file", FARNEBACK, *QUICK, "--input", "20240115", "--output_dir", "results#1"]
    done = run_module_here("monai.bundle", "run", *words, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "results#1/20240115/summary.json").is_file()


def test_starting_from_another_folder_says_where_to_start(tmp_path):
    shutil.copytree(ROOT / "bundles/cpwc_echo/configs", tmp_path / "repository/bundles/cpwc_echo/configs")
    (tmp_path / "elsewhere").mkdir()
    config = str(tmp_path / "repository/bundles/cpwc_echo/configs/inference.json")
    done = run_module_here("monai.bundle", "run", "--config_file", config, folder=tmp_path / "elsewhere")
    assert last_line(done).endswith(f"start in {(tmp_path / 'repository').resolve()}")
    assert "train" not in last_line(done)


@pytest.mark.parametrize(
    "words, nearest",
    [
        (
            ("cardiac_motion.cohort", "--bundle", "nmsr_echo", "--config", "moton.json"),
            "nmsr_echo/configs/motion.json?",
        ),
        (("cardiac_motion.cohort", "--bundle", "nmsr_echo", "--stps", "3"), "--steps?"),
        (("cardiac_motion.compare", "--bundles", "nmrs_echo"), "nmsr_echo?"),
    ],
)
def test_what_is_mistyped_for_a_list_is_one_line(words, nearest, tmp_path):
    listed = ["--datalist", "data_lists/simulated.json", "--dataset_dir", ".", "--fold", "static"]
    done = run_module_here(*words, *listed, "--output_dir", str(tmp_path))
    assert last_line(done).split("did you mean ")[1].endswith(nearest)
