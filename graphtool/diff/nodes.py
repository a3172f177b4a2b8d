"""Which nodes changed, and in what."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Hashable, Iterator, Sequence

from onnx import AttributeProto

from graphtool.diff.forms import attribute_text
from graphtool.diff.matching import Matching
from graphtool.diff.model import property_details
from graphtool.diff.result import Changed, Detail, Entry, Part, Renamed
from graphtool.diff.view import View, padded, renamed_inside
from graphtool.graph.counts import op_label

_BODIES = (AttributeProto.GRAPH, AttributeProto.GRAPHS)


def diff_nodes(m: Matching) -> Part:
    """Return the nodes that were added, removed, changed, renamed and moved."""
    a, b = m.a, m.b
    left_a, left_b = m.unpaired()
    return Part(
        added=tuple(Entry(b.label(j), b.ops[j]) for j in left_b),
        removed=tuple(Entry(a.label(i), a.ops[i]) for i in left_a),
        changed=tuple(Changed(a.label(i), b.label(j), a.ops[i], tuple(_details(m, i, j))) for i, j in m.changed),
        renamed=tuple(Renamed(a.label(i), b.label(j)) for i, j in m.pairs() if a.names[i] != b.names[j]),
        moved=moved([j for j in m.forward if j >= 0]),
    )


def _details(m: Matching, i: int, j: int) -> Iterator[Detail]:
    a, b = m.a, m.b
    if a.ops[i] != b.ops[j]:
        yield Detail("op type", a.ops[i], b.ops[j])
    before, after = a.form(i).key, b.form(j).key
    attributes = [{attribute.name: attribute for attribute in view.nodes[n].attribute} for view, n in ((a, i), (b, j))]
    for name in sorted(before.keys() | after.keys(), key=str):
        if before.get(name) != after.get(name):
            sides = [
                _attribute(view, found.get(name), form.get(name))
                for view, found, form in zip((a, b), attributes, (before, after), strict=True)
            ]
            body = any(name in found and found[name].type in _BODIES for found in attributes)
            yield Detail(f"{'body' if body else 'attribute'} {name}", *sides)
    yield from _wiring(m, i, j)
    x, y = a.nodes[i], b.nodes[j]
    if x.doc_string != y.doc_string:
        yield Detail("doc_string", x.doc_string or None, y.doc_string or None)
    yield from property_details("metadata", x.metadata_props, y.metadata_props)


def _attribute(view: View, attribute: AttributeProto | None, key: Hashable) -> str | None:
    if attribute is None:
        return None
    if attribute.type in _BODIES and not attribute.ref_attr_name:
        graphs = [attribute.g] if attribute.type == AttributeProto.GRAPH else attribute.graphs
        return "; ".join(", ".join(op_label(node) for node in graph.node) for graph in graphs)
    return attribute_text(view.graph, attribute, key)


def _wiring(m: Matching, i: int, j: int) -> Iterator[Detail]:
    a, b = m.a, m.b
    before, after = list(a.nodes[i].input), list(b.nodes[j].input)
    length = max(len(before), len(after))
    for position, (x, y) in enumerate(zip(padded(before, length), padded(after, length), strict=True)):
        if not m.agree(x, y):
            yield Detail(f"input {position}", a.describe(x) if x else None, b.describe(y) if y else None)
    if a.attributes(i) == b.attributes(j):  # equal bodies read as many values; of others, it is the body that differs
        for x, y in zip(a.form(i).captures, b.form(j).captures, strict=True):
            if not m.agree(x, y):
                yield Detail("body reads", a.describe(x), b.describe(y))
    length = max(len(a.outputs[i]), len(b.outputs[j]))
    outputs = zip(padded(a.outputs[i], length), padded(b.outputs[j], length), strict=True)
    for position, (x, y) in enumerate(outputs):
        if bool(x) != bool(y):
            yield Detail(f"output {position}", x or None, y or None)


def renamed_values(m: Matching) -> Iterator[Renamed]:
    """Yield the inner values that have another name now, those in bodies behind the name of their node."""
    interface = m.results.items()
    for i, j in m.pairs():
        for x, y in zip(m.a.outputs[i], m.b.outputs[j], strict=False):
            if x != y and x and y and (x, y) not in interface:
                yield Renamed(x, y)
    for i in m.a.holders:
        j = m.forward[i]
        if j >= 0 and m.a.attributes(i) == m.b.attributes(j):
            label = m.a.label(i)
            yield from renamed_inside(label, m.a.form(i).names, m.b.form(j).names)


def moved(order: Sequence[int]) -> int:
    """Return how many items must move to sort ``order``: all but a longest increasing subsequence (patience sort)."""
    tops: list[int] = []
    for item in order:
        place = bisect_left(tops, item)
        if place == len(tops):
            tops.append(item)
        else:
            tops[place] = item
    return len(order) - len(tops)
