"""An output measured for a golden record, and judged by one. Floor 5."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import helper

from graphtool import seeded
from graphtool.errors import GoldenError, quoted
from graphtool.golden.records import SAMPLES, Number, OutputRecord
from graphtool.graph import dtype_name
from graphtool.parity.containers import is_absent
from graphtool.parity.eps import eps_of
from graphtool.parity.ties import Loose, is_class_map, level, ranked

Array = NDArray[Any]

_CHUNK = 1 << 20
_MOST_VALUES = 256  # different ones up to which those of an output that is no float are counted
_MEAN_ROUNDING = 2.0**-40


@dataclass(frozen=True, slots=True)
class OutputFigures:
    """How an output differs from its record.

    ``error``: the largest distance of a recorded figure (sampled value, minimum, maximum, mean) in units of what is
    allowed, 0 where all are the same; ``worst`` says which. ``flips``: how many labels must have changed for the
    histogram to change so, None where there is none; ``may_flip``: how many may. ``faults``: why it does not hold.
    """

    name: str
    error: float
    worst: str
    tolerance: float
    flips: int | None = None
    may_flip: int = 0
    faults: tuple[str, ...] = ()

    def text(self) -> str:
        """Return the figures on one line, fit for a terminal."""
        if math.isinf(self.error) and self.faults:
            return self.faults[0]
        if self.error:
            unit = f"the tolerance {self.tolerance:.3g}" if self.tolerance else "what is allowed"
            found = f"error {self.error:.3g} times {unit} ({self.worst})"
        else:
            found = "every recorded figure is the same"
        labels = f"; {self.flips} labels moved, {self.may_flip} may" if self.flips else ""
        return f"output {quoted(self.name)}: {found}{labels}"


def refuse_others(name: str, array: Array) -> None:
    """Raise GoldenError for an output that is no tensor of real numbers."""
    if array.dtype.hasobject or array.dtype.kind in "USc":
        raise GoldenError(f"output {quoted(name)} holds {_kind(array)}; a golden record holds real numbers")


def measure(name: str, array: Array, tolerance: float, loose: Loose | None) -> OutputRecord:
    """Return the record of an output; ``loose`` is given where it is no float. Raises GoldenError where no number."""
    refuse_others(name, array)
    flat = _plain(array)
    nonfinite, minimum, maximum, mean = _summary(flat)
    places = sample_places(name, array.size)
    fixed = np.ones(len(places), np.bool_) if loose is None else ~loose.at.reshape(-1)[places]
    classes, histogram = _histogram(array)
    may_flip = 0 if loose is None else loose.count
    if classes is not None:
        may_flip = int(level(ranked(array, 1)[1], tolerance).sum())
    return OutputRecord(
        name,
        type_name(array),
        array.shape,
        tolerance,
        may_flip,
        nonfinite,
        minimum,
        maximum,
        mean,
        tuple(flat[place].item() if held else None for place, held in zip(places, fixed, strict=True)),
        classes,
        histogram,
    )


def judge_output(record: OutputRecord, array: Array) -> OutputFigures:
    """Return how ``array`` differs from its record."""
    if array.dtype.hasobject or array.dtype.kind in "USc":
        return _refused(record, f"holds {_kind(array)}, recorded {record.type}")
    if type_name(array) != record.type:
        return _refused(record, f"is of type {type_name(array)}, recorded {record.type}")
    if array.shape != record.shape:
        return _refused(record, f"has the shape {list(array.shape)}, recorded {list(record.shape)}")
    flat = _plain(array)
    nonfinite, *summary = _summary(flat)
    faults = []
    if nonfinite != record.nonfinite:
        faults.append(f"{nonfinite} values are NaN or infinite, recorded {record.nonfinite}")
    error, worst, number, was = max(
        ((_error(now, was, allowed), what, now, was) for what, now, was, allowed in _pairs(record, flat, summary)),
        key=lambda found: found[0],
        default=(0.0, "", 0, 0),
    )
    if error > 1:
        times = f": {error:.3g} times what is allowed" if math.isfinite(error) else ""
        faults.append(f"{worst} is {number:.9g}, recorded {was:.9g}{times}")
    flips = None
    if record.histogram is not None:
        flips = _flips(record.histogram, _histogram(array)[1])
        if flips > record.may_flip:
            faults.append(
                f"at least {flips} of {record.positions} labels changed, where {record.may_flip} are near a tie"
            )
    named = tuple(f"output {quoted(record.name)}: {fault}" for fault in faults)
    return OutputFigures(record.name, error, worst, record.tolerance, flips, record.may_flip, named)


def sample_places(name: str, count: int) -> NDArray[np.int64]:
    """Return which elements of an output of ``count`` are recorded: all up to 64, else 64 that follow from its name."""
    if count <= SAMPLES:
        return np.arange(count)
    return seeded.integers(seeded.key("golden", name), (SAMPLES,), 0, count)


def type_name(array: Array) -> str:
    """Return the name of an array's element type, such as ``float32``."""
    return dtype_name(helper.np_dtype_to_tensor_dtype(array.dtype))


