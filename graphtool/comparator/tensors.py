"""The inner tensors of two models side by side: aligned by structure, confirmed and found again by their values."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from graphtool.comparator.forward import follow
from graphtool.comparator.parts import MOST_BYTES, bound, chunks, part, run_part, size_of
from graphtool.comparator.plain import make_plain
from graphtool.comparator.result import How, Pair
from graphtool.comparator.sketch import Sketch, partners, sketch
from graphtool.diff.align import align
from graphtool.diff.matching import Matching
from graphtool.diff.view import View
from graphtool.graph import Graph
from graphtool.graph.digests import Contents
from graphtool.parity.metrics import Figures, compare
from graphtool.parity.tolerance import least_tolerance

Array = NDArray[Any]
Watch = Callable[[str], None]


@dataclass(slots=True)
class Side:
    """One model, without what its compared outputs do not need, and the feed it runs on."""

    graph: Graph
    feed: Mapping[str, Array]
    tensors: list[str]  # that can be compared, in topological order
    sketches: dict[str, Sketch] = field(default_factory=dict)

    @classmethod
    def of(cls, graph: Graph, feed: Mapping[str, Array], outputs: Iterable[str]) -> Side:
        """Return the part of ``graph`` that computes ``outputs``."""
        own = bound(make_plain(part(graph, outputs)), feed)
        return cls(own, feed, [name for node in own.nodes if node.op_type != "Constant" for name in _made(own, node)])

    def sizes(self, names: Iterable[str]) -> list[int]:
        """Return the bytes of tensors."""
        return [size_of(self.graph, name) if name else 0 for name in names]


def _made(graph: Graph, node: Any) -> Iterator[str]:
    for name in node.output:
        value = graph.value(name) if name else None
        if name and (value is None or value.kind == "tensor"):
            yield name


def matching(a: Graph, b: Graph, inputs: Sequence[Pair]) -> Matching:
    """Return which node, weight and tensor of ``a`` is which of ``b``, by names where they are to be believed."""
    contents = Contents()
    return align(View(a, contents), View(b, contents), {pair.before: pair.after for pair in inputs})


@dataclass(frozen=True, slots=True)
class Found:
    """A tensor of both models, its figures, and by how much rounding alone explains."""

    pair: Pair
    figures: Figures
    rounding: float

    @property
    def beyond(self) -> bool:
        """Whether the two differ by more than rounding explains."""
        return self.figures.changed > 0 and not self.figures.max_abs <= self.rounding


def side_by_side(
    a: Side, b: Side, inputs: Sequence[Pair], outputs: Sequence[Pair], watch: Watch, most: int = MOST_BYTES
) -> list[Found]:
    """Return every tensor that both models compute, in the topological order of ``a``.

    Takes some runs of parts of both models, each of which returns tensors of ``most`` bytes at most on either side.
    A pair that structure suggests and values contradict is given up where one of the two is found elsewhere. Behind
    all that is found, what reads the same tensors in the same way is followed (:mod:`graphtool.comparator.forward`).
    """
    m = matching(a.graph, b.graph, inputs)
    suggested = {f.pair.before: f for f in compared(a, b, _structural(a, b, m, outputs), watch, most)}
    fixed = {pair.before for pair in outputs}
    kept = {x: f for x, f in suggested.items() if x in fixed or not f.beyond or _same_sketch(a, b, f.pair)}

    def add(pairs: Sequence[Pair]) -> None:
        known = {pair.before: f for pair in pairs if (f := suggested.get(pair.before)) and f.pair.after == pair.after}
        kept.update(known)
        rest = [(pair.before, pair.after, pair) for pair in pairs if pair.before not in known]
        kept.update((f.pair.before, f) for f in compared(a, b, rest, watch, most))

    taken = {f.pair.after for f in kept.values()}
    ours = [(x, a.sketches[x]) for x in a.tensors if x not in kept and x in a.sketches]
    theirs = [(y, b.sketches[y]) for y in b.tensors if y not in taken and y in b.sketches]
    add([Pair(x, y, "values") for x, y in partners(ours, theirs).items()])
    sure = {x: f.pair.after for x, f in kept.items()}
    tensors = set(a.tensors), set(b.tensors)
    followed = follow(a.graph, b.graph, {pair.before: pair.after for pair in inputs} | sure)
    add([pair for pair in followed if pair.before in tensors[0] and pair.after in tensors[1]])
    taken = {f.pair.after for f in kept.values()}
    kept |= {x: f for x, f in suggested.items() if x not in kept and f.pair.after not in taken}
    order = {x: place for place, x in enumerate(a.tensors)}
    return sorted(kept.values(), key=lambda f: order.get(f.pair.before, len(order)))


def _same_sketch(a: Side, b: Side, pair: Pair) -> bool:
    x, y = a.sketches.get(pair.before), b.sketches.get(pair.after)
    return x is not None and y is not None and x.same(y)


def _structural(a: Side, b: Side, m: Matching, outputs: Sequence[Pair]) -> list[tuple[str, str, Pair | None]]:
    """Return the tensors of both sides in an order fit for running them, those that are paired together."""
    given = {pair.before: pair for pair in outputs}
    taken = {pair.after for pair in outputs}
    theirs = set(b.tensors)
    entries: list[tuple[str, str, Pair | None]] = []
    for x in a.tensors:
        pair = given.get(x)
        y = m.values.get(x, "")
        if pair is None and y in theirs and y not in taken:
            how: How = "name" if x == y and m.by_name else "structure"
            pair = Pair(x, y, how)
            taken.add(y)
        entries.append((x, pair.after if pair is not None else "", pair))
    entries += [("", y, None) for y in b.tensors if y not in taken]
    return entries


def compared(
    a: Side, b: Side, entries: Sequence[tuple[str, str, Pair | None]], watch: Watch, most: int
) -> Iterator[Found]:
    """Run both sides for tensors, keep a sketch of each, and yield the figures of those that are paired.

    An entry is a tensor of either side, or empty, and the pair that they are, if they are one.
    """
    sizes = [max(pair) for pair in zip(a.sizes(e[0] for e in entries), b.sizes(e[1] for e in entries), strict=True)]
    done = 0
    for chunk in chunks(entries, sizes, most):
        watch(f"inner tensors {done + 1} to {done + len(chunk)} of {len(entries)}")
        done += len(chunk)
        was = run_part(a.graph, a.feed, [x for x, _, _ in chunk if x and x in a.graph.index.producers])
        now = run_part(b.graph, b.feed, [y for _, y, _ in chunk if y and y in b.graph.index.producers])
        for side, arrays in ((a, was), (b, now)):
            for name, array in arrays.items():
                drawn = sketch(array)
                if drawn is not None:
                    side.sketches[name] = drawn
        for x, y, pair in chunk:
            if pair is not None and x in was and y in now and was[x].shape == now[y].shape:
                yield Found(pair, _figures(was[x], now[y]), least_tolerance(a.graph, x, was[x]))


def _figures(x: Array, y: Array) -> Figures:
    """Return the figures of an inner tensor, which holds no scores by class: flat, so that none are looked for."""
    found = compare(x.reshape(-1), y.reshape(-1))
    if found.worst_index is None or len(found.worst_index) != 1:
        return found
    return replace(found, worst_index=tuple(map(int, np.unravel_index(found.worst_index[0], x.shape))))
