"""Does the graph still compute what each pass promises? One judge follows a pipeline from its original graph."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from graphtool.errors import FeedError, GraphtoolError, ModelError, quoted
from graphtool.graph import Graph
from graphtool.graph import opset as ops
from graphtool.parity.adapt import KINDS, Adapted, adapt
from graphtool.parity.budget import Budget, broken
from graphtool.parity.double import NoTruth
from graphtool.parity.feed import Feed
from graphtool.parity.metrics import Figures, compare, eps_of, equal
from graphtool.parity.runerror import RunError
from graphtool.parity.runnable import Meanings, runnable
from graphtool.parity.selfcheck import agree
from graphtool.parity.session import Session
from graphtool.parity.ties import loose_labels
from graphtool.parity.tolerance import close_tolerance, least_tolerance
from graphtool.parity.truth import MatchTruth, judge_matches
from graphtool.parity.verdict import IncomparableError, Reference, Verdict
from graphtool.rewrite.apply import Outcome
from graphtool.rewrite.passfile import Pass

Array = NDArray[Any]


class Judge:
    """Judges one pipeline on one feed. ``original`` must be a snapshot that nobody edits.

    With ``truth`` a ``close`` pass that changed a number is held to the second rule even where noise would explain it.
    """

    def __init__(
        self, original: Graph, feed: Feed, meanings: Meanings, budgets: Sequence[Budget] = (), truth: bool = False
    ) -> None:
        self.truth = truth
        self.meanings = meanings
        self.budgets = tuple(budgets)
        self.feed = dict(feed.arrays)
        self.original: Reference | None = None
        self.start: Reference | None = None  # of the segment
        self.before: Reference | None = None  # the step before
        self.fault: RunError | None = None  # why the original cannot run
        graph = runnable(original, meanings)
        try:
            session = Session(graph)
            first, second = session.run(self.feed), session.run(self.feed)
        except RunError as error:
            self.fault = error
            return
        except ModelError as error:  # its weights are missing, which a pass may put back
            self.fault = RunError(str(error), "load")
            return
        agree(graph, self.feed, first, second)
        self.original = Reference("the original", graph, self.feed, first)
        self.start = self.before = self.original

    def fork(self) -> Judge:
        """Return a judge in the same state that can follow another pipeline from here; what is known is shared."""
        return copy.copy(self)

    def outputs(self) -> dict[str, Array]:
        """Return the outputs of the latest step; raises FeedError where nothing could be run."""
        if self.before is None:
            raise FeedError(str(self.fault or "nothing was run"))
        return self.before.outputs

    def judge(self, spec: Pass, outcome: Outcome, snapshots: Graph, after: Graph) -> Verdict:
        """Judge ``after``, the result of ``spec``. ``snapshots`` is any graph that can restore the outcome's snapshots.

        Raises FeedError where the original cannot run and the pass is no repair.
        """
        renamed = outcome.applied.renamed
        graph = runnable(after, self.meanings)
        adapted: Adapted | None = None
        if not spec.interface & KINDS or self.before is None:
            feed = self._translated_feed(after, renamed)
        if spec.parity == "repair" and self.before is None:
            verdict, outputs = self._repaired(graph, feed)
        elif self.before is None or self.start is None or self.original is None:
            raise FeedError(f"the original cannot be run, so nothing can be judged: {self.fault}")
        else:
            kept = (self.original, self.start, self.before)
            references: Sequence[Reference] = [_renamed(reference, renamed) for reference in kept]
            try:
                if spec.interface & KINDS:
                    now = {new: self.feed[old] for new, old in renamed.items() if old in self.feed}
                    adapted = adapt(references, {**self.feed, **now}, graph, spec.interface)
                    feed, outputs, references = adapted.feed, adapted.outputs, adapted.references
                else:
                    outputs = Session(graph).run(feed)
            except (RunError, IncomparableError, FeedError) as error:
                return Verdict(False, "not run", self.before.name, reason=str(error))
            self.original, self.start, self.before = references
            verdict = self._by_class(spec, outcome, snapshots, graph, outputs)
            if not verdict.ok:  # the step is undone, and its names with it
                self.original, self.start, self.before = kept
        if verdict.ok:
            self.before = Reference(f"the graph before (after {spec.name})", graph, feed, outputs)
            self.feed = feed
            if spec.parity in ("lossy", "float16", "repair") or (adapted is not None and adapted.moved):
                self.start = Reference(f"the graph after {spec.name}", graph, feed, outputs)
            if self.original is None:
                self.original = replace(self.before, name=f"the graph after {spec.name}")
        return verdict

    # -- classes

    def _by_class(
        self, spec: Pass, outcome: Outcome, snapshots: Graph, graph: Graph, outputs: Mapping[str, Array]
    ) -> Verdict:
        assert self.before is not None and self.start is not None and self.original is not None
        reference = {"exact": self.before, "float16": self.before, "lossy": self.original}.get(spec.parity, self.start)
        pairs, notes = {}, []
        for name, array in outputs.items():
            was = reference.output(name)
            if was is None:  # an inner tensor that the reference does not have: the step before has it
                was = self.before.output(name)
            if was is None:
                return Verdict(
                    False, "not run", reference.name, reason=f"nothing to compare output {quoted(name)} with"
                )
            if was.shape != array.shape and spec.parity == "lossy" and "shapes" in spec.interface:
                sizes = f"{list(was.shape)} before, {list(array.shape)} after"
                notes.append(f"output {quoted(name)} is not compared: it has another shape, {sizes}")
                continue
            if was.shape != array.shape:
                shapes = f"{list(was.shape)} before, {list(array.shape)} after"
                return Verdict(
                    False, "shape", reference.name, reason=f"output {quoted(name)} changed its shape: {shapes}"
                )
            pairs[name] = (was, array)
        figures = {name: compare(was, now) for name, (was, now) in pairs.items()}
        match spec.parity:
            case "exact" | "float16":
                verdict = _equal_verdict(spec.parity, reference.name, pairs, figures)
            case "lossy":
                step = self._since_before(outputs)
                verdict = Verdict(True, "measured", reference.name, figures, step=step, notes=tuple(notes))
            case _:
                verdict = self._close(outcome, snapshots, graph, pairs, figures)
        if verdict.ok and spec.parity in ("lossy", "float16"):
            reasons = broken([b for b in self.budgets if b.output is None or b.output in figures], figures)
            if reasons:
                return replace(verdict, ok=False, reason=reasons[0])
        return verdict

    def _since_before(self, outputs: Mapping[str, Array]) -> dict[str, Figures]:
        if self.before is None or self.original is None or self.before.outputs is self.original.outputs:
            return {}
        pairs = {name: (self.before.output(name), array) for name, array in outputs.items()}
        return {n: compare(a, b) for n, (a, b) in pairs.items() if a is not None and a.shape == b.shape}

    def _repaired(self, graph: Graph, feed: dict[str, Array]) -> tuple[Verdict, dict[str, Array]]:
        try:
            outputs = Session(graph).run(feed)
        except RunError as error:
            return Verdict(False, "not run", "", reason=f"the graph still does not run: {error}"), {}
        return Verdict(True, "runs", "", notes=(f"before the pass it did not run: {self.fault}",)), outputs

    def _close(
        self,
        outcome: Outcome,
        snapshots: Graph,
        graph: Graph,
        pairs: Mapping[str, tuple[Array, Array]],
        figures: Mapping[str, Figures],
    ) -> Verdict:
        assert self.start is not None
        against = self.start.name
        if all(found.changed == 0 for found in figures.values()):
            return Verdict(True, "equal", against, figures)
        start, own = self.start, self.start.own_name
        tolerance = {name: least_tolerance(start.graph, own.get(name, name), was) for name, (was, _) in pairs.items()}
        if any(figures[name].max_abs > allowed for name, allowed in tolerance.items()):
            if start.tolerance is None:
                start.tolerance = close_tolerance(start.graph, start.feed, start.outputs)
            known = start.tolerance
            tolerance = {name: known.get(own.get(name, name), least) for name, least in tolerance.items()}
        over = [name for name, allowed in tolerance.items() if figures[name].max_abs > allowed]
        ties = self._ties({name: pairs[name] for name in over if eps_of(pairs[name][0].dtype) == 0})
        over = [name for name in over if name not in ties]
        if not over:
            notes = tuple(
                f"output {quoted(n)}: {count} labels fell to the other side of a tie" for n, count in ties.items()
            )
            verdict = Verdict(True, "noise", against, figures, tolerance=tolerance, notes=notes)
            return self._by_truth(outcome, snapshots, graph, replace(verdict, ok=False)) if self.truth else verdict
        worst = max(over, key=lambda name: figures[name].max_abs / max(tolerance[name], 5e-324))
        found = figures[worst]
        if tolerance[worst]:
            reason = f"output {quoted(worst)}: error {found.max_abs / tolerance[worst]:.3g} times what noise explains"
        else:  # labels, masks: a tie may fall to the other side, which only the truth of each match can tell
            reason = f"output {quoted(worst)}: {found.changed} of {found.count} values changed"
        return self._by_truth(
            outcome, snapshots, graph, Verdict(False, "noise", against, figures, {}, reason, tolerance)
        )

    def _ties(self, labels: Mapping[str, tuple[Array, Array]]) -> dict[str, int]:
        """Return those label outputs that changed only where noise may flip a label, and at how many positions."""
        start = self.start
        assert start is not None
        names = {start.own_name.get(name, name): name for name in labels}
        known = {own: start.outputs[own] for own in names if own in start.outputs}
        found = {}
        for own, loose in (loose_labels(start.graph, start.feed, known) if known else {}).items():
            was, now = labels[names[own]]
            flipped = was != now
            if not np.any(flipped & ~loose.at) and int(flipped.sum()) <= loose.count:
                found[names[own]] = int(flipped.sum())
        return found

    def _by_truth(self, outcome: Outcome, snapshots: Graph, after: Graph, verdict: Verdict) -> Verdict:
        assert self.before is not None
        truths: list[MatchTruth] = []
        steps = [(inner, runnable(snapshots.at(inner.before), self.meanings)) for inner in outcome.inner]
        following = [*(graph for _, graph in steps[1:]), after]
        try:
            for (inner, before), later in zip(steps, following, strict=True):
                truths += judge_matches(inner, before, later, self._translated_feed(before, {}))
        except (NoTruth, GraphtoolError) as error:
            return replace(verdict, reason=_joined(verdict.reason, f"not judged in double precision: {error}"))
        bad = [truth for truth in truths if not truth.ok]
        if bad:
            worst = max(bad, key=lambda truth: truth.after / max(truth.allowed, 5e-324))
            distance = f"{worst.after:.3g} from the truth, where it was {worst.before:.3g} before"
            reason = _joined(verdict.reason, f"{quoted(worst.where)} is {distance}")
            return replace(verdict, reason=reason, truths=tuple(truths))
        notes = (verdict.reason,) if verdict.reason else ()
        return replace(verdict, ok=True, rule="truth", reason="", truths=tuple(truths), notes=notes)

    # -- feeds

    def _translated_feed(self, after: Graph, renamed: Mapping[str, str]) -> dict[str, Array]:
        """Return the feed for ``after``: inputs by their new names, cast by value where their type changed.

        A value that does not survive the cast and back is changed in every reference too: the promise is about inputs
        that the narrower type can hold.
        """
        feed = {}
        for value in after.inputs:
            old = renamed.get(value.name, value.name)
            array = self.feed[old]
            wanted = ops.numpy_dtype(value.dtype)
            if value.dtype and array.dtype != wanted:
                cast = array.astype(wanted)
                back = cast.astype(array.dtype)
                if not equal(array, back):
                    self._refeed(old, back)
                array = cast
            feed[value.name] = array
        return feed

    def _refeed(self, name: str, array: Array) -> None:
        self.feed = {**self.feed, name: array}
        kept = (self.original, self.start, self.before)
        changed: dict[int, Reference] = {}  # new ones: a judge that was forked off has the old ones
        for reference in {id(r): r for r in kept if r is not None}.values():
            own = reference.own_name.get(name, name)
            if own not in reference.feed:  # an inner tensor there, which a pass made an input
                continue
            feed = {**reference.feed, own: array.astype(reference.feed[own].dtype)}
            outputs = Session(reference.graph, outputs=list(reference.outputs)).run(feed)
            changed[id(reference)] = replace(reference, feed=feed, outputs=outputs, tolerance=None)
        self.original, self.start, self.before = (changed.get(id(r), r) for r in kept)


def _joined(*reasons: str) -> str:
    return "; ".join(reason for reason in reasons if reason)


def _renamed(reference: Reference, renamed: Mapping[str, str]) -> Reference:
    if not renamed:
        return reference
    known = reference.own_name
    return replace(reference, own_name=known | {new: known.get(old, old) for new, old in renamed.items()})


def _equal_verdict(
    parity: str, against: str, pairs: Mapping[str, tuple[Array, Array]], figures: Mapping[str, Figures]
) -> Verdict:
    rule = "equal" if parity == "exact" else "cast"
    for name, (was, now) in pairs.items():
        with np.errstate(over="ignore", invalid="ignore"):
            expected = was.astype(now.dtype) if was.dtype != now.dtype else was
        if was.dtype != now.dtype and was.dtype.kind == "f" and now.dtype.kind in "fV":
            over = int(np.sum(np.isfinite(was) & ~np.isfinite(expected.astype(np.float64))))
            if over:
                reason = f"{over} values of output {quoted(name)} do not fit {now.dtype}: they become infinite"
                return Verdict(False, rule, against, figures, reason=reason)
            if np.isnan(was).any():
                return Verdict(False, rule, against, figures, reason=f"output {quoted(name)} has NaN")
        if not equal(expected, now) or (was.dtype.kind in "iu" and not np.array_equal(was, now)):
            found = figures[name]
            reason = (
                f"output {quoted(name)}: {found.changed} of {found.count} values differ, by up to {found.max_abs:.3g}"
            )
            return Verdict(False, rule, against, figures, reason=reason)
    return Verdict(True, rule, against, figures)
