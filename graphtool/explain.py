"""Why a pass matches where it does and nowhere else: every near miss with its node and reason. Floor 5."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from graphtool.errors import PassError, UsageError
from graphtool.graph import Graph, check
from graphtool.graph.bodies import walk
from graphtool.parity.runnable import runnable, stand_ins
from graphtool.rewrite import Catalog, Match, Miss, Pass, Stage, apply_stage, parse_pipeline
from graphtool.rewrite.endless import Rounds
from graphtool.rewrite.misspelt import misspelt
from graphtool.rewrite.result import label


@dataclass(slots=True)
class Look:
    """What one pass that is no sequence found.

    ``matches`` are those of every round of a sequence to a fixed point, ``misses`` those of the last round, in the
    order of the model's nodes. ``unmet`` is the requirement that the model does not meet, ``idle`` says which bodies
    are for other opsets, and which operators are misspelt, ``ops`` is the op type of each node that is named.
    """

    spec: Pass
    matches: list[Match] = field(default_factory=list)
    misses: list[Miss] = field(default_factory=list)
    unmet: str = ""
    idle: tuple[str, ...] = ()
    ops: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Reason:
    """A reason that nodes share: the body it comes from, and the nodes."""

    body: str
    text: str
    nodes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Explanation:
    """One stage: what it found, pass by pass where it is a sequence; ``unmet`` as in :class:`Look`."""

    stage: Stage
    looks: tuple[Look, ...]
    unmet: str


def explain(graph: Graph, stages: Sequence[Stage], catalog: Catalog) -> Iterator[Explanation]:
    """Yield what each stage finds in a copy of ``graph``, each seeing the result of those before it.

    Raises ModelError for an unsound graph, PassError as :func:`apply_stage` does.
    """
    own = graph.copy()
    check(own)
    for stage in stages:
        if stage.selection is not None and stage.spec.sequence:
            raise UsageError(f"{stage.spec.name}: a sequence is explained whole; leave out only= and skip=")
        places = {label(node): (place, node.op_type) for place, node in enumerate(walk(own.proto.graph))}
        unmet = stage.spec.requires.missing(own) or ""
        looking = _Looking(own, catalog)
        looking.at(stage, (), repeated=False)
        for look in looking.found.values():
            look.misses.sort(key=lambda miss: places.get(miss.where, (len(places), ""))[0])
            named = {match.where for match in look.matches} | {miss.where for miss in look.misses}
            look.ops = {name: places[name][1] for name in sorted(named & places.keys())}
        yield Explanation(stage, tuple(looking.found.values()), unmet)


class _Looking:
    """Applies a stage and takes notes on each simple pass, by its place in the sequences around it."""

    def __init__(self, graph: Graph, catalog: Catalog) -> None:
        self.graph = graph
        self.catalog = catalog
        self.found: dict[tuple[int, ...], Look] = {}

    def at(self, stage: Stage, place: tuple[int, ...], repeated: bool) -> int:
        """Apply a stage and return how many matches it had."""
        spec = stage.spec
        unmet = spec.requires.missing(self.graph)
        if spec.sequence and not unmet:
            return self._sequence(spec, place, repeated)
        look = self.found.setdefault(place, Look(spec))
        look.unmet, look.misses = unmet or "", []
        if unmet:
            return 0
        others = ((body.run.name, body.requires.missing(self.graph)) for body in spec.bodies)
        look.idle = tuple(f"{name} is for other opsets: {reason}" for name, reason in others if reason)
        look.idle += tuple(misspelt(spec, self.graph))
        meanings = self.catalog.semantics()
        if stand_ins(self.graph, meanings):  # behind an op that onnx does not know all shapes are unknown
            self.graph.learn_shapes(runnable(self.graph, meanings))
        applied = apply_stage(self.graph, stage, self.catalog, record=False).applied
        look.matches += applied.matches
        look.misses = list(applied.misses)
        return len(applied.matches)

    def _sequence(self, spec: Pass, place: tuple[int, ...], repeated: bool) -> int:
        """Apply the passes of a sequence, to a fixed point where it asks for that and nothing around it repeats it."""
        total = 0
        inner = [stage for word in spec.sequence for stage in parse_pipeline(word, self.catalog)]
        rounds = Rounds(self.graph)
        while rounds.next():
            again = repeated or spec.fixpoint
            with self.graph.budget.bounding(spec.growth):
                count = sum(self.at(stage, (*place, number), again) for number, stage in enumerate(inner))
            total += count
            if not count or repeated or not spec.fixpoint:
                return total
        raise PassError(f"{spec.name}: no fixed point; its passes undo each other")


_AT = re.compile(r" \(at '[^']*'\)$")  # where a reason was met, which is another place for each node


def reasons(look: Look) -> list[Reason]:
    """Return the near misses of a pass by reason, in the order of the first node of each."""
    shared: dict[tuple[str, str], list[str]] = {}
    for miss in look.misses:
        shared.setdefault((miss.body, _AT.sub("", miss.reason)), []).append(miss.where)
    return [Reason(body, text, tuple(nodes)) for (body, text), nodes in shared.items()]
