"""Operators that compute, where numpy's result is onnxruntime's to the last bit.

Integers, comparisons and logic are exact in both (two's complement, wrapping). For float32 and float64 those operators
are here whose result IEEE 754 fixes (correctly rounded: + - * / sqrt, rounding to an integer, remainder); tests hold
each against onnxruntime. Everything else, and what C++ leaves undefined, is not computed here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from graphtool.graph.opset import numpy_dtype
from graphtool.natives._call import Array, Call, Elsewhere, Evaluator, Undefined

_PLAIN = frozenset("int8 int16 int32 int64 uint8 uint16 uint32 uint64 float32 float64".split())
_FEW = 4096  # elements that are summed as Python's integers, which cannot overflow
_Numpy = Callable[..., Any]  # a numpy function of one or two arrays


def _numbers(call: Call, *kinds: str) -> list[Array]:
    """Return the inputs, which are of one plain type; raises Elsewhere where that is not of these numpy kinds."""
    arrays = [call.array(place) for place in range(len(call.inputs))]
    dtype = arrays[0].dtype
    if dtype.kind not in kinds or dtype.name not in _PLAIN | {"bool"} or any(a.dtype != dtype for a in arrays):
        raise Elsewhere
    return arrays


def _binary(function: _Numpy) -> Evaluator:
    def evaluate(call: Call) -> list[Array]:
        a, b = _numbers(call, "i", "u", "f")
        call.broadcast(a, b)
        return [function(a, b)]

    return evaluate


def _unary(function: _Numpy, kinds: str) -> Evaluator:
    def evaluate(call: Call) -> list[Array]:
        (data,) = _numbers(call, *kinds)
        call.room(data.shape, data.dtype)
        return [function(data)]

    return evaluate


def _compare(function: _Numpy, kinds: str = "iufb") -> Evaluator:
    def evaluate(call: Call) -> list[Array]:
        a, b = _numbers(call, *kinds)
        call.broadcast(a, b)
        return [function(a, b)]

    return evaluate


def _divide(call: Call) -> list[Array]:
    a, b = _numbers(call, "i", "u", "f")
    call.broadcast(a, b)
    if a.dtype.kind == "f":
        return [np.divide(a, b)]
    _check_divisor(a, b, "Div")
    quotient = np.floor_divide(a, b)
    if a.dtype.kind == "i":  # C++ cuts off where numpy rounds down
        quotient += (np.remainder(a, b) != 0) & ((a < 0) != (b < 0))
    return [quotient]


def _modulo(call: Call) -> list[Array]:
    a, b = _numbers(call, "i", "u", "f")
    call.broadcast(a, b)
    like_c = bool(call.attribute("fmod"))
    if a.dtype.kind == "f":
        if not like_c:
            raise Elsewhere
        return [np.fmod(a, b)]
    _check_divisor(a, b, "Mod")
    return [np.fmod(a, b) if like_c else np.remainder(a, b)]


def _check_divisor(a: Array, b: Array, what: str) -> None:
    """Refuse what kills a process in C++."""
    if (b == 0).any():
        raise Undefined(f"{what} of integers by zero")
    if a.dtype.kind == "i" and (b == -1).any() and (a == np.iinfo(a.dtype).min).any():
        raise Undefined(f"{what} of the least integer by -1")


def _many(function: _Numpy) -> Evaluator:
    """An operator of any number of inputs, taken two by two; integers only, where the order does not matter."""

    def evaluate(call: Call) -> list[Array]:
        arrays = _numbers(call, "i", "u")
        call.broadcast(*arrays)
        result = arrays[0]
        for array in arrays[1:]:
            result = function(result, array)
        return [result]

    return evaluate


def _cast(call: Call) -> list[Array]:
    target = call.attribute("to")
    if not isinstance(target, int):
        raise Elsewhere  # before opset 6 the type is text
    return [_as_type(call, call.array(0), numpy_dtype(target))]


def _cast_like(call: Call) -> list[Array]:
    return [_as_type(call, call.array(0), call.array(1).dtype)]


def _as_type(call: Call, data: Array, dtype: np.dtype[Any]) -> Array:
    """Return ``data`` cast; raises Elsewhere where the result is not the same on every machine, or not numpy's."""
    if data.dtype == dtype:
        return data
    plain = _PLAIN | {"bool"}
    widened = data.dtype == np.float16 and dtype.name in ("float32", "float64")
    if dtype.name not in plain or not (widened or data.dtype.name in plain):
        raise Elsewhere
    call.room(data.shape, dtype)
    if data.dtype.kind == "f" and dtype.kind in "iu":
        least, most = np.iinfo(dtype).min, np.iinfo(dtype).max
        # the most may be no float: the next one above it is, and must not be reached
        if data.size and not ((data > least - 1.0) | (data == least)).all():
            raise Elsewhere
        if data.size and not (np.trunc(data) < float(most) + (most < 2**53)).all():
            raise Elsewhere
    return data.astype(dtype)


