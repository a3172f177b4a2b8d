"""What changed between two graphs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from onnx import ValueInfoProto

from graphtool.diff.align import align
from graphtool.diff.matching import Matching
from graphtool.diff.model import diff_functions, diff_model, property_details
from graphtool.diff.nodes import diff_nodes, moved, renamed_values
from graphtool.diff.result import Changed, Detail, Diff, Entry, Part, Renamed
from graphtool.diff.view import View
from graphtool.graph import Graph, Value
from graphtool.graph.counts import changed_counts
from graphtool.graph.digests import Contents


def diff(a: Graph, b: Graph) -> Diff:
    """Return what turns ``a`` into ``b``.

    Nodes, weights, inputs and outputs are matched by name and then by structure, so that a rename is reported as one.
    Weights are compared by the SHA-256 of their bytes, and only where they do not lie at the same place of one file.
    Raises ModelError where external data of a weight that has to be read is missing.
    """
    contents = Contents()
    m = align(View(a, contents), View(b, contents))
    functions, inner = diff_functions(m)
    return Diff(
        nodes=diff_nodes(m),
        values=Part(renamed=(*renamed_values(m), *inner)),
        weights=_diff_weights(m),
        inputs=_diff_interface(m, "input", m.a.inputs, m.b.inputs, m.inputs),
        outputs=_diff_interface(m, "output", m.a.results, m.b.results, m.results),
        functions=functions,
        model=tuple(diff_model(m)),
        ops=changed_counts(m.a.ops, m.b.ops),
    )


def _diff_weights(m: Matching) -> Part:
    a, b = m.a, m.b
    paired = set(m.weights.values())
    changed = []
    for x, weight in a.weights.items():
        y = m.weights.get(x)
        details = tuple(_weight_details(m, x, y)) if y is not None else ()
        if y is not None and details:
            changed.append(Changed(x, y, weight.value.type_text(), details))
    return Part(
        added=tuple(Entry(y, w.value.type_text()) for y, w in b.weights.items() if y not in paired),
        removed=tuple(Entry(x, w.value.type_text()) for x, w in a.weights.items() if x not in m.weights),
        changed=tuple(changed),
        renamed=tuple(Renamed(x, m.weights[x]) for x in a.weights if m.weights.get(x, x) != x),
    )


def _weight_details(m: Matching, x: str, y: str) -> Iterator[Detail]:
    a, b = m.a, m.b
    before, after = a.weights[x], b.weights[y]
    if before.type != after.type:
        yield Detail("type", before.value.type_text(), after.value.type_text())
    else:
        places = before.places(a.graph)
        if None in places or places != after.places(b.graph):
            digests = before.digest(a.graph, a.contents), after.digest(b.graph, b.contents)
            if digests[0] != digests[1]:
                yield Detail("values", *digests)
    if (x in a.defaults) != (y in b.defaults):
        yield Detail("overridable", *("yes" if over else "no" for over in (x in a.defaults, y in b.defaults)))


def _diff_interface(
    m: Matching, noun: str, before: Mapping[str, Value], after: Mapping[str, Value], paired: Mapping[str, str]
) -> Part:
    changed = []
    infos = [
        {
            info.name: info
            for info in (view.graph.proto.graph.input if noun == "input" else view.graph.proto.graph.output)
        }
        for view in (m.a, m.b)
    ]
    for x, value in before.items():
        if x in paired:
            y = paired[x]
            details = list(_value_details(value, after[y], infos[0][x], infos[1][y]))
            if noun == "output" and m.values.get(x, y) != y and y in m.origins:
                details.append(Detail("made by", m.a.describe(x), m.b.describe(y)))
            if details:
                changed.append(Changed(x, y, value.type_text(), tuple(details)))
    partners = set(paired.values())
    places = {name: place for place, name in enumerate(after)}
    return Part(
        added=tuple(Entry(y, value.type_text()) for y, value in after.items() if y not in partners),
        removed=tuple(Entry(x, value.type_text()) for x, value in before.items() if x not in paired),
        changed=tuple(changed),
        renamed=tuple(Renamed(x, paired[x]) for x in before if paired.get(x, x) != x),
        moved=moved([places[paired[x]] for x in before if x in paired]),
    )


def _value_details(before: Value, after: Value, x: ValueInfoProto, y: ValueInfoProto) -> Iterator[Detail]:
    if before.type_text() != after.type_text():
        yield Detail("type", before.type_text(), after.type_text())
    elif x.type.SerializeToString(deterministic=True) != y.type.SerializeToString(deterministic=True):
        # denotations, element types of sequences, -1 for an unknown dimension: what the short form leaves out
        yield Detail("type", " ".join(str(x.type).split()), " ".join(str(y.type).split()))
    if x.doc_string != y.doc_string:
        yield Detail("doc_string", x.doc_string or None, y.doc_string or None)
    yield from property_details("metadata", x.metadata_props, y.metadata_props)
