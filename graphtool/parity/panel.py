"""Several judges of one pipeline, one for each feed; the worst verdict counts, and says on which feed it was."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from numpy.typing import NDArray

from graphtool.errors import FeedError
from graphtool.graph import Graph
from graphtool.parity.adapt import KINDS
from graphtool.parity.alone import judge_alone
from graphtool.parity.budget import Budget
from graphtool.parity.feed import Feed
from graphtool.parity.judge import Closing, Judge
from graphtool.parity.metrics import finite
from graphtool.parity.record import Needed
from graphtool.parity.runerror import RunError
from graphtool.parity.runnable import Meanings
from graphtool.parity.session import Session
from graphtool.parity.trials import Trial
from graphtool.parity.verdict import Heard, Reference, Verdict
from graphtool.rewrite.apply import Outcome
from graphtool.rewrite.passfile import Pass

Array = NDArray[Any]

_RANK = {"equal": 0, "cast": 0, "runs": 0, "noise": 1, "measured": 1, "truth": 2}


@dataclass(slots=True)
class Seat:
    """A feed, and who judges on it."""

    feed: Feed
    judge: Judge
    must: bool

    @property
    def name(self) -> str:
        """Return the feed in a few words."""
        return self.feed.text()


class Panel:
    """Judges one pipeline on several feeds, with the face of a :class:`Judge`.

    ``original`` must be a snapshot that nobody edits. The first trial decides whether the original can run (``fault``);
    a later one that it does not run on is replaced or dropped, and ``notes`` says so. Raises RunError, FeedError for a
    later trial that must run.
    """

    def __init__(
        self,
        original: Graph,
        trials: Sequence[Trial],
        meanings: Meanings,
        budgets: Sequence[Budget] = (),
        truth: bool = False,
        record: bool | Needed = False,
    ) -> None:
        self.truth = truth
        self.meanings = meanings
        self.notes: list[str] = []
        self.refused: list[tuple[Feed, dict[str, tuple[Array, Array]]]] = []  # as pairs(), of the last step refused
        self._lead = 0  # the seat whose graphs and feed a reproducer needs
        first = trials[0]
        Session.work.lacking.clear()
        self.seats = [Seat(first.feed, Judge(original, first.feed, meanings, budgets, truth, record), first.must)]
        for trial in trials[1:] if self.fault is None else ():
            for feed in [trial.feed] if trial.instead is None else [trial.feed, trial.instead]:
                judge = Judge(original, feed, meanings, budgets, truth, record)
                reason = self._unfit(judge, feed.recipe.get("source") == "drawn")
                if not reason:
                    self.seats.append(Seat(feed, judge, trial.must))
                    break
                if trial.must:
                    raise _on(feed, judge.fault) if judge.fault is not None else FeedError(f"{feed.text()}: {reason}")
                self.notes.append(f"not judged on {feed.text()}: {reason}")

        self.notes += [_stood_in(reason) for reason in Session.work.lacking]

    def _unfit(self, judge: Judge, drawn: bool) -> str:
        if judge.fault is not None:
            return f"the original does not run on it: {judge.fault}"
        assert judge.original is not None and self.seats[0].judge.original is not None
        known = self.seats[0].judge.original.outputs
        for name, array in judge.original.outputs.items():
            if not drawn and not finite(array) and finite(known[name]):
                return "the original makes infinities or NaN of it"
        return ""

    @property
    def fault(self) -> RunError | None:
        """Return why the original cannot run; None where it can."""
        return self.seats[0].judge.fault

    @property
    def lead(self) -> Judge:
        """Return the judge on the feed that broke the last promise, else the first."""
        return self.seats[self._lead].judge

    @property
    def original(self) -> Reference | None:
        """Return the original on the leading feed."""
        return self.lead.original

    @property
    def start(self) -> Reference | None:
        """Return the start of the segment on the leading feed."""
        return self.lead.start

    @property
    def before(self) -> Reference | None:
        """Return the step before on the leading feed."""
        return self.lead.before

    @property
    def feed(self) -> dict[str, Array]:
        """Return the leading feed as the latest step takes it."""
        return self.lead.feed

    def fork(self) -> Panel:
        """Return a panel in the same state that can follow another pipeline from here; what is known is shared."""
        own = copy.copy(self)
        own.seats = [Seat(seat.feed, seat.judge.fork(), seat.must) for seat in self.seats]
        return own

    def outputs(self) -> dict[str, Array]:
        """Return the outputs of the latest step on the leading feed; raises FeedError where nothing could be run."""
        return self.lead.outputs()

    def pairs(self) -> Iterator[tuple[Feed, dict[str, tuple[Array, Array]]]]:
        """Yield for each feed the outputs of the original and of the latest step, those that have one shape."""
        for seat in self.seats:
            yield seat.feed, _pairs(seat.judge, seat.judge.outputs())

    def judge(self, spec: Pass, outcome: Outcome, snapshots: Graph, after: Graph) -> Verdict:
        """Judge ``after`` on every feed; where one refuses, none has seen the step.

        A feed that was drawn for another size is dropped where a pass fixes the sizes of inputs on purpose.
        """
        kept = [seat.judge.fork() for seat in self.seats]
        fault = self.fault
        if fault is not None and fault.reason == "op" and spec.parity != "repair" and self.original is None:
            return judge_alone(spec, outcome, snapshots, after, self.meanings)
        told = len(Session.work.lacking)
        verdicts = [seat.judge.judge(spec, outcome, snapshots, after) for seat in self.seats]
        notes = [_stood_in(reason) for reason in list(Session.work.lacking)[told:]]
        if spec.interface & KINDS and verdicts[0].ok:
            for place in reversed(range(1, len(verdicts))):
                if verdicts[place].rule == "not run" and not self.seats[place].must:
                    seat, verdict = self.seats.pop(place), verdicts.pop(place)
                    del kept[place]
                    notes.append(f"from here on not judged on {seat.name}: {verdict.reason}")
        worst = max(range(len(verdicts)), key=lambda place: (_severity(verdicts[place]), -place))
        self._lead = 0
        if not verdicts[worst].ok:
            self._lead = worst
            self.refused = [(seat.feed, _pairs(seat.judge, seat.judge.seen)) for seat in self.seats]
            for seat, judge in zip(self.seats, kept, strict=True):
                seat.judge = judge
        return self._together(verdicts, worst, notes)

    def close(self) -> Closing | None:
        """Close the pipeline on every feed, see :meth:`Judge.close`; of steps that broke it is the earliest."""
        if self.original is None:  # nothing was run
            return None
        found = [seat.judge.close() for seat in self.seats]
        back = [one.back if one is not None else 0 for one in found]
        if max(back) > 0:
            self._lead = back.index(max(back))
        worst = found[self._lead]
        if worst is None or worst.verdict is None or len(self.seats) == 1:
            return worst
        name = self.seats[self._lead].name
        notes = (*worst.verdict.notes, f"refused on {name}, by the run that closes the pipeline")
        return replace(worst, verdict=replace(worst.verdict, feed=name, notes=notes))

    def _together(self, verdicts: Sequence[Verdict], worst: int, notes: Sequence[str]) -> Verdict:
        found = verdicts[worst]
        if len(verdicts) == 1 and not notes:
            return found
        heard = tuple(
            Heard(seat.name, verdict.ok, verdict.rule, verdict.reason, verdict.figures)
            for seat, verdict in zip(self.seats, verdicts, strict=True)
        )
        notes = list(notes)
        if not found.ok and len(verdicts) > 1:
            refusing = sum(not verdict.ok for verdict in verdicts)
            notes.append(f"refused on {refusing} of {len(verdicts)} feeds, worst on {self.seats[worst].name}")
        return replace(found, feed=self.seats[worst].name, feeds=heard, notes=(*found.notes, *notes))


def _stood_in(reason: str) -> str:
    return f"{reason.rstrip(' .:')}: ONNX's reference evaluator ran it"


def _pairs(judge: Judge, outputs: Mapping[str, Array]) -> dict[str, tuple[Array, Array]]:
    found = {}
    for name, after in outputs.items():
        before = judge.original.output(name) if judge.original is not None else None
        if before is not None and before.shape == after.shape:
            found[name] = (before, after)
    return found


def _severity(verdict: Verdict) -> tuple[bool, int, float, float]:
    """Return how bad a verdict is, to be compared with others of the same pass."""
    least, most = 0.0, 0.0
    for name, found in verdict.figures.items():
        allowed = verdict.tolerance.get(name) or 1.0
        least = max(least, 1 - found.cosine, 1 - (1 if found.argmax_agreement is None else found.argmax_agreement))
        most = max(most, found.max_abs / allowed)
    most = max([most, *(truth.after / max(truth.allowed, 5e-324) for truth in verdict.truths)])
    shown = (least, most) if verdict.rule == "measured" else (most, least)
    return (not verdict.ok, _RANK.get(verdict.rule, 3), *shown)


def _on(feed: Feed, error: RunError) -> RunError:
    return RunError(f"on {feed.text()}: {error}", error.reason, error.op, error.node)
