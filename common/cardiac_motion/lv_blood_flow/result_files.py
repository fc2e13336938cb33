"""Result files of a blood-flow cine: ``flow.csv``, fields as NIfTI and VTK, figures, a movie and a report.

``velocity.nii.gz`` (X, Y, N, 1, 2; components (x, y)), ``vorticity.nii.gz`` (X, Y, N) and ``pool.nii.gz`` (X, Y, T);
for ParaView ``vtk/flow.pvd`` (one image per pair: velocity, vorticity, divergence, stream function, pool),
``vtk/pathlines.vtp`` and ``vtk/streamlines.vtp``.
"""

from __future__ import annotations

from pathlib import Path

import nibabel
import numpy as np
import torch
from torch import Tensor

from cardiac_motion.cine.cine_case import CineCase
from cardiac_motion.core.tables import write_csv
from cardiac_motion.core.vtk import write_pvd, write_vti, write_vtp
from cardiac_motion.core.whole_files import write_whole
from cardiac_motion.fields.field_files import save_cine_ddf
from cardiac_motion.fields.points import grid_points
from cardiac_motion.haemodynamics.derivatives import divergence
from cardiac_motion.haemodynamics.stream import pathlines, stream_function, stream_lines
from cardiac_motion.haemodynamics.velocity import velocity_of
from cardiac_motion.lv_blood_flow.figures import flow_by_scale, flow_curves, particle_movie, vorticity_pictures
from cardiac_motion.lv_blood_flow.measures import BloodFlow, units
from cardiac_motion.lv_blood_flow.report import write_report
from cardiac_motion.registration.result import RegistrationResult


def write_flow(
    folder: Path, case: CineCase, result: RegistrationResult, flow: BloodFlow, save_fields: bool, save_figures: bool
) -> None:
    """Write the results of a cine into an existing folder.

    Args:
        folder: temporary folder of the case.
        case, result, flow: cine, its registration and its flow.
        save_fields: also write NIfTI and VTK files.
        save_figures: also write figures, movie and report.
    """
    write_csv(folder / "flow.csv", [dict(row) for row in flow.rows])
    write_csv(folder / "flow_units.csv", [{"column": k, "unit": u} for k, u in units(flow.velocity).items()])
    assert case.blood_mask is not None
    paths = pathlines(result.ddf, case.blood_mask)
    if save_fields:
        write_fields(folder, case, flow)
        write_vtk(folder / "vtk", flow, paths)
    if save_figures:
        pair = int(np.argmax([row["mean_speed"] or 0.0 for row in flow.rows]))
        frames, meta = case.cine.as_tensor()[0], case.meta
        velocities = [
            velocity_of(stage.ddf(), case.blood_mask, meta.spacing, meta.frame_times, meta.aspect)
            for stage in result.stages[:-1]
        ] + [flow.velocity]
        titles = [stage.title for stage in result.stages] or ["velocity"]
        flow_by_scale(frames[pair], velocities, titles, pair, folder / "flow.png")
        rate = "1/s" if flow.velocity.physical else "1/frame"
        vorticity_pictures(frames[:-1], flow.vorticity, flow.vortices, rate, folder / "vorticity.png")
        flow_curves(flow.rows, units(flow.velocity), folder / "curves.png")
        particle_movie(frames, paths, case.blood_mask, folder / "particles.mp4", folder / "particles.png")
        write_report(folder, case, flow)


def write_fields(folder: Path, case: CineCase, flow: BloodFlow) -> None:
    """Write ``velocity``, ``vorticity`` and ``pool`` as NIfTI, with zeros outside the blood pool."""
    velocity = flow.velocity
    save_cine_ddf(folder / "velocity.nii.gz", velocity.values * velocity.mask[:, None])
    steps, seconds = velocity.steps, float(velocity.times.diff().mean()) if len(velocity.times) > 1 else 1.0
    assert case.blood_mask is not None
    for name, values in (("vorticity", flow.vorticity.nan_to_num().float()), ("pool", case.blood_mask.to(torch.uint8))):
        image = nibabel.Nifti1Image(values.numpy().transpose(2, 1, 0), np.diag([steps[1], steps[0], seconds, 1.0]))
        image.header.set_zooms((steps[1], steps[0], seconds))
        with write_whole(folder / f"{name}.nii.gz") as beside:
            nibabel.save(image, beside)


def write_vtk(folder: Path, flow: BloodFlow, paths: Tensor) -> None:
    """Write files for ParaView; lengths in mm where known, y upwards."""
    folder.mkdir()
    velocity, mask = flow.velocity, flow.velocity.mask
    divergences = divergence(velocity.values, velocity.steps, mask) * velocity.per_second
    series = {}
    for t, pool in enumerate(mask):
        name = f"flow_{t:04d}.vti"
        psi = stream_function(velocity.values[t], velocity.steps, pool)
        arrays = {
            "velocity": (velocity.values[t] * pool).numpy(),
            "vorticity": flow.vorticity[t].nan_to_num().numpy(),
            "divergence": divergences[t].nan_to_num().numpy(),
            "stream_function": psi.nan_to_num().numpy(),
            "pool": pool.numpy(),
        }
        write_vti(folder / name, arrays, velocity.steps)
        series[name] = float(velocity.times[t])
    write_pvd(folder / "flow.pvd", series)
    lines, times, pairs = [], [], []
    for path in paths.unbind(1):
        present = ~path[:, 0].isnan()
        if present.sum() > 1:
            lines.append(path[present].numpy())
            times.append(present.nonzero()[:, 0].float().numpy())
    write_vtp(folder / "pathlines.vtp", lines, velocity.steps, {"frame": times})
    lines = []
    for t, pool in enumerate(mask):
        starts = grid_points(pool, max(4, round(max(pool.shape) / 32)))
        scale = torch.tensor(velocity.steps).view(2, 1, 1)
        traced = [x for x in stream_lines(velocity.values[t] / scale, starts, pool, length=120) if len(x) > 4]
        lines += [line.numpy() for line in traced]
        pairs += [np.full(len(line), t, dtype=np.float32) for line in traced]
    write_vtp(folder / "streamlines.vtp", lines, velocity.steps, {"pair": pairs})
