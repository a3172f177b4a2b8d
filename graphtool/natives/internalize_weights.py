"""Weights taken from data files into the model."""

from __future__ import annotations

from collections.abc import Mapping

from graphtool.errors import ModelError, PassError
from graphtool.graph import Graph
from graphtool.graph.bodies import all_tensors
from graphtool.graph.save import PROTOBUF_LIMIT
from graphtool.graph.stripped import is_stripped
from graphtool.graph.weights import is_external
from graphtool.rewrite.result import Applied, Match


def apply(graph: Graph, params: Mapping[str, object]) -> Applied:
    """Put the bytes of external data into the model; raises PassError where that is more than protobuf holds."""
    external = [tensor for tensor in all_tensors(graph.proto) if is_external(tensor) and not is_stripped(tensor)]
    waiting, graph.outside = graph.outside is not None, None
    if not external:
        return Applied([Match("weights that were to be moved to a data file", "native")] if waiting else [])
    try:
        places = [graph.weights.place(tensor) for tensor in external]
    except ModelError as error:
        raise PassError(str(error)) from None
    total = sum(length for _, _, length in places)
    if total > PROTOBUF_LIMIT:
        raise PassError(f"the weights have {total} bytes; protobuf holds at most 2 GiB")
    for tensor, (source, start, length) in zip(external, places, strict=True):
        tensor.ClearField("external_data")
        tensor.ClearField("data_location")
        tensor.raw_data = source.marker(start, start + length)
    return Applied([Match(tensor.name, "native") for tensor in external])
