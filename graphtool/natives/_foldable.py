"""Which nodes could be computed once and for all: pure operators all of whose inputs are constants."""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable, Iterable, Sequence
from functools import lru_cache

from onnx import NodeProto, TensorProto

from graphtool.graph import Graph
from graphtool.graph.opset import RANDOM, effective, schema

# no function of its inputs, or (ImageDecoder) one that differs from library to library
_NEVER = RANDOM | {"Constant", "ImageDecoder"}


class _Constants:
    """What is constant in one graph: its own constants, those of the graphs around it, and what is computed of them."""

    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        main = graph.parent is None and graph.proto.ir_version >= 4
        overridable = {info.name for info in graph.header.input} if main else set()
        self.own = [name for name in graph.initializers if name not in overridable]
        for slot in graph.index.slots_of_type("Constant"):
            row = graph.row(slot)
            self.own += filter(None, row.outputs) if row is not None and row.standard else ()
        self._known = {"", *self.own}
        self._other: set[str] = set()  # names of the graphs around a body that are not constant

    def hold(self, names: Iterable[str]) -> bool:
        """Whether all of ``names`` are constant, or absent."""
        if self._known.issuperset(names):
            return True
        return self._graph.parent is not None and all(map(self._holds, names))

    def _holds(self, name: str) -> bool:
        if name not in self._known and name not in self._other:
            (self._known if self._graph.is_constant(name) else self._other).add(name)
        return name in self._known

    def add(self, names: Iterable[str]) -> None:
        """Take up values that are computed of constants."""
        self._known.update(names)
        self._other.difference_update(names)


def computable(graph: Graph, opset: int, key: Hashable = None) -> list[int]:
    """Return the slots of the nodes whose inputs are constants or made by such nodes, each after those it reads.

    Nodes are looked at from the constants on, so a graph of which little is constant costs little. A body is looked at
    whole: what it reads of the graphs around it may be constant. Where the graph keeps a journal, only what has
    changed since the same ``key`` was given is looked at again.
    """
    constants = _Constants(graph)
    index = graph.index
    rows = index.rows
    if graph.parent is None:
        first: Sequence[int] = list(dict.fromkeys(slot for name in constants.own for slot in index.reader_slots(name)))
        if graph.journal is not None:
            first = graph.journal.again(graph, key, first, 0)
        queue = deque(first)
    else:
        queue = deque(graph.live_slots())
    found: dict[int, None] = {}
    while queue:
        slot = queue.popleft()
        row = rows[slot]
        if row is None or slot in found or not row.inputs or not constants.hold(row.inputs):
            continue
        node = graph.node(slot)
        if node is None or not is_pure(graph, node, opset):
            continue
        found[slot] = None
        constants.add(row.outputs)
        queue.extend(reader for name in row.outputs if name for reader in index.reader_slots(name))
    return list(found)


def is_pure(graph: Graph, node: NodeProto, opset: int) -> bool:
    """Whether a node with constant inputs always makes the same tensors, and folding it is wanted.

    DequantizeLinear is left: a quantized weight is small, and target compilers look for the pair.
    """
    if node.domain not in ("", "ai.onnx") or not any(node.input) or not _makes_tensors(node.op_type, opset):
        return False
    match node.op_type:
        case "Dropout":
            return not _trains(graph, node, opset)
        case "BatchNormalization":
            # in training too, the statistics being those of a constant: how timm standardizes weights
            return opset >= 7
        case "Cast":
            return effective(node, "to", opset) != TensorProto.STRING
        case "DequantizeLinear":
            return False
    return True


def _trains(graph: Graph, node: NodeProto, opset: int) -> bool:
    if opset < 7:
        return not effective(node, "is_test", opset)
    if opset < 12 or len(node.input) < 3 or not node.input[2]:
        return False
    flag = graph.constant(node.input[2])
    return flag is None or bool(flag.any())


@lru_cache(maxsize=2048)
def _makes_tensors(op_type: str, opset: int) -> bool:
    """Whether ONNX defines an operator at an opset as one without bodies and randomness that can make only tensors."""
    known = schema(op_type, "", opset)
    if op_type in _NEVER or known is None or known.deprecated:
        return False
    if any(str(attribute.type).endswith((".GRAPH", ".GRAPHS")) for attribute in known.attributes.values()):
        return False
    return all(any(kind.startswith("tensor(") for kind in output.types) for output in known.outputs)
