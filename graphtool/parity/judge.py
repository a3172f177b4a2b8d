"""Does the graph still compute what each pass promises? One judge follows a pipeline from its original graph.

The original's outputs are computed once. What a pass did not touch is known by its structure and not run; a local
change is judged on its cone (:mod:`cone`), anything else by a run of the whole graph; :meth:`Judge.close` ends the
pipeline with one.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from numpy.typing import NDArray

from graphtool.errors import FeedError, ModelError, quoted
from graphtool.graph import Graph
from graphtool.parity.adapt import KINDS, Adapted, adapt
from graphtool.parity.budget import Budget
from graphtool.parity.cone import MOST_SITES, Cone, Cones, NoConeError
from graphtool.parity.double import NoTruth
from graphtool.parity.feed import Feed
from graphtool.parity.following import Following, carried, renamed_reference
from graphtool.parity.metrics import Figures, equal
from graphtool.parity.record import Needed
from graphtool.parity.rules import by_class, by_truth
from graphtool.parity.runerror import RunError
from graphtool.parity.runnable import Meanings, runnable
from graphtool.parity.selfcheck import agree
from graphtool.parity.session import Session, give_back
from graphtool.parity.tolerance import close_tolerance, least_tolerance
from graphtool.parity.truth import MatchTruth, judge_matches
from graphtool.parity.verdict import IncomparableError, Reference, Verdict
from graphtool.rewrite.apply import Outcome
from graphtool.rewrite.passfile import Pass

Array = NDArray[Any]
Arrays = Mapping[str, Array]


@dataclass(frozen=True, slots=True)
class _Doubt:
    """What a cone that did not accept a step leaves: where values differ, that it costs too much, or does not run."""

    culprit: str = ""
    costly: bool = False
    fails: bool = False


@dataclass(frozen=True, slots=True)
class Closing:
    """What the run that closes a pipeline showed: figures against the start of the segment.

    Where a promise turns out to be broken, ``verdict`` is what is said now of its step, and ``back`` the number of that
    step counted from the end, 1 for the last one that was accepted.
    """

    figures: Mapping[str, Figures]
    verdict: Verdict | None = None
    back: int = 0


class Judge(Following):
    """Judges one pipeline on one feed. ``original`` must be a snapshot that nobody edits.

    With ``truth`` a ``close`` pass that changed a number is held to the second rule even where noise would explain it.
    With ``record`` the second run of the original keeps the tensors that cones are judged on, if they are many those
    that it says, and so does a later run where these are too few; without, cones are judged on what takes little.
    """

    def __init__(
        self,
        original: Graph,
        feed: Feed,
        meanings: Meanings,
        budgets: Sequence[Budget] = (),
        truth: bool = False,
        record: bool | Needed = False,
    ) -> None:
        self.truth = truth
        self.record = bool(record)
        self.meanings = meanings
        self.budgets = tuple(budgets)
        super().__init__(feed.arrays)
        self.fault: RunError | None = None  # why the original cannot run
        self.seen: Arrays = {}  # outputs that were last judged, accepted or not
        graph = self._runnable(original)
        try:
            outputs = self._run_twice(graph, record)
        except RunError as error:
            self.fault = error
            return
        except ModelError as error:  # its weights are missing, which a pass may put back
            self.fault = RunError(str(error), "load")
            return
        self.original = Reference("the original", graph, self.feed, outputs)
        self.start = self.before = self.original

    def _runnable(self, graph: Graph) -> Graph:
        """Return the graph that is run; its nodes are in order."""
        own = runnable(graph, self.meanings)
        return own if own is graph else own.copy()

    def _run_twice(self, graph: Graph, record: bool | Needed) -> dict[str, Array]:
        session = Session(graph)  # one for both runs: what draws at random draws the same in a new one
        first = session.run(self.feed)
        self.cones = cones = Cones(graph, self.feed)
        cones.on &= not session.stood_in  # a part that onnxruntime can run would have other kernels
        second = cones.whole(cones.before, self.feed, record) if record and cones.on else session.run(self.feed)
        if record and _different(first, second):
            cones.on = False  # the pieces do not give what the whole gives: is it they, or the model?
            second = session.run(self.feed)
        agree(graph, self.feed, first, second)
        cones.know(cones.before, first)
        del second
        give_back()
        return first

    def fork(self) -> Judge:
        """Return a judge in the same state that can follow another pipeline from here; what is known is shared."""
        return copy.copy(self)

    def outputs(self) -> dict[str, Array]:
        """Return the outputs of the latest step; raises FeedError where nothing could be run."""
        if self.before is None:
            raise FeedError(str(self.fault or "nothing was run"))
        self.before.settle()
        return self.before.outputs

    # -- a step

    def judge(self, spec: Pass, outcome: Outcome, snapshots: Graph, after: Graph) -> Verdict:
        """Judge ``after``, the result of ``spec``. ``snapshots`` is any graph that can restore the outcome's snapshots.

        Raises FeedError where the original cannot run and the pass is no repair.
        """
        graph = self._runnable(after)
        if self.before is None or self.start is None or self.original is None:
            return self._repaired(spec, outcome, graph)
        kept = self.original, self.start, self.before
        renamed = outcome.applied.renamed
        references = [renamed_reference(reference, renamed) for reference in kept]
        self.original, self.start, self.before = references
        try:
            if spec.interface & KINDS:
                verdict = self._adapted(spec, outcome, snapshots, graph)
            else:
                verdict = self._step(spec, outcome, snapshots, graph)
        except (RunError, IncomparableError, FeedError) as error:
            verdict = Verdict(False, "not run", self.before.name, reason=str(error))
        if not verdict.ok:  # the step is undone, and its names with it
            self.original, self.start, self.before = kept
        return verdict

    def _repaired(self, spec: Pass, outcome: Outcome, graph: Graph) -> Verdict:
        if spec.parity != "repair":
            raise FeedError(f"the original cannot be run, so nothing can be judged: {self.fault}")
        feed = self.translated(graph, outcome.applied.renamed)
        try:
            session = Session(graph)
            outputs = session.run(feed)
        except RunError as error:
            return Verdict(False, "not run", "", reason=f"the graph still does not run: {error}")
        self.go_on(spec, outcome, graph, feed, outputs)
        self.cones = Cones(graph, feed)
        self.cones.on &= not session.stood_in
        return Verdict(True, "runs", "", notes=(f"before the pass it did not run: {self.fault}",))

    def _adapted(self, spec: Pass, outcome: Outcome, snapshots: Graph, graph: Graph) -> Verdict:
        """Judge a graph whose inputs, sizes or last nodes are other ones, on references that are adapted to it."""
        standing = self.standing()
        standing.before.settle()
        standing.start.settle()
        renamed = outcome.applied.renamed
        now = {new: self.feed[old] for new, old in renamed.items() if old in self.feed}
        adapted: Adapted = adapt(
            (standing.original, standing.start, standing.before), {**self.feed, **now}, graph, spec.interface
        )
        self.original, self.start, self.before = adapted.references
        verdict = self._by_class(spec, outcome, snapshots, graph, adapted.outputs)
        if verdict.ok:
            self.go_on(spec, outcome, graph, adapted.feed, adapted.outputs, moved=adapted.moved)
            self.known_cones().restart(graph, adapted.feed)
        return verdict

    def _step(self, spec: Pass, outcome: Outcome, snapshots: Graph, graph: Graph) -> Verdict:
        cones = self.known_cones()
        renamed = outcome.applied.renamed
        feed = self.translated(graph, renamed)
        doubt = _Doubt()
        measured = any(budget.scope == spec.name for budget in self.budgets)
        if spec.parity not in ("lossy", "float16") and not measured:
            verdict, doubt = self._on_cone(spec, outcome, snapshots, graph, feed)
            if verdict is not None:
                return verdict
        view = cones.view(graph, feed, renamed)
        judged = "whole"
        try:
            if doubt.fails:
                raise NoConeError("the changed nodes do not run alone")
            outputs, nodes = cones.outputs(view, feed)
            judged = _extent(nodes)
        except NoConeError:
            outputs = cones.whole(view, feed, self.record and doubt.costly)
        verdict = replace(self._by_class(spec, outcome, snapshots, graph, outputs), judged=judged)
        if not verdict.ok:
            made = {name: match.where for match in outcome.applied.matches for name in match.outputs}
            culprit = doubt.culprit
            if spec.parity == "exact" and made and not culprit:
                culprit = _began(cones.first_differing(graph, feed, renamed, made), made)
            return replace(verdict, reason="; ".join(filter(None, (verdict.reason, culprit))))
        self.go_on(spec, outcome, graph, feed, outputs, ran=judged == "whole")
        cones.advance(view, feed, renamed)
        cones.know(view, outputs)
        hidden = f"{doubt.culprit}, which no output shows on this feed"
        return replace(verdict, notes=(*verdict.notes, hidden)) if doubt.culprit else verdict

    def _on_cone(
        self, spec: Pass, outcome: Outcome, snapshots: Graph, graph: Graph, feed: dict[str, Array]
    ) -> tuple[Verdict | None, _Doubt]:
        """Judge a step on its cone; where that does not accept it, return None and what is known all the same."""
        cones, standing = self.known_cones(), self.standing()
        matches, renamed = outcome.applied.matches, outcome.applied.renamed
        if len(matches) > MOST_SITES:
            return None, _Doubt()
        made = {name: match.where for match in matches for name in match.outputs}
        try:
            cone = cones.cone(graph, feed, renamed, final=made)
        except NoConeError as error:
            return None, _Doubt(costly=error.costly, fails=error.fails)
        judged, moved = _extent(cone.nodes), bool(cone.differ)
        verdict = Verdict(not moved, "equal", standing.against(spec.parity).name, judged=judged)
        if cone.differ and spec.parity == "exact":
            return None, _Doubt(_began(next(name for name in cone.differ if name in made), made))
        if cone.differ and _covers(outcome, cone):
            verdict = by_truth(lambda: self._truths(outcome, snapshots, graph, cone), verdict)
        if not verdict.ok:
            return None, _Doubt()
        outputs = {} if moved else carried(standing.before, graph)
        verdict = replace(verdict, figures=self.figures(standing.against(spec.parity), outputs))
        self.go_on(spec, outcome, graph, feed, outputs, ran=False)
        cones.advance(cone.view, feed, renamed, loose=moved)
        return verdict, _Doubt()

    # -- the end

    def close(self) -> Closing | None:
        """Run the whole graph after the last step, where that was not done, and hold it to all that was promised.

        None where nothing is open. A promise that turns out to be broken is laid to a step by judging each one since
        the last whole run again, by whole runs; the judge then stands before that step.
        """
        if not self.unproven or self.before is None:
            return None
        before, start = self.before, self.standing().start
        known = before.outputs
        self.let_go()
        try:
            outputs = Session(before.graph).run(before.feed)
        except RunError:
            return self._again({})
        expected = {name: known[name] for name in known if name in outputs}
        figures = self.figures(start, outputs)
        if any(not equal(array, outputs[name]) for name, array in expected.items()):
            return self._again(figures)
        # each step that moved numbers was held to the truth of its matches; one judged on what these left is held to it
        # by the noise of the segment, or else by whole runs
        if not expected and any(one.loose for one in self.unproven) and not self._within_noise(start, outputs, figures):
            return self._again(figures)
        before.outputs.update(outputs)
        before.ran = True
        self.unproven.clear()
        return Closing(figures)

    @staticmethod
    def _within_noise(start: Reference, outputs: Arrays, figures: Mapping[str, Figures]) -> bool:
        """Whether the outputs differ from those at the start of the segment by no more than noise explains."""
        if any(name not in figures for name in outputs):
            return False
        own = {name: start.own_name.get(name, name) for name in outputs}
        least = {name: least_tolerance(start.graph, own[name], array) for name, array in outputs.items()}
        if all(figures[name].max_abs <= least[name] for name in outputs):
            return True
        start.tolerance = start.tolerance or close_tolerance(start.graph, start.feed, start.outputs)
        return all(figures[name].max_abs <= start.tolerance.get(own[name], least[name]) for name in outputs)

    def _again(self, figures: Mapping[str, Figures]) -> Closing:
        """Judge each step since the last whole run by whole runs."""
        state = self.original, self.start, self.before, self.feed
        for one in self.unproven:
            was = one.standing
            self.original, self.start, self.before, self.feed = was.original, was.start, was.before, one.feed
            graph = was.before.graph.at(one.after)
            try:
                outputs = Session(graph).run(one.now)
                verdict = self._by_class(one.spec, one.outcome, was.before.graph, graph, outputs)
            except RunError as error:
                verdict = Verdict(False, "not run", was.before.name, reason=str(error))
            if not verdict.ok:
                self.unproven.clear()
                return Closing(figures, verdict, self.accepted - one.number)
        self.original, self.start, self.before, self.feed = state
        assert self.before is not None
        self.before.outputs.update(outputs)
        self.before.ran = True
        self.unproven.clear()
        return Closing(figures)

    # -- rules

    def _by_class(self, spec: Pass, outcome: Outcome, snapshots: Graph, graph: Graph, outputs: Arrays) -> Verdict:
        self.seen = outputs
        return by_class(
            self.standing(), spec, outputs, self.budgets, lambda: self._truths(outcome, snapshots, graph), self.truth
        )

    def _truths(self, outcome: Outcome, snapshots: Graph, after: Graph, cone: Cone | None = None) -> list[MatchTruth]:
        if not outcome.inner:
            raise NoTruth("nothing is recorded of its matches")
        found: list[MatchTruth] = []
        recorder = None if cone is None else self.known_cones().recorded
        known = cone.differ if cone is not None and len(outcome.inner) == 1 else {}
        steps = [(inner, self._runnable(snapshots.at(inner.before))) for inner in outcome.inner]
        following = [*(graph for _, graph in steps[1:]), after]
        for (inner, before), later in zip(steps, following, strict=True):
            feed = self.translated(before, {})
            found += judge_matches(inner, before, later, feed, recorder, known)
        return found


def _extent(nodes: int) -> str:
    return f"cone of {nodes} node{'s' if nodes != 1 else ''}" if nodes else "untouched"


def _began(first: str | None, made: Mapping[str, str]) -> str:
    return "" if first is None else f"the first tensor that differs is {quoted(first)}, of match {quoted(made[first])}"


def _different(first: Arrays, second: Arrays) -> list[str]:
    return [name for name, array in first.items() if not equal(array, second[name])]


def _covers(outcome: Outcome, cone: Cone) -> bool:
    """Whether every node that a pass changed is one of its matches' new nodes."""
    matches = [match for inner in outcome.inner for match in inner.applied.matches]
    made = {name for match in matches for node in match.new for name in node.output if name}
    nodes = [cone.view.nodes[place] for place in cone.view.numbered.changed]
    return all(not made.isdisjoint(node.output) for node in nodes)
