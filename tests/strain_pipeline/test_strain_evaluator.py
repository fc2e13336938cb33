"""The whole way of a cine, with networks that know the truth: what is done, in which order, and what is refused."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader

from cardiac_motion.cine.cine_case import CineEntry
from cardiac_motion.core.errors import InputError
from cardiac_motion.registration.pairwise import PairwiseInferer, SizedInferer
from cardiac_motion.registration.result import RegistrationInferer, RegistrationResult
from cardiac_motion.strain_pipeline.measures.measures import StrainMeasures
from cardiac_motion.strain_pipeline.quality.checks import Gate
from cardiac_motion.strain_pipeline.strain_evaluator import StrainEvaluator
from cardiac_motion.strain_pipeline.tracking.image_networks import ViewProbabilities
from tests.strain_pipeline.test_pipeline import SHARE, SIZE, fields, heart, labels_at  # noqa: F401

LABELS = np.stack([labels_at(share) for share in SHARE])

LIKELY = ViewProbabilities({"apical_4ch": 0.9, "other": 0.1}, 6.0)


class Known(nn.Module):
    """Gives the fields of the heart, in the order of its pairs."""

    def __init__(self):
        super().__init__()
        self.left, self.calls = [], 0

    def forward(self, image):
        self.calls += 1
        if len(self.left) < len(image):
            self.left = list(fields())
        here, self.left = self.left[: len(image)], self.left[len(image) :]
        return torch.stack(here)


def segment(frames):
    return nn.functional.one_hot(torch.from_numpy(LABELS[: len(frames)]).long(), 4).movedim(-1, 1).float()


class Cases:
    def __init__(self, *cases):
        self.cases = cases
        self.entries = [{"case": case.name, "image": case.entry.image} for case in cases]

    def __len__(self):
        return len(self.cases)

    def __getitem__(self, index):
        return self.cases[index]


@pytest.fixture
def evaluator(heart, tmp_path):  # noqa: F811
    def make(classify=None, dataset=None, **settings):
        settings.setdefault("save_figures", False)
        settings.setdefault("measures", StrainMeasures(min_lncc2=-1.0))
        settings.setdefault("inferer", PairwiseInferer(batch_size=7, progress=False))
        loader = DataLoader(dataset or Cases(heart[0]), batch_size=None)
        return StrainEvaluator(
            device="cpu", val_data_loader=loader, network=Known(), output_dir=str(tmp_path / "out"),
            classify=classify or (lambda frames: LIKELY), segment=segment, **settings,
        )  # fmt: skip

    return make


def test_the_wall_may_have_an_odd_number_of_points_but_not_too_few(evaluator, tmp_path):
    evaluator(points=121).run()
    summary = json.loads((tmp_path / "out/heart/summary.json").read_text(encoding="utf-8"))
    assert summary["metrics"]["gls"] == pytest.approx(-20, abs=0.8)
    with pytest.raises(InputError, match="points 6: a wall of 6 segments needs 7 points at least"):
        evaluator(points=6)


def test_a_cine_goes_its_way(evaluator, tmp_path):
    made = evaluator(options={"motion": "known"}, weights={"view": "none"})
    made.run()
    summary = json.loads((tmp_path / "out/heart/summary.json").read_text(encoding="utf-8"))
    assert summary["metrics"]["gls"] == pytest.approx(-20, abs=0.8) and summary["view"] == "apical_4ch"
    assert summary["options"] == {"motion": "known"} and summary["weights"] == {"view": "none"}
    assert made.state.metrics["gls"] == summary["metrics"]["gls"] and not made.state.failed
    parts = [f"seconds_{part}" for part in ("view", "segmentation", "contours", "motion", "tracking", "strain")]
    assert all(summary["metrics"][part] > 0 for part in parts)
    assert summary["metrics"]["seconds"] == pytest.approx(sum(summary["metrics"][part] for part in parts))
    assert made.network.calls == 3, "twenty pairs, seven at a time"


def test_another_view_stops_before_anything_is_segmented(evaluator, tmp_path):
    def never(frames):
        raise AssertionError

    made = evaluator(lambda frames: ViewProbabilities({"subcostal_4ch": 0.8, "apical_4ch": 0.2}, 6.0))
    made.segment = never
    with pytest.raises(InputError, match=r"heart\.dcm: looks like subcostal 4ch \(0\.80\), not an apical view"):
        made.run()
    assert not list((tmp_path / "out").glob("heart/*")) and made.network.calls == 0


def test_what_can_be_no_ventricle_stops_before_the_motion(evaluator):
    made = evaluator()
    made.segment = lambda frames: segment(frames).flip(2)  # upside down: the apex is away from the probe
    with pytest.raises(InputError, match=r"not measured: .*apex towards the probe"):
        made.run()
    assert made.network.calls == 0


def test_an_earlier_study_is_compared(evaluator, tmp_path):
    evaluator().run()
    (tmp_path / "out/heart").rename(tmp_path / "before")
    stored = json.loads((tmp_path / "before/summary.json").read_text(encoding="utf-8"))
    stored["metrics"]["gls"] -= 2.0
    (tmp_path / "before/summary.json").write_text(json.dumps(stored), encoding="utf-8")
    evaluator(baseline=str(tmp_path / "before")).run()
    summary = json.loads((tmp_path / "out/heart/summary.json").read_text(encoding="utf-8"))
    assert summary["changes"][0]["name"] == "gls" and summary["changes"][0]["change"] == pytest.approx(2.0)
    with pytest.raises(InputError, match=r"no summary\.json of strain_pipeline"):
        evaluator(baseline=str(tmp_path / "nothing"))


def test_repeats_know_the_endocardium_alone(evaluator):
    with pytest.raises(
        InputError, match="--simulated_repeats knows the true strain of the endocardium, not of the mid-wall"
    ):
        evaluator(repeats=lambda *given: None, measures=StrainMeasures(layer="mid-wall"))
    given = []

    def repeats(study, tracked, gls):
        given.append((study.case.name, gls(study.tracked[0], (1.0, 1.0))))

    evaluator(repeats=repeats).run()
    assert given == [("heart", pytest.approx(-20, abs=0.8))]


class Still(RegistrationInferer):
    """Says that nothing moves, and keeps the size of what it is asked of."""

    def __init__(self):
        super().__init__()
        self.sizes = []

    def __call__(self, inputs, network, mask=None, part=""):
        self.sizes.append(tuple(inputs.shape[2:]))
        return RegistrationResult(torch.zeros_like(inputs))


def test_motion_around_the_wall_alone(evaluator, monkeypatch):
    monkeypatch.setattr("cardiac_motion.strain_pipeline.tracking.region.LEAST_THICKNESS", 1.0)
    still = Still()
    whole = SizedInferer(still)
    for around in (None, 0.2, 9):
        made = evaluator(inferer=whole, roi_margin=around, gate=Gate(ignore_checks=True))
        made.run()
        assert made.inferer is whole, "the next cine has another region"
    rows, columns = np.nonzero(np.isin(LABELS.max(0), (1, 2)))
    length = 0.2 * 58 * 1.15  # of a ventricle of 58 rows, as its lines are drawn
    found = still.sizes[1]
    assert still.sizes[0] == still.sizes[2] == (SIZE, SIZE)
    assert np.ptp(rows) < found[0] <= np.ptp(rows) + 2 * length + 4
    assert np.ptp(columns) < found[1] <= np.ptp(columns) + 2 * length + 4


def test_a_thin_wall_is_registered_enlarged(evaluator, heart, monkeypatch):  # noqa: F811
    still = Still()
    thickness = float(np.nanmedian(np.linalg.norm(heart[1].lines[:, 2] - heart[1].lines[:, 0], axis=-1)))
    monkeypatch.setattr("cardiac_motion.strain_pipeline.tracking.region.LEAST_THICKNESS", 1.5 * thickness)
    evaluator(inferer=SizedInferer(still), gate=Gate(ignore_checks=True)).run()
    assert still.sizes[0] == (round(1.5 * SIZE),) * 2


def test_of_a_study_the_best_cine_of_a_view_is_measured(evaluator, heart, tmp_path, capsys):  # noqa: F811
    from dataclasses import replace

    cases = [replace(heart[0], entry=CineEntry(name, f"{name}.dcm")) for name in ("one", "two", "three")]
    dataset = Cases(*cases)
    dataset.study = True
    said = iter([
        {"apical_4ch": 0.7, "other": 0.3}, {"apical_4ch": 0.95, "other": 0.05}, {"other": 0.9, "apical_4ch": 0.1},
        {"apical_4ch": 0.95, "other": 0.05},
    ])  # fmt: skip
    dataset.__class__ = type("Study", (Cases,), {"__getitem__": lambda self, i: by_name[self.entries[i]["case"]]})
    by_name = {case.name: case for case in cases}
    made = evaluator(lambda frames: ViewProbabilities(next(said), 6.0), dataset)
    made.run()
    assert [entry["case"] for entry in dataset.entries] == ["two"] and len(made.listed) == 3
    assert (tmp_path / "out/two/summary.json").is_file() and not (tmp_path / "out/one").exists()
    assert "cines (* measured):" in capsys.readouterr().out


@pytest.mark.parametrize("few", [True, False])
def test_the_cine_of_a_study_is_looked_at_once(evaluator, heart, monkeypatch, few):  # noqa: F811
    """Read, classified and oriented once; frames that are too many to be kept are read again, and nothing else."""
    monkeypatch.setattr("cardiac_motion.strain_pipeline.quality.choice.MOST_KEPT", 1 << 40 if few else 0)
    case, reads, asked = heart[0], [], []

    class Study(Cases):
        study = True

        def __getitem__(self, index):
            reads.append(index)
            return replace(case, entry=CineEntry.from_dict(self.entries[index]))

    def classify(frames):
        asked.append(len(frames))
        return LIKELY

    made = evaluator(classify, Study(case), gate=Gate(ignore_checks=True))
    made.run()
    assert len(asked) == 1 and len(reads) == (1 if few else 2)
    assert made.state.metrics["gls"] == pytest.approx(-20, abs=0.8) and not made._looked
