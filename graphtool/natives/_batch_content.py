"""Numbers in small tensors that shapes are computed from: what a node makes of the numbers that it reads."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import NodeProto, numpy_helper

from graphtool.graph import opset as ops
from graphtool.graph.values import Dim, Shape

MOST_ITEMS = 256  # of a tensor that is followed
Items = NDArray[Any]  # of objects: a number, a symbol or None for unknown


def measured(node: NodeProto, shape: Shape | None, version: int | None) -> Items | None:
    """Return what a Shape or Size of a tensor of that shape makes."""
    if shape is None:
        return None
    if node.op_type == "Size":
        if not all(isinstance(dim, int) for dim in shape):
            return None
        return np.array(int(np.prod([int(d) for d in shape if isinstance(d, int)])), object)
    start, end = ops.effective(node, "start", version), ops.effective(node, "end", version)
    low = start if isinstance(start, int) else 0
    return boxed(shape[low : end if isinstance(end, int) else None])


def boxed(items: Sequence[Dim]) -> Items:
    """Return sizes as a vector of objects."""
    array = np.empty(len(items), object)
    array[:] = list(items)
    return array


# -- rules. A symbol or None passes through what only moves numbers

Rule = Callable[[NodeProto, list[Any], int], "Items | None"]


def _axis(node: NodeProto, version: int, fallback: int = 0) -> int:
    axis = ops.effective(node, "axis", version)
    return axis if isinstance(axis, int) else fallback


def _gather(node: NodeProto, inputs: list[Any], version: int) -> Items:
    return np.asarray(np.take(inputs[0], inputs[1].astype(np.int64), axis=_axis(node, version)), object)


def _concat(node: NodeProto, inputs: list[Any], version: int) -> Items:
    return np.concatenate(inputs, axis=_axis(node, version))


def _axes(node: NodeProto, inputs: list[Any], version: int) -> tuple[int, ...] | None:
    own = ops.effective(node, "axes", version)
    if isinstance(own, list):
        return tuple(own)
    return tuple(int(i) for i in inputs[1]) if len(inputs) > 1 and inputs[1] is not None else None


def _unsqueeze(node: NodeProto, inputs: list[Any], version: int) -> Items:
    axes = _axes(node, inputs, version)
    return np.asarray(np.expand_dims(inputs[0], axes or ()), object)


def _squeeze(node: NodeProto, inputs: list[Any], version: int) -> Items:
    return np.asarray(np.squeeze(inputs[0], axis=_axes(node, inputs, version)), object)


def _slice(node: NodeProto, inputs: list[Any], version: int) -> Items:
    names = ("starts", "ends", "axes", "steps")
    given = [ops.effective(node, name, version) for name in names] if version < 10 else inputs[1:]
    starts, ends, axes, steps = [*given, None, None, None, None][:4]
    whole = [slice(None)] * inputs[0].ndim
    for place, (start, end) in enumerate(zip(starts, ends, strict=True)):
        axis = int(axes[place]) if axes is not None else place
        step = int(steps[place]) if steps is not None else 1
        low, high = int(start), int(end)
        whole[axis] = slice(low, None if step < 0 and high < -(2**31) else high, step)
    return np.asarray(inputs[0][tuple(whole)], object)


def _cast(node: NodeProto, inputs: list[Any], version: int) -> Items:
    to = ops.effective(node, "to", version)
    assert isinstance(to, int)
    kind = ops.numpy_dtype(to).type

    def one(item: Any) -> Any:
        return item if isinstance(item, str) or item is None else kind(item).item()

    return np.asarray(np.frompyfunc(one, 1, 1)(inputs[0]), object)


def _numbers(function: Callable[..., Any]) -> Rule:
    def rule(node: NodeProto, inputs: list[Any], version: int) -> Items | None:
        if any(isinstance(item, str) or item is None for array in inputs for item in array.ravel()):
            sizes = np.broadcast_shapes(*(array.shape for array in inputs))
            return np.full(sizes, None, object)
        return np.asarray(function(*inputs)).astype(object)

    return rule


def _quotient(a: int | float, b: int | float) -> int | float:
    if isinstance(a, int) and isinstance(b, int):  # integer Div rounds toward zero
        return abs(a) // abs(b) * (1 if (a < 0) == (b < 0) else -1)
    return a / b


def _divide(a: Items, b: Items) -> Items:
    return np.asarray(np.frompyfunc(_quotient, 2, 1)(a, b), object)


def _reshape(node: NodeProto, inputs: list[Any], version: int) -> Items:
    wanted = [int(inputs[0].shape[k] if dim == 0 else dim) for k, dim in enumerate(inputs[1])]
    return np.asarray(inputs[0].reshape(wanted), object)


def _mod(node: NodeProto, inputs: list[Any], version: int) -> Items | None:
    truncated = ops.effective(node, "fmod", version) == 1  # the sign of the dividend, else that of the divisor
    rule = _numbers(lambda a, b: np.fmod(a.astype(np.float64), b.astype(np.float64)) if truncated else np.mod(a, b))
    return rule(node, inputs, version)


def _transpose(node: NodeProto, inputs: list[Any], version: int) -> Items:
    perm = ops.effective(node, "perm", version)
    return np.asarray(np.transpose(inputs[0], perm if isinstance(perm, list) else None), object)


def _filled(node: NodeProto, inputs: list[Any], version: int) -> Items | None:
    sizes = [int(size) for size in inputs[0]]
    if np.prod(sizes) > MOST_ITEMS:
        return None
    held = ops.attribute_of(node, "value")
    fill = np.float32(0) if held is None else numpy_helper.to_array(held.t).ravel()[0]
    return np.full(sizes, fill.item(), object)


def _expand(node: NodeProto, inputs: list[Any], version: int) -> Items | None:
    sizes = np.broadcast_shapes(inputs[0].shape, tuple(int(size) for size in inputs[1]))
    return np.asarray(np.broadcast_to(inputs[0], sizes), object) if np.prod(sizes) <= MOST_ITEMS else None


# by op type: the numbers a node makes of those in its inputs, at an opset; None where it makes none
RULES: dict[str, Rule] = {
    "Identity": lambda node, inputs, version: np.asarray(inputs[0], object),
    "Gather": _gather,
    "Concat": _concat,
    "Unsqueeze": _unsqueeze,
    "Squeeze": _squeeze,
    "Slice": _slice,
    "Cast": _cast,
    "Reshape": _reshape,
    "Transpose": _transpose,
    "ConstantOfShape": _filled,
    "Expand": _expand,
    "Mod": _mod,
    "Neg": _numbers(np.negative),
    "Add": _numbers(np.add),
    "Sub": _numbers(np.subtract),
    "Mul": _numbers(np.multiply),
    "Div": _numbers(_divide),
    "Floor": _numbers(lambda a: np.floor(a.astype(np.float64))),
    "Ceil": _numbers(lambda a: np.ceil(a.astype(np.float64))),
    "Equal": _numbers(lambda a, b: a == b),
    "Where": _numbers(lambda c, a, b: np.where(c.astype(bool), a, b)),
    "Max": _numbers(lambda *arrays: np.maximum.reduce(np.broadcast_arrays(*arrays))),
    "Min": _numbers(lambda *arrays: np.minimum.reduce(np.broadcast_arrays(*arrays))),
}
