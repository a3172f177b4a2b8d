"""Does a tensor hold as many numbers as its type and shape say? Asked before anything is allocated for them."""

from __future__ import annotations

from math import prod

from onnx import TensorProto

from graphtool.errors import quoted, show
from graphtool.graph.values import dtype_name
from graphtool.graph.weights import is_external, payload_bytes, source_of

MOST_DIMENSIONS = 32  # what every numpy can have
TYPES = frozenset(TensorProto.DataType.values())
# the field that holds elements of a type outside raw_data, and how many entries one element takes (onnx.proto)
_FIELDS: dict[int, tuple[str, int]] = {
    TensorProto.FLOAT: ("float_data", 1), TensorProto.COMPLEX64: ("float_data", 2),
    TensorProto.DOUBLE: ("double_data", 1), TensorProto.COMPLEX128: ("double_data", 2),
    TensorProto.INT64: ("int64_data", 1),
    TensorProto.UINT64: ("uint64_data", 1), TensorProto.UINT32: ("uint64_data", 1),
    TensorProto.INT32: ("int32_data", 1), TensorProto.INT16: ("int32_data", 1), TensorProto.UINT16: ("int32_data", 1),
    TensorProto.INT8: ("int32_data", 1), TensorProto.UINT8: ("int32_data", 1), TensorProto.BOOL: ("int32_data", 1),
    TensorProto.FLOAT16: ("int32_data", 1), TensorProto.BFLOAT16: ("int32_data", 1),
    TensorProto.STRING: ("string_data", 1),
}  # fmt: skip


def size_fault(tensor: TensorProto) -> str | None:
    """Return what is wrong with the type, shape or amount of data of a tensor that is not external; None if nothing."""
    code, dims = tensor.data_type, tensor.dims
    if code not in TYPES or not code:
        return f"{_named(tensor)} has element type {code}, which ONNX has not"
    if len(dims) > MOST_DIMENSIONS:
        return f"{_named(tensor)} has {len(dims)} dimensions, more than {MOST_DIMENSIONS}"
    if is_external(tensor):
        return None
    if dims and min(dims) < 0:
        return f"{_named(tensor)} has a negative dimension, {show(list(dims))}"
    if tensor.HasField("raw_data") and code != TensorProto.STRING:
        wanted, place = payload_bytes(tensor), source_of(tensor)
        has = len(tensor.raw_data) if place is None else place[2]
        unit = "bytes"
    else:
        field, each = _FIELDS.get(code, ("", 0))
        if not field:  # several in an entry: none of onnx's writers leave them there
            return None
        wanted, has, unit = prod(dims) * each, len(getattr(tensor, field)), "entries"
    if wanted is None or has == wanted:
        return None
    shape = ",".join(map(str, dims))
    return f"{_named(tensor)} is {dtype_name(code)}[{shape}], {wanted} {unit}, and holds {has}"


def _named(tensor: TensorProto) -> str:
    return f"tensor {quoted(tensor.name)}" if tensor.name else "tensor without a name"
