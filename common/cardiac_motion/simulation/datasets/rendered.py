"""Training pairs rendered to disk, one file per patient, so that simulation and training can run in parallel.

A file (``<scenario>/<seed>_<number>.npz``) contains recorded frames of one patient and the fields of pairs of them:
``frames`` uint8 [F, H, W], ``pairs`` [N, 2] (moving, fixed), ``gaps`` [N] in frames of the cine, ``ddf`` float16
[N, 2, H, W] in pixels, ``mask`` and ``ground`` as packed bits [N, H, W / 8] (``sequence.Simulation.pair``), ``spacing``
[2] in mm per pixel. It is determined by seed, scenario and number.
"""

from __future__ import annotations

import json
import logging
import math
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from cardiac_motion.core.bars import show_bar
from cardiac_motion.core.errors import InputError
from cardiac_motion.core.whole_files import write_whole
from cardiac_motion.simulation.datasets.dataset import TemplateSource
from cardiac_motion.simulation.heart.scenarios import ANATOMICAL
from cardiac_motion.simulation.sequence import Settings, Simulation, draw
from cardiac_motion.simulation.ultrasound.recording import RecordingChain
from cardiac_motion.simulation.ultrasound.speckle import Speckle, draw_speckle

SCENARIOS = (*ANATOMICAL, "speckle")
RATES = (15.0, 90.0)  # frames/s
_STEPS = (0, 1, 2, 4, 8)  # relative numbers of a patient's frames
_BEFORE = 3  # earlier frames that persistence needs
_LARGEST = 60.0  # pixels: pairs with larger motion are skipped
_ARTEFACTS = 0.6  # fraction of patients with artefacts
_TRIES = 100  # maximum number of files tried for a pair

Item = dict[str, Tensor]


def render(
    source: TemplateSource,
    scenario: str,
    seed: int,
    number: int,
    settings: Settings,
    recording: RecordingChain | None,
    beat: int | None = None,
) -> dict[str, np.ndarray]:
    """Render the arrays of one patient's file.

    Args:
        source: source of templates; unused for speckle.
        scenario: one of ``SCENARIOS``.
        seed, number: seeds of the random numbers.
        settings: ranges of the random parameters; ``scenarios`` is ignored.
        recording: effects of recording, or None.
        beat: frames per beat; None draws a frame rate between 15 and 90 frames/s.

    Raises:
        InputError: the scenario is unknown, or no drawn motion fits the template.
    """
    if scenario not in SCENARIOS:
        raise InputError(f"scenario '{scenario}' is unknown; use one of {', '.join(SCENARIOS)}")
    key = [seed, number, SCENARIOS.index(scenario)]
    rng = np.random.default_rng([*key, 1])
    artefact = settings.artefact if rng.random() < _ARTEFACTS else 0.0
    cine: Simulation | Speckle
    if scenario == "speckle":
        count = _BEFORE + _STEPS[-1] + 1
        cine, _ = draw_speckle(key, settings.probes, settings.shape, count, artefact, settings.severity)
        start = _BEFORE
    else:
        settings = replace(settings, artefact=artefact, scenarios={scenario: 1.0})
        rate, heart_rate = float(rng.uniform(*RATES)), 0.5 * sum(settings.heart_rate)
        count = max(_BEFORE + _STEPS[-1] + 2, round(rate * 60 / heart_rate) if beat is None else beat)
        template = source(int(rng.integers(2**20)), key)
        cine, _ = draw(template, key, settings, count)
        start = int(rng.integers(_BEFORE, count - _STEPS[-1]))
    wanted = [start + step for step in _STEPS]
    if scenario != "speckle" and rng.random() < 0.15:
        wanted[-1] = 0  # a large step, from end-diastole
    recorded, free = _record(cine, wanted, recording, rng)
    return _fields(cine, wanted, rng) | {"frames": recorded} | {"free": np.packbits(free, axis=-1)}


