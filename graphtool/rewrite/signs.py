"""Whether a value can be less than 0, by the nodes that lead to it. Floor 2.

A look goes no further than :data:`MAX_VALUES` values, each of them once. NaN is not less than 0.
"""

from __future__ import annotations

import numpy as np
from onnx import TensorProto

from graphtool.graph import Graph
from graphtool.graph import opset as ops
from graphtool.graph.rows import Row

MAX_VALUES = 64
MAX_ELEMENTS = 65_536  # of a constant

_FLOATS = frozenset((TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.DOUBLE, TensorProto.BFLOAT16))
_UNSIGNED = frozenset((TensorProto.UINT8, TensorProto.UINT16, TensorProto.UINT32, TensorProto.UINT64))

# each makes what it reads first, or sums and means of it: of one element type all the way, which is asked for once
_CARRIES = frozenset("Expand Flatten Gather Identity Reshape Slice Split Squeeze Tile Transpose Unsqueeze".split())
_AVERAGES = frozenset(("AveragePool", "GlobalAveragePool"))
_OF_ALL = frozenset(("Concat", "Min"))
# integers wrap round, and the least of them is its own Abs
_OF_ALL_FLOATS = frozenset(("Add", "Mul", "Sum"))
_ALWAYS_FLOATS = frozenset("Abs Exp HardSigmoid Sigmoid Softmax Softplus Sqrt".split())


def never_negative(graph: Graph, name: str) -> bool:
    """Whether no element of a value is less than 0, as far as the nodes above it say."""
    kind = graph.facts.fact(name).dtype
    return kind in _UNSIGNED or _Look(graph, kind in _FLOATS).holds(name)


class _Look:
    def __init__(self, graph: Graph, floats: bool) -> None:
        self.graph = graph
        self.floats = floats
        self.known: dict[str, bool] = {}

    def holds(self, name: str) -> bool:
        """Whether a value is never negative; False where the look has gone far enough."""
        found = self.known.get(name)
        if found is None and len(self.known) < MAX_VALUES:
            self.known[name] = False  # counted, should it be asked for on the way
            found = self.known[name] = self._constant(name) or self._made(name)
        return bool(found)

    def _constant(self, name: str) -> bool:
        found = self.graph.constant(name) if self.graph.is_constant(name) else None
        if found is None or found.size > MAX_ELEMENTS or found.dtype.kind not in "biuf":
            return False
        return bool(np.all(np.asarray(found, np.float64) >= 0))

    def _made(self, name: str) -> bool:
        slot = self.graph.index.producer_slot(name)
        row = None if slot is None else self.graph.row(slot)
        if slot is None or row is None or not row.standard or (row.outputs[0] != name and row.op_type != "Split"):
            return False
        op, inputs = row.op_type, row.inputs
        if op == "Relu" or (self.floats and op in _ALWAYS_FLOATS):
            return True
        if op in _CARRIES or (self.floats and op in _AVERAGES) or (op == "MaxPool" and self._reads_always(slot)):
            return self.holds(inputs[0])
        if op in _OF_ALL or (self.floats and op in _OF_ALL_FLOATS):
            square = op == "Mul" and inputs[0] == inputs[1]
            return square or all(map(self.holds, inputs))
        if op == "Max":
            return any(map(self.holds, inputs))
        return op == "Clip" and self._clips(slot, row)

    def _reads_always(self, slot: int) -> bool:
        """Whether each window of a MaxPool reads an element, as it does where none is dilated or begins beyond."""
        node, version = self.graph.node_at(slot), self.graph.opset("")
        apart = ops.effective(node, "dilations", version)
        return not ops.effective(node, "ceil_mode", version) and (not isinstance(apart, list) or set(apart) <= {1})

    def _clips(self, slot: int, row: Row) -> bool:
        """Whether a Clip has bounds that are not negative: the upper one counts where it is the lesser of the two."""
        low, high = (row.inputs[place] if len(row.inputs) > place else "" for place in (1, 2))
        if low:
            return self._constant(low) and (not high or self.holds(high))
        least, most = (ops.effective(self.graph.node_at(slot), name, self.graph.opset("")) for name in ("min", "max"))
        return isinstance(least, float) and least >= 0 and (not isinstance(most, float) or most >= 0)
