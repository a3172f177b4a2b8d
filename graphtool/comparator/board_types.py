"""What numbers a board's file holds: element type and layout by size, checked against the numbers expected.

Files carry no header: ``.bin`` is raw and little-endian, ``.txt`` numbers between blanks. An output is float32, or
float16 with ATC's ``output_type=FP16``; labels are int32, which is what int64 becomes.
"""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
from numpy.typing import NDArray

from graphtool.errors import UsageError, did_you_mean, quoted
from graphtool.parity.metrics import eps_of

Array = NDArray[Any]

TYPES: dict[str, np.dtype[Any]] = {
    name: np.dtype(name)
    for name in ("float16 float32 float64 int8 uint8 int16 uint16 int32 uint32 int64 uint64 bool").split()
} | {"bfloat16": np.dtype(ml_dtypes.bfloat16)}
_BLOCK = 16  # channels of NC1HWC0
_LARGE = 1 << 33  # bytes of a text


@dataclass(frozen=True, slots=True)
class Read:
    """The numbers of a file in the shape of the output; ``notes`` say what had to be done to read them."""

    array: Array
    dtype: str
    notes: tuple[str, ...] = ()


class UnreadableError(Exception):
    """A file that cannot be an output of that shape; the message says why."""


def read_output(path: Path, expected: Array, dtype: str | None = None) -> Read:
    """Return the numbers in ``path`` as an output like ``expected``, which the model computes.

    ``dtype`` is the element type where the user knows it. Raises UnreadableError for a file that is truncated, too
    long, or of no type of that size.
    """
    if expected.dtype.hasobject or expected.dtype.kind in "US":
        raise UnreadableError("the model's output is no tensor of numbers: nothing to compare it with")
    if path.suffix == ".npy":
        return _from_npy(path, expected)
    if path.suffix == ".txt":
        return _from_text(path, expected)
    data = path.read_bytes()
    count = expected.size
    if dtype is not None:
        kind = TYPES[dtype]
        if len(data) != count * kind.itemsize and not _blocked(len(data), expected, kind.itemsize):
            raise UnreadableError(_wrong_size(len(data), {dtype: count * kind.itemsize}))
        return _shaped(np.frombuffer(data, kind.newbyteorder("<") if kind.kind != "V" else kind), expected, dtype)
    kinds = _options(expected)
    fitting = [name for name, kind in kinds.items() if count * kind.itemsize == len(data)]
    fitting = fitting or [name for name, kind in kinds.items() if _blocked(len(data), expected, kind.itemsize)]
    if not fitting:
        raise UnreadableError(_wrong_size(len(data), {name: count * kind.itemsize for name, kind in kinds.items()}))
    readings = [_shaped(np.frombuffer(data, kinds[name]), expected, name) for name in fitting]
    best = _nearest(readings, expected)
    others = [found.dtype for found in readings if found is not best and not _same(found.array, best.array)]
    if not others:
        return best
    note = f"read as {best.dtype}, which fits better than {', '.join(others)}; --dtype says otherwise"
    return Read(best.array, best.dtype, (*best.notes, *([note] if best.dtype != fitting[0] else ())))


def _options(expected: Array) -> dict[str, np.dtype[Any]]:
    """Return the types that an output may have in a file, the likeliest of each size first."""
    own = expected.dtype
    if own.name in ("float32", "float16", "float64"):
        names = "float32 float16 float64 int8 uint8 int32"
    elif own.kind == "b":
        names = "bool int32 float32 float16"
    elif own.kind == "c" or own.name not in TYPES:
        return {own.name: own}  # complex, float8 and what else only onnxruntime makes
    else:
        names = f"{own.name} int32 int64 uint8 int8 int16 float16 float32"
    return {name: TYPES[name] for name in names.split()}


def _nearest(readings: list[Read], expected: Array) -> Read:
    """Return the reading whose numbers are nearest to what is expected, the first of equals."""
    return min(readings, key=lambda found: distance(found.array, expected)) if len(readings) > 1 else readings[0]


def distance(array: Array, expected: Array) -> float:
    """Return 1 - cosine of two arrays, 2 where there are numbers that are none."""
    x, y = (side.reshape(-1).astype(np.float64) for side in (array, expected))
    if not (np.isfinite(x).all() and np.isfinite(y).all()):
        fine = np.isfinite(x) & np.isfinite(y)
        if np.count_nonzero(fine) < 0.9 * fine.size:
            return 2.0
        x, y = x[fine], y[fine]
    scale = max(float(np.abs(x).max(initial=0.0)), 1e-300), max(float(np.abs(y).max(initial=0.0)), 1e-300)
    x, y = x / scale[0], y / scale[1]
    norm = math.sqrt(float(x @ x) * float(y @ y))
    if norm == 0:
        return 0.0 if float(x @ x) == float(y @ y) else 1.0
    off = 1 - float(x @ y) / norm
    # the same direction at another scale is not the same numbers
    return off + abs(math.log10(scale[0] / scale[1])) / 100


def _same(x: Array, y: Array) -> bool:
    return bool(np.array_equal(x.astype(np.float64), y.astype(np.float64)))


