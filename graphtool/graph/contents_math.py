"""Arithmetic on contents, element by element: ints exactly and with symbols, floats as IEEE 754 has it.

An element whose result does not fit its integer type, or that division leaves undefined, is unknown. Floats are
computed by numpy in their own type, and only by operations of which IEEE 754 leaves the runtime no choice.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import reduce
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto

from graphtool.graph.contents import FLOATS, MOST_ITEMS, RANGES, Content, Item, boxed, content_of, holds
from graphtool.graph.facts_call import Call, Unknown, axes_in
from graphtool.graph.facts_symbols import Size, Symbols
from graphtool.graph.opset import numpy_dtype

Function = Callable[[Symbols, int, Any, Any], Size]
_BOOL = int(TensorProto.BOOL)
_DOUBLE = 1 << 53  # beyond it not every integer is a double, and onnxruntime sums and multiplies in double
_WIDE = (TensorProto.INT32, TensorProto.UINT32, TensorProto.INT64, TensorProto.UINT64)


def _equal(symbols: Symbols, dtype: int, a: Size, b: Size) -> Size:
    if a is None or b is None:
        return None
    if a == b:
        return 1
    return 0 if symbols.below(a, b) or symbols.below(b, a) else None


def _less(symbols: Symbols, dtype: int, a: Size, b: Size) -> Size:
    return 1 if symbols.below(a, b) else 0 if symbols.at_most(b, a) else None


def _less_or_equal(symbols: Symbols, dtype: int, a: Size, b: Size) -> Size:
    return 1 if symbols.at_most(a, b) else 0 if symbols.below(b, a) else None


def _and(symbols: Symbols, dtype: int, a: Size, b: Size) -> Size:
    if a == 0 or b == 0:
        return 0
    return b if a == 1 else a if b in (1, a) else None


def _or(symbols: Symbols, dtype: int, a: Size, b: Size) -> Size:
    if a == 1 or b == 1:
        return 1
    return b if a == 0 else a if b in (0, a) else None


def _xor(symbols: Symbols, dtype: int, a: Size, b: Size) -> Size:
    return None if isinstance(a, str) or isinstance(b, str) or a is None or b is None else a ^ b


# two inputs or more -> one of their type
_ARITHMETIC: dict[str, tuple[Function, Callable[..., NDArray[Any]] | None]] = {
    "Add": (lambda s, t, a, b: s.add(a, b, t), np.add),
    "Sum": (lambda s, t, a, b: s.add(a, b, t), None),
    "Sub": (lambda s, t, a, b: s.sub(a, b, t), np.subtract),
    "Mul": (lambda s, t, a, b: s.mul(a, b, t), np.multiply),
    "Div": (lambda s, t, a, b: s.div(a, b, t), np.true_divide),
    "Min": (lambda s, t, a, b: s.minimum(a, b), np.minimum),
    "Max": (lambda s, t, a, b: s.maximum(a, b), np.maximum),
    "And": (_and, None),
    "Or": (_or, None),
    "Xor": (_xor, None),
}
# two inputs -> bool
_COMPARISONS: dict[str, tuple[Function, Callable[..., NDArray[Any]]]] = {
    "Equal": (_equal, np.equal),
    "Less": (_less, np.less),
    "LessOrEqual": (_less_or_equal, np.less_equal),
    "Greater": (lambda s, t, a, b: _less(s, t, b, a), np.greater),
    "GreaterOrEqual": (lambda s, t, a, b: _less_or_equal(s, t, b, a), np.greater_equal),
}
_UNARY_FLOATS: dict[str, Callable[..., NDArray[Any]]] = {
    "Neg": np.negative, "Abs": np.abs, "Floor": np.floor, "Ceil": np.ceil, "Round": np.rint,
}  # fmt: skip
_REDUCTIONS: dict[str, tuple[Callable[[Symbols, int, Size, Size], Size], Size]] = {
    "ReduceSum": (lambda s, t, a, b: s.add(a, b, t), 0),
    "ReduceProd": (lambda s, t, a, b: s.mul(a, b, t), 1),
    "ReduceMax": (lambda s, t, a, b: s.maximum(a, b), None),
    "ReduceMin": (lambda s, t, a, b: s.minimum(a, b), None),
}

# -- element by element


def elementwise(call: Call) -> Content:
    """Arithmetic, comparison and logic with numpy's broadcasting; raises Unknown."""
    op = call.node.op_type
    inputs = [call.content(place) for place in range(len(call.node.input))]
    dtype = inputs[0].dtype
    shapes = [content.shape for content in inputs]
    if any(content.dtype != dtype for content in inputs) or (call.version < 7 and len(set(shapes)) > 1):
        raise Unknown  # before opset 7 an attribute said how to broadcast
    result = _BOOL if op in _COMPARISONS else dtype
    if dtype in FLOATS:
        return content_of(result, _floats((_COMPARISONS.get(op) or _ARITHMETIC[op])[1], inputs))
    if op == "Mod":
        function: Function = _modulo(not call.attr("fmod", 0))
    else:
        function = (_COMPARISONS.get(op) or _ARITHMETIC[op])[0]
    shape = _broadcast(shapes)
    columns = [_spread(content, shape) for content in inputs]
    items = [reduce(lambda a, b: function(call.symbols, dtype, a, b), row) for row in zip(*columns, strict=True)]
    return Content(result, shape, tuple(items))


