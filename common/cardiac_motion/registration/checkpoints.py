"""Checkpoints of a multi-scale registration after each scale, so that an interrupted run resumes."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from cardiac_motion.core.whole_files import write_whole

CHECKPOINT = ".scales"  # prefix of a checkpoint's name, before the part's name and .pt


def hash_state(settings: object, tensors: Iterable[Tensor | None]) -> str:
    """Return a digest of settings, images and weights, which identifies a state.

    Examples:
        >>> hash_state({"steps": 3}, [torch.zeros(2), None]) == hash_state({"steps": 3}, [torch.zeros(2)])
        True
        >>> hash_state({"steps": 3}, [torch.zeros(2)]) == hash_state({"steps": 4}, [torch.zeros(2)])
        False
    """
    digest = hashlib.sha256(repr(settings).encode())
    for tensor in tensors:
        if tensor is not None:
            digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


class Checkpoints:
    """Checkpoint files of a folder, one per registration of a case.

    Args:
        folder: folder of the files; None stores none.
    """

    def __init__(self, folder: str | Path | None) -> None:
        self.folder = None if folder is None else Path(folder)
        self._current: set[Path] = set()  # of the present case

    def save(self, part: str, identity: str, content: dict[str, Any]) -> None:
        """Store the state of a part.

        Args:
            part: name of the part, used in the file's name.
            identity: digest from ``hash_state``.
            content: tensors, numbers, text, and lists and dictionaries of them.

        Raises:
            InputError: the folder can't be written, or the disk is full.
        """
        if self.folder is not None:
            path = self.folder / f"{CHECKPOINT}{part}.pt"
            self._current.add(path)
            with write_whole(path) as beside:
                torch.save({"identity": identity, **content}, beside)

    def load(self, part: str, identity: str) -> dict[str, Any] | None:
        """Load the state of a part; None if there is none with this identity."""
        path = None if self.folder is None else self.folder / f"{CHECKPOINT}{part}.pt"
        if path is None or not path.is_file():
            return None
        try:
            content: dict[str, Any] = torch.load(path, weights_only=True)
        except Exception:  # damaged, or written by an older version: start again
            return None
        if content["identity"] != identity:
            return None
        self._current.add(path)
        return content

    def forget(self) -> None:
        """Remove the checkpoints of a case whose results are written."""
        for path in self._current:
            path.unlink(missing_ok=True)
        self._current.clear()
