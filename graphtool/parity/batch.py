"""The batch gate: does a graph run at a batch, and does each item come out as it does alone?

N different items go through batch N and, one by one, through batch 1; the outputs are held against each other. A batch
that is too large to run is taken in two steps: two items are run, and the shapes are followed through the graph at N.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from graphtool.errors import FeedError, GraphtoolError, PassError, quoted, show
from graphtool.graph import Graph
from graphtool.graph.declared import declare_dim, drop_inner_types
from graphtool.parity.crossmatch import CrossMatch, Matcher, Unsplittable, split
from graphtool.parity.feed import draw
from graphtool.parity.runerror import RunError
from graphtool.parity.runnable import Meanings, runnable
from graphtool.parity.session import Session

Array = NDArray[Any]

MOST_RUN = 1 << 23  # elements of all inputs of a batch that is run as a whole


@dataclass(frozen=True, slots=True)
class BatchResult:
    """What is known of one batch.

    ``how`` says by what: ``run`` (its items against single runs), ``two`` (two items run, shapes followed at the
    batch), ``own`` (the graph's own batch, which the judge has run; batch 1 does not run, so nothing was compared),
    ``unchecked`` (onnxruntime lacks an operator of the graph, so nothing could be run; ``reason``). Where it is not
    ``ok``, ``reason`` says why, ``node`` and ``constant`` what blocks it, and ``fix`` names the pass that frees it;
    each is empty where there is none.
    """

    batch: int
    ok: bool
    how: str
    reason: str = ""
    node: str = ""
    constant: str = ""
    fix: str = ""
    matches: tuple[CrossMatch, ...] = ()
    notes: tuple[str, ...] = ()

    def text(self) -> str:
        """Return it in one line."""
        if not self.ok and self.node:
            several = " more" in self.node
            inside = f" in {quoted(self.constant)}" if self.constant else ""
            holds = f"{self.node} {'hold' if several else 'holds'} another batch{inside}"
            frees = f"the pass {self.fix} frees {'them' if several else 'it'}"
            return f"batch {self.batch}: {holds}; {frees} ({show(self.reason, 120)})"
        if not self.ok:
            return f"batch {self.batch}: {self.reason}"
        return (
            f"batch {self.batch}: "
            + {
                "run": f"{self.batch} different items come out as each does alone"
                if self.batch > 1 and self.matches
                else "it runs" + ("; its items could not be compared" if self.batch > 1 else ""),
                "two": "two different items come out as each does alone, and the shapes fit at this batch",
                "own": "the graph's own; batch 1 does not run, so its items were not compared",
                "unchecked": f"not checked: {self.reason}",
            }[self.how]
        )


def gate(
    graph: Graph,
    batches: Sequence[int],
    feed: Mapping[str, Array],
    meanings: Meanings,
    carriers: Sequence[str] = (),
    shapes: Mapping[str, Sequence[int]] | None = None,
    whole: bool = False,
) -> list[BatchResult]:
    """Return for each batch whether ``graph`` runs at it and agrees with itself item by item.

    ``feed`` has the inputs that are no items; items are drawn. ``carriers`` are the inputs with the batch at axis 0 (by
    default those with the same size there as the first), ``shapes`` the sizes of open dimensions (the entry at axis 0
    is passed over). With ``whole`` every batch is run as a whole, whatever that takes.
    """
    own = runnable(graph, meanings)
    names = list(carriers) or _carriers(own)
    if not names:
        return [BatchResult(batch, False, "run", "no input has an axis that could be a batch") for batch in batches]
    return _Gate(own, names, feed, shapes or {}, whole).results(batches)


class _Gate:
    def __init__(
        self,
        graph: Graph,
        carriers: Sequence[str],
        feed: Mapping[str, Array],
        shapes: Mapping[str, Sequence[int]],
        whole: bool,
    ) -> None:
        self.graph, self.carriers, self.whole = graph, carriers, whole
        self.free = _freed(graph, carriers)
        declared = {value.name: value.shape for value in graph.inputs}
        first = declared[carriers[0]]
        self.fixed = first[0] if first and isinstance(first[0], int) else None
        self.shapes = {name: tuple(shapes.get(name, feed[name].shape if name in feed else ())) for name in carriers}
        self.rest = {name: array for name, array in feed.items() if name in declared and name not in carriers}
        self.item_elements = sum(math.prod(shape[1:]) for shape in self.shapes.values())
        self.singles: list[dict[str, Array]] = []
        self.feeds: list[dict[str, Array]] = []

    def results(self, batches: Sequence[int]) -> list[BatchResult]:
        try:
            self.session = Session(self.free)
            most = max(self._run_size(batch) for batch in batches)
            self.items = self._items(most)
        except (RunError, FeedError) as error:
            if isinstance(error, RunError) and error.reason == "op":
                return [BatchResult(batch, True, "unchecked", str(error)) for batch in batches]
            return [self._blocked(batch, str(error)) for batch in batches]
        pairs: BatchResult | None = None
        found = []
        for batch in batches:
            if self._run_size(batch) == batch:
                found.append(self._ran(batch))
                continue
            pairs = pairs or self._ran(2)
            found.append(self._followed(batch, pairs))
        return found

    def _run_size(self, batch: int) -> int:
        return batch if self.whole or batch <= 2 or batch * self.item_elements <= MOST_RUN else 2

    def _items(self, count: int) -> dict[str, Array]:
        """Return different items for the carriers."""
        sized = {name: (count, *shape[1:]) for name, shape in self.shapes.items()}
        tensors = {value.name for value in self.free.inputs if value.kind == "tensor"}
        others = {name: array.shape for name, array in self.rest.items() if name in tensors}
        drawn = draw(self.free, 0, {**others, **sized}).arrays
        return {name: drawn[name] for name in self.carriers}

    def _feed(self, start: int, end: int) -> dict[str, Array]:
        return self.rest | {name: array[start:end] for name, array in self.items.items()}

    def _ran(self, batch: int) -> BatchResult:
        """Run a batch, and its items one by one, and compare."""
        try:
            together = self.session.run(self._feed(0, batch))
        except RunError as error:
            return self._blocked(batch, str(error))
        try:
            while len(self.singles) < batch:
                number = len(self.singles)
                one = self._feed(number, number + 1)
                self.singles.append(self.session.run(one))
                self.feeds.append(one)
        except RunError as error:
            if batch == self.fixed:
                return BatchResult(batch, True, "own")
            return BatchResult(batch, False, "run", f"batch 1 does not run, so its items cannot be compared: {error}")
        matcher = Matcher(self.free, self.feeds, self.singles)
        matches, notes = [], []
        for name, array in together.items():
            singles = [run[name] for run in self.singles[:batch]]
            try:
                matches.append(matcher.match(name, split(name, array, singles)))
            except Unsplittable as why:
                if "depends on the data" not in str(why):
                    return self._blocked(batch, str(why), tuple(matches))
                notes.append(str(why))
        bad = next((match for match in matches if not match.ok), None)
        if bad is not None:
            return self._blocked(batch, bad.fault(), tuple(matches))
        blind = [quoted(match.output) for match in matches if match.blind]
        if blind and len(blind) == len(matches):
            notes.append(f"all items look alike in {', '.join(blind[:3])}: a mix-up would not show")
        return BatchResult(batch, True, "run", matches=tuple(matches), notes=tuple(notes))

    def _followed(self, batch: int, pairs: BatchResult) -> BatchResult:
        if not pairs.ok:
            return self._blocked(batch, pairs.reason if pairs.batch == batch else f"at batch 2: {pairs.reason}")
        node, constant, fix, why = blockers(self.graph, batch, self.carriers)
        if node or why:
            reason = why or "the graph does not take it"
            return BatchResult(batch, False, "two", reason, node, constant, fix, pairs.matches)
        return BatchResult(batch, True, "two", matches=pairs.matches, notes=pairs.notes)

    def _blocked(self, batch: int, reason: str, matches: tuple[CrossMatch, ...] = ()) -> BatchResult:
        node, constant, fix, _ = blockers(self.graph, batch, self.carriers) if batch != self.fixed else ("",) * 4
        return BatchResult(batch, False, "run", reason, node, constant, fix, matches)


def blockers(graph: Graph, batch: int, carriers: Sequence[str]) -> tuple[str, str, str, str]:
    """Return the first node that holds a batch, its constant, the pass that frees all such, and what cannot be freed.

    Found by applying ``set_batch`` to a copy. All are empty where nothing holds a batch.
    """
    from graphtool.natives import set_batch  # it is above what most of this package needs

    own = graph.copy()
    try:
        applied = set_batch.apply(own, {"batch": str(batch), "inputs": list(carriers)})
    except PassError as error:
        return "", "", "", str(error)
    except GraphtoolError:
        return "", "", "", ""
    freed = [match.where for match in applied.matches if match.where not in carriers]
    if not freed:
        return "", "", "", ""
    old = {_label(node): node for node in graph.nodes}
    new = {_label(node): node for node in own.nodes}
    node = next((name for name in freed if name in old), freed[0])
    constant = ""
    if node in old and node in new:
        inputs = list(new[node].input) + [""] * len(old[node].input)
        changed = [a for a, b in zip(old[node].input, inputs, strict=False) if a != b]
        constant = next((name for name in changed if name), "")
    more = f" and {len(freed) - 1} more" if len(freed) > 1 else ""
    op = f"{old[node].op_type} " if node in old else ""
    return f"{op}{quoted(node)}{more}", constant, f"set_batch:batch={batch}", ""


def _label(node: Any) -> str:
    return node.name or next(iter(node.output), "")


def _carriers(graph: Graph) -> list[str]:
    ranked = [value for value in graph.inputs if value.kind == "tensor" and value.shape]
    return [value.name for value in ranked if value.shape and ranked[0].shape and value.shape[0] == ranked[0].shape[0]]


def _freed(graph: Graph, carriers: Sequence[str]) -> Graph:
    """Return a copy whose declared batch is open, and all that is declared of outputs and inner tensors."""
    own = graph.copy()
    drop_inner_types(own)
    for info in own.header.input:
        if info.name in carriers:
            declare_dim(info, 0, None)
    for info in own.header.output:
        if info.type.WhichOneof("value") == "tensor_type":
            for axis in range(len(info.type.tensor_type.shape.dim)):
                declare_dim(info, axis, None)
    own.reindex()
    own.forget_shapes()
    return own
