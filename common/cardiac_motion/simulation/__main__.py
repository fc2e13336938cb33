"""``python -m cardiac_motion.simulation``: ``write`` simulates cines, ``testset`` those of a datalist.

``blood`` simulates contrast cines of known flow, ``pairs`` renders training pairs, ``prior`` fits a shape prior to
contours, ``physics`` simulates bodies of known motion by PyMUST, ``figures`` draws the figures of the documentation.
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
    """Return the command-line parser."""
    parser = CommandParser(prog=prog, description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    write = commands.add_parser("write", help="virtual patients as NIfTI cines with fields, contours and masks")
    write.add_argument("--output_dir", type=Path, required=True)
    write.add_argument("--templates", type=Path, help="folder of CAMUS-like patients (default: parametric anatomy)")
    write.add_argument(
        "--views", nargs="+", default=["apical_4ch"], choices=list(VIEWS), help="views of the parametric anatomy"
    )
    write.add_argument("--count", type=int, default=100, help="number of patients")
    write.add_argument("--frames", type=int, default=40, help="number of frames per beat")
    write.add_argument("--seed", type=int, default=0)
    write.add_argument("--split", type=Path, help="JSON with template names for training, validation and test")
    write.add_argument("--datalist", type=Path, help="datalist to write (default: datalist.json in the output folder)")
    write.add_argument("--settings", type=Path, help="JSON of fields of cardiac_motion.simulation.sequence.Settings")
    write.add_argument("--device", default="cpu")
    add_options(write)
    testset = commands.add_parser("testset", help="fixed test set of a datalist that contains its recipe")
    testset.add_argument("--datalist", type=Path, default=Path("data_lists/simulated.json"))
    testset.add_argument("--templates", type=Path, required=True, help="folder of CAMUS patients")
    testset.add_argument("--output_dir", type=Path, required=True)
    testset.add_argument("--folds", nargs="+", help="scenarios to simulate (default: all)")
    testset.add_argument("--max_cases", type=int, default=0, help="maximum number of cases per scenario (default: all)")
    testset.add_argument("--device", default="cpu")
    add_options(testset)
    blood = commands.add_parser("blood", help="contrast cines of a datalist that contains their recipes")
    blood.add_argument("--datalist", type=Path, default=Path("data_lists/simulated_blood.json"))
    blood.add_argument("--templates", type=Path, help="folder of CAMUS patients, for the flow 'filling'")
    blood.add_argument("--output_dir", type=Path, required=True)
    blood.add_argument("--folds", nargs="+", help="folds to simulate (default: all)")
    blood.add_argument("--max_cases", type=int, default=0, help="maximum number of cases per fold (default: all)")
    pairs = commands.add_parser("pairs", help="training pairs of every scenario, with the effects of recording")
    pairs.add_argument("--output_dir", type=Path, required=True)
    pairs.add_argument("--templates", type=Path, help="folder of CAMUS-like patients (default: parametric anatomy)")
    pairs.add_argument("--split", type=Path, help="JSON with lists of template names")
    pairs.add_argument("--fold", default="train", help="list of the split to use")
    pairs.add_argument(
        "--prior", type=float, default=0.4, help="fraction of hearts whose motion is drawn from the prior"
    )
    pairs.add_argument("--scenarios", nargs="+", default=list(SCENARIOS), choices=list(SCENARIOS))
    pairs.add_argument("--count", type=int, default=100, help="number of patients per scenario")
    pairs.add_argument("--seed", type=int, default=0)
    pairs.add_argument("--settings", type=Path, help="JSON of fields of cardiac_motion.simulation.sequence.Settings")
    pairs.add_argument("--clean", action="store_true", help="omit the effects of recording (codec, overlays, …)")
    pairs.add_argument("--beat", type=int, help="frames per beat (default: 15 to 90 frames/s)")
    prior = commands.add_parser("prior", help="fit the shape and motion prior of the left ventricle to contours")
    prior.add_argument("--contours", type=Path, required=True, help="npz of expert contours [P, 2, n, 2], (x, y)")
    prior.add_argument("--output", type=Path, required=True, help="JSON file")
    prior.add_argument("--shapes", type=Path, help="JSON file of the prior of wall shapes too (ventricle.shape)")
    physics = commands.add_parser("physics", help="a disc, a block and a ring by PyMUST (minutes per body)")
    physics.add_argument("--output_dir", type=Path, required=True)
    physics.add_argument("--bodies", nargs="+", default=list(PHANTOMS), choices=list(PHANTOMS))
    physics.add_argument("--frames", type=int, default=16, help="number of frames from rest to the full motion")
    physics.add_argument("--scatterers", type=int, default=6000, help="number of scatterers per body")
    physics.add_argument("--size", type=int, default=192, help="image size in pixels")
    physics.add_argument("--seeds", type=int, nargs="+", default=[0], help="one case of each body per seed")
    figures = commands.add_parser("figures", help="figures of docs/simulation.md")
    figures.add_argument("--output_dir", type=Path, default=Path("docs/images"))
    return parser


def main(arguments: Sequence[str] | None = None, prog: str = "python -m cardiac_motion.simulation") -> None:
    """Run a command.

    Raises:
        InputError: the arguments are invalid, or some patients could not be simulated (the others are written).
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
        engine, limits = machines(options, "cuda" in options.device, read_recipe(options.datalist)["count"])
        with engine as client:
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
            raise InputError(f"{len(failed)} cases could not be simulated; the first: {failed[0]}")
        return
    split, settings = (_json(path) if path else None for path in (options.split, options.settings))
    patients = [name for names in split.values() for name in names] if split else None
    source = TemplateSource(options.templates, patients if options.templates else None, options.views)
    drawn_from = settings_from(settings)
    engine, limits = machines(options, "cuda" in options.device, options.count)
    with engine as client:
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
        raise InputError(f"{len(failed)} of {options.count} patients could not be simulated; the first: {failed[0]}")


def _write_pairs(options: argparse.Namespace) -> None:
    names = None
    if options.split is not None and options.templates is not None:
        lists = _json(options.split)
        if options.fold not in lists:
            raise InputError(f"{options.split}: has no list '{options.fold}'")
        names = lists[options.fold]
    settings = settings_from(_json(options.settings) if options.settings else None)
    recording = None if options.clean else RecordingChain()
    source = TemplateSource(options.templates, names, prior=options.prior)
    drawn_from = (options.seed, settings, recording, options.beat)
    write_recipe(options.output_dir, options.scenarios, *drawn_from)
    failed = write_pairs(options.output_dir, source, options.scenarios, options.count, *drawn_from)
    if failed:
        logging.warning("%d of %d patients could not be simulated", failed, options.count * len(options.scenarios))


def _json(path: Path) -> dict[str, Any]:
    try:
        drawn: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return drawn
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: cannot be read as JSON ({error})") from None


if __name__ == "__main__":
    install_error_hook()
    main(sys.argv[1:])
