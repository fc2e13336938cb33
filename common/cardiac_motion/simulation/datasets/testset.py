"""Fixed test set of a datalist that contains its own recipe (``data_lists/simulated.json``).

The ``recipe`` has ``seed``, ``frames`` per beat, ``count`` of virtual patients, names of ``templates`` (used in turn),
and under ``folds`` the settings of each fold: the same patients in every scenario, without and with artefacts. The
cases of a fold are written to a folder of its name.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cardiac_motion.cohort.engine import Client
from cardiac_motion.cohort.runner import Limits
from cardiac_motion.core.errors import InputError
from cardiac_motion.simulation.datasets.dataset import TemplateSource, settings_from
from cardiac_motion.simulation.datasets.write import write_cases


def read_recipe(datalist: str | Path) -> dict[str, Any]:
    """Read the ``recipe`` of a datalist.

    Raises:
        InputError: the file is missing or contains no recipe.
    """
    try:
        recipe: dict[str, Any] = json.loads(Path(datalist).read_text(encoding="utf-8"))["recipe"]
        missing = {"seed", "frames", "count", "templates", "folds"} - set(recipe)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{datalist}: contains no recipe ({type(error).__name__}: {error})") from None
    if missing:
        raise InputError(f"{datalist}: the recipe lacks {', '.join(sorted(missing))}")
    return recipe


def write_testset(
    datalist: str | Path,
    templates: str | Path,
    output_dir: str | Path,
    device: str = "cpu",
    client: Client | None = None,
    limits: Limits | None = None,
    folds: Sequence[str] | None = None,
    max_cases: int = 0,
) -> list[str]:
    """Write the cases of a datalist; existing ones are kept.

    Args:
        datalist: datalist with a recipe.
        templates: folder of CAMUS-like patients with the recipe's templates.
        output_dir: folder of the test set, the ``dataset_dir`` of the datalist.
        device: device of the simulation.
        client, limits: as in ``cardiac_motion.cohort.engine.run_cases``.
        folds: folds of the recipe to write; all by default.
        max_cases: maximum number of cases per fold; 0 for all.

    Returns:
        The errors of patients that could not be simulated.

    Raises:
        InputError: there is no recipe or fold, a template is missing, or the folder has cases of another recipe.
    """
    recipe, failed = read_recipe(datalist), []
    source = TemplateSource(templates, recipe["templates"])
    available = [source.name(n) for n in range(len(source))]
    if available != recipe["templates"]:
        missing = sorted(set(recipe["templates"]) - set(available))
        raise InputError(f"{templates}: lacks {len(missing)} of the test set's templates: {', '.join(missing[:5])}")
    unknown = sorted(set(folds or ()) - set(recipe["folds"]))
    if unknown:
        raise InputError(f"{datalist}: its recipe has no fold {unknown[0]}, only {', '.join(recipe['folds'])}")
    count = min(max_cases or recipe["count"], recipe["count"])
    for fold in folds or recipe["folds"]:
        changes = recipe["folds"][fold]
        failed += write_cases(
            Path(output_dir) / fold,
            source,
            count,
            recipe["frames"],
            recipe["seed"],
            settings_from(changes),
            {"test": recipe["templates"]},
            device=device,
            client=client,
            limits=limits,
        )
    return failed
