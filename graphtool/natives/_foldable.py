"""Which nodes could be computed once and for all: pure operators all of whose inputs are constants."""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable, Sequence
from functools import lru_cache

from onnx import NodeProto, TensorProto

from graphtool.graph import Graph
from graphtool.graph.opset import RANDOM, effective, schema

# no function of its inputs, or (ImageDecoder) one that differs from library to library
_NEVER = RANDOM | {"Constant", "ImageDecoder"}


class Constants:
    """What is constant in one graph: its own constants, those of the graphs around it, and what is computed of them."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.made: set[str] = set()  # values of the nodes that were found to be computable
        self._known: dict[str, bool] = {}
        main = graph.parent is None and graph.proto.ir_version >= 4
        self._overridable = {info.name for info in graph.header.input} if main else set()

    def __contains__(self, name: str) -> bool:
        if name in self.made:
            return True
        if name not in self._known:
            own = name in self.graph.initializers
            self._known[name] = name not in self._overridable if own else self.graph.is_constant(name)
        return self._known[name]


def computable(graph: Graph, opset: int, key: Hashable = None) -> list[int]:
    """Return the slots of the nodes whose inputs are constants or made by such nodes, each after those it reads.

    Nodes are looked at from the constants on, so a graph of which little is constant costs little. A body is looked at
    whole: what it reads of the graphs around it may be constant. Where the graph keeps a journal, only what has
    changed since the same ``key`` was given is looked at again.
    """
    constants = Constants(graph)
    index = graph.index
    rows = index.rows
    if graph.parent is None:
        sources = [name for name in graph.initializers if name in constants]
        for slot in index.slots_of_type("Constant"):
            row = rows[slot]
            sources += row.outputs if row is not None and row.standard else ()
        first: Sequence[int] = list(dict.fromkeys(slot for name in sources for slot in index.reader_slots(name)))
        if graph.journal is not None:
            first = graph.journal.again(graph, key, first, 0)
        queue = deque(first)
    else:
        queue = deque(graph.live_slots())
    found: dict[int, None] = {}
    while queue:
        slot = queue.popleft()
        row = rows[slot]
        if row is None or slot in found or not row.inputs:
            continue
        if not all(name in constants for name in row.inputs if name):
            continue
        node = graph.node(slot)
        if node is None or not is_pure(graph, node, opset):
            continue
        found[slot] = None
        constants.made.update(filter(None, row.outputs))
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
