"""NonMaxSuppression and all behind it cut off: its boxes and scores become outputs."""

from __future__ import annotations

from collections.abc import Mapping

from onnx import ValueInfoProto

from graphtool.errors import PassError, quoted
from graphtool.graph import Graph
from graphtool.graph.bodies import walk
from graphtool.graph.declared import copied, declare
from graphtool.graph.sort import remove_unused
from graphtool.rewrite.result import Applied, Match, Miss, label


def apply(graph: Graph, params: Mapping[str, object]) -> Applied:
    """Make boxes and scores of each NonMaxSuppression outputs, in the place of the outputs that depend on it."""
    slots = graph.index.slots_of_type("NonMaxSuppression")
    inner = [node for body in graph.body_graphs() for node in walk(body) if node.op_type == "NonMaxSuppression"]
    misses = [Miss(label(node), "native", "it lies in a body of If, Loop or Scan") for node in inner]
    if not slots:
        return Applied(misses=misses)
    behind = _behind(graph, slots)
    cut: dict[str, None] = {}
    matches = []
    for slot in slots:
        node = graph.node(slot)
        assert node is not None
        if any(name in behind for name in node.input[:2]):
            continue  # one NonMaxSuppression behind another goes with it
        cut.update(dict.fromkeys(node.input[:2]))
        matches.append(Match(label(node), "native"))
    kept = [info for info in graph.header.output if info.name not in behind]
    infos = [copied(info) for info in kept]
    present = {info.name for info in kept}
    infos += [_described(graph, name) for name in cut if name not in present]
    del graph.header.output[:]
    graph.header.output.extend(infos)
    remove_unused(graph)
    graph.forget_shapes()
    return Applied(matches, misses)


def _behind(graph: Graph, slots: list[int]) -> set[str]:
    """Return the values that depend on what the nodes in ``slots`` make."""
    seen = set(slots)
    front = list(slots)
    values: set[str] = set()
    for slot in front:  # grows on the way
        node = graph.node(slot)
        assert node is not None
        for name in node.output:
            values.add(name)
            for reader in graph.index.reader_slots(name) if name else ():
                if reader not in seen:
                    seen.add(reader)
                    front.append(reader)
    return values - {""}


def _described(graph: Graph, name: str) -> ValueInfoProto:
    value = graph.value(name)
    if graph.index.producer(name) is None:
        raise PassError(
            f"NonMaxSuppression reads {quoted(name)}, an input or a weight: there is nothing to cut before it"
        )
    if value is None or value.kind != "tensor" or not value.dtype:
        raise PassError(f"the type of {quoted(name)} is unknown, so it cannot become an output")
    info = ValueInfoProto(name=name)
    declare(info, value.dtype, value.shape)
    return info
