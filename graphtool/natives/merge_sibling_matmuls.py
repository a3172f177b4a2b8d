"""MatMuls (or Gemms) of one input by constant matrices become one, and a Split: query, key and value of attention."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from onnx import NodeProto, helper

from graphtool.graph import Graph
from graphtool.graph import opset as ops
from graphtool.graph.sort import drop_unread, remove_nodes
from graphtool.rewrite.result import Applied, Match, alias, label
from graphtool.rewrite.selection import Offer, everywhere

TRACKED = True  # edits go through methods of Graph: whoever keeps a journal sees them
UNITS = True  # each group of siblings, by the first of them

Array = NDArray[Any]


class _Sibling(NamedTuple):
    """A MatMul or Gemm: its slot, its matrix, along which axis of that the columns lie, and a bias for each column.

    The bias is that of a Gemm, or of the Add in slot ``adding`` behind a MatMul.
    """

    slot: int
    matrix: Array
    axis: int
    bias: Array | None = None
    adding: int | None = None

    @property
    def columns(self) -> int:
        return int(self.matrix.shape[self.axis])


def apply(graph: Graph, params: Mapping[str, object], offer: Offer = everywhere) -> Applied:
    """Merge siblings where that leaves fewer nodes: three and more, or two whose constant biases are merged too.

    Matrices that something else reads stay out of it: a copy of them would make the model larger.
    """
    matches: list[Match] = []
    for level in graph.levels():
        merging = _Merging(level, offer)
        for group in merging.groups():
            found = merging.merge(group)
            if found is not None:
                matches.append(found)
        merging.finish()
    return Applied(matches)


class _Merging:
    """The siblings of one level."""

    def __init__(self, graph: Graph, offer: Offer) -> None:
        self.graph = graph
        self.offer = offer
        self.outputs = {info.name for info in graph.header.output}
        self.noted = {note.tensor_name for note in graph.header.quantization_annotation}
        self.opset = graph.opset() or 1
        self.makers: list[int] = []  # slots of nodes that made what the old nodes read
        self.freed: set[str] = set()
        self.sizes: dict[tuple[int, ...], str] = {}  # initializers with the sizes of a Split

    def groups(self) -> list[list[_Sibling]]:
        """Return siblings in graph order by op, input, attributes, type and height of the matrix."""
        index = self.graph.index
        wanted = {*index.slots_of_type("MatMul"), *index.slots_of_type("Gemm")}
        found: dict[Hashable, list[_Sibling]] = {}
        for slot in self.graph.live_slots() if len(wanted) > 1 else ():
            row = index.rows[slot] if slot in wanted else None
            if row is None or not row.standard or len(row.inputs) < 2:
                continue
            read, made = row.inputs[0], row.outputs[0]
            if index.uses(read) < 2 or not (index.uses(made) or made in self.outputs):
                continue  # one alone, or one that nobody reads
            node, matrix = self.graph.node(slot), self._own_matrix(row.inputs[1])
            if node is not None and matrix is not None:
                for key, sibling in self._sibling(slot, node, matrix):
                    height = matrix.shape[1 - sibling.axis]
                    found.setdefault((key, read, height, matrix.dtype.name), []).append(sibling)
        return [group for group in found.values() if len(group) > 1]

    def _own_matrix(self, name: str) -> Array | None:
        """Return a matrix that is constant, of this level, and for one reader only."""
        graph = self.graph
        if name in self.outputs or name in self.noted or not graph.defines(name) or graph.index.uses(name) != 1:
            return None
        matrix = graph.constant(name)
        return matrix if matrix is not None and matrix.ndim == 2 else None

    def _sibling(self, slot: int, node: NodeProto, matrix: Array) -> Iterator[tuple[Hashable, _Sibling]]:
        """Yield the node as a sibling with what it has to share with others, if it can be one."""
        if node.op_type == "MatMul":
            yield "MatMul", self._with_add(_Sibling(slot, matrix, 1), node.output[0])
            return
        numbers = tuple(ops.effective(node, name, self.opset) for name in ("alpha", "beta", "transA", "transB"))
        sibling = _Sibling(slot, matrix, 0 if numbers[3] else 1)
        if len(node.input) < 3 or not node.input[2]:
            yield ("Gemm", numbers, False), sibling
        elif (bias := self._per_column(node.input[2], sibling.columns, 2)) is not None:
            yield ("Gemm", numbers, True), sibling._replace(bias=bias)

    def _with_add(self, sibling: _Sibling, made: str) -> _Sibling:
        """Return the sibling with the bias that the only reader of its output adds, where there is such a one."""
        graph = self.graph
        readers = graph.index.reader_slots(made)
        if made in self.outputs or graph.index.uses(made) != 1:
            return sibling
        node = graph.node(readers[0])
        if node is None or node.op_type != "Add" or node.domain not in ("", "ai.onnx") or made not in node.input:
            return sibling
        value = graph.value(made)
        rank = None if value is None else value.rank
        bias = self._per_column(node.input[1 - list(node.input).index(made)], sibling.columns, rank)
        return sibling if bias is None else sibling._replace(bias=bias, adding=readers[0])

    def _per_column(self, name: str, columns: int, rank: int | None) -> Array | None:
        """Return a constant summand as a vector of one number a column; None where it is none or changes the shape."""
        value = self.graph.constant(name)
        if value is None or value.ndim > (rank or 1) or value.size not in (1, columns) or value.shape[-1:] == (0,):
            return None
        if value.size > 1 and value.shape[-1] != columns:
            return None
        return np.broadcast_to(value.reshape(-1), (columns,))

    def merge(self, group: Sequence[_Sibling]) -> Match | None:
        """Merge a group, its Adds too where that saves more; None where the graph would not become smaller."""
        graph = self.graph
        first = graph.node(group[0].slot)
        assert first is not None
        adds = sum(sibling.adding is not None for sibling in group)
        if adds < 2:  # one Add beside others: it stays behind the Split
            group = [s._replace(bias=None, adding=None) if s.adding is not None else s for s in group]
            adds = 0
        gain = len(group) + adds - (3 if adds else 2)
        axis = self._split_axis(first)
        if gain < 1 or axis is None or not self.offer(label(first), alias(first)):
            return None
        slots = [slot for s in group for slot in (s.slot, s.adding) if slot is not None]
        old = tuple(_copy(graph, slot) for slot in slots)
        lasts = [s.slot if s.adding is None else s.adding for s in group]
        made = [node.output[0] for slot in lasts if (node := graph.node(slot)) is not None]
        new = self._nodes(first, group, made, axis)
        self._note_reads(old)
        for slot in slots:
            graph.remove_node(slot)
        for step, node in enumerate(new):
            graph.add_node(node, group[0].slot, step)
        return Match(label(old[0]), "native", old, tuple(new), (first.input[0],), tuple(made))

    def _split_axis(self, first: NodeProto) -> int | None:
        """Return the last axis; it counts from behind since opset 11."""
        if first.op_type == "Gemm":
            return 1
        value = self.graph.value(first.output[0])
        rank = value.rank if value is not None else None
        return -1 if self.opset >= 11 else rank - 1 if rank else None

    def _nodes(self, first: NodeProto, group: Sequence[_Sibling], made: list[str], axis: int) -> list[NodeProto]:
        graph, names = self.graph, self.graph.names
        stem = first.name or made[0]
        matrix = np.concatenate([sibling.matrix for sibling in group], group[0].axis)
        inputs = [first.input[0], graph.add_initializer(f"{stem}/weight", matrix)]
        bias = None
        if any(sibling.bias is not None for sibling in group):
            zeros = np.zeros(1, matrix.dtype)
            each = [np.broadcast_to(zeros if s.bias is None else s.bias, (s.columns,)) for s in group]
            bias = graph.add_initializer(f"{stem}/bias", np.concatenate(each))
        product = names.fresh_value(f"{stem}/product")
        if bias is not None and first.op_type == "Gemm":
            inputs.append(bias)
        nodes = [helper.make_node(first.op_type, inputs, [product], names.fresh_node(f"{stem}/product"))]
        nodes[0].attribute.extend(first.attribute)
        if bias is not None and first.op_type == "MatMul":
            total = names.fresh_value(f"{stem}/sum")
            nodes.append(helper.make_node("Add", [product, bias], [total], names.fresh_node(f"{stem}/sum")))
            product = total
        sizes = tuple(sibling.columns for sibling in group)
        if self.opset >= 13:
            if sizes not in self.sizes:
                self.sizes[sizes] = graph.add_initializer(f"{stem}/columns", np.array(sizes, np.int64))
            split = helper.make_node("Split", [product, self.sizes[sizes]], made, axis=axis)
        else:
            split = helper.make_node("Split", [product], made, axis=axis, split=list(sizes))
        split.name = first.name or names.fresh_node(stem)
        return [*nodes, split]

    def _note_reads(self, old: Sequence[NodeProto]) -> None:
        """Remember the constants that the old nodes read: once these are gone nothing may read them."""
        for name in (name for node in old for name in node.input[:]):
            slot = self.graph.index.producer_slot(name)
            node = None if slot is None else self.graph.node(slot)
            if slot is None:
                self.freed.add(name)
            elif node is not None and node.op_type == "Constant":
                self.makers.append(slot)

    def finish(self) -> None:
        """Drop the matrices and biases that nothing reads now."""
        if self.makers:
            remove_nodes(self.graph, self.makers, self.freed)
        if self.freed:
            drop_unread(self.graph, self.freed)


def _copy(graph: Graph, slot: int) -> NodeProto:
    node = graph.node(slot)
    assert node is not None
    own = NodeProto()
    own.CopyFrom(node)
    return own
