"""Weights left behind in the file that the model came from."""

from __future__ import annotations

from collections.abc import Mapping

from graphtool.errors import PassError
from graphtool.graph import Graph
from graphtool.graph.bodies import all_tensors
from graphtool.graph.stripped import is_stripped, strip
from graphtool.graph.weights import is_external, is_lazy, payload_bytes
from graphtool.rewrite.result import Applied, Match, Miss


def apply(graph: Graph, params: Mapping[str, object]) -> Applied:
    """Let weights of ``threshold`` bytes or more refer to the model file; those that lie in no file stay."""
    threshold = params["threshold"]
    assert isinstance(threshold, int)
    if threshold < 1:
        raise PassError(f"threshold {threshold} is not a positive number of bytes")
    result = Applied()
    stay = []
    for tensor in all_tensors(graph.proto):
        size = payload_bytes(tensor)
        if is_stripped(tensor):
            stay.append(Miss(tensor.name, "native", "it is left behind already"))
            continue
        if size is None or size < threshold:
            if size:
                stay.append(Miss(tensor.name, "native", f"{size} bytes are less than threshold={threshold}"))
            continue
        try:
            done = strip(tensor, graph.weights)
        except OSError as error:
            raise PassError(f"the file of the weights cannot be read: {error.strerror}") from None
        if done:
            result.matches.append(Match(tensor.name, "native"))
        else:
            lies = is_lazy(tensor) or is_external(tensor)
            reason = (
                "it is new, in no file yet: save the model first" if lies else "it is small, or stored number by number"
            )
            result.misses.append(Miss(tensor.name, "native", reason))
    return result if result.matches or result.misses else Applied(misses=stay)
