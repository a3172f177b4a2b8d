"""Multiply-adds of a node, from the shapes of its values. The formulas follow from the ONNX operator specification.

Counted are the operators that are sums of products: convolutions, matrix products and recurrent cells. A bias counts
one for each element that it is added to, as onnx-tool counts it. Everything else counts 0: element-wise operators,
pools and the like move bytes, and their time is bounded by those.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from onnx import NodeProto

from graphtool.analysis.amounts import Amount, product
from graphtool.analysis.sizes import Sized
from graphtool.graph import opset as ops

_Shape = tuple[Amount | None, ...] | None
Count = Callable[[NodeProto, Sequence[_Shape], Sequence[_Shape], int | None], Amount | None]


def madds(node: NodeProto, inputs: Sequence[Sized], outputs: Sequence[Sized], version: int | None) -> Amount | None:
    """Return how many multiply-adds a node computes; None where a size that it takes is unknown."""
    rule = _RULES.get(node.op_type) if node.domain in _DOMAINS else None
    return 0 if rule is None else rule(node, [v.shape for v in inputs], [v.shape for v in outputs], version)


_DOMAINS = ("", "ai.onnx", "com.microsoft")


def _conv(node: NodeProto, inputs: Sequence[_Shape], outputs: Sequence[_Shape], version: int | None) -> Amount | None:
    """Each output element is a sum over a window of the input channels of its group: the weight's [Cin/g, k...]."""
    weight = _at(inputs, 3 if node.op_type == "QLinearConv" else 1)
    out = _at(outputs, 0)
    bias = _is_there(node, 8 if node.op_type == "QLinearConv" else 2) and node.op_type != "ConvInteger"
    return None if weight is None or out is None else _with_bias(product((*out, *weight[1:])), out, bias)


def _conv_transpose(
    node: NodeProto, inputs: Sequence[_Shape], outputs: Sequence[_Shape], version: int | None
) -> Amount | None:
    """Each input element goes into a window of the output channels of its group: the weight's [Cout/g, k...]."""
    data, weight, out = _at(inputs, 0), _at(inputs, 1), _at(outputs, 0)
    if data is None or weight is None or out is None:
        return None
    return _with_bias(product((*data, *weight[1:])), out, _is_there(node, 2))


def _matmul(node: NodeProto, inputs: Sequence[_Shape], outputs: Sequence[_Shape], version: int | None) -> Amount | None:
    left, out = _at(inputs, 0), _at(outputs, 0)
    return None if not left or out is None else product((*out, left[-1]))


def _gemm(node: NodeProto, inputs: Sequence[_Shape], outputs: Sequence[_Shape], version: int | None) -> Amount | None:
    left, out = _at(inputs, 0), _at(outputs, 0)
    if left is None or out is None or len(left) != 2:
        return None
    products = product((*out, left[0 if ops.effective(node, "transA", version) else 1]))
    return _with_bias(products, out, _is_there(node, 2))


def _einsum(node: NodeProto, inputs: Sequence[_Shape], outputs: Sequence[_Shape], version: int | None) -> Amount | None:
    """A product of two or more operands, summed: one multiply-add for each combination of all letters' values."""
    equation = ops.effective(node, "equation", version)
    if len(inputs) < 2:
        return 0
    if not isinstance(equation, str) or "." in equation:
        return None
    sizes: dict[str, Amount | None] = {}
    terms = equation.replace(" ", "").partition("->")[0].split(",")
    for term, shape in zip(terms, inputs, strict=False):
        if shape is None or len(shape) != len(term):
            return None
        for letter, size in zip(term, shape, strict=True):
            if sizes.get(letter) in (None, 1):
                sizes[letter] = size
    return product((*sizes.values(), len(inputs) - 1))


def _recurrent(
    node: NodeProto, inputs: Sequence[_Shape], outputs: Sequence[_Shape], version: int | None
) -> Amount | None:
    """Each step multiplies an item of the batch with W [directions, gates*hidden, in] and R [..., hidden]."""
    data, first, again = _at(inputs, 0), _at(inputs, 1), _at(inputs, 2)
    if data is None or first is None or again is None:
        return None
    steps = product(data[:2])  # [seq, batch] or [batch, seq]
    one, two = product((steps, product(first))), product((steps, product(again)))
    return None if one is None or two is None else one + two


def _attention(
    node: NodeProto, inputs: Sequence[_Shape], outputs: Sequence[_Shape], version: int | None
) -> Amount | None:
    """Attention of opset 23 with 4-D inputs [batch, heads, seq, size]: scores and their product with V."""
    query, key, value = (_at(inputs, place) for place in range(3))
    if node.domain not in ("", "ai.onnx") or any(s is None or len(s) != 4 for s in (query, key, value)):
        return None
    assert query is not None and key is not None and value is not None
    scores = product((*query[:3], key[2]))
    one, two = product((scores, query[3])), product((scores, value[3]))
    return None if one is None or two is None else one + two


def _is_there(node: NodeProto, place: int) -> bool:
    return place < len(node.input) and bool(node.input[place])


def _with_bias(products: Amount | None, out: Sequence[Amount | None], there: bool) -> Amount | None:
    added = product(out) if there else 0
    return None if products is None or added is None else products + added


def _at(shapes: Sequence[_Shape], place: int) -> _Shape:
    return shapes[place] if place < len(shapes) else None


_RULES: dict[str, Count] = {
    **dict.fromkeys(("Conv", "ConvInteger", "QLinearConv", "FusedConv"), _conv),
    "ConvTranspose": _conv_transpose,
    **dict.fromkeys(("MatMul", "MatMulInteger", "QLinearMatMul", "FusedMatMul"), _matmul),
    "Gemm": _gemm,
    "Einsum": _einsum,
    **dict.fromkeys(("RNN", "GRU", "LSTM"), _recurrent),
    "Attention": _attention,
}
COUNTED = frozenset(_RULES)