def _modulo(floored: bool) -> Function:
    return lambda symbols, dtype, a, b: symbols.mod(a, b, floored)


def _broadcast(shapes: Sequence[tuple[int, ...]]) -> tuple[int, ...]:
    shape = max(shapes, key=len)
    if any(other not in (shape, (), (1,)) for other in shapes) or not shape:
        shape = np.broadcast_shapes(*shapes)
    if math.prod(shape) > MOST_ITEMS:
        raise Unknown
    return shape


def _spread(content: Content, shape: tuple[int, ...]) -> Sequence[Item]:
    if content.shape == shape:
        return content.items
    if len(content.items) == 1:
        return content.items * math.prod(shape)
    return np.broadcast_to(content.array, shape).ravel().tolist()


def _floats(function: Callable[..., NDArray[Any]] | None, inputs: Sequence[Content]) -> NDArray[np.object_]:
    """Return what a function makes of floats; None where an element that it takes is unknown."""
    # the order of a sum of several, and half precision, are the runtime's choice
    if function is None or len(inputs) > 2 or any(content.dtype == TensorProto.FLOAT16 for content in inputs):
        raise Unknown
    shape = _broadcast([content.shape for content in inputs])
    columns = [_spread(content, shape) for content in inputs]
    dtype = numpy_dtype(inputs[0].dtype)
    arrays = [np.array([math.nan if item is None else item for item in column], dtype) for column in columns]
    with np.errstate(all="ignore"):
        result = np.asarray(function(*arrays))
    unknown = np.any([np.isnan(array) for array in arrays], axis=0)  # of NaN runtimes make what they like
    items = [int(item) if result.dtype == bool else item for item in result.tolist()]
    return boxed([None if gone else item for item, gone in zip(items, unknown.tolist(), strict=True)], shape)


def unary(call: Call) -> Content:
    """Neg, Abs, Not, Floor, Ceil, Round; raises Unknown."""
    content, symbols, op = call.content(0), call.symbols, call.node.op_type
    if content.dtype in FLOATS:
        return content_of(content.dtype, _floats(_UNARY_FLOATS.get(op), [content]))
    if op == "Not":
        items: list[Item] = [1 - item if isinstance(item, int) else None for item in content.items]
    elif op == "Neg":
        items = [symbols.sub(0, size, content.dtype) for size in call_sizes(content)]
    elif op == "Abs":
        items = [
            size if symbols.nonnegative(size) else symbols.sub(0, size, content.dtype) if _is_negative(size) else None
            for size in call_sizes(content)
        ]
    else:
        raise Unknown
    return Content(content.dtype, content.shape, tuple(items))


def _is_negative(size: Size) -> bool:
    return isinstance(size, int) and size < 0


def call_sizes(content: Content) -> list[Size]:
    """Return the elements of an integer content."""
    return [item for item in content.items if not isinstance(item, float)]


