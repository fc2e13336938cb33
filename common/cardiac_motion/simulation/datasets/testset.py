"""A fixed test set from a list that carries its own recipe (``data_lists/simulated.json``).

The list's ``recipe`` holds ``seed``, ``frames`` of a beat, ``count`` of virtual patients, names of ``templates`` (taken
in turn), and under ``folds`` the settings of each of its lists: the same patients in every scenario, without and with
artefacts. The cases of a list ``F`` go into the folder ``F``.
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
    """The ``recipe`` of a list.

    Raises:
        InputError: no such file, or no recipe in it.
    """
    try:
        recipe: dict[str, Any] = json.loads(Path(datalist).read_text(encoding="utf-8"))["recipe"]
        missing = {"seed", "frames", "count", "templates", "folds"} - set(recipe)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{datalist}: no list with a recipe ({type(error).__name__}: {error})") from None
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
    """Write the cases of a list; those that are there are kept.

    Args:
        datalist: with a recipe.
        templates: folder of CAMUS-like patients that has the recipe's templates.
        output_dir: of the test set, ``dataset_dir`` of who uses the list.
        device: where frames are computed.
        client, limits: of ``cardiac_motion.cohort.engine.run_cases``.
        folds: some of the recipe's; all by default.
        max_cases: the first so many of each fold; 0 for all.

    Returns:
        the errors of patients that could not be made.

    Raises:
        InputError: no recipe, no such fold, a template that is missing, or cases of another recipe in the folder.
    """
    recipe, failed = read_recipe(datalist), []
    source = TemplateSource(templates, recipe["templates"])
    found = [source.name(n) for n in range(len(source))]
    if found != recipe["templates"]:
        lost = sorted(set(recipe["templates"]) - set(found))
        raise InputError(f"{templates}: lacks {len(lost)} of the test set's templates: {', '.join(lost[:5])}")
    unknown = sorted(set(folds or ()) - set(recipe["folds"]))
    if unknown:
        raise InputError(f"{datalist}: its recipe has no fold {unknown[0]} (it has: {', '.join(recipe['folds'])})")
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
