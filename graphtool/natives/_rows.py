"""What nodes make of the last dimensions of a value, whatever lies before these: elements, rows, matrices of rows.

A value has the shape ``lead + tail``. A node is followed where its result is one of the same lead, and where another
lead of as many places would give the same numbers: then a Reshape of the lead may go before it or behind it.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial, reduce

from onnx import NodeProto

from graphtool.graph import Graph
from graphtool.graph import opset as ops
from graphtool.graph.facts_call import Sizes
from graphtool.graph.facts_rules import broadcast

_ELEMENTS = frozenset(
    """Abs Acos Acosh Add And Asin Asinh Atan Atanh BitShift BitwiseAnd BitwiseNot BitwiseOr BitwiseXor Cast Ceil Celu
    Clip Cos Cosh Div Elu Equal Erf Exp Floor Gelu Greater GreaterOrEqual HardSigmoid HardSwish IsInf IsNaN LeakyRelu
    Less LessOrEqual Log Max Mean Min Mish Mod Mul Neg Not Or PRelu Pow Reciprocal Relu Round Selu Sigmoid Sign Sin Sinh
    Softplus Softsign Sqrt Sub Sum Swish Tan Tanh ThresholdedRelu Where Xor""".split()
)
_FOREIGN = frozenset({"BiasGelu", "FastGelu", "Gelu", "QuickGelu"})  # of com.microsoft, element by element
_QUANTIZED = frozenset({"QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear"})
_ROWS = frozenset({"Softmax", "LogSoftmax", "LayerNormalization", "RMSNormalization", "SimplifiedLayerNormalization"})
_REDUCED = frozenset({"ReduceMax", "ReduceMean", "ReduceMin", "ReduceSum", "ReduceL2", "ReduceSumSquare"})
_PRODUCTS = frozenset({"MatMul", "MatMulInteger"})
VIEWS = frozenset({"Flatten", "Reshape", "Squeeze", "Unsqueeze"})


def sizes_of(graph: Graph, name: str) -> Sizes | None:
    """Return the shape of a tensor; None where an axis is not known even by a symbol."""
    fact = graph.facts.fact(name)
    return None if fact.kind != "tensor" or fact.shape is None or None in fact.shape else fact.shape


def is_view(node: NodeProto) -> bool:
    """Whether a node only gives its first input another shape."""
    return node.op_type in VIEWS and node.domain in ("", "ai.onnx")


def is_elementwise(node: NodeProto) -> bool:
    """Whether a node computes each element from those of its inputs at the same place."""
    if node.domain == "com.microsoft":
        return node.op_type in _FOREIGN
    return node.op_type in _ELEMENTS and node.domain in ("", "ai.onnx")


class Rows:
    """Values of one ``lead`` and ``kept`` dimensions behind it, in one graph; ``other`` is the lead they may get."""

    def __init__(self, graph: Graph, lead: Sizes, other: Sizes, kept: int) -> None:
        self.graph = graph
        self.lead = lead
        self.other = other
        self.kept = kept
        self._opset = graph.opset() or 1

    def tail(self, name: str) -> Sizes | None:
        """Return what lies behind the lead of a value; None for a value without that lead."""
        sizes = sizes_of(self.graph, name)
        count = len(self.lead)
        if sizes is None or len(sizes) != count + self.kept or sizes[:count] != self.lead:
            return None
        return sizes[count:]

    def is_plain(self, name: str) -> bool:
        """Whether a value is the same operand for either lead: one of the tail's dimensions only, or one number."""
        sizes = sizes_of(self.graph, name)
        if sizes is None:
            return False
        fewest = min(len(self.lead), len(self.other)) + self.kept
        return len(sizes) <= self.kept or (len(sizes) <= fewest and all(size == 1 for size in sizes))

    def made(self, node: NodeProto, value: str) -> Sizes | None:
        """Return the tail of the first output of a node that reads ``value``; None where it is not to be followed."""
        if not node.output or not node.output[0]:
            return None
        tail = self._made(node, value)
        return tail if tail is not None and self.tail(node.output[0]) == tail else None

    def _made(self, node: NodeProto, value: str) -> Sizes | None:
        op = node.op_type
        if is_elementwise(node):
            return self._elements(node)
        if node.domain not in ("", "ai.onnx") or node.input[0] != value:
            return None
        tail = self.tail(value)
        rest = [sizes_of(self.graph, name) for name in node.input[1:] if name]
        alone = not any(self.graph.index.uses(name) for name in node.output[1:] if name)
        if tail is None or None in rest or not (alone or op == "DynamicQuantizeLinear"):
            return None
        if op in _QUANTIZED:
            return tail if all(sizes == () for sizes in rest) else None
        if op in _ROWS and self.axes(node) is not None:
            return tail if all(sizes is not None and len(sizes) <= self.kept for sizes in rest) else None
        if op in _REDUCED and self._keeps(node):
            return self._reduced(tail, self.axes(node))
        if op in _PRODUCTS and rest[0] is not None and len(rest[0]) == 2 and len(self.lead) and len(self.other):
            few = all(sizes in ((), (1,)) for sizes in rest[1:])
            return (*tail[:-1], rest[0][1]) if tail and few else None
        return None

    def _elements(self, node: NodeProto) -> Sizes | None:
        tails: list[Sizes] = []
        for name in filter(None, node.input):
            tail = self.tail(name)
            if tail is None:
                if not self.is_plain(name):
                    return None
                tail = (sizes_of(self.graph, name) or ())[-self.kept :] if self.kept else ()
            tails.append(tail)
        return reduce(partial(broadcast, self.graph.facts.symbols), tails)

    def _keeps(self, node: NodeProto) -> bool:
        return bool(ops.effective(node, "keepdims", self._opset))

    def _reduced(self, tail: Sizes, axes: Sequence[int] | None) -> Sizes | None:
        if not axes:
            return None
        sizes = list(tail)
        for axis in axes:
            sizes[axis] = 1
        return tuple(sizes)

    def axes(self, node: NodeProto) -> list[int] | None:
        """Return the axes of a node counted from behind; None where some lie in the lead, or are not known."""
        rank = len(self.lead) + self.kept
        if node.op_type in _REDUCED:
            given = ops.attribute_of(node, "axes")
            listed = self.graph.constant(node.input[1]) if len(node.input) > 1 and node.input[1] else None
            axes = list(given.ints) if given is not None else [] if listed is None else listed.reshape(-1).tolist()
            if given is None and any(axis >= 0 for axis in axes):
                return None  # an input, which other nodes may read
        else:
            axis = ops.effective(node, "axis", self._opset)
            axes = [axis] if isinstance(axis, int) else []
        found = [axis - rank if axis >= 0 else axis for axis in axes]
        return found if found and all(-self.kept <= axis < 0 for axis in found) else None

    def moved(self, node: NodeProto) -> NodeProto:
        """Return a copy of a node for the other lead: axes that are counted from the front are other ones."""
        own = NodeProto()
        own.CopyFrom(node)
        more = len(self.other) - len(self.lead)
        for attribute in own.attribute if more and node.op_type in _ROWS | _REDUCED else ():
            if attribute.name == "axes":
                attribute.ints[:] = [axis + more if axis >= 0 else axis for axis in attribute.ints]
            elif attribute.name == "axis" and attribute.i >= 0:
                attribute.i += more
        if more and node.op_type in ("Softmax", "LogSoftmax") and ops.attribute_of(node, "axis") is None:
            axis = ops.effective(node, "axis", self._opset)
            if isinstance(axis, int) and axis >= 0:  # the default before opset 13
                own.attribute.append(ops.make_attribute(node.op_type, "", self._opset, "axis", axis + more))
        return own