def _record(
    cine: Simulation | Speckle, wanted: list[int], recording: RecordingChain | None, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    frames = list(wanted)
    chain, free = recording, torch.ones(cine.grid.shape, dtype=torch.bool)
    if chain is not None and chain.persist and rng.random() < chain.persist:
        first = min(wanted)
        frames = sorted({*wanted, *range(max(0, first - _BEFORE), max(wanted) + 1)})
        chain = replace(chain, persist=1.0 if len(frames) < 20 else 0.0)
        frames = frames if chain.persist else list(wanted)
    elif chain is not None:
        chain = replace(chain, persist=0.0)
    ordered = sorted(set(frames))
    pictures = torch.cat([cine.frames(ordered[k : k + 4]) for k in range(0, len(ordered), 4)])
    if chain is not None:
        pictures, free = chain(pictures, rng)
    chosen = pictures[[ordered.index(frame) for frame in wanted]]
    return (chosen.clamp(0, 1) * 255).round().to(torch.uint8).numpy(), free.numpy()


def _fields(cine: Simulation | Speckle, wanted: list[int], rng: np.random.Generator) -> dict[str, np.ndarray]:
    arrays: dict[str, list[Any]] = {key: [] for key in ("pairs", "gaps", "ddf", "mask", "ground")}
    for fixed in rng.permutation(len(wanted))[:3]:
        others = [k for k in range(len(wanted)) if k != fixed]
        if isinstance(cine, Simulation):
            labelled = cine.fields_and_ground(wanted[fixed], [wanted[k] for k in others])
        else:
            ddf, mask = cine.fields(wanted[fixed], [wanted[k] for k in others])
            labelled = {"ddf": ddf, "mask": mask, "ground": torch.zeros_like(mask)}
        for index, moving in enumerate(others):
            ddf, mask = labelled["ddf"][index], labelled["mask"][index]
            if not mask.any() or float((ddf.norm(dim=0) * mask).max()) > _LARGEST:
                continue
            arrays["pairs"].append((moving, fixed))
            arrays["gaps"].append(abs(wanted[moving] - wanted[fixed]))
            arrays["ddf"].append(ddf.clamp(-300, 300).numpy().astype(np.float16))
            arrays["mask"].append(np.packbits(mask.numpy(), axis=-1))
            arrays["ground"].append(np.packbits(labelled["ground"][index].numpy(), axis=-1))
    if not arrays["pairs"]:
        raise InputError(f"every pair of this patient moves by more than {_LARGEST:g} pixels")
    return {key: np.stack(value) for key, value in arrays.items()} | {
        "spacing": np.asarray(cine.grid.spacing, dtype=np.float32)
    }


def write_pairs(
    output_dir: str | Path,
    source: TemplateSource,
    scenarios: Iterable[str],
    count: int,
    seed: int = 0,
    settings: Settings | None = None,
    recording: RecordingChain | None = None,
    beat: int | None = None,
) -> int:
    """Render ``count`` patients of each scenario by ``render``; existing files are kept.

    Returns:
        The number of patients that could not be rendered (each is logged and skipped).

    Raises:
        InputError: a scenario is unknown, or the folder cannot be written.
    """
    settings, failed, names = settings or Settings(), 0, list(scenarios)
    if not set(names) <= set(SCENARIOS):
        raise InputError(f"scenarios {names} must be some of {', '.join(SCENARIOS)}")
    wanted = [(number, scenario) for number in range(count) for scenario in names]
    for number, scenario in show_bar(wanted, "pairs", "patient"):
        path = Path(output_dir) / scenario / f"{seed:04d}_{number:06d}.npz"
        if path.exists():
            continue
        try:
            arrays = render(source, scenario, seed, number, settings, recording, beat)
        except InputError as error:
            logging.warning("%s %d: %s", scenario, number, error)
            failed += 1
            continue
        with write_whole(path) as beside:
            np.savez(beside, **arrays)  # type: ignore[arg-type]
    return failed


class Shards:
    """Files of a folder that ``write_pairs`` fills, possibly still running.

    Args:
        folder: folder of the files.
        scenarios: weights of the scenarios; None uses those in the folder equally.
        gaps: gaps of the pairs, frames; None uses all.
        backward: whether either frame may be the fixed one; otherwise it is the later one.

    Raises:
        InputError: there is no file of any of the scenarios.
    """

    def __init__(
        self,
        folder: str | Path,
        scenarios: Mapping[str, float] | None = None,
        gaps: Sequence[int] | None = None,
        backward: bool = True,
    ) -> None:
        self.folder, self.gaps, self.backward = Path(folder), gaps, backward
        self.weights = dict(scenarios) if scenarios is not None else dict.fromkeys(SCENARIOS, 1.0)
        self.files: dict[str, list[Path]] = {}
        self.refresh()

    def refresh(self) -> None:
        """Update the list of files."""
        available = {
            scenario: sorted((self.folder / scenario).glob("[0-9]*.npz"))
            for scenario, w in self.weights.items()
            if w > 0
        }
        self.files = {scenario: files for scenario, files in available.items() if files}
        if not self.files:
            raise InputError(f"{self.folder}: contains no rendered pairs of {', '.join(self.weights)}")

    def draw(self, rng: np.random.Generator, window: Sequence[int] | None = None) -> tuple[str, Item]:
        """Draw a random pair and its scenario.

        Args:
            rng: NumPy random generator.
            window: (rows, columns) of a crop, as in ``read_pair``; None returns whole frames.

        Returns:
            The scenario, and ``image`` [2, H, W], ``field`` [2, H, W], ``mask``, ``ground`` [1, H, W] and
            ``spacing`` [2].

        Raises:
            InputError: no pair with these gaps was found.
        """
        names = list(self.files)
        weights = np.array([self.weights[name] for name in names])
        scenario = names[int(rng.choice(len(names), p=weights / weights.sum()))]
        files = self.files[scenario]
        for _ in range(_TRIES):
            item = read_pair(files[int(rng.integers(len(files)))], rng, self.gaps, self.backward, window)
            if item is not None:
                return scenario, item
        raise InputError(f"{self.folder}: no pair with gaps {self.gaps} in {_TRIES} files of {scenario}")


@lru_cache(maxsize=8192)
def map_arrays(path: Path) -> dict[str, np.ndarray]:
    """Map the arrays of an uncompressed npz into memory, so that only the parts that are used are read from disk.

    Raises:
        ValueError: the file is compressed or damaged.
    """
    whole, arrays = np.memmap(path, mode="r"), {}
    with zipfile.ZipFile(path) as archive:
        for member in archive.infolist():
            if member.compress_type != zipfile.ZIP_STORED:
                raise ValueError(f"{member.filename} is compressed")
            # lengths of name and extra field
            lengths = whole[member.header_offset + 26 : member.header_offset + 30].view("<u2")
            start = member.header_offset + 30 + int(lengths.sum())
            with archive.open(member) as stream:
                version = np.lib.format.read_magic(stream)
                read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
                shape, _, dtype = read(stream)  # type: ignore[no-untyped-call]
                start += stream.tell()
            stop = start + math.prod(shape) * dtype.itemsize
            arrays[member.filename.removesuffix(".npy")] = whole[start:stop].view(dtype).reshape(shape)
    return arrays


def read_pair(
    path: Path,
    which: np.random.Generator | int,
    gaps: Sequence[int] | None = None,
    backward: bool = True,
    window: Sequence[int] | None = None,
) -> Item | None:
    """Read a pair of a file, by number or at random (with a preference for small gaps), as ``Shards.draw``.

    Args:
        path: path of the file.
        which: number of the pair, or a random generator.
        gaps, backward: pairs to draw from, as in ``Shards``.
        window: (rows, columns) of a crop around a random pixel of the mask, clipped to the frame. None, or a pair given
            by number, returns whole frames.

    Returns:
        The pair; None if the file has no pair with these gaps.

    Raises:
        InputError: the file is not a file of rendered pairs.
    """
    try:
        stored = map_arrays(path)
        pairs = stored["pairs"]
        if isinstance(which, int):
            chosen = which
        else:
            nearness = 1 / stored["gaps"]
            if gaps is not None:
                nearness = nearness * np.isin(stored["gaps"], gaps)
            if not backward:
                nearness = nearness * (pairs[:, 0] < pairs[:, 1])
            if not nearness.any():
                return None
            chosen = which.choice(len(pairs), p=nearness / nearness.sum())
        number = int(chosen) % len(pairs)
        height, width = stored["frames"].shape[1:]
        bits = [stored[key][number] for key in ("mask", "ground")]
        free = np.unpackbits(stored["free"], axis=-1, count=width)
        mask, ground = (np.unpackbits(b, axis=-1, count=width) * free for b in bits)
        rows, columns = slice(0, height), slice(0, width)
        if window is not None and not isinstance(which, int):
            rows, columns = _place_window(mask, window, which)
        image = stored["frames"][pairs[number], rows, columns].astype(np.float32) / 255
        field = stored["ddf"][number, :, rows, columns].astype(np.float32)
        mask, ground, spacing = mask[rows, columns], ground[rows, columns], np.array(stored["spacing"])
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise InputError(f"{path}: cannot be read as a file of rendered pairs ({type(error).__name__})") from None
    return {
        "image": torch.from_numpy(image),
        "field": torch.from_numpy(field),
        "mask": torch.from_numpy(mask[None].astype(np.float32)),
        "ground": torch.from_numpy(ground[None].astype(np.float32)),
        "spacing": torch.from_numpy(spacing),
    }


def _place_window(mask: np.ndarray, window: Sequence[int], rng: np.random.Generator) -> tuple[slice, slice]:
    """Return the rows and columns of a window around a random pixel of ``mask`` [H, W] (or of the frame)."""
    valid = np.flatnonzero(mask)
    middle = divmod(int(rng.choice(valid)) if len(valid) else int(rng.integers(mask.size)), mask.shape[1])
    starts = [min(max(m - w // 2, 0), max(0, n - w)) for m, w, n in zip(middle, window, mask.shape, strict=True)]
    rows, columns = (slice(start, start + w) for start, w in zip(starts, window, strict=True))
    return rows, columns


def write_recipe(
    output_dir: str | Path,
    scenarios: Sequence[str],
    seed: int,
    settings: Settings,
    recording: RecordingChain | None,
    beat: int | None = None,
) -> None:
    """Write the settings of the rendered pairs to ``seed_<seed>.json``.

    Raises:
        InputError: the folder has pairs of this seed with other settings.
    """
    path = Path(output_dir) / f"seed_{seed:04d}.json"
    recipe: dict[str, Any] = {
        "settings": asdict(settings),
        "recording": None if recording is None else asdict(recording),
    }
    recipe |= {} if beat is None else {"beat": beat}
    recipe = json.loads(json.dumps(recipe))
    if (
        path.exists()
        and {k: v for k, v in json.loads(path.read_text(encoding="utf-8")).items() if k != "scenarios"} != recipe
    ):
        raise InputError(f"{path}: pairs of this seed were rendered with other settings; use another seed or folder")
    with write_whole(path) as beside:
        beside.write_text(json.dumps({"scenarios": list(scenarios), **recipe}, indent=1), encoding="utf-8")
