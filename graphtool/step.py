"""One stage of a pipeline as it went, and a pipeline under way. Floor 4."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from graphtool.errors import PromiseError
from graphtool.graph import Graph, Snapshot
from graphtool.rewrite import Match, Miss, Stage
from graphtool.rewrite.selection import Place

# of the judge, the differ and the costs only types are needed before somebody asks: see pipeline.py
if TYPE_CHECKING:
    from graphtool.analysis.amounts import Amount
    from graphtool.diff import Diff
    from graphtool.parity.budget import Budget
    from graphtool.parity.feed import Feed
    from graphtool.parity.judge import Closing
    from graphtool.parity.metrics import Figures
    from graphtool.parity.panel import Panel
    from graphtool.parity.verdict import Verdict

    Cost = tuple[Amount, Amount]  # multiply-adds, bytes


class Changes:
    """What a stage changed, compared when somebody asks: on a large graph that costs more than most passes."""

    def __init__(self, before: Graph, after: Graph) -> None:
        self._graphs = before, after
        self._found: Diff | None = None
        self._costs: tuple[Cost, Cost] | None = None

    def costs(self) -> tuple[Cost, Cost]:
        """Return multiply-adds and bytes read and written of all nodes, before and after."""
        if self._costs is None:
            from graphtool.analysis.measure import madds_and_bytes

            before, after = map(madds_and_bytes, self._graphs)
            self._costs = before, after
        return self._costs

    @property
    def before(self) -> Graph:
        """The graph before the stage."""
        return self._graphs[0]

    @property
    def after(self) -> Graph:
        """The graph after the stage."""
        return self._graphs[1]

    def diff(self) -> Diff:
        """Return the difference between the graphs before and after."""
        if self._found is None:
            from graphtool.diff import diff

            self._found = diff(*self._graphs)
        return self._found


class Step(NamedTuple):
    """One stage as it went.

    ``status``: ``applied`` (and its promise held), ``unmatched`` (nothing to do; ``reason`` says why), ``broken`` (the
    graph was rolled back; ``reason``), ``unchecked`` (applied with checking off). Seconds are wall time. ``places`` are
    the units that can be left out, where the stage has a selection.
    """

    stage: Stage
    status: str
    matches: tuple[Match, ...]
    misses: tuple[Miss, ...]
    nodes: tuple[int, int]
    apply_seconds: float
    judge_seconds: float
    changes: Changes | None = None
    verdict: Verdict | None = None
    reason: str = ""
    places: tuple[Place, ...] = ()

    @property
    def diff(self) -> Diff | None:
        """Return what changed; None where nothing matched."""
        return None if self.changes is None else self.changes.diff()

    @property
    def name(self) -> str:
        """Return the pass's name."""
        return self.stage.spec.name


@dataclass(slots=True)
class Run:
    """A pipeline under way, then its result: ``graph`` is the rewritten graph, ``steps`` what each stage did.

    ``feed`` is the first of those that ``judge`` judges on.
    """

    graph: Graph
    original: Graph
    stages: Sequence[Stage]
    steps: list[Step] = field(default_factory=list)
    feed: Feed | None = None
    judge: Panel | None = None
    notes: list[str] = field(default_factory=list)
    # a graph and the first stage after it, which a reproducer needs: the start of the segment, the latest step
    segment: tuple[Snapshot, int] | None = None
    latest: tuple[Snapshot, int] | None = None
    same: Graph | None = None  # a copy of the graph as it is now, where there is one
    closed: Closing | None = None  # what the whole run at the end showed, where one was needed

    @property
    def ok(self) -> bool:
        """Whether no promise was broken."""
        return all(step.status != "broken" for step in self.steps)

    @property
    def figures(self) -> Mapping[str, Figures]:
        """Return the figures of the last step that has any."""
        return next((s.verdict.figures for s in reversed(self.steps) if s.verdict and s.verdict.figures), {})


def over_budget(state: Run, budgets: Sequence[Budget]) -> list[str]:
    """Return why a finished pipeline, as a whole, does not hold ``budgets``; an empty list where it does.

    Raises UsageError for a budget whose output or metric there is not, FeedError where nothing could be run.
    """
    if not budgets or state.judge is None:
        return []
    from graphtool.parity.budget import broken
    from graphtool.parity.metrics import compare

    reasons = []
    several = len(state.judge.seats) > 1
    for feed, pairs in state.judge.pairs():
        figures = {name: compare(before, after) for name, (before, after) in pairs.items()}
        reasons += [f"{reason} (feed: {feed.text()})" if several else reason for reason in broken(budgets, figures)]
    return reasons


def broken_text(step: Step) -> str:
    """Return which promise a step broke, and how."""
    if step.verdict is not None and step.verdict.rule == "measured" and "budget" in step.reason:
        return f"{step.name} is over its budget: {step.reason}"
    return f"{step.name} broke its promise '{step.stage.spec.parity}': {step.reason}"


def promise_error(step: Step, reproduce: str | None) -> PromiseError:
    """Return the error for a broken step, with the command that reproduces it."""
    return PromiseError(broken_text(step) + (f"\n  reproduce: {reproduce}" if reproduce else ""))
