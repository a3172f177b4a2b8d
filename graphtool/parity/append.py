"""The nodes that a pass appended, added to a reference: what the graphs before would have computed with them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from numpy.typing import NDArray
from onnx import NodeProto

from graphtool.errors import quoted
from graphtool.graph import Graph
from graphtool.graph.bodies import captures, rename_captured
from graphtool.parity.session import Session
from graphtool.parity.verdict import IncomparableError, Reference

Array = NDArray[Any]


def extended(reference: Reference, before: Reference, after: Graph, drawn: Mapping[str, Array]) -> Reference:
    """Return ``reference`` with the nodes that make the new outputs of ``after``, from outputs that it has.

    ``before`` is the step before the pass: what it does not have is new. ``drawn`` is the feed of inputs that the new
    nodes bring. Raises IncomparableError where they read a tensor that the reference does not have.
    """
    new = [
        info.name for info in after.header.output if not _has(before.graph, before.own_name.get(info.name, info.name))
    ]
    graph = reference.graph.copy()
    graph.weights.adopt(after.weights)
    names: dict[str, str] = {}
    slots = _cone(after, before, new)
    for info in after.header.input:
        if info.name in drawn:
            names[info.name] = graph.names.fresh_value(info.name)
            own = graph.header.input.add()
            own.CopyFrom(info)
            own.name = names[info.name]
    _import(graph, after)
    for slot in slots:
        node = NodeProto()
        original = after.node(slot)
        assert original is not None
        node.CopyFrom(original)
        read = [name for name in (*node.input, *sorted(captures(node))) if name]
        for name in read:
            if name not in names:
                names[name] = _source(name, reference, before, after, graph)
        for position, name in enumerate(node.input):
            node.input[position] = names.get(name, "")
        rename_captured(node, names)
        for position, name in enumerate(node.output):
            if name:
                names[name] = node.output[position] = graph.names.fresh_value(name)
        node.name = graph.names.fresh_node(node.name)
        graph.append_node(node)
    for info in after.header.output:
        if info.name in new:
            own = graph.header.output.add()
            own.CopyFrom(info)
            own.name = names[info.name]
    graph.reindex()
    feed = {**reference.feed, **{names[name]: array for name, array in drawn.items()}}
    made = [names[name] for name in new]
    outputs = {**reference.outputs, **(Session(graph, outputs=made).run(feed) if made else {})}
    own_name = {**reference.own_name, **{name: names[name] for name in (*new, *drawn)}}
    return replace(reference, graph=graph, feed=feed, outputs=outputs, own_name=own_name, tolerance=None)


def _has(graph: Graph, name: str) -> bool:
    known = name in graph.index.producers or name in graph.initializers
    return known or any(info.name == name for info in graph.header.input)


def _cone(after: Graph, before: Reference, outputs: list[str]) -> list[int]:
    """Return the slots of the nodes that make ``outputs`` from what the step before has, in graph order."""
    slots: set[int] = set()
    front = list(outputs)
    for name in front:  # grows on the way
        slot = after.index.producer_slot(name)
        if slot is None or slot in slots or _has(before.graph, before.own_name.get(name, name)):
            continue
        slots.add(slot)
        node = after.node(slot)
        assert node is not None
        front += [*(read for read in node.input if read), *sorted(captures(node))]
    return [slot for slot in after.live_slots() if slot in slots]


def _source(name: str, reference: Reference, before: Reference, after: Graph, graph: Graph) -> str:
    """Return what the new nodes read in the reference where they read ``name``: its own tensor, or a copied weight."""
    if _has(before.graph, before.own_name.get(name, name)):
        own = reference.own_name.get(name, name)
        if not _has(graph, own):
            raise IncomparableError(f"the new nodes read {quoted(name)}, which {reference.name} does not have")
        return own
    tensor = after.initializers.get(name)
    if tensor is None:
        raise IncomparableError(f"the new nodes read {quoted(name)}, which is no tensor of {before.name}")
    fresh = graph.names.fresh_value(name)
    own_tensor = graph.header.initializer.add()
    own_tensor.CopyFrom(tensor)
    own_tensor.name = fresh
    return fresh


def _import(graph: Graph, after: Graph) -> None:
    """Take over the operator sets and functions that only the graph after has."""
    proto = graph.proto
    known = {entry.domain for entry in proto.opset_import}
    proto.opset_import.extend(entry for entry in after.proto.opset_import if entry.domain not in known)
    functions = {(function.domain, function.name, function.overload) for function in proto.functions}
    proto.functions.extend(
        function for function in after.proto.functions
        if (function.domain, function.name, function.overload) not in functions
    )  # fmt: skip
