"""Topological order, and what nothing reads."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Sequence
from collections.abc import Set as AbstractSet

from onnx import NodeProto

from graphtool.errors import ModelError, quoted
from graphtool.graph.bodies import captures, defined, has_bodies
from graphtool.graph.calls import Library
from graphtool.graph.fields import keep_only
from graphtool.graph.model import Graph


def in_order(nodes: Iterable[NodeProto]) -> bool:
    """Whether no node makes a value that it, or a node before it, reads."""
    read: set[str] = set()
    for node in nodes:
        read.update(node.input[:])
        if has_bodies(node):
            read |= captures(node)
        if any(name and name in read for name in node.output[:]):
            return False
    return True


def sort_nodes(graph: Graph) -> None:
    """Put the nodes of the main graph in topological order, see :func:`topological`."""
    slots = graph.live_slots()
    graph.reorder([slots[place] for place in topological(graph.nodes)])


def topological(nodes: Sequence[NodeProto]) -> list[int]:
    """Return the places of ``nodes`` in topological order, of all such orders the one nearest to the present one.

    Kahn's algorithm, smallest place first; raises ModelError where there is a cycle.
    """
    maker = {name: place for place, node in enumerate(nodes) for name in node.output if name}
    needs = [{maker[name] for name in {*node.input, *captures(node)} if name in maker} for node in nodes]
    feeds: list[list[int]] = [[] for _ in nodes]
    for place, sources in enumerate(needs):
        for source in sources:
            feeds[source].append(place)
    ready = [place for place, sources in enumerate(needs) if not sources]  # ascending, so a heap already
    order: list[int] = []
    while ready:
        place = heapq.heappop(ready)
        order.append(place)
        for reader in feeds[place]:
            needs[reader].discard(place)
            if not needs[reader]:
                heapq.heappush(ready, reader)
    if len(order) < len(nodes):
        node = nodes[_on_cycle(needs, set(range(len(nodes))) - set(order))]
        raise ModelError(f"the graph has a cycle through node {quoted(node.name or node.op_type)}")
    return order


def _on_cycle(needs: Sequence[set[int]], left: set[int]) -> int:
    """Return a place that lies on a cycle, not merely behind one: follow needs until one repeats."""
    place = min(left)
    seen: set[int] = set()
    while place not in seen:
        seen.add(place)
        place = min(needs[place] & left)
    return place


def remove_unused(graph: Graph, gone: dict[int, NodeProto] | None = None, inside: list[NodeProto] | None = None) -> int:
    """Remove every node, initializer and local function that nothing needs; return how many nodes went.

    ``gone`` takes up the nodes by slot, ``inside`` those of bodies.
    """
    inner: list[NodeProto] = [] if inside is None else inside
    for body in graph.bodies():  # first, since what only they read goes too
        _remove_in_body(body, inner)
    slots: Sequence[int] = graph.live_slots()
    # annotations keep scales: when one goes, so may nodes that nothing has touched
    if graph.journal is not None and not graph.header.quantization_annotation:
        slots = graph.journal.again(graph, remove_unused, slots, 0)
    count = remove_nodes(graph, slots, set(), gone=gone)
    _drop_notes(graph)
    drop_unread(graph, [*graph.initializers, *(t.values.name for t in graph.header.sparse_initializer)])
    _drop_functions(graph)
    return count + len(inner)


def _remove_in_body(body: Graph, gone: list[NodeProto]) -> None:
    for inner in body.bodies():
        _remove_in_body(inner, gone)
    own: dict[int, NodeProto] = {}
    remove_nodes(body, body.live_slots(), set(), gone=own)
    gone += (own[slot] for slot in sorted(own))
    drop_unread(body, [*body.initializers, *(t.values.name for t in body.header.sparse_initializer)])


def remove_nodes(
    graph: Graph,
    candidates: Iterable[int],
    freed: set[str],
    needed: AbstractSet[str] | None = None,
    gone: dict[int, NodeProto] | None = None,
) -> int:
    """Remove those candidate slots whose outputs nobody reads, and what only they read; return how many went.

    ``freed`` takes up the values they read that no node makes: initializers among them may be unused now. ``needed``
    is :func:`needed_names`, where the caller has it already.
    """
    needed = needed_names(graph) if needed is None else needed
    index = graph.index
    queue = list(candidates)
    count = 0
    rows, readers = index.rows, index.readers
    while queue:
        slot = queue.pop()
        row, node = rows[slot], graph.node(slot)
        if row is None or node is None:
            continue
        for name in row.outputs:
            if name in readers or name in needed:
                row = None
                break
        if row is None:
            continue
        reads = {name for name in row.inputs if name}
        if row.holds:
            reads |= captures(node)
        graph.remove_node(slot)
        count += 1
        if gone is not None:
            gone[slot] = node
        for name in sorted(reads):
            source = index.producer_slot(name)
            if source is not None:
                queue.append(source)
            else:
                freed.add(name)
    return count


def drop_unread(graph: Graph, names: Iterable[str]) -> None:
    """Remove those initializers among ``names``, dense and sparse, that nothing reads."""
    needed = needed_names(graph)
    unread = {name for name in names if name not in needed and not graph.index.uses(name)}
    if unread:
        graph.drop_initializers(unread)


def needed_names(graph: Graph) -> set[str]:
    """Return the names that must stay without a reader: graph outputs, and the scales that annotations point to."""
    header = graph.header
    names = {info.name for info in header.output}
    for note in header.quantization_annotation:
        names.update(entry.value for entry in note.quant_parameter_tensor_names)
    return names


def _drop_notes(graph: Graph) -> None:
    """Remove stored types and quantization annotations of values that are no longer there."""
    top = graph.proto.graph
    if top.value_info or top.quantization_annotation:
        known = defined(top)
        keep_only(top.value_info, lambda info: info.name in known)
        keep_only(top.quantization_annotation, lambda note: note.tensor_name in known)


def _drop_functions(graph: Graph) -> None:
    """Remove local functions that no node calls, directly or through another function."""
    functions = graph.proto.functions
    if not functions:
        return
    used = {(f.domain, f.name) for f in Library(functions).called(graph.proto.graph.node)}
    keep_only(functions, lambda function: (function.domain, function.name) in used)
