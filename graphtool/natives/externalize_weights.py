"""Weights moved to a data file beside the model."""

from __future__ import annotations

from collections.abc import Mapping

from onnx import TensorProto, numpy_helper

from graphtool.errors import PassError
from graphtool.graph import Graph
from graphtool.graph.weights import LAZY_BYTES, is_external, payload_bytes
from graphtool.rewrite.result import Applied, Match, Miss


def apply(graph: Graph, params: Mapping[str, object]) -> Applied:
    """Let initializers of ``threshold`` bytes or more go to ``MODEL.data`` when the model is saved."""
    threshold = params["threshold"]
    assert isinstance(threshold, int)
    if threshold < 0:
        raise PassError(f"threshold {threshold} is not a number of bytes")
    large = []
    misses = []
    for tensor in graph.header.initializer:
        size = payload_bytes(tensor) or 0
        if is_external(tensor) or (graph.outside is not None and graph.outside <= threshold):
            misses.append(Miss(tensor.name, "native", "it lies in a data file already"))
        elif size >= max(threshold, 1):
            large.append(tensor)
        elif size:
            misses.append(Miss(tensor.name, "native", f"{size} bytes are less than threshold={threshold}"))
    if not large:
        return Applied(misses=misses)
    for tensor in large:
        _as_bytes(graph, tensor)
    graph.outside = max(threshold, 1)
    return Applied([Match(tensor.name, "native") for tensor in large])


def _as_bytes(graph: Graph, tensor: TensorProto) -> None:
    """Let a tensor that is stored number by number be stored as bytes, as a data file wants it."""
    if tensor.HasField("raw_data"):
        return
    own = numpy_helper.from_array(numpy_helper.to_array(tensor), tensor.name)
    for field in ("float_data", "int32_data", "int64_data", "double_data", "uint64_data"):
        tensor.ClearField(field)
    raw = own.raw_data
    tensor.raw_data = graph.weights.hold(raw) if len(raw) > LAZY_BYTES else raw