def where(call: Call) -> Content:
    """Where: an element is known where its condition is, or where both choices are one; raises Unknown."""
    inputs = [call.content(place) for place in range(3)]
    if inputs[1].dtype != inputs[2].dtype:
        raise Unknown
    shape = _broadcast([content.shape for content in inputs])
    conditions, yes, no = (_spread(content, shape) for content in inputs)
    items = tuple(
        a if condition == 1 else b if condition == 0 else a if _same(a, b) else None
        for condition, a, b in zip(conditions, yes, no, strict=True)
    )
    return Content(inputs[1].dtype, shape, items)


def _same(a: Item, b: Item) -> bool:
    return a is not None and not isinstance(a, float) and a == b


# -- conversion


def cast(call: Call) -> Content:
    """Cast and CastLike between integers, booleans and floats; raises Unknown."""
    content = call.content(0)
    to = call.dtype(1) if call.node.op_type == "CastLike" else call.attr("to")
    if not isinstance(to, int) or not holds(to):
        raise Unknown
    if to in FLOATS:
        numbers = [None if isinstance(item, str) else item for item in content.items]
        array = np.array([0 if item is None else item for item in numbers], numpy_dtype(content.dtype))
        with np.errstate(all="ignore"):
            floats = array.astype(numpy_dtype(to)).tolist()
        # a runtime may round to half precision in two steps: those are known that need no rounding
        exact = to != TensorProto.FLOAT16
        items = [
            item if number is not None and (exact or item == number) else None
            for number, item in zip(numbers, floats, strict=True)
        ]
        return Content(to, content.shape, tuple(items))
    return Content(
        to, content.shape, tuple(_converted(call.symbols, item, content.dtype, to) for item in content.items)
    )


def _converted(symbols: Symbols, item: Item, source: int, to: int) -> Item:
    low, high = RANGES[to]
    if item is None:
        return None
    if to == _BOOL:
        return (1 if symbols.positive(item) else None) if isinstance(item, str) else int(item != 0)
    if isinstance(item, float):
        return int(item) if math.isfinite(item) and low <= int(item) <= high else None
    if isinstance(item, int):
        return item if low <= item <= high else None
    wider = source in RANGES and low <= RANGES[source][0] and RANGES[source][1] <= high
    return item if wider or (to in _WIDE and symbols.is_axis(item)) else None


# -- reductions


def reduction(call: Call) -> Content:
    """ReduceSum, ReduceProd, ReduceMax and ReduceMin of integers; raises Unknown."""
    content = call.content(0)
    if content.dtype in FLOATS or content.dtype == _BOOL:
        raise Unknown
    function, start = _REDUCTIONS[call.node.op_type]
    axes = call.listed("axes", 1)
    if not axes and call.attr("noop_with_empty_axes", 0):
        return content
    rank = len(content.shape)
    gone = axes_in(axes, rank) if axes else list(range(rank))
    kept = [axis for axis in range(rank) if axis not in gone]
    count = math.prod(content.shape[axis] for axis in gone)
    rows = content.array.transpose(kept + gone).reshape(math.prod(content.shape[axis] for axis in kept), count)
    if not count and start is None:
        raise Unknown
    results: list[Item] = []
    for row in rows.tolist():
        first, rest = (row[0], row[1:]) if row else (start, [])
        result = reduce(lambda a, b: function(call.symbols, content.dtype, a, b), rest, first)
        exact = all(not isinstance(item, int) or abs(item) <= _DOUBLE for item in (*row, result))
        results.append(result if exact else None)
    shape = [1 if axis in gone else size for axis, size in enumerate(content.shape)]
    return Content(
        content.dtype,
        tuple(shape if call.attr("keepdims", 1) else [shape[axis] for axis in kept]),
        tuple(results),
    )


RULES: dict[str, Callable[[Call], Content]] = {
    **dict.fromkeys((*_ARITHMETIC, *_COMPARISONS, "Mod"), elementwise),
    **dict.fromkeys((*_UNARY_FLOATS, "Not"), unary),
    **dict.fromkeys(_REDUCTIONS, reduction),
    **dict.fromkeys(("Cast", "CastLike"), cast),
    "Where": where,
}
