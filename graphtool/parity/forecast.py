"""Which tensors of the original cones will ask for: the stages are applied to a copy, and nothing is run.

A forecast goes the way of a judge that accepts every step (:mod:`judge`), on cones that hold every tensor of the
original and note which are asked for. Where the pipeline goes another way, as after a step that is undone, cones
compute what was not recorded from what was, or the whole graph is run: a forecast decides what judging costs, never
what it says.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from functools import cache
from typing import Any

from numpy.typing import NDArray

from graphtool.errors import GraphtoolError
from graphtool.graph import Graph
from graphtool.parity.adapt import KINDS
from graphtool.parity.budget import Budget
from graphtool.parity.cone import MOST_SITES, Cones, NoConeError
from graphtool.parity.double import NoTruth
from graphtool.parity.following import Following
from graphtool.parity.parts import View, is_constant, reads
from graphtool.parity.record import Needed
from graphtool.parity.runnable import Meanings, runnable, stand_ins
from graphtool.parity.tape import Tape
from graphtool.parity.truth import boundary
from graphtool.rewrite import Catalog, Outcome, Pass, Stage, apply_stage

Array = NDArray[Any]
Arrays = Mapping[str, Array]
_WORTH = 50_000  # nodes times stages up to which a forecast costs less than what it saves


def recording(
    original: Graph, stages: Sequence[Stage], catalog: Catalog, feed: Arrays, budgets: Sequence[Budget] = ()
) -> bool | Needed:
    """Return whether the original's tensors are recorded for cones, and if they are many, which."""
    local = [stage.spec.parity for stage in stages if not stage.spec.interface]
    # one exact pass is cheapest judged by one whole run; one close pass may need recorded tensors in any case
    if "close" not in local and local.count("exact") <= 1:
        return False
    if len(stages) == 1 or len(stages) * original.node_count > _WORTH:
        return True
    return cache(lambda: forecast(original, stages, catalog, feed, budgets))


def forecast(
    original: Graph, stages: Sequence[Stage], catalog: Catalog, feed: Arrays, budgets: Sequence[Budget] = ()
) -> frozenset[str]:
    """Return the tensors of the original, as it is run, that judging ``stages`` will ask for.

    ``feed`` is one on which the original runs; of it only types count. Stages from the first that raises an error or
    changes inputs, sizes or last nodes are left out, since nothing that was recorded serves them.
    """
    meanings = catalog.semantics()
    own = original.copy()
    following = Following(feed)
    cones = _Forecast(runnable(original, meanings), feed)
    for stage in stages:
        before = own.copy()
        try:
            if stand_ins(own, meanings):
                own.learn_shapes(runnable(own, meanings))
            outcome = apply_stage(own, stage, catalog, tell=False)
        except GraphtoolError:
            break
        if not outcome.applied.matches:
            continue
        if stage.spec.interface & KINDS:
            break
        after = runnable(own.copy(), meanings)
        following.feed = following.translated(after, outcome.applied.renamed)
        measured = any(budget.scope == stage.spec.name for budget in budgets)
        cones.step(stage.spec, outcome, before, after, following.feed, meanings, measured)
    return cones.names()


class _Everything(Tape):
    """As if these tensors were recorded; nothing is."""

    def __init__(self, numbers: frozenset[int]) -> None:
        super().__init__()
        self._numbers = numbers

    def __contains__(self, number: int) -> bool:
        return number in self._numbers


class _Forecast(Cones):
    """Cones that run nothing and note which recorded tensors it would take."""

    def __init__(self, graph: Graph, feed: Arrays) -> None:
        super().__init__(graph, feed)
        self._original = view = self.before
        made = {name for node in view.nodes if not is_constant(node) for name in node.output if name}
        self._places = {number: name for name in sorted(made) if (number := view.numbered.number(name)) is not None}
        self.tape = _Everything(frozenset(self._places))
        self._asked: set[int] = set()

    def names(self) -> frozenset[str]:
        """Return the names that what was asked for has in the original."""
        return frozenset(self._places[number] for number in self._asked)

    def step(
        self, spec: Pass, outcome: Outcome, snapshots: Graph, graph: Graph, feed: Arrays, meanings: Meanings,
        measured: bool,
    ) -> None:  # fmt: skip
        """Go on with the graph after a stage, judged as :class:`graphtool.parity.judge.Judge` would."""
        renamed = outcome.applied.renamed
        if spec.parity not in ("lossy", "float16") and not measured and len(outcome.applied.matches) <= MOST_SITES:
            try:
                cone = self.cone(graph, feed, renamed)
                if spec.parity == "close":
                    self._truths(outcome, snapshots, meanings)
                self.advance(cone.view, feed, renamed)
                return
            except (NoConeError, NoTruth):
                pass
        view = self.view(graph, feed, renamed)
        names = [value.name for value in graph.outputs]
        with suppress(NoConeError):
            self._values(view, feed, self._slice(view, feed, [], names), [], names)
        self.advance(view, feed, renamed)

    def _truths(self, outcome: Outcome, snapshots: Graph, meanings: Meanings) -> None:
        """Note what it takes to hold each match against the truth."""
        for inner in outcome.inner:
            before = runnable(snapshots.at(inner.before), meanings)
            dynamic = boundary(inner, before)
            for match in inner.applied.matches:
                reading = sorted(dynamic.intersection(match.inputs))
                self.recorded(before, self._feed, reading, [name for name in match.outputs if name in dynamic])

    def _run(self, view: View, feed: Arrays, renamed: Mapping[str, str]) -> tuple[int, dict[str, tuple[Array, Array]]]:
        need = self._needs(view, feed, renamed)
        self._values(self.before, self._feed, need.places, need.wanted.values(), need.ends.values())
        return 0, {}

    def _values(
        self, view: View, feed: Arrays, places: Sequence[int], reading: Iterable[str], making: Iterable[str]
    ) -> dict[tuple[str, bool], Array]:
        made = {name for place in places for name in view.nodes[place].output if name}
        read = {name for place in places for name in reads(view.nodes[place])} - made
        asked = [(name, False) for name in {*read, *reading} - made]
        asked += [(name, True) for name in making if name not in made]
        found = [self._find(view, name, itself) for name, itself in asked if name not in feed]
        self._asked.update(number for number in found if number is not None)
        return {}
