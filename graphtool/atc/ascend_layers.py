"""ONNX against the model of the Ascend 310, tensor by tensor."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from graphtool.atc.ascend_model import Watch, chip_model, with_semantics
from graphtool.comparator import Pair
from graphtool.comparator.parts import MOST_BYTES
from graphtool.comparator.tensors import Side, compared
from graphtool.graph import Graph
from graphtool.graph.opset import numpy_dtype
from graphtool.parity.metrics import Figures, eps_of
from graphtool.rewrite.result import label

Array = NDArray[Any]


@dataclass(frozen=True, slots=True)
class Layer:
    """An inner tensor, the node that makes it, and how the model of the chip differs there from ONNX."""

    tensor: str
    node: str
    op: str
    figures: Figures


def layers(graph: Graph, feed: Mapping[str, Array], watch: Watch = lambda _: None) -> list[Layer]:
    """Return every tensor that the outputs need and the model of the chip makes in the same shape, in graph order.

    Whole numbers that are the same (sizes, positions) are left out.
    """
    outputs = [value.name for value in graph.outputs]
    ours = Side.of(graph, feed, outputs)
    theirs = Side.of(chip_model(with_semantics(graph)[0]).graph, feed, outputs)
    both = [(name, name, Pair(name, name, "name")) for name in ours.tensors if name in theirs.graph.index.producers]
    found = []
    for each in compared(ours, theirs, both, watch, MOST_BYTES):
        node, value = ours.graph.index.producer(each.pair.before), ours.graph.value(each.pair.before)
        sizes = value is not None and value.dtype != 0 and not eps_of(numpy_dtype(value.dtype))
        if node is not None and not (sizes and each.figures.changed == 0):
            found.append(Layer(each.pair.before, label(node), node.op_type, each.figures))
    return found
