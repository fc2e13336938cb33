"""Matplotlib's pyplot for figures in files, without a display; and the check of what figures need."""

from __future__ import annotations

from typing import Any

from cardiac_motion.core.extras import LazyExtra, import_extra

__all__ = ["check_figures", "cv2", "plt"]


def _draw_to_files() -> None:
    import_extra("matplotlib", "a figure").use("Agg")


plt: Any = LazyExtra("matplotlib.pyplot", "a figure", _draw_to_files)
cv2: Any = LazyExtra("cv2", "a figure")


def check_figures() -> None:
    """Check that figures and movies can be written, before a long computation.

    Raises:
        InputError: a package is missing; the line names it.

    Examples:
        >>> check_figures()
    """
    for module in ("cv2", "matplotlib", "av"):
        import_extra(module, "figures (or --save_figures False)")