def _blocked(size: int, expected: Array, itemsize: int) -> bool:
    """Whether a file of ``size`` bytes holds an image in the chip's own layout, channels in blocks of 16."""
    if expected.ndim != 4 or expected.shape[1] % _BLOCK == 0:
        return False
    batch, channels, height, width = expected.shape
    return bool(size == batch * -(-channels // _BLOCK) * _BLOCK * height * width * itemsize)


def _shaped(flat: Array, expected: Array, dtype: str) -> Read:
    if flat.size == expected.size:
        return Read(flat.reshape(expected.shape), dtype)
    batch, channels, height, width = expected.shape
    blocks = flat.reshape(batch, -1, height, width, _BLOCK).transpose(0, 1, 4, 2, 3)
    array = blocks.reshape(batch, -1, height, width)[:, :channels]
    return Read(np.ascontiguousarray(array), dtype, ("in layout NC1HWC0: unpacked, channels padded to 16 left out",))


def _wrong_size(size: int, wanted: dict[str, int]) -> str:
    sizes = list(dict.fromkeys(wanted.values()))
    named = [f"{need} ({'/'.join(n for n, other in wanted.items() if other == need)})" for need in sizes]
    expected = " or ".join(named[:2])
    larger = [need for need in sizes if need > size]
    nearest = min(larger, default=0)
    cut = f": truncated, {nearest - size} bytes short" if nearest and size * 2 > nearest else ""
    over = f": {size - max(sizes)} bytes too many" if size > max(sizes) else ""
    return f"{size} bytes, expected {expected}{cut or over}" if size else f"empty, expected {expected}"


def _from_npy(path: Path, expected: Array) -> Read:
    try:
        array = np.load(io.BytesIO(path.read_bytes()), allow_pickle=False)
    except Exception as error:  # numpy on a stranger's bytes
        text = "it holds objects" if "pickle" in str(error) else " ".join(str(error).split()) or "broken"
        raise UnreadableError(f"not a sound .npy file: {text}") from None
    if not isinstance(array, np.ndarray) or array.dtype.kind not in "fiub":
        raise UnreadableError("not a sound .npy file of numbers")
    if array.size != expected.size:
        raise UnreadableError(f"{list(array.shape)}, {array.size} numbers; expected {list(expected.shape)}")
    notes = () if array.shape == expected.shape else (f"of shape {list(array.shape)}, taken as {list(expected.shape)}",)
    return Read(array.reshape(expected.shape), array.dtype.name, notes)


def _from_text(path: Path, expected: Array) -> Read:
    if path.stat().st_size > _LARGE:
        raise UnreadableError("a text of more than 8 GiB; have the board write .bin")
    words = path.read_bytes().replace(b",", b" ").split()
    if len(words) != expected.size:
        short = expected.size - len(words)
        cut = (
            f": truncated, {short} short" if 0 < short < expected.size else f": {-short} too many" if short < 0 else ""
        )
        raise UnreadableError(f"{len(words)} numbers, expected {expected.size}{cut}")
    try:
        array = np.array(words, np.float64)
    except ValueError:
        raise UnreadableError("a text with words that are no numbers") from None
    return Read(array.astype(np.float32 if eps_of(expected.dtype) else np.float64).reshape(expected.shape), "text")


def bits_of_half(array: Array) -> Array | None:
    """Return float16 numbers whose bit patterns ``array`` holds as whole numbers; None where it holds no such thing.

    Reading a float16 file with ``struct`` format ``h`` (int16), as the ICNet guide does, gives these whole numbers.
    """
    if array.size == 0 or array.dtype.kind not in "fiu":
        return None
    wide = array.astype(np.float64)
    if not np.isfinite(wide).all() or (wide != np.rint(wide)).any() or np.abs(wide).max() > 65535:
        return None
    if np.abs(wide).max() < 1024:  # labels and counts; as bit patterns they would be denormal
        return None
    return (wide.astype(np.int64) & 0xFFFF).astype(np.uint16).view(np.float16)


def read_dtypes(words: Sequence[str], outputs: Sequence[str]) -> dict[str, str]:
    """Return the element types of ``--dtype OUTPUT=TYPE``, and of ``--dtype TYPE``, for all, under an empty name."""
    found = {}
    for word in words:
        name, equals, kind = word.rpartition("=")
        if equals and name not in outputs:
            raise UsageError(f"--dtype {quoted(word)[1:-1]}: no output {quoted(name)}{did_you_mean(name, outputs)}")
        if kind not in TYPES:
            raise UsageError(f"--dtype {quoted(word)[1:-1]}: {quoted(kind)} is none of {', '.join(sorted(TYPES))}")
        found[name] = kind
    return found


def read_numbers(words: Sequence[str]) -> dict[int, str]:
    """Return the outputs of ``--map NUMBER=OUTPUT`` by the number that their files carry."""
    found = {}
    for word in words:
        number, equals, name = word.partition("=")
        if not equals or not number.isdecimal():
            raise UsageError(f"--map {quoted(word)[1:-1]}: expected NUMBER=OUTPUT, the number that its files carry")
        found[int(number)] = name
    return found
