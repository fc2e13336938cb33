"""What must stay the same whatever is done to a recorded cine, where no truth is known (metamorphic tests).

A wall's line is drawn once, on the cine as it is, and carried through it and through its variants: every second frame
dropped, time reversed, mirrored, turned, scaled, compressed again, noisy. A measure of motion owes all of them the same
strain. From beat to beat it owes nearly the same, a closed beat brings the line back to its length, and a still picture
does not move. The table is printed by
``python -m cardiac_motion.strain_pipeline.validation.metamorphic --bundle NAME --input FILE …``.
"""

from __future__ import annotations

import io
import json
import math
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.nn import functional

from cardiac_motion.bundle.config import config_files, content, parse_config
from cardiac_motion.cine.read import frame_pairs, read_cine
from cardiac_motion.cine.sector import sector_mask
from cardiac_motion.core.arrays import bounding_box, scale_size
from cardiac_motion.core.command import CommandParser
from cardiac_motion.core.datalist import case_name
from cardiac_motion.core.errors import InputError, install_error_hook
from cardiac_motion.core.tables import write_csv
from cardiac_motion.core.whole_files import write_whole
from cardiac_motion.fields.ddf import downsample
from cardiac_motion.fields.points import track
from cardiac_motion.registration.result import RegistrationInferer, register
from cardiac_motion.strain_pipeline.tracking.image_networks import load_segmentation, segment_cine
from cardiac_motion.strain_pipeline.tracking.wall import find_nearest_frame, walls_of
from cardiac_motion.ventricle import strain
from cardiac_motion.ventricle.beats import Beat, find_beats
from cardiac_motion.ventricle.mesh import interpolate_fractions

Array = NDArray[np.float64]
Motion = Callable[[Tensor], Tensor]

LONGEST = 320  # pixels along the sector's longer side, the size at which strain_pipeline measures motion
POINTS = 36  # of the line
NOISE = 2.0 / 60.0  # 2 dB of a picture that shows 60 dB
QUALITY = 50  # of JPEG
LIMITS = {"variant": 1.0, "beats": 1.5, "drift": 3.0, "still": 0.01}  # points, points, % a beat, pixels


@dataclass(frozen=True)
class Recording:
    """A cine and the line that is followed in it.

    Attributes:
        frames: [T, H, W] in [0, 1].
        line: [P, 2] (row, column) in pixels, from one base over the apex to the other, at frame ``start``.
        start: where the line is known, near end-diastole.
        beats: of the cine; the first is measured. Time may run backwards in it.
    """

    frames: Tensor
    line: Array
    start: int
    beats: tuple[Beat, ...]


