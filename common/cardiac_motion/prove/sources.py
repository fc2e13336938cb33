"""Public data sets of the evaluation: origin, licence, and the files that are read.

Nothing is downloaded or copied by this project. A repository ``owner/name`` is expected in ``DATA/owner/name``, as
created by ``git clone``; other data sets are expected in the folder named in their entry.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Source:
    """A public data set.

    Attributes:
        folder: path below the data folder; ``owner/name`` for a GitHub repository.
        files: the files that are read, relative to ``folder``.
        licence: licence of the data.
        contents: content of the files.
        revision: the commit that was measured; empty for data sets that are not repositories.
    """

    folder: str
    files: tuple[str, ...]
    licence: str
    contents: str
    revision: str = ""

    def find_missing(self, data: Path) -> list[str]:
        """Return the files that are not below the folder ``data``, as paths relative to it.

        Examples:
            >>> Source("owner/name", ("a.tif",), "MIT", "an image").find_missing(Path("/nowhere"))
            ['owner/name/a.tif']
        """
        return [f"{self.folder}/{file}" for file in self.files if not (data / self.folder / file).is_file()]


def _list_pairs(stems: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(f"sample_data/{stem}_{part}" for stem in stems for part in ("img1.tif", "img2.tif", "flow.flo"))


PIV_PAIRS = (
    "DNS_turbulence/DNS_turbulence_00001", "DNS_turbulence/DNS_turbulence_00002",
    "JHTDB_isotropic1024_hd/JHTDB_isotropic1024_hd_00001", "JHTDB_isotropic1024_hd/JHTDB_isotropic1024_hd_00002",
    "SQG/SQG_00001", "SQG/SQG_00002", "backstep/backstep_Re800_00001", "backstep/backstep_Re800_00002",
)  # fmt: skip

UNLITEFLOWNET = Source(
    "erizmr/UnLiteFlowNet-PIV",
    _list_pairs(PIV_PAIRS),
    "none stated; images of the PIV data set of Cai et al. 2019",
    "eight pairs of particle images, 256 × 256, with the exact flow from image 1 to image 2",
    "47cf7d3423aa48b69ee49a86067176a0f68a4174",
)
LITEFLOWNET = Source(
    "abrosua/piv_liteflownet-pytorch",
    tuple(f"images/demo/DNS_turbulence_{part}" for part in ("img1.tif", "img2.tif", "flow.flo", "out.flo")),
    "MIT",
    "a pair of particle images with the exact flow, and the flow estimated by PIV-LiteFlowNet-en",
    "dae393386be7a1c3abf9620ab7eb4d81d7091733",
)
DIMETRODON = Source(
    "ComputationalPhysiology/mps_motion",
    tuple(f"datasets/Dimetrodon/{file}" for file in ("frame10.png", "frame11.png", "flow10.flo")),
    "Middlebury flow data (Baker et al. 2011), free for research",
    "a photographed scene with hidden texture and its measured flow",
    "14dbb7cc72108954706b1dc7032c4b61ba5dab88",
)
VOXELMORPH = Source(
    "voxelmorph/voxelmorph",
    ("data/test_scan.npz",),
    "Apache-2.0",
    "a T1 brain scan, 160 × 192 × 224 voxels of 1 mm, with 30 labels",
    "ca28315d0ba24cd8946ac4f6ed081e049e5264fe",
)
TUTORIALS = Source(
    "learn2reg/tutorials2019",
    ("unsupervised/data/3D/subject_1_vol.npz", "unsupervised/data/3D/subject_1_seg.npz"),
    "none stated",
    "another T1 brain scan on the same grid, with the same labels",
    "4077710c372b048c4879db94e6459b57ffff88f7",
)
VORTICES = Source(
    "alexlib/OpenOpticalFlow_PIV_v1",
    tuple(f"I{k}_vortexpair_dt0p0{step}.tif" for step in (3, 5) for k in (1, 2)),
    "MIT",
    "particle images of a vortex pair at two time steps",
    "f5aa9b8c59247291a4a620e4b354bd2a451b0aab",
)
DENSE = Source(
    "mloecher/tag_tracking",
    tuple(f"tagsim/cardiac_data/dense_dicom/{name}/im_{k:03d}.dcm" for name in ("mag", "px", "py") for k in range(25)),
    "none stated",
    "simulated DENSE of a short-axis ring, 25 phases: magnitude and displacement",
    "a94e4301c1c63abf28410b65d2edfe1e1729c486",
)
CAMUS = Source(
    "CAMUS_616um",
    (),
    "CC BY-NC-SA 4.0",
    "CAMUS (Leclerc et al. 2019), apical four-chamber frames at end-diastole and end-systole, reduced to 0.616 mm",
)
TASK04 = Source(
    "Task04_Hippocampus",
    (),
    "CC BY-SA 4.0",
    "the Medical Segmentation Decathlon's hippocampi (Simpson et al. 2019), in the layout of the download",
)
CHAIRS = Source(
    "FlyingChairs_release",
    (),
    "research only",
    "FlyingChairs (Dosovitskiy et al. 2015): synthetic scenes with exact flow",
)
SOURCES = (UNLITEFLOWNET, LITEFLOWNET, VORTICES, DIMETRODON, DENSE, VOXELMORPH, TUTORIALS, CAMUS, TASK04, CHAIRS)
