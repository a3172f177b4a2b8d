"""Numbers that a tensor holds in ``float_data``, ``int64_data`` and such, as the bytes that ``raw_data`` would have.

protobuf takes 4 to 8 bytes for each of them, and onnx a Python number of 32 each time they become an array. The
payload of float_data and double_data is already what raw_data would be, so these weights stay in their file; the
others are decoded once. Only what raw_data can hold unchanged is taken: see :func:`raw_of`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto

from graphtool.graph.wire import DOUBLES, FLOATS, INT32S, INT64S, UINT64S, Buffer, WireError

# by field: the types whose numbers it holds, and how they lie in raw_data
_KINDS: dict[int, dict[int, str]] = {
    FLOATS: {TensorProto.FLOAT: "<f4", TensorProto.COMPLEX64: "<c8"},
    DOUBLES: {TensorProto.DOUBLE: "<f8", TensorProto.COMPLEX128: "<c16"},
    INT64S: {TensorProto.INT64: "<i8"},
    UINT64S: {TensorProto.UINT64: "<u8", TensorProto.UINT32: "<u4"},
    INT32S: {
        TensorProto.INT32: "<i4", TensorProto.INT16: "<i2", TensorProto.INT8: "|i1", TensorProto.UINT16: "<u2",
        TensorProto.UINT8: "|u1", TensorProto.BOOL: "|b1", TensorProto.FLOAT16: "<u2", TensorProto.BFLOAT16: "<u2",
    },
}  # fmt: skip
_AT_ONCE = 1 << 18  # bytes decoded in one go; a few arrays of eight bytes for each are made
_LONGEST = 10  # bytes of a number
_FIELDS = ("float_data", "int32_data", "string_data", "int64_data", "double_data", "uint64_data")


def raw_of(field: int, payload: Buffer, others: Sequence[Buffer]) -> Buffer | None:
    """Return a packed field of numbers as raw_data: ``payload`` itself, or new bytes; None where it is not that.

    ``others`` is what else the tensor's message has. The field is left where it is, for whoever says what is wrong
    with it, when it is not of the tensor's type, not all of its data, or not as many numbers as the shape has, and
    when a number does not fit its type. Raises WireError for a number of more than ten bytes.
    """
    tensor = TensorProto.FromString(b"".join(others))
    kind = _KINDS[field].get(tensor.data_type)
    if kind is None or tensor.data_location or min(tensor.dims, default=0) < 0:
        return None
    if any(len(getattr(tensor, name)) for name in _FIELDS) or tensor.HasField("raw_data"):
        return None
    dtype, count = np.dtype(kind), math.prod(tensor.dims)
    if field in (FLOATS, DOUBLES):
        return payload if len(payload) == count * dtype.itemsize else None
    every = np.frombuffer(payload, np.uint8)
    if np.count_nonzero(every < 128) != count or every[-1] > 127:
        return None
    numbers = np.empty(count, dtype)
    at = 0
    for part in _varints(every):
        wide = part if field == UINT64S else part.view(np.int64)
        narrow = numbers[at : at + len(part)]
        narrow[:] = wide.astype(dtype)
        if (narrow != wide).any():
            return None
        at += len(part)
    return numbers.data.cast("B")


def _varints(every: NDArray[np.uint8]) -> Iterator[NDArray[np.uint64]]:
    """Yield the numbers in these bytes, the last of which ends one, a piece at a time."""
    at = 0
    while at < len(every):
        block = every[at : at + _AT_ONCE]
        last = np.flatnonzero(block < 128)
        first = np.concatenate(([0], last[:-1] + 1))
        length = last - first + 1
        if not last.size or length.max() > _LONGEST:
            raise WireError("a number of more than ten bytes")
        numbers = np.zeros(len(last), np.uint64)
        for place in range(int(length.max())):
            there = length > place
            septet = (block[first[there] + place] & 127).astype(np.uint64)
            numbers[there] |= septet << np.uint64(7 * place)
        yield numbers
        at += int(last[-1]) + 1
