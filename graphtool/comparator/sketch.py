"""A tensor by a few of its numbers: enough to find it again in another model under another name."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from graphtool import seeded
from graphtool.parity.eps import eps_of

Array = NDArray[Any]
Floats = NDArray[np.float64]

_SAMPLES = 64
_SAME = 1e-3  # of the largest sample: two ways to compute one float32 tensor are much nearer, two tensors are not


@dataclass(frozen=True, slots=True)
class Sketch:
    """Shape, family of types (float or not) and sampled elements of a tensor; samples may be off by ``slack``."""

    key: Hashable
    samples: Floats
    slack: float

    def same(self, other: Sketch) -> bool:
        """Whether the other tensor may hold the same numbers."""
        slack = max(self.slack, other.slack)
        return self.key == other.key and bool(np.max(np.abs(self.samples - other.samples)) <= slack)


def sketch(array: Array) -> Sketch | None:
    """Return the sketch of a tensor; None where its numbers tell nothing: few, all the same, not finite, no numbers."""
    if array.size < _SAMPLES // 4 or array.dtype.kind not in "fiuV":
        return None
    flat = array.reshape(-1)
    places = seeded.integers(seeded.key(0, "sketch"), (_SAMPLES,), 0, flat.size)
    samples = flat[np.asarray(places, np.int64)].astype(np.float64)
    if not np.isfinite(samples).all() or np.unique(samples).size < _SAMPLES // 8:
        return None
    eps = eps_of(array.dtype)
    top = float(np.abs(samples).max())
    return Sketch((array.shape, eps > 0), samples, max(_SAME, 16 * eps) * top if eps else 0.0)


def partners(ours: Iterable[tuple[str, Sketch]], theirs: Iterable[tuple[str, Sketch]]) -> Mapping[str, str]:
    """Return for tensors of the first list one of the second with the same numbers, each taken once, in order."""
    groups: dict[Hashable, list[tuple[float, int, str, Sketch]]] = {}
    for place, (name, found) in enumerate(theirs):
        groups.setdefault(found.key, []).append((float(found.samples[0]), place, name, found))
    for group in groups.values():
        group.sort(key=lambda entry: entry[:2])
    taken: set[str] = set()
    pairs: dict[str, str] = {}
    for name, found in ours:
        group = groups.get(found.key, [])
        first, slack = float(found.samples[0]), 2 * found.slack
        candidates = []
        for entry in group[bisect_left(group, (first - slack, -1)) :]:
            if entry[0] > first + slack:
                break
            if entry[2] not in taken and found.same(entry[3]):
                candidates.append(entry)
        if candidates:
            partner = min(candidates, key=lambda entry: entry[1])[2]
            pairs[name] = partner
            taken.add(partner)
    return pairs
