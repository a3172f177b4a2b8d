"""Adapters for ops that name axes: negative ones before opset 11, Softmax's coerced matrix before 13, and their kin."""

from __future__ import annotations

import numpy as np
from onnx import NodeProto, TensorProto

from graphtool.errors import quoted
from graphtool.graph import opset as ops
from graphtool.graph.values import Shape
from graphtool.natives._opset_node import Adapter, lower, raise_attributes, set_inputs
from graphtool.natives._opset_site import INT64, Site
from graphtool.natives._opset_steps import Refusal, Step

Nodes = list[tuple[NodeProto, int]]

# ops that count axes from the back only since opset 11, by the attribute; the second number is what is added to the
# rank of input 0 to get the rank that axes count in (Unsqueeze: the number of axes)
_FROM_THE_BACK: dict[str, tuple[str, int]] = {
    **{f"Arg{name}": ("axis", 0) for name in ("Max", "Min")},
    **dict.fromkeys("Compress Concat Flatten Gather Hardmax LogSoftmax Softmax Split TopK".split(), ("axis", 0)),
    **{f"Reduce{name}": ("axes", 0) for name in "L1 L2 LogSum LogSumExp Max Mean Min Prod Sum SumSquare".split()},
    "OneHot": ("axis", 1),
    "Squeeze": ("axes", 0),
    "Unsqueeze": ("axes", 0),
}
_LAST_IS_FINE = frozenset({"OneHot", "TopK"})  # whose default was -1 before opset 11


def count_from_the_front(site: Site, node: NodeProto, step: Step) -> None:
    """Let no axis be negative: before opset 11 only some runtimes understood that."""
    name, more = _FROM_THE_BACK[step.op]
    lower(site, node, step)  # TopK has more new attributes
    value = site.attribute(node, name, step.version)
    axes = value if isinstance(value, list) else [] if value is None else [value]
    if not any(axis < 0 for axis in axes) or (step.op in _LAST_IS_FINE and value == -1):
        return
    rank = site.rank(node.input[0], f"{name} is negative, which opset {step.version} does not have") + more
    if step.op == "Unsqueeze":
        rank += len(axes)
    front = [axis + rank if axis < 0 else axis for axis in axes]
    site.set(node, name, front if isinstance(value, list) else front[0], step.version)


def gather_down(site: Site, node: NodeProto, step: Step) -> None:
    """Let no axis and no constant index be negative; what is computed is taken to be a place from the front."""
    count_from_the_front(site, node, step)
    indices = site.constant(node.input[1])
    if indices is None or not np.any(indices < 0):
        return
    shape = site.shape(node.input[0])
    axis = site.attribute(node, "axis", step.version)
    extent = shape[axis] if shape is not None else None
    if not isinstance(extent, int):
        raise Refusal("an index is negative, and the extent of the axis is not known")
    front = np.where(indices < 0, indices + extent, indices).astype(indices.dtype)
    set_inputs(node, [node.input[0], site.tensor(front, "indices")])


def one_hot_down(site: Site, node: NodeProto, step: Step) -> None:
    """Before opset 11 a negative index is no index."""
    count_from_the_front(site, node, step)
    if site.value(node.input[0]).dtype in (TensorProto.UINT8, TensorProto.UINT16, TensorProto.UINT32, 13):
        return
    indices = site.constant(node.input[0])
    if indices is None or np.any(indices < 0):
        raise Refusal("indices may be negative, which counts from the back since opset 11 only")


def slice_down(site: Site, node: NodeProto, step: Step) -> None:
    """Before opset 11 axes are not negative, and nothing says what a negative step does."""
    lower(site, node, step)
    inputs = [*node.input, *[""] * (5 - len(node.input))]
    if inputs[4]:
        steps = site.constant(inputs[4])
        if steps is None or np.any(steps < 0):
            raise Refusal("steps may be negative, which opset 10 does not define")
    if inputs[3]:
        axes = site.constant(inputs[3])
        if axes is None:
            raise Refusal("axes may be negative, which opset 10 does not have")
        if np.any(axes < 0):
            rank = site.rank(inputs[0], "axes are negative, which opset 10 does not have")
            inputs[3] = site.tensor(np.where(axes < 0, axes + rank, axes).astype(axes.dtype), "axes")
            set_inputs(node, inputs)


