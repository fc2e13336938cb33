"""Agreement of numbers whose bias and spread are known."""

import csv

import numpy as np
import pytest

from cardiac_motion.core.errors import InputError
from cardiac_motion.evaluation.agreement import agreement, bland_altman, main, table


def test_known_bias_and_limits():
    truth = np.array([-10.0, -15.0, -20.0, -25.0])
    found = agreement(truth + [1.0, 3.0, 1.0, 3.0], truth)
    assert (found["n"], found["bias"], found["mae"]) == (4, 2.0, 2.0)
    sd = np.std([1, 3, 1, 3], ddof=1)
    assert (found["lower"], found["upper"]) == pytest.approx((2 - 1.96 * sd, 2 + 1.96 * sd))
    assert agreement(truth, truth)["correlation"] == pytest.approx(1)
    assert agreement([1.0, np.nan, 2.0], [1.0, 1.0, 1.0])["n"] == 2
    with pytest.raises(InputError, match="two pairs"):
        agreement([1.0], [1.0])


def test_table_and_plot_of_an_evaluation(tmp_path, capsys):
    rows = [{"case": str(k), "gls_true": -20 + k, "gls_error": 0.5, "ed_error": 0, "es_error": k - 1} for k in range(4)]
    with open(tmp_path / "metrics.csv", "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    main([str(tmp_path / "metrics.csv"), "--plot", str(tmp_path / "plot.png")])
    said = capsys.readouterr().out
    assert "| gls | 4 | +0.50 | 0.00 | +0.50 to +0.50 | 0.50 | 1.00 |" in said
    assert "es error: within one frame in 3 of 4" in said
    assert (tmp_path / "plot.png").stat().st_size > 5000
    with pytest.raises(InputError, match=r"none\.csv"):
        main([str(tmp_path / "none.csv")])
    with pytest.raises(InputError, match="no column"):
        table([{"case": "a"}])


def test_plot_needs_two():
    with pytest.raises(InputError):
        bland_altman([1.0], [1.0], "unused.png")
