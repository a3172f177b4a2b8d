"""What a comparison found, as plain data."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from graphtool.diff import text


@dataclass(frozen=True, slots=True)
class Detail:
    """One property that changed: ``what`` (such as ``attribute mode``), its text before and after; None is absent."""

    what: str
    before: str | None
    after: str | None


@dataclass(frozen=True, slots=True)
class Entry:
    """Something added or removed. ``kind`` is a node's op type or a value's type.

    The name of a node without one, or that shares its name, is followed by its position and first output.
    """

    name: str
    kind: str


@dataclass(frozen=True, slots=True)
class Renamed:
    """The same thing under another name."""

    before: str
    after: str


@dataclass(frozen=True, slots=True)
class Changed:
    """The same thing with other properties; ``after`` is its name in the second graph."""

    name: str
    after: str
    kind: str
    details: tuple[Detail, ...]


@dataclass(frozen=True, slots=True)
class Part:
    """The differences in one sort of thing. A thing that is renamed and changed is in both lists.

    ``moved`` is the smallest number of things to move for the order of the first graph to become that of the second.
    """

    added: tuple[Entry, ...] = ()
    removed: tuple[Entry, ...] = ()
    changed: tuple[Changed, ...] = ()
    renamed: tuple[Renamed, ...] = ()
    moved: int = 0

    def __bool__(self) -> bool:
        return bool(self.added or self.removed or self.changed or self.renamed or self.moved)


@dataclass(frozen=True, slots=True)
class Diff:
    """What changed between two graphs. Shapes of inner values (value_info) are derived and not compared."""

    nodes: Part = Part()
    values: Part = Part()  # inner values: only renamed is ever filled
    weights: Part = Part()
    inputs: Part = Part()
    outputs: Part = Part()
    functions: Part = Part()
    model: tuple[Detail, ...] = ()  # opsets, IR version, producer, metadata
    ops: Mapping[str, tuple[int, int]] = field(default_factory=dict)  # nodes by op type, where the number differs

    @property
    def same(self) -> bool:
        """Whether there is no difference at all: not in a name and not in the order of nodes."""
        return not (self.model or any(part for _, part in self.parts()))

    def parts(self) -> Iterator[tuple[str, Part]]:
        """Yield each part under what one of its things is called."""
        yield "node", self.nodes
        yield "value", self.values
        yield "weight", self.weights
        yield "input", self.inputs
        yield "output", self.outputs
        yield "function", self.functions

    def to_json(self) -> dict[str, Any]:
        """Return plain data, the same for the same graphs.

        Keys: ``same`` (bool), ``summary`` (text); ``nodes``, ``values``, ``weights``, ``inputs``, ``outputs`` and
        ``functions``, each with ``added`` and ``removed`` (lists of ``name``, ``kind``), ``changed`` (``name``,
        ``after`` (the name after), ``kind``, ``details``: lists of ``what``, ``before``, ``after``), ``renamed``
        (``before``, ``after``) and ``moved`` (a number); ``model`` (details); ``ops`` (op type to [before, after]).
        Names are as in the models, so escape them before they go to a terminal.
        """
        return {
            "same": self.same,
            "summary": text.summary(self),
            **{f"{noun}s": _part_json(part) for noun, part in self.parts()},
            "model": _details_json(self.model),
            "ops": {op: list(counts) for op, counts in self.ops.items()},
        }

    def lines(self, limit: int = 20) -> list[str]:
        """Return the difference as lines of text fit for a terminal, at most ``limit`` for a list of one sort.

        The first is the summary. Of a node with another op type only the attributes of the new one are told; the rest
        is in :meth:`to_json`. The others start with ``+`` (added), ``-`` (removed), ``~`` (changed) or ``>``
        (renamed or moved); the last may be the op counts.
        """
        return text.lines(self, limit)


def _details_json(details: tuple[Detail, ...]) -> list[dict[str, str | None]]:
    return [{"what": d.what, "before": d.before, "after": d.after} for d in details]


def _part_json(part: Part) -> dict[str, Any]:
    return {
        "added": [{"name": e.name, "kind": e.kind} for e in part.added],
        "removed": [{"name": e.name, "kind": e.kind} for e in part.removed],
        "changed": [
            {"name": c.name, "after": c.after, "kind": c.kind, "details": _details_json(c.details)}
            for c in part.changed
        ],
        "renamed": [{"before": r.before, "after": r.after} for r in part.renamed],
        "moved": part.moved,
    }