def scan_down(site: Site, node: NodeProto, step: Step) -> None:
    """Before opset 11 the axes of a Scan are not negative."""
    for name in ("scan_input_axes", "scan_output_axes"):
        if any(axis < 0 for axis in site.attribute(node, name, step.number) or ()):
            raise Refusal(f"{name} are negative, which opset {step.version} does not have")


# -- Softmax, LogSoftmax, Hardmax


def _same_either_way(site: Site, node: NodeProto, step: Step, axis: int, shape: Shape | None) -> bool:
    """Keep a node whose axis is the last, or has axes of length 1 alone behind it: both definitions agree there."""
    last = axis == -1 or (shape is not None and axis == len(shape) - 1)
    if not last and not _ones_behind(shape, axis):
        return False
    site.set(node, "axis", -1 if last else axis, step.version)
    return True


def softmax_up(site: Site, node: NodeProto, step: Step) -> Nodes | None:
    """Before opset 13 everything from the axis on is one row; from 13 on the axis alone is."""
    axis = site.attribute(node, "axis", step.number - 1)
    x, shape = node.input[0], site.shape(node.input[0])
    if shape is not None and axis < 0:
        axis += len(shape)
    if _same_either_way(site, node, step, axis, shape):
        return None
    if shape is not None and 0 in shape and site.target < 14:
        raise Refusal("an axis has length 0, and no Reshape before opset 14 can make one")
    known = site.known(x)
    back, version = ({"allowzero": 1}, 14) if site.target >= 14 else ({}, step.version)
    flat = site.make("Flatten", [x], step.version, (known[0], (None, None)), "rows", axis=axis)
    set_inputs(node, [flat.output[0]])
    site.set(node, "axis", -1, step.version)
    old = site.step_aside(node, "row_by_row", (None, None))
    nodes = [(flat, step.version), (node, step.version)]
    if shape is not None and all(isinstance(dim, int) for dim in shape):
        dims = site.ints([dim for dim in shape if isinstance(dim, int)], "shape")
    else:
        of = site.make("Shape", [x], step.version, (INT64, (len(shape) if shape is not None else None,)), "shape")
        nodes.append((of, step.version))
        dims = of.output[0]
    last = site.make("Reshape", [node.output[0], dims], version, known, "reshape", output=old, **back)
    site.take_over(node, last)
    return [*nodes, (last, version)]


def softmax_down(site: Site, node: NodeProto, step: Step) -> Nodes | None:
    """Move the axis to the end, where both definitions agree."""
    axis = site.attribute(node, "axis", step.number)
    x, shape = node.input[0], site.shape(node.input[0])
    if shape is not None and axis < 0:
        axis += len(shape)
    if _same_either_way(site, node, step, axis, shape):
        return None
    rank = site.rank(x, f"axis {axis} may not be the last one, which opset {step.version} takes with all behind it")
    perm = list(range(rank))
    perm[axis], perm[-1] = perm[-1], perm[axis]
    assert shape is not None
    swapped = tuple(shape[place] for place in perm)
    known = site.known(x)
    first = site.make("Transpose", [x], step.version, (known[0], swapped), "to_last", perm=perm)
    set_inputs(node, [first.output[0]])
    site.set(node, "axis", -1, step.version)
    old = site.step_aside(node, "along_last", swapped)
    last = site.make("Transpose", [node.output[0]], step.version, known, "back", output=old, perm=perm)
    site.take_over(node, last)
    return [(first, step.version), (node, step.version), (last, step.version)]


def _ones_behind(shape: Shape | None, axis: int) -> bool:
    """Whether all axes behind ``axis`` have length 1: then it makes no difference whether they belong to the row."""
    return shape is not None and 0 <= axis < len(shape) and all(dim == 1 for dim in shape[axis + 1 :])


# -- Split, Shape, Pad, Reshape


def split_up(site: Site, node: NodeProto, step: Step) -> None:
    """From opset 18 on a Split without sizes says into how many."""
    if len(node.input) < 2 or not node.input[1]:
        site.set(node, "num_outputs", len(node.output), step.version)


