"""The first tensor at which two models part, and the nodes that make it."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from collections.abc import Set as AbstractSet

import numpy as np
from onnx import NodeProto

from graphtool.comparator.result import Divergence, Row
from graphtool.errors import show
from graphtool.graph import Graph
from graphtool.graph.bodies import captures
from graphtool.graph.text import attribute_text, node_line
from graphtool.parity.metrics import compare

_MOST_NODES = 12


def reaching(graph: Graph, targets: Iterable[str], walls: Collection[str]) -> set[str]:
    """Return every tensor from which a way leads to one of ``targets`` without touching ``walls``; targets included."""
    front = list(targets)
    seen = set(front)
    for name in front:  # grows on the way
        for source in _sources(graph, name):
            if source not in seen and source not in walls:
                seen.add(source)
                front.append(source)
    return seen


def _sources(graph: Graph, name: str) -> list[str]:
    node = graph.index.producer(name)
    return [] if node is None else sorted({source for source in node.input if source} | captures(node))


def divergence(a: Graph, b: Graph, rows: Sequence[Row]) -> Divergence | None:
    """Return the first row that diverges and passes it on, with the nodes that make it from tensors that agree."""
    row = next((row for row in rows if row.passed_on), None)
    if row is None:
        return None
    fine = [other for other in rows if other.verdict != "diverges"]
    ours = _nodes(a, row.pair.before, {other.pair.before for other in fine})
    theirs = _nodes(b, row.pair.after, {other.pair.after for other in fine})
    x, y = a.index.producer(row.pair.before), b.index.producer(row.pair.after)
    details = tuple(_details(a, b, x, y)) if x is not None and y is not None else ()
    return Divergence(row, _lines(ours), _lines(theirs), details)


def _nodes(graph: Graph, name: str, known: AbstractSet[str]) -> list[NodeProto]:
    """Return the nodes that make ``name`` out of tensors that are known to agree, in graph order."""
    reached = reaching(graph, [name], known - {name})
    return [node for node in graph.nodes if reached.intersection(node.output) and node.op_type != "Constant"]


def _lines(nodes: Sequence[NodeProto]) -> tuple[str, ...]:
    lines = [f"[{agreed(node)}] {node_line(node)}" if node.name else node_line(node) for node in nodes[-_MOST_NODES:]]
    more = len(nodes) - len(lines)
    return (*([f"({more} nodes before these)"] if more else []), *lines)


def agreed(node: NodeProto | None) -> str:
    """Return what a report calls a node: its name, empty where there is none."""
    return "" if node is None else show(node.name)


def _details(a: Graph, b: Graph, x: NodeProto, y: NodeProto) -> Iterator[str]:
    if (x.op_type, x.domain) != (y.op_type, y.domain):
        return
    ours, theirs = ({attribute.name: attribute_text(attribute) for attribute in node.attribute} for node in (x, y))
    for name in sorted(ours.keys() | theirs.keys()):
        was, now = ours.get(name, "not set"), theirs.get(name, "not set")
        if was != now:
            yield f"attribute {show(name)}: {was} / {now}"
    for place, (p, q) in enumerate(zip(x.input, y.input, strict=False)):
        was_, now_ = (graph.constant(name) if name else None for graph, name in ((a, p), (b, q)))
        if was_ is None or now_ is None:
            continue
        where = f"input {place}, weight {show(p)}" + (f" / {show(q)}" if p != q else "")
        if was_.shape != now_.shape:
            yield f"{where}: {was_.dtype.name}{list(was_.shape)} / {now_.dtype.name}{list(now_.shape)}"
        elif was_.dtype != now_.dtype or not np.array_equal(was_, now_):
            found = compare(was_, now_)
            if found.changed:
                at = "" if found.worst_index is None else f", first at {list(found.worst_index)}"
                yield f"{where}: {found.changed} of {found.count} values differ, by up to {found.max_abs:.3g}{at}"
