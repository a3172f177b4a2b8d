"""Matching without names: nodes that compute the same thing, then nodes at the same place."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Hashable, Iterable, Mapping

from graphtool.diff.matching import Matching
from graphtool.diff.sequence import match_sequence
from graphtool.diff.view import View

# a value with more readers says little about any one of them, and trying all would be quadratic
_FEW = 16
# elements from which on two weights of equal bytes are one weight rather than the same constant twice
_TELLING = 16
# how an output is used: by a reader without a partner, by one with a partner, as a graph output
_UNPAIRED, _PAIRED, _RESULT = range(3)


def match_structure(m: Matching, bold: bool) -> None:
    """Pair nodes that names left over; with ``bold``, for names that say little, on weaker evidence too.

    First those that alone compute their function of inputs, weights and paired nodes; then those with the same function
    and the same use; then those with the same function; then, from paired neighbours on, nodes of one op type at the
    same place. Each step is linear in the nodes and wires left over.
    """
    left_a, left_b = m.unpaired()
    if not (left_a and left_b):
        return
    tokens = _Tokens(m, _match_equal_weights(m))
    up_a, up_b = tokens.functions(m.a, left_a), tokens.functions(m.b, left_b)
    counts_a, counts_b = Counter(up_a.values()), Counter(up_b.values())
    alone = {token for token, count in counts_a.items() if count == counts_b[token] == 1}
    _pair_equal(m, {i: t for i, t in up_a.items() if t in alone}, {j: t for j, t in up_b.items() if t in alone})
    left_a, left_b = m.unpaired()
    if not (left_a and left_b):
        return
    down_a, down_b = tokens.uses(m.a, left_a), tokens.uses(m.b, left_b)
    _pair_equal(m, {i: (up_a[i], down_a.get(i)) for i in left_a}, {j: (up_b[j], down_b.get(j)) for j in left_b})
    _pair_equal(m, up_a, up_b)
    _match_places(m, bold)
    if bold:
        match_sequence(m)
        _match_places(m, bold)


def _pair_equal(m: Matching, a: Mapping[int, Hashable], b: Mapping[int, Hashable]) -> None:
    """Pair unpaired nodes with equal keys, in graph order where several share one."""
    waiting: dict[Hashable, deque[int]] = {}
    for j, key in b.items():
        if m.backward[j] < 0:
            waiting.setdefault(key, deque()).append(j)
    for i, key in a.items():
        if m.forward[i] < 0 and waiting.get(key):
            m.pair(i, waiting[key].popleft())


class _Tokens:
    """Small numbers for what nodes compute and for how they are used: equal ones mean equal structure."""

    def __init__(self, m: Matching, contents: Mapping[Hashable, Hashable]) -> None:
        self._m = m
        self._contents = contents
        self._number = m.a.contents.number

    def functions(self, view: View, nodes: Iterable[int]) -> dict[int, int]:
        """Return, for unpaired nodes, a number for the function of inputs, weights and paired nodes they compute."""
        found: dict[int, int] = {}
        for i in nodes:
            reads = tuple(self._source(view, name, found) for name in view.reads[i])
            found[i] = self._number((view.ops[i], view.attributes(i), reads))
        return found

    def _source(self, view: View, name: str, found: Mapping[int, int]) -> Hashable:
        if not name:
            return None
        common = self._common(view, name)
        if common is not None:
            return common
        if name in view.makers:
            i, k = view.makers[name]
            # a maker further down (the graph is not sorted) has no number yet
            return "made", found.get(i, -1), k
        if name in view.weights:
            return self._contents.get((view is self._m.a, name), view.weights[name].type)
        return view is self._m.a, name

    def _common(self, view: View, name: str) -> Hashable | None:
        """What both graphs call a value that is paired; None for others."""
        known = name if view is self._m.a else self._m.origins.get(name)
        return ("both", known) if known in self._m.values else None

    def uses(self, view: View, nodes: list[int]) -> dict[int, int]:
        """Return, for unpaired nodes, a number for themselves and all that is made of their outputs.

        Nodes whose outputs nobody reads are left out: they would all look alike.
        """
        m = self._m
        first = view is m.a
        partner = m.forward if first else m.backward
        results = {name: name for name in m.results} if first else {y: x for x, y in m.results.items()}
        found: dict[int, int] = {}
        for i in reversed(nodes):
            ways = []
            for k, name in enumerate(view.outputs[i]):
                for reader, position in view.readers.get(name, ()):
                    if partner[reader] < 0:
                        ways.append((_UNPAIRED, k, found.get(reader, -1), position))
                    else:
                        ways.append((_PAIRED, k, reader if first else partner[reader], position))
                if name in view.results:
                    ways.append((_RESULT, k, self._number(results.get(name, (first, name))), 0))
            if ways:
                found[i] = self._number((view.ops[i], view.attributes(i), tuple(sorted(ways))))
        return dict(reversed(found.items()))


def _match_places(m: Matching, bold: bool) -> None:
    """Pair what is left from its neighbours: same op type, and enough of inputs, readers and attributes agree."""
    a, b = m.a, m.b
    queue = deque(i for i, j in enumerate(m.forward) if j < 0)
    queued = set(queue)
    while queue:
        i = queue.popleft()
        queued.discard(i)
        if m.forward[i] >= 0:
            continue
        for j in _candidates(m, i):
            if m.backward[j] < 0 and a.ops[i] == b.ops[j] and _same_place(m, i, j, bold):
                m.pair(i, j)
                near = [a.makers[name][0] for name in a.reads[i] if name in a.makers]
                for name in a.outputs[i]:
                    near += [reader for reader, _ in a.readers.get(name, ())[:_FEW]]
                for n in near:
                    if m.forward[n] < 0 and n not in queued:
                        queue.append(n)
                        queued.add(n)
                break


def _candidates(m: Matching, i: int) -> Iterable[int]:
    """Yield nodes of the second graph that are where node ``i`` is, seen from a paired reader, maker or weight."""
    a, b = m.a, m.b
    for name in a.outputs[i]:
        for reader, position in a.readers.get(name, ())[:_FEW]:
            other = m.forward[reader]
            if other >= 0 and position < len(b.reads[other]):
                maker = b.makers.get(b.reads[other][position])
                if maker is not None:
                    yield maker[0]
        if name in m.results and m.results[name] in b.makers:
            yield b.makers[m.results[name]][0]
    for position, name in enumerate(a.reads[i]):
        for reader, other_position in b.readers.get(m.values.get(name, ""), ())[:_FEW]:
            if other_position == position:
                yield reader


def _same_place(m: Matching, i: int, j: int, bold: bool) -> bool:
    a, b = m.a, m.b
    xs, ys = a.reads[i], b.reads[j]
    agreeing = [m.agree(x, y) for x, y in zip(xs, ys, strict=False)]
    below = any(_used_alike(m, x, y) for x, y in zip(a.outputs[i], b.outputs[j], strict=False))
    if bold and xs and len(xs) == len(ys) and all(agreeing):
        return True
    if below and (not xs or agreeing[:1] == [True]):
        return True
    # a weight that only this node reads stands for it wherever it was moved, but for a constant such as 0.5
    own_weight = any(
        agrees and x in m.weights and a.weights[x].elements >= _TELLING and len(a.readers[x]) == len(b.readers[y]) == 1
        for x, y, agrees in zip(xs, ys, agreeing, strict=False)
    )
    return (below or own_weight) and a.attributes(i) == b.attributes(j)


def _used_alike(m: Matching, x: str, y: str) -> bool:
    """Whether some reader of ``x`` reads ``y`` at the same place now, or both are the same graph output."""
    if x in m.results and m.results[x] == y:
        return True
    for reader, position in m.a.readers.get(x, ())[:_FEW]:
        other = m.forward[reader]
        if other >= 0 and m.b.reads[other][position : position + 1] == [y]:
            return True
    return False


def match_weights(m: Matching) -> None:
    """Pair weights that names left over: same bytes, same place at a paired node, same name, same bytes in order.

    Places of two op types are not the same: the scale of a BatchNormalization is no kernel of the Conv in its stead.
    """
    contents = _match_equal_weights(m)
    left_b = {name for name in m.b.weights if name not in m.origins}
    if not left_b:
        return
    for equal in (True, False):
        for x in m.a.weights:
            if x in m.values:
                continue
            for reader, position in m.a.readers.get(x, ()):
                other = m.forward[reader]
                y = m.b.reads[other][position] if other >= 0 and position < len(m.b.reads[other]) else ""
                same = (True, x) in contents and contents[True, x] == contents.get((False, y))
                if y in left_b and (same or (not equal and m.a.ops[reader] == m.b.ops[other])):
                    m.pair_weight(x, y)
                    left_b.discard(y)
                    break
    for x in m.a.weights:
        if x not in m.values and x in left_b:
            m.pair_weight(x, x)
            left_b.discard(x)
    waiting: dict[Hashable, deque[str]] = {}
    for y in m.b.weights:
        if y in left_b and (False, y) in contents:
            waiting.setdefault(contents[False, y], deque()).append(y)
    for x in m.a.weights:
        if x not in m.values and waiting.get(contents.get((True, x))):
            m.pair_weight(x, waiting[contents[True, x]].popleft())


def _match_equal_weights(m: Matching) -> dict[Hashable, Hashable]:
    """Pair unpaired weights of equal bytes where exactly one on each side has them.

    Returns the bytes' digest for the others that have an equal on the other side, by (is in the first graph, name).
    Only weights of a type and shape that is left over on both sides are read.
    """
    groups: dict[Hashable, tuple[list[str], list[str]]] = {}
    sides = ((m.a, m.values), (m.b, m.origins))
    for side, (view, paired) in enumerate(sides):
        for name, weight in view.weights.items():
            if name not in paired:
                groups.setdefault(weight.type, ([], []))[side].append(name)
    by_bytes: dict[Hashable, tuple[list[str], list[str]]] = {}
    for kind, names in groups.items():
        if all(names):
            for side, (view, _) in enumerate(sides):
                for name in names[side]:
                    digest = view.weights[name].digest(view.graph, view.contents)
                    by_bytes.setdefault((kind, digest), ([], []))[side].append(name)
    found: dict[Hashable, Hashable] = {}
    for key, (xs, ys) in by_bytes.items():
        if len(xs) == len(ys) == 1:
            m.pair_weight(xs[0], ys[0])
        elif xs and ys:
            found |= {(True, x): key for x in xs} | {(False, y): key for y in ys}
    return found