def _kind(array: Array) -> str:
    if array.dtype.kind == "c":
        return "complex numbers"
    if is_absent(array):
        return "nothing"
    return "strings" if array.dtype.kind in "US" or isinstance(next(iter(array.flat), ""), str) else "a sequence or map"


def _refused(record: OutputRecord, reason: str) -> OutputFigures:
    fault = f"output {quoted(record.name)} {reason}"
    return OutputFigures(record.name, math.inf, reason, record.tolerance, None, record.may_flip, (fault,))


def _plain(array: Array) -> Array:
    """Return the elements in a type that numpy calculates with, without changing a value."""
    flat = array.reshape(-1)
    if array.dtype.kind == "V":
        return flat.astype(np.float32 if eps_of(array.dtype) else np.int8)
    return flat.view(np.int8) if array.dtype.kind == "b" else flat


def _summary(flat: Array) -> tuple[int, Number, Number, float]:
    """Return how many elements are NaN or infinite, and minimum, maximum and mean of the others."""
    floating = flat.dtype.kind == "f"
    lows, highs, sums, count = [], [], [], 0
    for start in range(0, flat.size, _CHUNK):
        chunk = flat[start : start + _CHUNK]
        chunk = chunk[np.isfinite(chunk)] if floating else chunk
        if chunk.size:
            lows.append(chunk.min().item())
            highs.append(chunk.max().item())
            sums.append(float(chunk.sum(dtype=np.float64)))
            count += chunk.size
    if not count:
        return flat.size, math.nan if floating else 0, math.nan if floating else 0, math.nan
    return flat.size - count, min(lows), max(highs), math.fsum(sums) / count


def _histogram(array: Array) -> tuple[int | None, dict[int, int] | None]:
    """Return the number of classes and the members of each of a class map; of labels, the members of each value."""
    if is_class_map(array):
        members = np.bincount(ranked(array, 1)[0].reshape(-1))
        return array.shape[1], {label: int(count) for label, count in enumerate(members) if count}
    if eps_of(array.dtype):
        return None, None
    values, counts = np.unique(_plain(array), return_counts=True)
    if values.size > _MOST_VALUES:
        return None, None
    return None, dict(zip(values.tolist(), counts.tolist(), strict=True))


def _flips(was: Mapping[int, int], now: Mapping[int, int] | None) -> int:
    if now is None:  # more different values than are counted
        return sum(was.values())
    # whoever leaves one class joins another
    return sum(abs(was.get(label, 0) - now.get(label, 0)) for label in was.keys() | now.keys()) // 2


def _pairs(
    record: OutputRecord, flat: Array, summary: list[Number]
) -> Iterator[tuple[str, Number, Number, float]]:  # fmt: skip
    """Yield what is compared: its name, its value now, the recorded one, and by how much they may differ."""
    places = sample_places(record.name, flat.size)
    for place, was in zip(places, record.samples, strict=True):
        if was is not None:
            index = [int(axis) for axis in np.unravel_index(place, record.shape)]
            yield f"the value at {index}", flat[place].item(), was, record.tolerance
    floating = flat.dtype.kind == "f"
    mean_allowed = record.tolerance
    if not floating:
        span = record.maximum - record.minimum
        top = max(abs(record.maximum), abs(record.minimum))
        mean_allowed = record.may_flip * span / max(record.count, 1) + _MEAN_ROUNDING * top
    if floating or record.may_flip == 0:  # where all values lie within a tolerance, so do the extremes
        yield "the minimum", summary[0], record.minimum, record.tolerance
        yield "the maximum", summary[1], record.maximum, record.tolerance
    yield "the mean", summary[2], record.mean, mean_allowed


def _error(now: Number, was: Number, allowed: float) -> float:
    if now == was or (math.isnan(now) and math.isnan(was)):
        return 0.0
    distance = abs(now - was)
    return distance / allowed if allowed and math.isfinite(distance) else math.inf
