"""A case of the workbench whose motion is known; a test's module imports ``heart`` and ``kept_folder`` with it."""

import json

import pytest

from cardiac_motion.serving import corrections as C
from cardiac_motion.strain_pipeline.measures.measures import StrainMeasures
from cardiac_motion.strain_pipeline.quality.checks import Gate
from cardiac_motion.strain_pipeline.tracking.motion import Fusion
from tests.strain_pipeline.test_cache import folder as kept_folder  # noqa: F401
from tests.strain_pipeline.test_pipeline import heart  # noqa: F401


@pytest.fixture
def case(kept_folder, tmp_path_factory, monkeypatch):  # noqa: F811
    """The folder of a case whose fields are known, without a bundle's configuration; its frames show nothing."""
    place = tmp_path_factory.mktemp("case")
    (place / "motion").mkdir()
    (kept_folder / "m").rename(place / "motion" / "dis")
    kept_folder.rename(place / "kept")

    def configure(method, options):
        said = json.loads(options)
        ignore = said.pop("ignore_checks", False)
        measures = StrainMeasures(min_lncc2=-1.0, **said)
        return measures, Fusion(wall_motion="midwall"), Gate(ignore_checks=True) if ignore else C.OpenGate()

    monkeypatch.setattr(C, "configure_measuring", configure)
    monkeypatch.setattr(C, "blocking_checks", lambda checks: [])
    return place


def request(case, **more):
    return {"case": str(case), "folder": str(case), "method": "dis", "edits": {}, **more}
