"""Which node, weight, input and output of one graph is which of another."""

from __future__ import annotations

from collections.abc import Mapping

from graphtool.diff.matching import Matching
from graphtool.diff.structure import match_structure, match_weights
from graphtool.diff.view import View


def align(a: View, b: View, inputs: Mapping[str, str] | None = None) -> Matching:
    """Return the alignment that leaves the least to tell: by names first, or by structure alone.

    Names are believed unless structure explains the second graph with less than half the differences. That is so
    when names were permuted, and when an exporter numbered all nodes anew behind an insertion. ``inputs`` pairs the
    graphs' inputs where it is known which is which.
    """
    nodes = min(len(a.nodes), len(b.nodes))
    named = Matching(a, b, by_name=True, inputs=inputs)
    # where most nodes keep their names, a node whose name is gone was removed, and looking like a new one is a chance
    _finish(named, bold=2 * _match_names(named) < nodes)
    rewired = sum(1 for i, j in named.changed if not named.wired_alike(i, j))
    if rewired <= max(1, nodes // 64):
        return named
    structural = _finish(Matching(a, b, by_name=False, inputs=inputs), bold=True)
    return structural if 2 * structural.cost() < named.cost() else named


def _finish(m: Matching, bold: bool) -> Matching:
    """Pair what names left over, and give up pairs of inputs, weights and outputs that the nodes contradict."""
    match_structure(m, bold)
    match_weights(m)
    for paired in (m.inputs, m.weights):
        for x, y in list(paired.items()):
            # what went together with all its readers did not come back as what came together with all of its own
            if x != y and _only_unpaired(m.a, x, m.forward) and _only_unpaired(m.b, y, m.backward):
                m.unpair(x, paired)
    for x, y in list(m.results.items()):
        if not (m.by_name and x == y) and (m.values.get(x, y) != y or m.origins.get(y, x) != x):
            del m.results[x]
    taken = set(m.results.values())
    for x in m.a.results:
        y = m.values.get(x, "")
        if x not in m.results and y in m.b.results and y not in taken:
            m.results[x] = y
    return m


def _only_unpaired(view: View, name: str, partner: list[int]) -> bool:
    readers = view.readers.get(name, [])
    return bool(readers) and all(partner[reader] < 0 for reader, _ in readers)


def _match_names(m: Matching) -> int:
    """Pair nodes by node name, then by the name of an output (unnamed nodes have only those); return how many."""
    a, b = m.a, m.b
    for name, i in a.unique_names.items():
        j = b.unique_names.get(name)
        if j is not None and (a.ops[i] == b.ops[j] or _same_neighbours(a, i, b, j)):
            m.pair(i, j)
    for i, j in enumerate(m.forward):
        if j >= 0:
            continue
        for name in a.outputs[i]:
            other, _ = b.makers.get(name, (-1, 0))
            if other >= 0 and m.backward[other] < 0 and a.ops[i] == b.ops[other]:
                m.pair(i, other)
                break
    return sum(j >= 0 for j in m.forward)


def _same_neighbours(a: View, i: int, b: View, j: int) -> bool:
    """Whether nodes of one name and two op types are one node whose type was edited."""
    same_output = bool(a.outputs[i]) and a.outputs[i][:1] == b.outputs[j][:1]
    same_input = bool(a.reads[i]) and a.reads[i][:1] == b.reads[j][:1]
    return same_output or same_input
