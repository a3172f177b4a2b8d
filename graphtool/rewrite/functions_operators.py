"""The operators of expressions: arithmetic, comparison, indexing, truth. Floor 2.

Numbers follow Python, tensors numpy: element by element, broadcast, in the tensor's own type (a plain number beside a
float16 tensor does not widen it; integers wrap as they do in the graph). Lists only concatenate.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from typing import Any

import numpy as np

from graphtool.rewrite.functions_values import (
    MAX_ELEMENTS,
    array,
    describe,
    integer,
    is_float,
    number,
    tensor_like,
    within,
)
from graphtool.rewrite.refs import Array, TensorRef, Tensors

_ARITHMETIC: dict[str, Callable[[Any, Any], Any]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": operator.truediv,
    "//": operator.floordiv,
    "%": operator.mod,
}
_ORDER: dict[str, Callable[[Any, Any], Any]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_FLOAT32 = np.dtype(np.float32)
_EQUAL: dict[str, Callable[[Any, Any], Any]] = {"==": operator.eq, "!=": operator.ne}
_COMPARE = _EQUAL | _ORDER


def arithmetic(symbol: str, a: object, b: object) -> object:
    """Return ``a symbol b`` for one of ``+ - * / // %``; ``+`` also concatenates two lists or two strings."""
    if type(a) is TensorRef:
        a = array(a)
    if type(b) is TensorRef:
        b = array(b)
    # most of what passes compute: statistics and weights of one type, a number beside them
    if type(a) is np.ndarray and a.dtype is _FLOAT32:
        if type(b) is np.ndarray and b.dtype is _FLOAT32 and (a.shape == b.shape or a.size * b.size <= MAX_ELEMENTS):
            return _ARITHMETIC[symbol](a, b)
        if type(b) is float and a.ndim:
            return _ARITHMETIC[symbol](a, np.float32(b))  # numpy 1 would widen the tensor for a large number
    elif type(a) in (int, float) and type(b) in (int, float):
        return _ARITHMETIC[symbol](a, b)
    if tensor_like(a) or tensor_like(b):
        x, y = _operands(a, b)
        if symbol in ("//", "%"):
            integral = not (is_float(np.asarray(x).dtype) or is_float(np.asarray(y).dtype))
            if integral and not np.all(y):
                raise ValueError("division by zero")
        return _ARITHMETIC[symbol](x, y)
    if symbol == "+" and ((isinstance(a, list) and isinstance(b, list)) or (isinstance(a, str) and isinstance(b, str))):
        return a + b  # type: ignore[operator]
    return _ARITHMETIC[symbol](number(a), number(b))


def negative(a: object) -> object:
    """Return ``-a``."""
    return np.negative(array(a)) if tensor_like(a) else -number(a)


def compare(symbol: str, a: object, b: object) -> object:
    """Return ``a symbol b`` for a comparison or ``in``; of tensors, element by element."""
    if symbol in ("in", "not in"):
        if tensor_like(a) or not (isinstance(b, list) or (isinstance(a, str) and isinstance(b, str))):
            raise ValueError(f"{describe(a)} cannot be looked for in {describe(b)}")
        return (a in b) == (symbol == "in")
    if tensor_like(a) or tensor_like(b):
        return _COMPARE[symbol](*_operands(a, b))
    if symbol in _EQUAL:
        return _EQUAL[symbol](a, b)
    if isinstance(a, str) and isinstance(b, str):
        return _ORDER[symbol](a, b)
    return _ORDER[symbol](number(a), number(b))


def index(value: object, at: object) -> object:
    """Return element or slice ``at`` of a list, a string, or (along its first axis) a constant."""
    if isinstance(value, Tensors):
        return value.refs[integer(at)]
    if not isinstance(value, list | str):
        if not tensor_like(value):
            raise ValueError(f"{describe(value)} has no elements")
        value = array(value)
    return value[at if isinstance(at, slice) else integer(at)]


def truth(value: object) -> bool:
    """Return whether ``value`` counts as true; a tensor of several elements does neither."""
    if type(value) is bool:
        return value
    if not tensor_like(value):
        return bool(value)
    if not isinstance(value, np.ndarray) or value.size != 1:
        raise ValueError(f"{describe(value)} is neither true nor false; write all(...) or any(...)")
    return bool(value.item())


def _operands(a: object, b: object) -> tuple[Array | int | float, Array | int | float]:
    x = array(a) if tensor_like(a) else number(a)
    y = array(b) if tensor_like(b) else number(b)
    if _size(x) * _size(y) > MAX_ELEMENTS and np.shape(x) != np.shape(y):
        within(math.prod(np.broadcast_shapes(np.shape(x), np.shape(y))))
    if isinstance(x, np.ndarray):
        return x, _beside(x, y)
    return _beside(y, x), y


def _size(value: Array | int | float) -> int:
    return value.size if isinstance(value, np.ndarray) else 1


def _beside(tensor: Array | int | float, other: Array | int | float) -> Array | int | float:
    # numpy 1 widens a tensor of rank 0, numpy 2 does not: a plain number takes the tensor's type where that holds it
    if isinstance(tensor, np.ndarray) and not isinstance(other, np.ndarray):
        fits = is_float(tensor.dtype) or (isinstance(other, int) and tensor.dtype.kind in "iu")
        return np.asarray(other, dtype=tensor.dtype) if fits else other
    return other
