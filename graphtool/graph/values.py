"""What is known of a tensor from outside: name, element type, shape."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import onnx
from onnx import TensorProto

from graphtool.errors import show

Dim = int | str | None
Shape = tuple[Dim, ...]


class Value(NamedTuple):
    """A tensor's name, element type (``TensorProto.DataType``; 0 unknown or no tensor) and shape.

    A dimension is a number, a symbol (any string, ``"-1"`` included) or None (unknown). ``shape`` is None where not
    even the rank is known. ``kind`` is ``tensor``, or ``sequence``, ``optional``, ``map``, ``sparse``, ``unknown``.
    """

    name: str
    dtype: int = 0
    shape: Shape | None = None
    kind: str = "tensor"

    @property
    def rank(self) -> int | None:
        """Number of dimensions, or None where unknown."""
        return None if self.shape is None else len(self.shape)

    @property
    def static(self) -> bool:
        """Whether every dimension is a number."""
        return self.shape is not None and all(isinstance(d, int) for d in self.shape)

    @property
    def dims(self) -> tuple[int, ...]:
        """The shape where it is static; raises ValueError elsewhere."""
        if self.shape is None or not self.static:
            raise ValueError(f"{self.name} has no static shape")
        return tuple(d for d in self.shape if isinstance(d, int))

    def type_text(self) -> str:
        """Return the type the way ONNX text writes it, such as ``float32[1,3,N,?]``."""
        if self.kind != "tensor":
            return self.kind
        name = dtype_name(self.dtype)
        if self.shape is None:
            return name
        return f"{name}[{','.join('?' if d is None else show(d) for d in self.shape)}]"


_NAMES: dict[int, str] = {
    TensorProto.FLOAT: "float32",
    TensorProto.DOUBLE: "float64",
}
_CODES = {"float": TensorProto.FLOAT, "float32": TensorProto.FLOAT, "double": TensorProto.DOUBLE, "float64": 11}


@lru_cache(maxsize=256)
def dtype_name(code: int) -> str:
    """Return the name of an element type, such as ``float32``; ``?`` for an unknown one."""
    if code == 0:
        return "?"
    known = TensorProto.DataType.keys() if code in TensorProto.DataType.values() else ()
    return _NAMES.get(code) or (TensorProto.DataType.Name(code).lower() if known else f"type{code}")


@lru_cache(maxsize=256)
def dtype_code(name: str) -> int:
    """Return the element type with that name; raises KeyError for an unknown name."""
    if name in _CODES:
        return int(_CODES[name])
    if name.upper() in set(TensorProto.DataType.keys()) and name != "undefined":
        return int(TensorProto.DataType.Value(name.upper()))
    raise KeyError(name)


def value_of(info: onnx.ValueInfoProto) -> Value:
    """Return what a ValueInfoProto says."""
    kind = info.type.WhichOneof("value")
    if kind not in ("tensor_type", "sparse_tensor_type"):
        return Value(info.name, kind=(kind or "unknown").removesuffix("_type"))
    tensor = getattr(info.type, kind)
    shape: Shape | None = None
    if tensor.HasField("shape"):
        shape = tuple(_dim(d) for d in tensor.shape.dim)
    return Value(info.name, tensor.elem_type, shape, "tensor" if kind == "tensor_type" else "sparse")


def _dim(dim: onnx.TensorShapeProto.Dimension) -> Dim:
    which = dim.WhichOneof("value")
    if which == "dim_value":
        # exporters write -1 for "unknown"; no tensor has a negative extent
        return dim.dim_value if dim.dim_value >= 0 else None
    return dim.dim_param or None if which == "dim_param" else None
