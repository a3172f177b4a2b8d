"""How far two ways to compute one tensor may be apart: by rounding in float32, or in float16 where one does that."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from numpy.typing import NDArray
from onnx import TensorProto

from graphtool.comparator.half import half_model
from graphtool.graph import Graph
from graphtool.parity.metrics import compare
from graphtool.parity.session import Session
from graphtool.parity.tolerance import TIMES_NOISE, close_tolerance

Array = NDArray[Any]

_HALF = (TensorProto.FLOAT16, TensorProto.BFLOAT16)


def in_half(graph: Graph) -> bool:
    """Whether some node of a graph makes float16 or bfloat16."""
    values = (graph.value(name) for node in graph.nodes for name in node.output if name)
    return any(value is not None and value.dtype in _HALF for value in values)


def explained(graph: Graph, feed: Mapping[str, Array], tensors: Mapping[str, Array], half: bool) -> dict[str, float]:
    """Return the largest error of each tensor of ``graph`` that noise explains, in its units.

    The noise rule of ``close``; with ``half``, where the other model computes in float16 and this one does not, 8 times
    what rounding every result and weight of this one to float16 does, where that is more.
    """
    if not half or not tensors:
        return close_tolerance(graph, feed, tensors)
    rounded = Session(half_model(graph).graph, outputs=list(tensors)).run(feed)
    return {name: TIMES_NOISE * compare(array, rounded[name]).max_abs for name, array in tensors.items()}