def _range(call: Call) -> list[Array]:
    start, limit, delta = (array.reshape(-1)[0] for array in _numbers(call, "i"))
    if delta == 0:
        raise Undefined("Range with delta 0")
    numbers = range(int(start), int(limit), int(delta))
    call.room([len(numbers)], start.dtype)
    return [np.array(numbers, start.dtype)]


def _reduce(function: _Numpy, since: int) -> Evaluator:
    """A reduction of integers; onnxruntime saturates where numpy wraps, so sums that could overflow are left."""

    def evaluate(call: Call) -> list[Array]:
        data = call.array(0)
        if data.dtype not in (np.int32, np.int64) or data.size == 0:
            raise Elsewhere
        axes = call.axes(1, since)
        if not axes and call.opset >= since and call.attribute("noop_with_empty_axes"):
            return [data]
        sums = function in (np.sum, np.prod)
        if sums and data.size > _FEW:
            raise Elsewhere
        exact = data.astype(object) if sums else data
        over = tuple(axes) if axes else None
        result = np.asarray(function(exact, axis=over, keepdims=bool(call.attribute("keepdims"))))
        bounds = np.iinfo(data.dtype)
        if result.min() < bounds.min or result.max() > bounds.max:
            raise Elsewhere
        return [result.astype(data.dtype)]

    return evaluate


def _not(call: Call) -> list[Array]:
    data = call.array(0)
    if data.dtype != np.bool_:
        raise Elsewhere
    return [~data]


ARITHMETIC: dict[str, Evaluator] = {
    "Abs": _unary(np.abs, "iuf"),
    "Add": _binary(np.add),
    "And": _compare(np.logical_and, "b"),
    "Cast": _cast,
    "CastLike": _cast_like,
    "Ceil": _unary(np.ceil, "f"),
    "Div": _divide,
    "Equal": _compare(np.equal),
    "Floor": _unary(np.floor, "f"),
    "Greater": _compare(np.greater, "iuf"),
    "GreaterOrEqual": _compare(np.greater_equal, "iuf"),
    "Less": _compare(np.less, "iuf"),
    "LessOrEqual": _compare(np.less_equal, "iuf"),
    "Max": _many(np.maximum),
    "Min": _many(np.minimum),
    "Mod": _modulo,
    "Mul": _binary(np.multiply),
    "Neg": _unary(np.negative, "if"),
    "Not": _not,
    "Or": _compare(np.logical_or, "b"),
    "Range": _range,
    "Reciprocal": _unary(np.reciprocal, "f"),
    "ReduceMax": _reduce(np.max, 18),
    "ReduceMin": _reduce(np.min, 18),
    "ReduceProd": _reduce(np.prod, 18),
    "ReduceSum": _reduce(np.sum, 13),
    "Round": _unary(np.rint, "f"),
    "Sqrt": _unary(np.sqrt, "f"),
    "Sub": _binary(np.subtract),
    "Xor": _compare(np.logical_xor, "b"),
}