def split_down(site: Site, node: NodeProto, step: Step) -> None:
    """Before opset 18 parts are equal unless their sizes are given."""
    if len(node.input) > 1 and node.input[1]:
        lower(site, node, step)
        return
    parts = len(node.output)
    shape = site.shape(node.input[0])
    axis = site.attribute(node, "axis", step.number)
    extent = shape[axis] if shape is not None and -len(shape) <= axis < len(shape) else None
    if not isinstance(extent, int):
        raise Refusal(f"whether {parts} parts are equal is not known; before opset 18 they must be, or have sizes")
    site.drop(node, "num_outputs")
    if extent % parts:
        size = -(-extent // parts)
        sizes = [size] * (parts - 1) + [extent - size * (parts - 1)]
        if sizes[-1] < 0:
            raise Refusal(f"{extent} cannot be split into {parts} parts")
        set_inputs(node, [node.input[0], site.ints(sizes, "split")])


def shape_down(site: Site, node: NodeProto, step: Step) -> Nodes | None:
    """Before opset 15 a Shape gives all, and a Slice takes the part."""
    start, end = (site.attribute(node, name, step.number) for name in ("start", "end"))
    site.drop(node, "start")
    site.drop(node, "end")
    if not start and end is None:
        return None
    rank = len(found) if (found := site.shape(node.input[0])) is not None else None
    old = site.step_aside(node, "whole", (rank,))
    ends = np.iinfo(np.int64).max if end is None else end
    inputs = [node.output[0], site.ints([start or 0], "start"), site.ints([ends], "end")]
    last = site.make("Slice", inputs, step.version, site.known(old), "part", output=old)
    site.take_over(node, last)
    return [(node, step.version), (last, step.version)]


def pad_down_axes(site: Site, node: NodeProto, step: Step) -> None:
    """Before opset 18 a Pad has sizes for all axes."""
    if len(node.input) < 4 or not node.input[3]:
        lower(site, node, step)
        return
    pads, axes = site.constant(node.input[1]), site.constant(node.input[3])
    if pads is None or axes is None:
        raise Refusal("pads and axes must be constant: before opset 18 there are no axes")
    rank = site.rank(node.input[0], "before opset 18 pads are for all axes")
    whole = np.zeros(2 * rank, np.int64)
    for place, axis in enumerate(int(number) for number in axes.reshape(-1)):
        whole[axis % rank] = pads[place]
        whole[axis % rank + rank] = pads[place + axes.size]
    set_inputs(node, [node.input[0], site.ints(whole.tolist(), "pads"), node.input[2]])


def pad_down_wrap(site: Site, node: NodeProto, step: Step) -> None:
    """Before opset 19 a Pad does not wrap around."""
    if site.attribute(node, "mode", step.number) == "wrap":
        raise Refusal("mode wrap needs opset 19")


def pad_up(site: Site, node: NodeProto, step: Step) -> None:
    """From opset 11 on the value is an input, of the type of the data."""
    value = ops.attribute_of(node, "value")
    own = None if value is None else site.attribute(node, "value", step.number - 1)
    if own == 0:
        site.drop(node, "value")
    raise_attributes(site, node, step)
    if own:
        code = site.dtype(node.input[0], "the padding becomes an input of its type")
        held = site.constant(node.input[2])
        assert held is not None
        set_inputs(node, [*node.input[:2], site.tensor(held.astype(ops.numpy_dtype(code)), "constant_value")])


def reshape_down(site: Site, node: NodeProto, step: Step) -> None:
    """Before opset 14 a 0 in the shape copies the input's."""
    if not site.attribute(node, "allowzero", step.number):
        site.drop(node, "allowzero")
        return
    shape = site.constant(node.input[1])
    if shape is None or np.any(shape == 0):
        raise Refusal(f"{quoted(node.input[1])} may hold a 0 that means 0 (allowzero), which needs opset 14")
    site.drop(node, "allowzero")


_ROWS = ("Hardmax", "LogSoftmax", "Softmax")
UP: dict[tuple[str, int], Adapter] = {
    **{(op, 13): softmax_up for op in _ROWS},
    ("Pad", 11): pad_up,
    ("Split", 18): split_up,
}
DOWN: dict[tuple[str, int], Adapter] = {
    **{(op, 11): count_from_the_front for op in _FROM_THE_BACK},
    **{(op, 13): softmax_down for op in _ROWS},
    ("Gather", 11): gather_down,
    ("OneHot", 11): one_hot_down,
    ("Pad", 18): pad_down_axes,
    ("Pad", 19): pad_down_wrap,
    ("Reshape", 14): reshape_down,
    ("Scan", 11): scan_down,
    ("Shape", 15): shape_down,
    ("Slice", 11): slice_down,
    ("Split", 18): split_down,
}
