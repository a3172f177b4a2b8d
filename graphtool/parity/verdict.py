"""What the judge says of a step, and the graphs it says it against."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from numpy.typing import NDArray

from graphtool.graph import Graph
from graphtool.parity.metrics import Figures
from graphtool.parity.session import Session, give_back
from graphtool.parity.truth import MatchTruth

Array = NDArray[Any]


class IncomparableError(Exception):
    """There is nothing to compare the graph after a pass with; the message says why."""


@dataclass(frozen=True, slots=True)
class Heard:
    """What was said on one of several feeds."""

    feed: str
    ok: bool
    rule: str
    reason: str
    figures: Mapping[str, Figures]


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the judge says of one step.

    ``rule`` is what decided: ``equal``, ``cast`` (equal after the declared cast), ``noise`` or ``truth`` (the two
    rules of ``close``), ``measured`` (lossy), ``runs`` (repair of a graph that did not run), ``alone`` and
    ``structure`` (a graph that cannot be run: each match was by itself, or some were not). ``figures`` compare each
    output with the same output of ``against``; ``step`` are those of a lossy pass against the step before it.
    ``tolerance`` is, by output, what the noise rule allowed. ``notes`` are lines a reader should see. Where several
    feeds were judged on, all this is of the worst one, ``feed``, and ``feeds`` has the verdict on each. ``judged`` is
    how much was run: ``whole``, ``cone of N nodes``, or ``untouched`` where no tensor that an output needs had changed.
    """

    ok: bool
    rule: str
    against: str
    figures: Mapping[str, Figures] = field(default_factory=dict)
    step: Mapping[str, Figures] = field(default_factory=dict)
    reason: str = ""
    tolerance: Mapping[str, float] = field(default_factory=dict)
    truths: tuple[MatchTruth, ...] = ()
    notes: tuple[str, ...] = ()
    feed: str = ""
    feeds: tuple[Heard, ...] = ()
    judged: str = "whole"


@dataclass(slots=True)
class Reference:
    """A graph whose outputs are known, and how today's names of inputs and outputs translate into its own.

    ``ran`` says that the whole graph was run for them; else they are known from an earlier run, since nothing that was
    found to matter has changed, or (where there are none yet) computed when they are asked for.
    """

    name: str
    graph: Graph
    feed: dict[str, Array]
    outputs: dict[str, Array]
    tolerance: dict[str, float] | None = None  # by own name
    own_name: dict[str, str] = field(default_factory=dict)
    ran: bool = True

    def settle(self) -> None:
        """Run the whole graph where its outputs are not known."""
        if not self.outputs and self.graph.outputs:
            give_back()
            self.outputs.update(Session(self.graph).run(self.feed))
            self.ran = True

    def output(self, name: str) -> Array | None:
        """Return the output that is now called ``name``; an inner tensor of this graph takes another run."""
        self.settle()
        own = self.own_name.get(name, name)
        if own not in self.outputs:
            known = own in self.graph.index.producers
            if not known:
                return None
            self.outputs.update(Session(self.graph, outputs=[own]).run(self.feed))
        return self.outputs[own]