def halve_frame_rate(cine: Recording) -> Recording:
    """Every second frame, that of the line among them."""
    first = cine.start % 2
    count = len(cine.frames[first::2])

    def index(frame: int) -> int:
        return min(max((frame - first + 1) // 2, 0), count - 1)

    beats = tuple(replace(b, ed=index(b.ed), es=index(b.es), end=index(b.end)) for b in cine.beats)
    return Recording(cine.frames[first::2], cine.line, index(cine.start), beats)


def reverse_time(cine: Recording) -> Recording:
    """The last frame first."""
    last = len(cine.frames) - 1
    beats = tuple(replace(b, ed=last - b.ed, es=last - b.es, end=last - b.end) for b in cine.beats)
    return Recording(cine.frames.flip(0), cine.line, last - cine.start, beats)


def mirror(cine: Recording) -> Recording:
    """Left and right exchanged."""
    line = np.stack([cine.line[:, 0], cine.frames.shape[2] - 1 - cine.line[:, 1]], 1)
    return replace(cine, frames=cine.frames.flip(2), line=line)


def rotate(cine: Recording, degrees: float = 10.0) -> Recording:
    """Turned about the middle, from rows towards columns, on a canvas that holds it all."""
    height, width = cine.frames.shape[1:]
    cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    size = (math.ceil(abs(cos) * height + abs(sin) * width), math.ceil(abs(sin) * height + abs(cos) * width))
    middle, new_middle = (np.array([(n - 1) / 2 for n in shape]) for shape in ((height, width), size))
    turn = np.array([[cos, -sin], [sin, cos]])
    rows, columns = torch.meshgrid(*(torch.arange(n, dtype=torch.float64) for n in size), indexing="ij")
    at = (torch.stack([rows, columns], -1).numpy() - new_middle) @ turn + middle
    unit = torch.from_numpy(at / middle - 1).flip(-1).float()
    frames = functional.grid_sample(
        cine.frames[:, None].float(), unit[None].expand(len(cine.frames), -1, -1, -1), align_corners=True
    )[:, 0]
    return replace(cine, frames=frames, line=(cine.line - middle) @ turn.T + new_middle)


def resize(cine: Recording, factor: float) -> Recording:
    """``factor`` times as many pixels along each axis."""
    size = scale_size(cine.frames.shape[1:], factor)
    exact = np.array(size) / cine.frames.shape[1:]
    frames = functional.interpolate(
        cine.frames[:, None].float(), size, mode="bilinear", align_corners=False, antialias=factor < 1
    )[:, 0]
    return replace(cine, frames=frames, line=(cine.line + 0.5) * exact - 0.5)


def compress(cine: Recording, quality: int = QUALITY) -> Recording:
    """Each frame as a JPEG."""
    found = []
    for frame in cine.frames.clamp(0, 1).mul(255).round().byte().numpy():
        held = io.BytesIO()
        Image.fromarray(frame).save(held, "JPEG", quality=quality)
        found.append(torch.from_numpy(np.array(Image.open(held), dtype=np.float32)) / 255)
    return replace(cine, frames=torch.stack(found))


def add_noise(cine: Recording, deviation: float = NOISE, seed: int = 0) -> Recording:
    """White noise of a standard deviation of 2 dB."""
    noise = torch.randn(cine.frames.shape, generator=torch.Generator().manual_seed(seed))
    return replace(cine, frames=(cine.frames + deviation * noise).clamp(0, 1))


HALVED = "every second frame"
VARIANTS: dict[str, Callable[[Recording], Recording]] = {
    HALVED: halve_frame_rate,
    "reversed": reverse_time,
    "mirrored": mirror,
    "turned by 10°": rotate,
    "× 0.75": lambda cine: resize(cine, 0.75),
    "× 1.5": lambda cine: resize(cine, 1.5),
    "compressed": compress,
    "2 dB noise": add_noise,
}


def cut_to_first_beat(cine: Recording) -> Recording:
    """The cine cut to its first beat, to end-systole where the beat is not whole."""
    beat = cine.beats[0]
    last = beat.end if beat.complete else beat.es
    cut = Beat(0, beat.es - beat.ed, last - beat.ed, beat.complete)
    return Recording(cine.frames[beat.ed : last + 1], cine.line, cine.start - beat.ed, (cut,))


def lengths(cine: Recording, motion: Motion) -> Array:
    """Length [T] of the line in every frame, pixels, carried by ``motion`` ([T, H, W] to ddf [T − 1, 2, H, W])."""
    points = track(torch.from_numpy(cine.line).float(), motion(cine.frames), cine.start)
    return strain.length(points.double().numpy())


def beat_strain(length: Array, beat: Beat) -> float:
    """Peak-systolic strain of a beat in %, against its own end-diastole."""
    first, last = sorted((beat.ed, beat.es))
    return 100 * float((length[first : last + 1] / length[beat.ed]).min() - 1)


def rest_motion(cine: Recording, motion: Motion) -> float:
    """The largest displacement in pixels that is found in the sector where one frame is repeated."""
    frame = cine.frames[cine.start]
    inside = sector_mask(cine.frames[None], radius=0, still=True)
    return float(motion(frame.expand(3, -1, -1).contiguous()).norm(dim=1)[:, inside].max())


def metamorphic(cine: Recording, motion: Motion, variants: Sequence[str] = tuple(VARIANTS)) -> dict[str, float]:
    """What a method makes of a cine and of its variants.

    Returns:
        ``gls`` of the first beat, %; of each variant how many points its GLS is off (where frames are dropped, off
        that of the frames that are left); ``beats``, the spread of the
        beats' GLS, points, and ``drift``, the largest change of the line's length over a whole beat, % (both where the
        cine has them); ``still``, pixels.
    """
    beat = cut_to_first_beat(cine)
    whole = lengths(cine, motion)
    own = lengths(beat, motion)
    found = {"gls": beat_strain(own, beat.beats[0])}
    for name in variants:
        variant = VARIANTS[name](beat)
        owed = beat_strain(own[beat.start % 2 :: 2], variant.beats[0]) if name == HALVED else found["gls"]
        found[name] = beat_strain(lengths(variant, motion), variant.beats[0]) - owed
    if len(cine.beats) > 1:
        found["beats"] = float(np.ptp([beat_strain(whole, b) for b in cine.beats]))
    drifts = [100 * float(whole[b.end] / whole[b.ed] - 1) for b in cine.beats if b.complete]
    if drifts:
        found["drift"] = max(drifts, key=abs)
    found["still"] = rest_motion(cine, motion)
    return found


def list_missed(differences: dict[str, float]) -> list[str]:
    """Names of what is beyond ``LIMITS``, or not a number."""
    return [
        name
        for name, value in differences.items()
        if name != "gls" and not abs(value) <= LIMITS.get(name, LIMITS["variant"])
    ]


def recording(path: str | Path, weights: str | Path, beats: int = 2) -> Recording:
    """A recorded apical cine with the line that the segmentation network draws at its first end-diastole.

    The cine is cut to the box of its sector, made smaller where that is longer than ``LONGEST``, and cut to its first
    ``beats`` beats.

    Raises:
        InputError: the cine or the weights can't be read, or there is no beat or no wall.
    """
    cine = read_cine(path)
    box = bounding_box(sector_mask(cine)[None, None], cine.shape[2:])
    crop = cine.as_tensor()[0][:, box[0][0] : box[0][1], box[1][0] : box[1][1]]
    size = scale_size(crop.shape[1:], min(1.0, LONGEST / max(crop.shape[1:])))
    frames = downsample(crop[:, None], size)[:, 0]
    memberships = segment_cine(frames, load_segmentation(weights))
    walls, reasons = walls_of(memberships.argmax(1).to(torch.uint8).numpy(), 120)
    found = find_beats(
        memberships[:, 1].double().sum((1, 2)).numpy(), cine.meta["frame_times"], cine.meta["r_waves"], name=str(path)
    )[:beats]
    seen: NDArray[np.bool_] = np.asarray(np.isfinite(walls).all((1, 2, 3)))
    if not seen[found[0].ed : found[0].es + 1].any():
        raise InputError(f"{path}: no wall in systole ({reasons[found[0].ed]})")
    start = find_nearest_frame(seen, found[0])
    line = interpolate_fractions(walls[start, 0], np.linspace(0, 1, POINTS))
    return Recording(frames[: found[-1].end + 1], line, start, tuple(found))


def save_recording(cine: Recording, path: Path) -> None:
    """Keep a recording as a file that ``load_recording`` reads."""
    beats = [[b.ed, b.es, b.end, b.complete] for b in cine.beats]
    with write_whole(path) as beside, open(beside, "wb") as file:
        grey = cine.frames.clamp(0, 1).mul(65535).round().numpy().astype(np.uint16)
        np.savez_compressed(file, frames=grey, line=cine.line, start=cine.start, beats=np.array(beats))


def load_recording(path: Path) -> Recording:
    """What ``save_recording`` kept."""
    with np.load(path) as kept:
        beats = tuple(Beat(int(a), int(b), int(c), bool(d)) for a, b, c, d in kept["beats"])
        frames = torch.from_numpy(kept["frames"].astype(np.float32) / 65535)
        return Recording(frames, kept["line"], int(kept["start"]), beats)


def motion_of(bundle: str | Path, changes: Sequence[str] = (), overrides: dict[str, Any] | None = None) -> Motion:
    """The motion that a bundle finds, with its own network and inferer.

    Args:
        bundle: its folder.
        changes: configuration files of the bundle that go over ``inference.json``.
        overrides: of single settings, as the command line's.

    Raises:
        InputError: no such bundle, file or option.
    """
    files = config_files(bundle, further=changes)
    folder = tempfile.TemporaryDirectory()  # lives as long as ``motion``: what takes long keeps its state there
    parser = parse_config(files, {"output_dir": folder.name, **(overrides or {})})
    network, inferer = content(parser, "network"), content(parser, "inferer")

    def motion(frames: Tensor) -> Tensor:
        Path(folder.name).mkdir(exist_ok=True)
        mask = sector_mask(frames[None])[None, None]
        found = register(frame_pairs(frames[None]), network, inferer, mask).ddf
        if isinstance(inferer, RegistrationInferer):
            inferer.forget()
        return found

    return motion


def markdown(rows: Sequence[dict[str, Any]]) -> str:
    """Rows of ``metamorphic`` with their ``cine`` as Markdown; what is beyond its limit in bold."""
    names = list(dict.fromkeys(key for row in rows for key in row if key != "cine"))
    units = {"gls": "GLS, %", "beats": "beat to beat", "drift": "drift, % a beat", "still": "still, px"}
    lines = ["| cine | " + " | ".join(units.get(n, n) for n in names) + " |", "|---|" + "---:|" * len(names)]
    for row in rows:
        beyond = list_missed({k: v for k, v in row.items() if k != "cine"})
        cells = []
        for name in names:
            text = "" if name not in row else f"{row[name]:.3f}" if name == "still" else f"{row[name]:.1f}"
            cells.append(f"**{text}**" if name in beyond else text)
        lines.append(f"| {row['cine']} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, and print and write the table."""
    parser = CommandParser(
        prog="python -m cardiac_motion.strain_pipeline.validation.metamorphic",
        description=(__doc__ or "").splitlines()[0],
    )
    parser.add_argument("--bundle", required=True, help="name of one in bundles/, or its folder")
    parser.add_argument("--configs", nargs="*", default=[], help="its files that change inference.json")
    parser.add_argument("--input", nargs="+", required=True, type=Path, help="apical cines")
    parser.add_argument("--output_dir", type=Path, default=Path("output/metamorphic"))
    parser.add_argument("--beats", type=int, default=2, help="of a cine, from its first")
    parser.add_argument("--variants", nargs="*", default=list(VARIANTS), choices=list(VARIANTS), metavar="VARIANT")
    parser.add_argument("--segmentation", type=Path, default=Path("bundles/strain_pipeline/models/segmentation.pt"))
    parser.add_argument("--set", nargs="*", default=[], metavar="KEY=VALUE", help="settings of the bundle, JSON")
    options = parser.parse_args(arguments)
    bundle = Path(options.bundle) if Path(options.bundle).is_dir() else Path("bundles") / options.bundle
    overrides = {}
    for word in options.set:
        key, _, value = word.partition("=")
        try:
            overrides[key] = json.loads(value)
        except ValueError:
            overrides[key] = value
    motion, rows = motion_of(bundle, options.configs, overrides), []
    name = "_".join([bundle.name, *(Path(c).stem for c in options.configs), *options.set]).replace("/", "_")
    for path in options.input:
        kept = options.output_dir / "recordings" / f"{case_name(path)}_{options.beats}.npz"
        if not kept.is_file():
            save_recording(recording(path, options.segmentation, options.beats), kept)
        rows.append({"cine": case_name(path), **metamorphic(load_recording(kept), motion, options.variants)})
        write_csv(options.output_dir / f"{name}.csv", rows)
        with write_whole(options.output_dir / f"{name}.md") as beside:
            beside.write_text(markdown(rows), encoding="utf-8")
    print(f"\n{name}\n\n{markdown(rows)}")


if __name__ == "__main__":
    install_error_hook()
    main()
