"""Smaller and simpler variants of a failing case: fewer elements along dimensions, plain values."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import NodeProto, TensorProto, numpy_helper

from graphtool.graph import Graph

Array = NDArray[Any]

_SHAPES = 16  # elements of an integer constant that may be a shape
_COUNTED = ("group", "num_groups", "hidden_size", "num_heads", "q_num_heads", "kv_num_heads")


@dataclass(frozen=True, slots=True)
class Case:
    """A model, or two to compare, and the feed on which it fails."""

    graphs: tuple[Graph, ...]
    feed: Mapping[str, Array]


Holds = Callable[[Case], bool]


def shrink(case: Case, holds: Holds) -> Case:
    """Return a case with smaller dimensions that ``holds`` still; one whole round without a change ends it.

    First every dimension of one size at once, in inputs, weights and small integer constants (a channel count is in
    many places), then single dimensions of inputs.
    """
    changed = True
    while changed:
        changed = False
        for size in sorted(_sizes(case), reverse=True):
            for target in _targets(size):
                smaller = _resized(case, size, target)
                if smaller is not None and holds(smaller):
                    case, changed = smaller, True
                    break
        for name, axis, size in list(_axes(case)):
            for target in _targets(size):
                smaller = _cropped(case, name, axis, target)
                if holds(smaller):
                    case, changed = smaller, True
                    break
    return case


def simplify(case: Case, holds: Holds) -> Case:
    """Return a case in which weights and inputs whose values do not matter are all zeros, or all ones."""
    for position, graph in enumerate(case.graphs):
        for name in [tensor.name for tensor in graph.proto.graph.initializer]:
            array = _array(case.graphs[position], name)
            for value in (0, 1) if array is not None and array.size > 1 and array.dtype.kind == "f" else ():
                assert array is not None
                if np.all(array == value):
                    break
                other = _with_weights(case, {(position, name): np.full_like(array, value)})
                if holds(other):
                    case = other
                    break
    for name, array in case.feed.items():
        for value in (0, 1) if array.dtype.kind == "f" else ():
            other = Case(case.graphs, {**case.feed, name: np.full_like(array, value)})
            if np.all(array == value) or holds(other):
                case = case if np.all(array == value) else other
                break
    return case


def _targets(size: int) -> list[int]:
    return [target for target in dict.fromkeys((1, 2, 3, size // 4, size // 2)) if 0 < target < size]


def _sizes(case: Case) -> set[int]:
    found = {size for array in case.feed.values() for size in array.shape}
    for graph in case.graphs:
        found.update(size for tensor in graph.proto.graph.initializer for size in tensor.dims)
    return {size for size in found if size > 1}


def _axes(case: Case) -> Iterator[tuple[str, int, int]]:
    for name, array in case.feed.items():  # of a sequence the one axis is its length
        yield from ((name, axis, size) for axis, size in enumerate(array.shape) if size > 1)


def _array(graph: Graph, name: str) -> Array | None:
    """Return a weight; None for one of a type that is not cut."""
    tensor = graph.initializers.get(name)
    if tensor is None or tensor.data_type in (TensorProto.STRING, TensorProto.UINT4, TensorProto.INT4):
        return None
    array = graph.array(tensor)
    return None if array.dtype.kind in "OV" else array


def _resized(case: Case, size: int, target: int) -> Case | None:
    """Return the case with every dimension of one size cut to ``target``; None where a weight cannot be cut."""
    weights: dict[tuple[int, str], Array] = {}
    for position, graph in enumerate(case.graphs):
        for tensor in graph.proto.graph.initializer:
            small = tensor.data_type == TensorProto.INT64 and len(tensor.dims) <= 1
            if size not in tensor.dims and not small:
                continue
            array = _array(graph, tensor.name)
            if array is None:
                return None
            cut = _first(array, [target if dim == size else dim for dim in array.shape])
            if small and array.size <= _SHAPES:
                cut = np.where(cut == size, target, cut)
            if cut.shape != array.shape or not np.array_equal(cut, array):
                weights[position, tensor.name] = cut
    feed = {n: _first(a, [target if dim == size else dim for dim in a.shape]) for n, a in case.feed.items()}
    other = _with_weights(case, weights)
    graphs = tuple(map(_copy, other.graphs))
    for graph in graphs:
        _declare(graph, feed)
        for node in graph.proto.graph.node:
            _count(node, size, target)
        graph.reindex()
    return Case(graphs, feed)


def _cropped(case: Case, name: str, axis: int, target: int) -> Case:
    array = case.feed[name]
    feed = {**case.feed, name: _first(array, [target if k == axis else dim for k, dim in enumerate(array.shape)])}
    graphs = tuple(map(_copy, case.graphs))
    for graph in graphs:
        _declare(graph, feed)
        graph.reindex()
    return Case(graphs, feed)


def _first(array: Array, shape: list[int]) -> Array:
    return np.ascontiguousarray(array[tuple(slice(0, size) for size in shape)]).reshape(shape)


def _copy(graph: Graph) -> Graph:
    own = onnx.ModelProto()
    own.CopyFrom(graph.proto)
    return Graph(own, graph.weights, graph.path)


def _declare(graph: Graph, feed: Mapping[str, Array]) -> None:
    """Let inputs have the sizes of the feed; those of outputs are left open."""
    for info in graph.header.input:
        if info.name in feed and info.type.HasField("tensor_type"):
            shape = info.type.tensor_type.shape
            del shape.dim[:]
            for size in feed[info.name].shape:
                shape.dim.add(dim_value=size)
    for info in graph.header.output:
        if info.type.HasField("tensor_type"):
            info.type.tensor_type.ClearField("shape")


def _count(node: NodeProto, size: int, target: int) -> None:
    """Change what counts channels in an attribute, and sizes in a constant."""
    for attribute in node.attribute:
        if attribute.name in _COUNTED and attribute.i == size:
            attribute.i = target
        elif node.op_type == "Constant" and attribute.t.data_type == TensorProto.INT64:
            array = numpy_helper.to_array(attribute.t)
            if array.ndim <= 1 and array.size <= _SHAPES and np.any(array == size):
                attribute.t.CopyFrom(numpy_helper.from_array(np.where(array == size, target, array)))


def _with_weights(case: Case, weights: Mapping[tuple[int, str], Array]) -> Case:
    """Return the case with other weights, by graph and name."""
    graphs = list(case.graphs)
    for position in {position for position, _ in weights}:
        graph = _copy(graphs[position])
        for tensor in graph.proto.graph.initializer:
            array = weights.get((position, tensor.name))
            if array is not None:
                tensor.CopyFrom(numpy_helper.from_array(array, tensor.name))
        for info in graph.header.input:  # before IR 4 a weight is declared as an input as well
            array = weights.get((position, info.name))
            if array is not None:
                del info.type.tensor_type.shape.dim[:]
                for size in array.shape:
                    info.type.tensor_type.shape.dim.add(dim_value=size)
        graph.reindex()
        graphs[position] = graph
    return Case(tuple(graphs), case.feed)
