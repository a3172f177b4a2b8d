"""The first tensor at which two models part, and the nodes that make it."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet

import numpy as np
from onnx import NodeProto, helper

from graphtool.comparator.forward import EITHER_ORDER
from graphtool.comparator.result import Divergence, Row
from graphtool.errors import show
from graphtool.graph import Graph
from graphtool.graph import opset as ops
from graphtool.graph.bodies import captures
from graphtool.graph.opset import numpy_dtype
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
    ours = _lines(a, row.pair.before, {other.pair.before for other in fine})
    theirs = _lines(b, row.pair.after, {other.pair.after for other in fine})
    x, y = a.index.producer(row.pair.before), b.index.producer(row.pair.after)
    origins = {other.pair.after: other.pair.before for other in rows}
    details = (*_details(a, b, x, y), *_rewired(x, y, origins)) if x is not None and y is not None else ()
    return Divergence(row, ours, theirs, details)


def _lines(graph: Graph, name: str, known: AbstractSet[str]) -> tuple[str, ...]:
    """Return the nodes that make ``name`` out of tensors that are known to agree, a line each, in graph order."""
    reached = reaching(graph, [name], known - {name})
    nodes = [node for node in graph.nodes if reached.intersection(node.output) and node.op_type != "Constant"]
    data = [node for node in nodes if name in node.output or not all(_is_whole(graph, made) for made in node.output)]
    lines = [f"[{show(node.name)}] {node_line(node)}" if node.name else node_line(node) for node in data[-_MOST_NODES:]]
    more, sizes = len(data) - len(lines), len(nodes) - len(data)
    left_out = [f"({more} nodes before these)"] if more else []
    left_out += [f"({sizes} nodes that compute sizes are left out)"] if sizes else []
    return (*left_out, *lines)


def _is_whole(graph: Graph, name: str) -> bool:
    """Whether a tensor holds whole numbers: between floats those are sizes, positions, conditions."""
    value = graph.value(name) if name else None
    return value is None or (value.dtype != 0 and numpy_dtype(value.dtype).kind in "iub")


def _rewired(x: NodeProto, y: NodeProto, origins: Mapping[str, str]) -> Iterator[str]:
    """Tell which inputs of the second node are other tensors than those of the first; ``origins`` names them there."""
    ours, theirs = list(x.input), [origins.get(name, "") for name in y.input]
    if (x.op_type, x.domain) != (y.op_type, y.domain) or (x.op_type in EITHER_ORDER and sorted(ours) == sorted(theirs)):
        return
    for place, (p, q, known) in enumerate(zip(ours, y.input, theirs, strict=False)):
        if known and p in origins.values() and known != p:
            yield f"input {place}: {show(p)} / {show(q)}, which is {show(known)} in the first model"


def _attribute(graph: Graph, node: NodeProto, name: str) -> str:
    own = ops.attribute_of(node, name)
    if own is None:
        value = ops.default(node.op_type, node.domain, graph.opset(node.domain), name)
        own = None if value is None else helper.make_attribute(name, value)
    return "not set" if own is None else attribute_text(own)


def _details(a: Graph, b: Graph, x: NodeProto, y: NodeProto) -> Iterator[str]:
    if (x.op_type, x.domain) != (y.op_type, y.domain):
        return
    for name in sorted({attribute.name for attribute in (*x.attribute, *y.attribute)}):
        was, now = (_attribute(graph, node, name) for graph, node in ((a, x), (b, y)))
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
