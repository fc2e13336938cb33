"""Methods of registration by name: the bundle that has each, and the configuration files that make it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from cardiac_motion.bundle.config import config_files
from cardiac_motion.bundle.find import find_bundle
from cardiac_motion.core.command import suggest_name
from cardiac_motion.core.errors import InputError

INFERER = {2: "inferer", 3: "registration"}
"""The part of a configuration that registers pairs, by their dimensions: in 3D ``inferer`` chooses atlases as well."""


@dataclass(frozen=True)
class RegistrationMethod:
    """A method of registration.

    Attributes:
        bundle: its name.
        about: the method in a few words.
        plane: configuration files beyond ``inference.json`` for frames (2D); None where it has none.
        volume: likewise for volumes (3D).
    """

    bundle: str
    about: str
    plane: tuple[str, ...] | None = ()
    volume: tuple[str, ...] | None = None

    def dimensions(self) -> tuple[int, ...]:
        """Those that it registers, of 2 and 3."""
        return tuple(n for n, files in ((2, self.plane), (3, self.volume)) if files is not None)


METHODS = {
    "ncc_flow": RegistrationMethod("cpwc_echo", "NCC flow network trained on simulated ultrasound"),
    "pwc_net": RegistrationMethod("cpwc_echo", "PWC-Net", ("pwc_net.json",)),
    "c_pwc_net": RegistrationMethod("cpwc_echo", "c-PWC-Net", ("c_pwc_net.json",)),
    "echo_pwc_net": RegistrationMethod("cpwc_echo", "EchoPWC-Net", ("echo_pwc_net.json",)),
    "nmsr": RegistrationMethod("nmsr_echo", "test-time optimisation, preset fast"),
    "nmsr_motion": RegistrationMethod("nmsr_echo", "test-time optimisation, smoother fields", ("motion.json",)),
    "dis": RegistrationMethod("dis", "dense inverse search"),
    "farneback": RegistrationMethod("farneback", "polynomial expansion"),
    "ilk": RegistrationMethod("ilk", "iterative Lucas-Kanade"),
    "tvl1": RegistrationMethod("tvl1", "total variation, L1"),
    "fft_xcorr": RegistrationMethod("fft_xcorr", "block matching by cross-correlation"),
    "greedy": RegistrationMethod("greedy", "greedy diffeomorphic registration", volume=("volume.json",)),
    "ants": RegistrationMethod("ants_syn", "ANTs SyN, CC", ("cine.json",), ()),
    "ants_quick": RegistrationMethod("ants_syn", "ANTs SyN, quick", ("cine.json", "quick.json"), ("quick.json",)),
    "niftyreg": RegistrationMethod("niftyreg", "B-spline registration", ("cine.json",), ()),
    "ssmsr": RegistrationMethod("ssmsr_hippocampus", "multi-scale test-time registration", None, ()),
    "voxelmorph": RegistrationMethod("voxelmorph", "VoxelMorph trained on hippocampi", None, ()),
    "neurreg": RegistrationMethod("neurreg", "NeurReg trained on hippocampi", None, ()),
    "convexadam": RegistrationMethod("convexadam", "ConvexAdam", None, ()),
    "fireants": RegistrationMethod("fireants", "FireANTs", None, ()),
}
"""Names are those that ``register`` and ``cardiac-motion`` take."""


def list_methods(dimensions: int | None = None) -> dict[str, str]:
    """Names of methods and what each is.

    Args:
        dimensions: 2 or 3, those that register so; None for all.

    Examples:
        >>> sorted(set(list_methods(3)) & set(list_methods(2)))
        ['ants', 'ants_quick', 'greedy', 'niftyreg']
    """
    return {
        name: method.about
        for name, method in METHODS.items()
        if dimensions is None or dimensions in method.dimensions()
    }


def method_named(name: str, dimensions: int | None = None) -> RegistrationMethod:
    """The method of a name.

    Raises:
        InputError: there is none, or it does not register in these dimensions; the line names those that do.
    """
    known = list_methods(dimensions)
    if name not in known:
        what = "" if dimensions is None else f" in {dimensions}D"
        raise InputError(f"method {name!r}: expected one of {', '.join(known)}{what}{suggest_name(name, known)}")
    return METHODS[name]


def method_files(name: str, dimensions: int, folder: str | Path | None = None) -> list[Path]:
    """The configuration files of a method, in the order in which they are merged.

    Args:
        name: of ``METHODS``.
        dimensions: 2 or 3.
        folder: that holds bundles; None looks where ``find_bundle`` does.

    Raises:
        InputError: as ``method_named`` and ``find_bundle``.
    """
    method = method_named(name, dimensions)
    further = (method.plane if dimensions == 2 else method.volume) or ()
    return config_files(find_bundle(method.bundle, folder), further=further)
