"""A bundle over a list: its settings are kept, and a case is the same whatever came before."""

import numpy as np
import pytest

from cardiac_motion.bundle.config import config_files
from cardiac_motion.cohort import bundle as bundles
from cardiac_motion.core.errors import InputError
from cardiac_motion.fields.field_files import load_ddf
from tests.bundles.running import ROOT
from tests.cohort.cines import CASES


def test_results_of_other_settings_are_not_mixed(cines, tmp_path):
    out = tmp_path / "out"
    files = config_files(ROOT / "bundles/farneback")
    options = {"datalist": str(cines / "list.json"), "output_dir": str(out), "levels": 2}
    first = bundles.write_settings(out, bundles.settings(files, options), CASES[:2])
    longer = bundles.write_settings(out, bundles.settings(files, options), ["new", *CASES])
    assert longer["id"] == first["id"] and longer["cases"] == ["c0", "c1", "new", "c2"], "steps stay"
    with pytest.raises(InputError, match=r"other settings \(levels\)"):
        bundles.write_settings(out, bundles.settings(files, {**options, "levels": 3}), CASES)


def test_a_case_is_the_same_after_whatever(cines, tmp_path):
    """And the scales that a long case keeps are its own, and gone in the end."""
    files = config_files(ROOT / "bundles/nmsr_echo", evaluate=True)
    fields = []
    for order in (CASES, CASES[::-1]):
        options = {"datalist": str(cines / "list.json"), "dataset_dir": str(cines), "save_fields": True, "steps": 1,
                   "scales": [0.5, 1.0], "field_scales": [1.0], "regularisation_weight": 1.0, "squarings": 0,
                   "fold": "test",
                   "output_dir": str(tmp_path / order[0])}  # fmt: skip
        do = bundles.open_bundle([str(f) for f in files], options)
        for name in order:
            do(name)
        assert {p.name for p in (tmp_path / order[0]).iterdir()} == set(CASES)
        fields.append([load_ddf(tmp_path / order[0] / name / "ddf.nii.gz") for name in CASES])
    assert all(np.array_equal(a, b) for a, b in zip(*fields, strict=True))
    assert not np.array_equal(fields[0][0], fields[0][2])
