"""Weights and attributes of an onnx-graphsurgeon graph: are they those of the model, and how are they written there."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_graphsurgeon as gs
from numpy.typing import NDArray
from onnx import AttributeProto, TensorProto, helper, numpy_helper
from onnx_graphsurgeon.exporters.onnx_exporter import constant_to_onnx_tensor
from onnx_graphsurgeon.ir.node import Node
from onnx_graphsurgeon.ir.tensor import LazyValues

from graphtool.errors import ModelError, PassError, quoted, show
from graphtool.graph import opset as ops
from graphtool.graph.weights import LAZY_BYTES, Weights, is_external, is_lazy
from graphtool.rewrite.surgeon_out import Weight, dtype_code

_DATA_FIELDS = (
    "dims", "data_type", "segment", "float_data", "int32_data", "string_data", "int64_data", "raw_data",
    "external_data", "data_location", "double_data", "uint64_data",
)  # fmt: skip
_CASTS = {AttributeProto.FLOAT: float, AttributeProto.INT: int}


class Values:
    """Reads and writes the constants that come back."""

    def __init__(self, weights: Weights) -> None:
        self._weights = weights

    def same(self, own: TensorProto, constant: Any) -> bool:
        """Whether ``constant`` is the tensor ``own``: its name, element type, shape and every byte."""
        if own.name != constant.name:
            return False
        values = constant._values
        if isinstance(values, Weight):
            return values.original is own or _bytes(values.original) == _bytes(own)
        if getattr(constant, "_export_dtype", None) is not None:
            return False
        try:
            return _equal(self._weights.array(own), self._array(constant))
        except ModelError:  # what could not be read was not read by the pass either
            return False

    def equal(self, one: Any, other: Any) -> bool:
        """Whether two constants have the same values."""
        return one._values is other._values or _equal(self._array(one), self._array(other))

    def tensor(self, constant: Any, own: TensorProto | None) -> TensorProto:
        """Return a constant as a tensor, with documentation and metadata of ``own``, which it replaces."""
        made = TensorProto()
        values = constant._values
        if isinstance(values, Weight):
            made.CopyFrom(values.original)
        elif isinstance(values, LazyValues):
            made.CopyFrom(values.tensor)
        else:
            if own is not None:
                made.CopyFrom(own)
                for field in _DATA_FIELDS:
                    made.ClearField(field)
            made.MergeFrom(_written(constant))
        made.name = constant.name
        if len(made.raw_data) > LAZY_BYTES and not is_lazy(made) and not is_external(made):
            made.raw_data = self._weights.hold(made.raw_data)  # snapshots and copies stay small
        return made

    def _array(self, constant: Any) -> NDArray[np.generic]:
        values = constant._values
        if isinstance(values, Weight):
            return self._weights.array(values.original)
        return np.asarray(values.load() if isinstance(values, LazyValues) else values)


def same_value(own: AttributeProto, value: Any, values: Values) -> bool:
    """Whether ``value`` is what attribute ``own`` says."""
    try:
        match own.type:
            case AttributeProto.INT:
                return not isinstance(value, (float, str, list)) and int(value) == own.i
            case AttributeProto.FLOAT:
                return _float_bytes([value]) == _float_bytes([own.f])
            case AttributeProto.STRING:
                return _encoded(value) == own.s
            case AttributeProto.INTS:
                return [int(item) for item in value] == list(own.ints)
            case AttributeProto.FLOATS:
                return _float_bytes(value) == _float_bytes(own.floats)
            case AttributeProto.STRINGS:
                return [_encoded(item) for item in value] == list(own.strings)
            case AttributeProto.TENSOR:
                return isinstance(value, gs.Constant) and values.same(own.t, value)
    except (TypeError, ValueError, OverflowError):  # of another kind
        return False
    return False


def attribute_of(
    op_type: str, domain: str, version: int | None, name: str, value: Any, own: AttributeProto | None, values: Values
) -> AttributeProto:
    """Return an attribute that holds ``value``, of the operator's type or else that of ``own``; raises PassError."""
    where = f"attribute {quoted(name)} of {show(op_type)}"
    if isinstance(value, gs.Constant):
        old = own.t if own is not None and own.type == AttributeProto.TENSOR else None
        made = AttributeProto(name=name, type=AttributeProto.TENSOR, t=values.tensor(value, old))
    elif isinstance(value, (gs.Variable, Node.AttributeRef)):
        raise PassError(f"{where} is {show(value)}, which is no value")
    else:
        known = ops.schema(op_type, domain, version) is not None
        try:
            if known:
                made = ops.make_attribute(op_type, domain, version, name, _plain(value))
            else:
                cast = _CASTS.get(own.type) if own is not None else None
                made = helper.make_attribute(name, cast(value) if cast else _plain(value))
        except (TypeError, ValueError, OverflowError) as error:
            raise PassError(f"{where}: {show(error, 300)}") from None
    if own is not None and own.doc_string:
        made.doc_string = own.doc_string
    return made


def _plain(value: Any) -> Any:
    """Return a value without numpy in it; an element type becomes its number, as in the attribute ``to`` of Cast."""
    if isinstance(value, (type, np.dtype)):
        return dtype_code(value)
    if isinstance(value, (np.ndarray, np.generic)):
        return value.tolist()
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return int(value) if isinstance(value, bool) else value


def _written(constant: Any) -> TensorProto:
    try:
        if getattr(constant, "_export_dtype", None) is not None:
            found = constant_to_onnx_tensor(constant)
            assert isinstance(found, TensorProto)
            return found
        array = np.asarray(constant._values)
        return numpy_helper.from_array(array.astype(object) if array.dtype.kind in "US" else array)
    except Exception as error:  # the library and onnx raise what comes: AssertionError, KeyError, TypeError ...
        raise PassError(f"constant {quoted(constant.name)} cannot be written: {show(error, 300)}") from None


def _equal(one: NDArray[Any], other: NDArray[Any]) -> bool:
    if one.dtype != other.dtype or one.shape != other.shape:
        return False
    if one.dtype.hasobject:
        return bool(one.tolist() == other.tolist())
    return bool(np.array_equal(_raw(one), _raw(other)))


def _raw(array: NDArray[Any]) -> NDArray[np.uint8]:
    return np.ascontiguousarray(array).reshape(-1).view(np.uint8)  # by the byte: NaN equals itself, -0 is not 0


def _bytes(tensor: TensorProto) -> bytes:
    data: bytes = tensor.SerializeToString(deterministic=True)
    return data


def _float_bytes(values: Any) -> bytes:
    return np.asarray(list(values), np.float32).tobytes()


def _encoded(value: Any) -> bytes:
    if not isinstance(value, (str, bytes)):
        raise TypeError
    return value.encode() if isinstance(value, str) else value
