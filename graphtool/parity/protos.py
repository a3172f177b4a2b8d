"""The ``.pb`` files of ONNX's test data sets: TensorProto, SequenceProto or OptionalProto, as the model's type says."""

from __future__ import annotations

from typing import Any

from google.protobuf.message import DecodeError
from numpy.typing import NDArray
from onnx import OptionalProto, SequenceProto, TensorProto, numpy_helper

from graphtool.parity.containers import ABSENT, Held, boxed, is_absent

Array = NDArray[Any]


def from_pb(data: bytes, held: Held) -> Array:
    """Return what a file holds, which is of the kind of ``held``; types and shapes of tensors may be others.

    Raises ValueError, in words that follow the name of the file, for anything else.
    """
    try:
        if held.optional:
            return _optional(OptionalProto.FromString(data), held)
        if held.sequence:
            return _sequence(SequenceProto.FromString(data))
        return _tensor(TensorProto.FromString(data))
    except (DecodeError, TypeError, KeyError, NotImplementedError, ValueError) as error:
        if isinstance(error, _ElsewhereError):
            raise
        message = "SequenceProto" if held.sequence else "TensorProto"
        kind = "OptionalProto" if held.optional else message
        raise ValueError(f"not a sound {kind} file: {str(error).partition(chr(10))[0]}") from None


def to_pb(name: str, array: Array, held: Held) -> bytes:
    """Return the bytes of such a file; raises ValueError where ``array`` is not of the kind of ``held``."""
    proto: Any
    if held.optional:
        proto = OptionalProto(name=name)
        if not is_absent(array):
            proto.elem_type = OptionalProto.SEQUENCE if held.sequence else OptionalProto.TENSOR
            if held.sequence:
                proto.sequence_value.CopyFrom(_made_sequence("", array))
            else:
                proto.tensor_value.CopyFrom(numpy_helper.from_array(array))
    elif held.sequence:
        proto = _made_sequence(name, array)
    else:
        proto = numpy_helper.from_array(array, name)
    return bytes(proto.SerializeToString(deterministic=True))


class _ElsewhereError(ValueError):
    pass


def _tensor(tensor: TensorProto) -> Array:
    if tensor.data_location == TensorProto.EXTERNAL:
        raise _ElsewhereError("its data lies in another file, which is not read")
    return numpy_helper.to_array(tensor)


def _sequence(sequence: SequenceProto) -> Array:
    if sequence.elem_type not in (SequenceProto.TENSOR, SequenceProto.UNDEFINED):
        raise ValueError("it is no sequence of tensors")
    return boxed([_tensor(tensor) for tensor in sequence.tensor_values])


def _optional(optional: OptionalProto, held: Held) -> Array:
    if optional.elem_type == OptionalProto.UNDEFINED:
        return ABSENT
    field = "sequence_value" if held.sequence else "tensor_value"
    if optional.elem_type != (OptionalProto.SEQUENCE if held.sequence else OptionalProto.TENSOR):
        raise ValueError(f"it holds no {field.removesuffix('_value')}")
    if not optional.HasField(field):
        return ABSENT  # the type of what is absent may be stated
    return _sequence(optional.sequence_value) if held.sequence else _tensor(optional.tensor_value)


def _made_sequence(name: str, array: Array) -> SequenceProto:
    tensors = [numpy_helper.from_array(item) for item in array]
    return SequenceProto(name=name, elem_type=SequenceProto.TENSOR, tensor_values=tensors)
