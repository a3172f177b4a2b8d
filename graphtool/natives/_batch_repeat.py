"""Values that have no batch where one is needed: repeated for each item, by a larger constant or by an Expand."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from onnx import NodeProto, TensorProto, helper

from graphtool.errors import PassError, quoted, show
from graphtool.graph import Graph
from graphtool.graph.values import Dim, Shape
from graphtool.natives._batch_content import Items
from graphtool.natives._batch_facts import Facts
from graphtool.rewrite.result import label

Array = NDArray[np.generic]
Sizes = Sequence[Dim]

_MATERIALISED = 1 << 16  # bytes of a constant that is repeated for a fixed batch; a larger one gets an Expand


class Repeater:
    """Repeats values of ``graph`` for the batch ``target``, a number or the name of an open dimension.

    Axis 0 of the input ``source`` is the batch. Each value is repeated once.
    """

    def __init__(self, graph: Graph, facts: Facts, target: int | str, source: str) -> None:
        self.graph, self.facts, self.target, self.source = graph, facts, target, source
        self._vector = ""  # the batch as a tensor int64[1]
        self._expanded: dict[tuple[str, int, int], str] = {}
        self._sizes: dict[tuple[tuple[Dim, ...], int], str] = {}

    def repeated(self, node: NodeProto, position: int, axis: int, size: int) -> str:
        """Return an input of a node repeated along an axis, for each item of the batch or (``size`` 1) just one."""
        name, facts = node.input[position], self.facts
        known = self._expanded.get((name, axis, size))
        if known is None:
            known = self._expanded[name, axis, size] = self._repeat(node, position, axis, size)
            now = facts.now if size != 1 or self.counts(name, axis) else 1
            facts.learn(known, facts.dtype(name), self.sized(name, axis, now), self.sized(name, axis, size))
        return known

    def sized(self, name: str, axis: int, size: int) -> Shape:
        """Return the shape of a value with another size at one axis."""
        shape = self.facts.shape_now(name) or ()
        return (*shape[:axis], size, *shape[axis + 1 :])

    def _repeat(self, node: NodeProto, position: int, axis: int, size: int) -> str:
        graph, now, name = self.graph, self.facts.now, node.input[position]
        source: str = name
        array = graph.constant(graph.behind_identities(name)) if self.facts.dtype(name) != TensorProto.STRING else None
        shape = self.facts.shape_now(name) or ()
        if now != 1:  # one item, where all are equal
            if array is None:
                raise self.blocked(node, position, None)
            step = _step(array, axis)
            if step:
                return self._counted(node, position, array, axis, step)
            if not _all_equal(array, axis):
                raise self.blocked(node, position, None)
            array = np.take(array, [0], axis)
        count = self.target if size != 1 else 0
        if array is not None and isinstance(count, int) and 0 < array.nbytes * count <= _MATERIALISED:
            return graph.add_initializer(f"{name}/batch", np.repeat(array, count, axis))
        if array is not None and now != 1:
            source = graph.add_initializer(f"{name}/item", array)
        if size == 1:
            return source
        if (graph.opset() or 1) < 8:
            raise self.blocked(node, position, None)
        sizes = self.with_batch(node, [1] * len(shape), axis)
        made = graph.names.fresh_value(f"{name}/batch")
        self._add(helper.make_node("Expand", [source, sizes], [made], graph.names.fresh_node(f"{label(node)}/expand")))
        return made

    def counts(self, name: str, axis: int) -> bool:
        """Whether a value is a constant that counts the items: there is one for each, never one for all."""
        counted = self.facts.dtype(name) in (TensorProto.INT32, TensorProto.INT64)
        array = self.graph.constant(self.graph.behind_identities(name)) if counted else None
        return array is not None and bool(_step(array, axis))

    def _counted(self, node: NodeProto, position: int, array: Array, axis: int, step: int) -> str:
        """Return what counts the items by a step, such as where each begins in what is flattened: 0, 8, 16."""
        graph, dtype, name = self.graph, array.dtype, node.input[position]
        dims = [-1 if place == axis else 1 for place in range(array.ndim)]
        if isinstance(self.target, int):
            return graph.add_initializer(f"{name}/batch", (np.arange(self.target) * step).astype(dtype).reshape(dims))
        if (graph.opset() or 1) < 11:  # Range
            raise self.blocked(node, position, None)
        stem = f"{name}/count"
        zero, one, by = (graph.add_initializer(stem, np.array(value, dtype)) for value in (0, 1, step))
        scalar, shape = (graph.add_initializer(stem, np.array(value, np.int64)) for value in ([], dims))
        made = self._batch_vector()
        steps = (
            ("Reshape", ("", scalar)), ("Cast", ("",)), ("Range", (zero, "", one)), ("Mul", ("", by)),
            ("Reshape", ("", shape)),
        )  # fmt: skip
        for op, inputs in steps:
            source, made = made, graph.names.fresh_value(stem)
            own = helper.make_node(op, [known or source for known in inputs], [made], graph.names.fresh_node(stem))
            if op == "Cast":
                own.attribute.add().CopyFrom(helper.make_attribute("to", self.facts.dtype(name)))
            self._add(own)
        return made

    def with_batch(self, node: NodeProto, sizes: Sizes, place: int) -> str:
        """Return a vector of sizes with the batch at one place."""
        key = (tuple(sizes), place)
        if key not in self._sizes:
            self._sizes[key] = self._new_sizes(node, sizes, place)
        return self._sizes[key]

    def _new_sizes(self, node: NodeProto, sizes: Sizes, place: int) -> str:
        graph, stem = self.graph, label(node)
        if isinstance(self.target, int):
            array = np.array([*sizes[:place], self.target, *sizes[place + 1 :]], np.int64)
            return graph.add_initializer(f"{stem}/sizes", array)
        vector = self._batch_vector()
        names = [
            part if isinstance(part, str) else graph.add_initializer(f"{stem}/sizes", np.array(part, np.int64))
            for part in (sizes[:place], vector, sizes[place + 1 :])
            if len(part)
        ]
        if len(names) == 1:
            return vector
        made = graph.names.fresh_value(f"{stem}/sizes_of_batch")
        self._add(helper.make_node("Concat", names, [made], graph.names.fresh_node(made), axis=0))
        return made

    def _add(self, node: NodeProto) -> None:
        """Add a node behind the last of what it reads."""
        makers = [slot for name in node.input if (slot := self.graph.index.producer_slot(name)) is not None]
        if makers:
            self.graph.add_node(node, max(makers, key=self.graph.rank), 1)
        else:
            self.graph.prepend_node(node)

    def _batch_vector(self) -> str:
        if not self._vector:
            graph = self.graph
            shape = graph.names.fresh_value(f"{self.source}/shape")
            self._vector = graph.names.fresh_value(f"{self.source}/batch")
            zero = graph.add_initializer("axis_of_batch", np.array([0], np.int64))
            graph.prepend_node(helper.make_node("Shape", [self.source], [shape], graph.names.fresh_node(shape)))
            gather = helper.make_node("Gather", [shape, zero], [self._vector], axis=0)
            gather.name = graph.names.fresh_node(self._vector)
            graph.prepend_node(gather)
        return self._vector

    def blocked(self, node: NodeProto, position: int, content: Items | None) -> PassError:
        """Return the error for an input of a node that holds the batch for good."""
        name = node.input[position]
        shown = "" if content is None else f" = {show(content.tolist())}"
        kind = "its constant" if self.graph.is_constant(name) else "its input"
        return PassError(
            f"{where(node)} blocks {self.batch_text()}: {kind} {quoted(name)}{shown} holds batch {self.facts.now} "
            "and cannot be freed"
        )

    def batch_text(self) -> str:
        """Return the batch that is wanted in words."""
        return f"batch {self.target}" if isinstance(self.target, int) else "a dynamic batch"


def where(node: NodeProto) -> str:
    """Return a node by operator and name."""
    return f"{node.op_type} {quoted(label(node))}"


def _all_equal(array: Array, axis: int) -> bool:
    first = np.broadcast_to(np.take(array, [0], axis), array.shape)
    return bool(np.array_equal(array, first, equal_nan=array.dtype.kind == "f"))


def _step(array: Array, axis: int) -> int:
    """Return the step by which whole numbers count along the one axis that is longer than 1, from 0 on; 0 for none."""
    if array.dtype not in (np.int32, np.int64) or array.size != array.shape[axis] or array.size < 2:
        return 0
    flat = array.ravel()
    step = int(flat[1]) - int(flat[0])
    return step if np.array_equal(flat, np.arange(flat.size) * step) else 0
