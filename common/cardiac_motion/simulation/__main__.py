"""``python -m cardiac_motion.simulation``: ``write`` makes cines, ``testset`` those of a list, ``figures`` pictures.

``blood`` makes contrast cines of known flow, ``pairs`` renders what a network trains on, ``prior`` fits hearts to
contours, ``physics`` makes bodies of known motion through PyMUST.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cardiac_motion.cohort.options import add_options, machines
from cardiac_motion.core.command import CommandParser
from cardiac_motion.core.errors import InputError, install_error_hook
from cardiac_motion.fields.analytic import PHANTOMS
from cardiac_motion.simulation.datasets.dataset import TemplateSource, settings_from
from cardiac_motion.simulation.datasets.rendered import SCENARIOS, write_pairs, write_recipe
from cardiac_motion.simulation.datasets.testset import read_recipe, write_testset
from cardiac_motion.simulation.datasets.write import write_cases
from cardiac_motion.simulation.heart.prior import fit_prior, read_contours, write_prior
from cardiac_motion.simulation.ultrasound.recording import RecordingChain
from cardiac_motion.ventricle.shape import fit_shape_prior, write_shape_prior
from cardiac_motion.ventricle.views import VIEWS


def make_parser(prog: str = "python -m cardiac_motion.simulation") -> CommandParser:
    """The command line."""
    parser = CommandParser(prog=prog, description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    write = commands.add_parser("write", help="virtual patients as NIfTI cines with fields, contours and masks")
    write.add_argument("--output_dir", type=Path, required=True)
    write.add_argument("--templates", type=Path, help="folder of CAMUS-like patients; parametric anatomy without it")
    write.add_argument(
        "--views", nargs="+", default=["apical_4ch"], choices=list(VIEWS), help="of the parametric anatomy"
    )
    write.add_argument("--count", type=int, default=100, help="patients")
    write.add_argument("--frames", type=int, default=40, help="of a beat")
    write.add_argument("--seed", type=int, default=0)
    write.add_argument("--split", type=Path, help="JSON of template names in training, validation and test")
    write.add_argument("--datalist", type=Path, help="default: datalist.json in the output folder")
    write.add_argument("--settings", type=Path, help="JSON of fields of cardiac_motion.simulation.sequence.Settings")
    write.add_argument("--device", default="cpu")
    add_options(write)
    testset = commands.add_parser("testset", help="the fixed test set of a list that carries its recipe")
    testset.add_argument("--datalist", type=Path, default=Path("data_lists/simulated.json"))
    testset.add_argument("--templates", type=Path, required=True, help="folder of CAMUS patients")
    testset.add_argument("--output_dir", type=Path, required=True)
    testset.add_argument("--folds", nargs="+", help="some of its scenarios (default: all)")
    testset.add_argument("--max_cases", type=int, default=0, help="the first so many of each (default: all)")
    testset.add_argument("--device", default="cpu")
    add_options(testset)
    blood = commands.add_parser("blood", help="contrast cines of blood, of a list that carries their recipes")
    blood.add_argument("--datalist", type=Path, default=Path("data_lists/simulated_blood.json"))
    blood.add_argument("--templates", type=Path, help="folder of CAMUS patients, for filling")
    blood.add_argument("--output_dir", type=Path, required=True)
    blood.add_argument("--folds", nargs="+", help="some of its lists (default: all)")
    blood.add_argument("--max_cases", type=int, default=0, help="the first so many of each (default: all)")
    pairs = commands.add_parser("pairs", help="training pairs of every scenario, as files would show them")
    pairs.add_argument("--output_dir", type=Path, required=True)
    pairs.add_argument("--templates", type=Path, help="folder of CAMUS-like patients; parametric anatomy without it")
    pairs.add_argument("--split", type=Path, help="JSON of lists of template names")
    pairs.add_argument("--fold", default="train", help="of the split")
    pairs.add_argument("--prior", type=float, default=0.4, help="share of hearts that move as one of the prior does")
    pairs.add_argument("--scenarios", nargs="+", default=list(SCENARIOS), choices=list(SCENARIOS))
    pairs.add_argument("--count", type=int, default=100, help="patients of each scenario")
    pairs.add_argument("--seed", type=int, default=0)
    pairs.add_argument("--settings", type=Path, help="JSON of fields of cardiac_motion.simulation.sequence.Settings")
    pairs.add_argument("--clean", action="store_true", help="as the scanner shows them, not as a file does")
    pairs.add_argument("--beat", type=int, help="frames per beat (default: 15 to 90 frames/s)")
    prior = commands.add_parser("prior", help="the prior of ventricles that comes with the project, made anew")
    prior.add_argument("--contours", type=Path, required=True, help="npz of expert contours [P, 2, n, 2], (x, y)")
    prior.add_argument("--output", type=Path, required=True, help="JSON file")
    prior.add_argument("--shapes", type=Path, help="JSON file of the prior of wall shapes too (ventricle.shape)")
    physics = commands.add_parser("physics", help="a disc, a block and a ring through PyMUST (minutes a body)")
    physics.add_argument("--output_dir", type=Path, required=True)
    physics.add_argument("--bodies", nargs="+", default=list(PHANTOMS), choices=list(PHANTOMS))
    physics.add_argument("--frames", type=int, default=16, help="from rest to the whole motion")
    physics.add_argument("--scatterers", type=int, default=6000, help="of a body")
    physics.add_argument("--size", type=int, default=192, help="pixels a side")
    physics.add_argument("--seeds", type=int, nargs="+", default=[0], help="a case of each body for each")
    figures = commands.add_parser("figures", help="the pictures of docs/simulation.md")
    figures.add_argument("--output_dir", type=Path, default=Path("docs/images"))
    return parser


def main(arguments: Sequence[str] | None = None, prog: str = "python -m cardiac_motion.simulation") -> None:
    """Run a command.

    Raises:
        InputError: of the command, or when some patients could not be made (the others are written).
    """
    options = make_parser(prog).parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    if options.command == "figures":
        from cardiac_motion.simulation.figures import write_figures

        write_figures(options.output_dir)
        return
    if options.command == "prior":
        contours = read_contours(options.contours)
        write_prior(fit_prior(contours), options.output)
        if options.shapes:
            write_shape_prior(fit_shape_prior(contours.reshape(-1, *contours.shape[-2:])), options.shapes)
        return
    if options.command == "pairs":
        _write_pairs(options)
        return
    if options.command == "blood":
        from cardiac_motion.simulation.blood.contrast_cine import write_blood

        write_blood(options.datalist, options.output_dir, options.templates, options.folds, options.max_cases)
        return
    if options.command == "physics":
        from cardiac_motion.simulation.ultrasound.physics import write_phantoms

        write_phantoms(
            options.output_dir, options.bodies, options.frames, options.scatterers, options.size, options.seeds
        )
        return
    if options.command == "testset":
        place, limits = machines(options, "cuda" in options.device, read_recipe(options.datalist)["count"])
        with place as client:
            failed = write_testset(
                options.datalist,
                options.templates,
                options.output_dir,
                options.device,
                client,
                limits,
                options.folds,
                options.max_cases,
            )
        if failed:
            raise InputError(f"{len(failed)} cases could not be made; the first: {failed[0]}")
        return
    split, settings = (_json(path) if path else None for path in (options.split, options.settings))
    patients = [name for names in split.values() for name in names] if split else None
    source = TemplateSource(options.templates, patients if options.templates else None, options.views)
    drawn_from = settings_from(settings)
    place, limits = machines(options, "cuda" in options.device, options.count)
    with place as client:
        failed = write_cases(
            options.output_dir,
            source,
            options.count,
            options.frames,
            options.seed,
            drawn_from,
            split,
            options.datalist,
            options.device,
            client,
            limits,
        )
    if failed:
        raise InputError(f"{len(failed)} of {options.count} patients could not be made; the first: {failed[0]}")


def _write_pairs(options: argparse.Namespace) -> None:
    names = None
    if options.split is not None and options.templates is not None:
        lists = _json(options.split)
        if options.fold not in lists:
            raise InputError(f"{options.split}: no list '{options.fold}'")
        names = lists[options.fold]
    settings = settings_from(_json(options.settings) if options.settings else None)
    recording = None if options.clean else RecordingChain()
    source = TemplateSource(options.templates, names, prior=options.prior)
    drawn_from = (options.seed, settings, recording, options.beat)
    write_recipe(options.output_dir, options.scenarios, *drawn_from)
    lost = write_pairs(options.output_dir, source, options.scenarios, options.count, *drawn_from)
    if lost:
        logging.warning("%d of %d patients could not be made", lost, options.count * len(options.scenarios))


def _json(path: Path) -> dict[str, Any]:
    try:
        drawn: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return drawn
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: not readable as JSON ({error})") from None


if __name__ == "__main__":
    install_error_hook()
    main(sys.argv[1:])
