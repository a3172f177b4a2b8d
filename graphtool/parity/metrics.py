"""Figures: how far an output moved, and whether it is still the same output.

One walk over both arrays in chunks of float64, so that an output of 40 million elements costs no copy of itself.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from graphtool.errors import UsageError
from graphtool.parity.classes import class_figures, top5_agreement
from graphtool.parity.containers import joined, keys_of
from graphtool.parity.eps import eps_of, is_extension
from graphtool.parity.spread import NONE, Errors, Spread

__all__ = ["Figures", "compare", "eps_of", "equal"]

Array = NDArray[Any]
Floats = NDArray[np.float64]

_CHUNK = 1 << 15  # elements a step: a handful of float64 buffers of 256 KiB, which stay in the second-level cache
_SHARES = (0.5, 0.9, 0.99, 0.999)


@dataclass(frozen=True, slots=True)
class Figures:
    """How one output ``after`` differs from the same output ``before``.

    ``count``: elements. ``changed``: elements that are not the same by the rule of :func:`equal`.
    ``max_abs``, ``mean_abs``: of ``|after - before|``.
    ``max_rel``: largest ``|after - before| / max(|before|, eps * before_max)``; the floor keeps rounding dust around
    zero from counting as an infinite relative error.
    ``cosine``: of the two outputs as vectors, 1.0 where both are zero, 0.0 where one is.
    ``argmax_agreement``, ``miou``: for a class map (float, ``[N,C,H,W]`` or ``[N,C]``, 2 to 1000 classes at axis 1) the
    share of positions whose largest class is the same, and the mean over classes that occur in either map of
    intersection over union; None for any other output.
    ``worst_index``: where ``max_abs`` is first reached; None where nothing changed.
    ``before_max``: largest finite ``|before|``.
    ``nan_mismatches``: NaN on one side only; ``inf_mismatches``: an infinity on one side whose other side is another
    number. Any of these makes ``max_abs``, ``mean_abs`` and ``max_rel`` infinite and ``cosine`` 0.
    ``abs``, ``rel``: mean, median and quantiles of the absolute and the relative errors (see :mod:`spread`).
    ``snr``, ``psnr`` in dB: power of ``before``, or the square of its range (largest less smallest), over the mean
    square of the error; infinite where nothing changed. ``top5_agreement``: for class scores ``[N,C]`` of more than
    five classes, the mean share of the five largest that are among the five largest of the other; None elsewhere.
    ``agreement``: for whole numbers and truth values, such as labels, the share of elements that are equal; None for
    any other output. ``worst_pair``: the two numbers at ``worst_index``.
    Complex numbers count as two real ones. A sequence of tensors counts as its tensors joined end to end, maps to
    numbers as a row each, by sorted keys. Strings and maps of other keys have no distance: infinite where they differ,
    else 0.
    """

    count: int
    changed: int
    max_abs: float
    mean_abs: float
    max_rel: float
    cosine: float
    argmax_agreement: float | None
    miou: float | None
    worst_index: tuple[int, ...] | None
    before_max: float
    nan_mismatches: int = 0
    inf_mismatches: int = 0
    abs: Spread = NONE
    rel: Spread = NONE
    snr: float = math.inf
    psnr: float = math.inf
    top5_agreement: float | None = None
    agreement: float | None = None
    worst_pair: tuple[float, float] | None = None


def equal(before: Array, after: Array) -> bool:
    """Return whether type, shape and values are the same: NaN equals any NaN, -0 equals +0 (class ``exact``)."""
    if before.dtype != after.dtype or before.shape != after.shape:
        return False
    if before.dtype.hasobject:
        return all(map(_same_object, before.reshape(-1), after.reshape(-1)))
    x, y = before.reshape(-1), after.reshape(-1)
    return not any(_differs(x[i : i + _CHUNK], y[i : i + _CHUNK]).any() for i in range(0, x.size, _CHUNK))


def compare(before: Array, after: Array) -> Figures:
    """Return the figures of two arrays of one shape; element types may differ. Raises UsageError for other shapes."""
    if before.shape != after.shape:
        raise UsageError(f"cannot compare an output of shape {list(before.shape)} with one of {list(after.shape)}")
    if before.dtype.hasobject or before.dtype.kind in "US":
        return _compare_objects(before, after)
    parts = 2 if before.dtype.kind == "c" else 1
    x, y = _flat(before), _flat(after)
    walk = _Walk(_range(x), _range(y), max(eps_of(before.dtype), eps_of(after.dtype)), x.size)
    for start in range(0, x.size, _CHUNK):
        walk.step(start, x[start : start + _CHUNK], y[start : start + _CHUNK])
    broken = walk.nan_mismatches + walk.inf_mismatches > 0
    worst = walk.worst if walk.changed else None
    agreement, miou = class_figures(before, after, walk.changed > 0)
    return Figures(
        count=before.size,
        changed=walk.changed,
        max_abs=math.inf if broken else walk.max_abs,
        mean_abs=math.inf if broken else walk.abs.total / max(x.size, 1),
        max_rel=math.inf if broken else walk.max_rel,
        cosine=0.0 if broken else walk.cosine(),
        argmax_agreement=agreement,
        miou=miou,
        worst_index=None if worst is None else tuple(map(int, np.unravel_index(worst // parts, before.shape))),
        before_max=walk.before_max,
        nan_mismatches=walk.nan_mismatches,
        inf_mismatches=walk.inf_mismatches,
        abs=walk.abs.spread(),
        rel=walk.rel.spread(),
        snr=-math.inf if broken else walk.decibel(walk.xx),
        psnr=-math.inf if broken else walk.decibel((walk.range * walk.scale) ** 2 * x.size),
        top5_agreement=top5_agreement(before, after, walk.changed > 0),
        agreement=1 - walk.changed / max(x.size, 1) if {before.dtype.kind, after.dtype.kind} <= set("iub") else None,
        worst_pair=None if worst is None else (_number(x[worst]), _number(y[worst])),
    )


class _Walk:
    """The running sums of one comparison."""

    def __init__(self, before: tuple[float, float], after: tuple[float, float], eps: float, count: int) -> None:
        self.before_max = before_max = max(map(abs, before))
        after_max = max(map(abs, after))
        self.range = before[1] - before[0]
        self.abs, self.rel = Errors(count), Errors(count)
        self.squares = 0.0
        self.floor = max(eps * before_max, np.finfo(np.float64).tiny)
        # squares of float64 numbers can overflow; a power of two scales without rounding
        top = max(before_max, after_max)
        extreme = top > 1e100 or 0 < top < 1e-100
        self.scale = math.ldexp(1.0, min(1000, -math.frexp(top)[1])) if extreme else 1.0
        self.changed = self.nan_mismatches = self.inf_mismatches = 0
        self.max_abs = self.max_rel = 0.0
        self.worst = 0
        self.xx = self.yy = self.xy = 0.0

    def step(self, start: int, x: Array, y: Array) -> None:
        a, b = x.astype(np.float64), y.astype(np.float64)
        differs = _differs(x, y)
        changed = int(np.count_nonzero(differs))
        self.changed += changed
        if changed:
            with np.errstate(invalid="ignore", over="ignore"):
                distance = _distance(x, y, a, b)
            if not np.isfinite(distance).all():
                distance = self._without_specials(start, a, b, differs, distance)
            self._measure(start, np.abs(a), distance)
        elif not np.isfinite(a).all():
            a[~np.isfinite(a)] = 0
            b = a
        if self.scale != 1.0:
            a, b = a * self.scale, b * self.scale
        self.xx += _dot(a, a)
        self.yy += _dot(b, b)
        self.xy += _dot(a, b)

    def _without_specials(
        self, start: int, a: Floats, b: Floats, differs: NDArray[np.bool_], distance: Floats
    ) -> Floats:
        """Count NaN and infinities that do not agree, and take all of them out of the sums."""
        nan = np.isnan(a) != np.isnan(b)
        inf = (np.isinf(a) | np.isinf(b)) & differs & ~nan
        if self.nan_mismatches + self.inf_mismatches == 0 and (nan | inf).any():
            self.worst, self.max_abs = start + int(np.argmax(nan | inf)), math.inf
        self.nan_mismatches += int(np.count_nonzero(nan))
        self.inf_mismatches += int(np.count_nonzero(inf))
        self.abs.infinite = self.rel.infinite = self.nan_mismatches + self.inf_mismatches
        special = ~(np.isfinite(a) & np.isfinite(b))
        for values in (a, b, distance):
            values[special] = 0
        return distance

    def _measure(self, start: int, magnitude: Floats, distance: Floats) -> None:
        at = int(np.argmax(distance))
        if distance[at] > self.max_abs:
            self.worst, self.max_abs = start + at, float(distance[at])
        self.abs.add(distance)
        scaled = distance if self.scale == 1.0 else distance * self.scale
        self.squares += _dot(scaled, scaled)
        np.maximum(magnitude, self.floor, out=magnitude)
        with np.errstate(over="ignore"):
            relative = np.divide(distance, magnitude, out=magnitude)
        self.rel.add(relative)
        self.max_rel = max(self.max_rel, float(relative.max()))

    def decibel(self, power: float) -> float:
        """Return ``power`` over the squares of the errors."""
        if self.squares == 0:
            return math.inf
        return 10 * (math.log10(power) - math.log10(self.squares)) if power > 0 else -math.inf

    def cosine(self) -> float:
        if self.changed == 0 or self.xx == self.yy == 0:
            return 1.0
        if self.xx == 0 or self.yy == 0:
            return 0.0
        return max(-1.0, min(1.0, self.xy / (math.sqrt(self.xx) * math.sqrt(self.yy))))


def _dot(a: Floats, b: Floats) -> float:
    """Return the inner product. BLAS would wake its threads for every chunk (several times the CPU time)."""
    return float(np.einsum("i,i->", a, b))


def _flat(array: Array) -> Array:
    flat = np.ascontiguousarray(array).reshape(-1)
    return flat.view(np.float32 if flat.dtype.itemsize == 8 else np.float64) if flat.dtype.kind == "c" else flat


def _range(flat: Array) -> tuple[float, float]:
    """Return the smallest and the largest finite number, zeros for an empty array."""
    low, high = math.inf, -math.inf
    for start in range(0, flat.size, _CHUNK):
        chunk = flat[start : start + _CHUNK]
        if chunk.dtype.kind == "f" and chunk.dtype.itemsize >= 4:
            here = float(chunk.min()), float(chunk.max())
            if math.isfinite(here[0]) and math.isfinite(here[1]):
                low, high = min(low, here[0]), max(high, here[1])
                continue
        wide = chunk.astype(np.float64)
        finite = np.isfinite(wide)
        low = min(low, float(wide.min(where=finite, initial=math.inf)))
        high = max(high, float(wide.max(where=finite, initial=-math.inf)))
    return (low, high) if low <= high else (0.0, 0.0)


def _number(value: Any) -> float:
    return float(value)


def _differs(x: Array, y: Array) -> NDArray[np.bool_]:
    if x.dtype != y.dtype and (
        is_extension(x.dtype) or is_extension(y.dtype)
    ):  # the small types have no promotion of their own
        x, y = x.astype(np.float64), y.astype(np.float64)
    differs = np.asarray(x != y, np.bool_)
    if differs.any():
        differs &= ~(_is_nan(x) & _is_nan(y))
    return differs


def _is_nan(x: Array) -> NDArray[np.bool_]:
    """Return where ``x`` is NaN, for the small float types as well, which have no ``isnan``."""
    return np.asarray(x != x, np.bool_)  # noqa: PLR0124


def _distance(x: Array, y: Array, a: Floats, b: Floats) -> Floats:
    if x.dtype == y.dtype and x.dtype.kind in "iu" and x.dtype.itemsize == 8:
        # beyond 2^53 float64 would call neighbours equal; the wrapped difference is right as an unsigned number
        with np.errstate(over="ignore"):
            return np.where(x > y, x - y, y - x).view(np.uint64).astype(np.float64)
    return np.abs(b - a)


def _measurable(item: Any) -> bool:
    return isinstance(item, np.ndarray) and not item.dtype.hasobject and item.dtype.kind not in "US"


def _same_object(x: Any, y: Any) -> bool:
    """Compare what onnxruntime returns inside object arrays: strings, arrays of a sequence, maps, None."""
    if isinstance(x, np.ndarray) and isinstance(y, np.ndarray):
        return equal(x, y)
    if isinstance(x, dict) and isinstance(y, dict):
        return x.keys() == y.keys() and all(_same_object(x[k], y[k]) for k in x)
    if isinstance(x, float) and isinstance(y, float):
        return x == y or (math.isnan(x) and math.isnan(y))
    return type(x) is type(y) and bool(x == y)


def _compare_objects(before: Array, after: Array) -> Figures:
    """Compare strings, or the object arrays that stand for sequences and maps."""
    pairs = list(zip(before.reshape(-1), after.reshape(-1), strict=True))
    if pairs and all(_measurable(x) and _measurable(y) and x.shape == y.shape for x, y in pairs):
        x, y = (np.concatenate([side.reshape(-1) for side in sides]) for sides in zip(*pairs, strict=True))
        return compare(x, y)
    keys = keys_of(before)
    if keys is not None and keys == keys_of(after):
        return compare(joined(before), joined(after))
    changed = [i for i, (x, y) in enumerate(pairs) if not _same_object(x, y)]
    distance = math.inf if changed else 0.0
    spread = Spread(distance, *(distance if len(changed) > (1 - q) * len(pairs) else 0.0 for q in _SHARES))
    return Figures(
        count=before.size,
        changed=len(changed),
        max_abs=distance,
        mean_abs=distance,
        max_rel=distance,
        cosine=0.0 if changed else 1.0,
        argmax_agreement=None,
        miou=None,
        worst_index=tuple(map(int, np.unravel_index(changed[0], before.shape))) if changed else None,
        before_max=0.0,
        abs=spread,
        rel=spread,
        snr=-distance if changed else math.inf,
        psnr=-distance if changed else math.inf,
    )


def finite(array: Array) -> bool:
    """Whether an array, of whatever type, a sequence or maps, has no infinity and no NaN."""
    return bool(np.all(_is_number(array)))


def lost(before: Array, after: Array) -> int:
    """Return how many numbers of one shape became an infinity or NaN."""
    if finite(after):
        return 0
    was, now = _is_number(before), _is_number(after)
    if np.shape(was) != np.shape(now):  # maps of other keys, sequences of other tensors
        return max(0, int(np.count_nonzero(~now)) - int(np.count_nonzero(~was)))
    return int(np.count_nonzero(was & ~now))


def _is_number(array: Array) -> Any:
    array = joined(array)
    if eps_of(array.dtype) == 0:
        return np.True_
    return np.isfinite(array.astype(np.float32) if is_extension(array.dtype) else array)
