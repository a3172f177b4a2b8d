"""Figures of class scores: do the same classes come first?"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from graphtool.parity.eps import eps_of

Array = NDArray[Any]

_CHUNK = 1 << 15  # elements a step, as in metrics
_MOST_CLASSES = 1000


def class_figures(before: Array, after: Array, changed: bool) -> tuple[float | None, float | None]:
    """Return argmax agreement and mIoU of two class maps, None for both where they are none."""
    is_map = before.ndim in (2, 4) and 2 <= before.shape[1] <= _MOST_CLASSES and before.size > 0
    if not is_map or eps_of(before.dtype) == 0 or eps_of(after.dtype) == 0 or before.dtype.kind == "c":
        return None, None
    if not changed:
        return 1.0, 1.0
    classes = before.shape[1]
    ours, theirs, both = (np.zeros(classes, np.int64) for _ in range(3))
    step = max(1, _CHUNK * 8 // classes)
    for x, y in zip(_columns(before), _columns(after), strict=True):
        for start in range(0, x.shape[1], step):
            one, two = (_labels(m[:, start : start + step]) for m in (x, y))
            ours += np.bincount(one, minlength=classes)
            theirs += np.bincount(two, minlength=classes)
            both += np.bincount(one[one == two], minlength=classes)
    union = ours + theirs - both
    seen = union > 0
    return float(both.sum() / ours.sum()), float((both[seen] / union[seen]).mean())


def top5_agreement(before: Array, after: Array, changed: bool) -> float | None:
    """Return how much of the five largest classes two arrays of scores share; of equal scores the first come first."""
    if before.ndim != 2 or not 5 < before.shape[1] <= _MOST_CLASSES or before.size == 0:
        return None
    if eps_of(before.dtype) == 0 or eps_of(after.dtype) == 0 or before.dtype.kind == "c":
        return None
    if not changed:
        return 1.0
    shared = 0
    for start in range(0, len(before), max(1, _CHUNK // before.shape[1])):
        rows = slice(start, start + max(1, _CHUNK // before.shape[1]))
        one, two = (
            np.argsort(-scores[rows].astype(np.float64), axis=1, kind="stable")[:, :5] for scores in (before, after)
        )
        shared += int((one[:, :, None] == two[:, None, :]).sum())
    return shared / (5 * len(before))


def _columns(array: Array) -> Array:
    """Return the class map as ``[batch, classes, positions]``."""
    return array.T[None] if array.ndim == 2 else array.reshape(array.shape[0], array.shape[1], -1)


def _labels(scores: Array) -> NDArray[np.intp]:
    """Return the first largest class of each column; argmax over float16 in its own type is slow."""
    wide = scores if scores.dtype.itemsize >= 4 else scores.astype(np.float32)
    return np.asarray(np.ascontiguousarray(wide).argmax(axis=0))
