import json

from cardiac_motion.core.datalist import case_name
from cardiac_motion.core.folders import source_of
from cardiac_motion.core.whole_files import PROGRAM
from cardiac_motion.volume.cases import VolumeCases
from cardiac_motion.volume.transforms import one_hot
from tests.bundles.running import ROOT
from tests.volume.test_transforms import back


def test_finished_cases_are_left_out(tmp_path):
    entry = VolumeCases().entries[1]
    summary = {"program": PROGRAM, "case": entry["case"], "input": source_of(entry["image"]), "method": "m"}
    for name, content in (("synthetic_target_1", summary), ("synthetic_target_2", {})):
        (tmp_path / name).mkdir()
        (tmp_path / name / "summary.json").write_text(json.dumps(content), encoding="utf-8")
    assert [e["case"] for e in VolumeCases(done_dir=str(tmp_path)).entries] == [
        "synthetic_target_0",
        "synthetic_target_2",
    ]


def test_every_volume_of_task04_fits_and_its_label_comes_back(data_dir):
    cases = VolumeCases(datalist="data_lists/hippocampus.json", dataset_dir=str(data_dir))
    assert len(cases) == 41
    for index in range(0, 41, 8):
        case = cases[index]
        assert (back(cases.transform, case, one_hot(case)[0]).argmax(0) == case.label).all()


def test_learn2regs_pairs_go_both_ways_and_keep_apart_from_its_training():
    content = json.loads((ROOT / "data_lists/learn2reg_hippocampus.json").read_text(encoding="utf-8"))
    pairs = [(case_name(entry["image"]), entry["atlas"]) for entry in content["validation"]]
    names = sorted(fixed for fixed, _ in pairs)
    assert dict(pairs) == dict(zip(names, names[::-1], strict=True)), "the first with the last, and so on"
    assert len(names) == 60 and names[0] == "hippocampus_311" and names[-1] == "hippocampus_394"
    assert len(content["training"]) == 200
    assert max(case_name(entry["image"]) for entry in content["training"]) == "hippocampus_310"
    ours = json.loads((ROOT / "data_lists/hippocampus.json").read_text(encoding="utf-8"))["training"]
    trained = {case_name(entry["image"]) for entry in ours}
    unseen = [(case_name(entry["image"]), entry["atlas"]) for entry in content["unseen"]]
    assert unseen == [pair for pair in pairs if not trained & set(pair)]
