"""A rule: what to look for, what the target makes of it, from which source as of when, and the pass that helps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, get_args

from graphtool.lint.releases import Range
from graphtool.rewrite.expr import Expr
from graphtool.rewrite.pattern import Pattern

Level = Literal["error", "warning", "note"]
LEVELS: tuple[Level, ...] = get_args(Level)
# what happens, and how much that matters unless a rule says otherwise
CONSEQUENCES: Mapping[str, tuple[Level, str]] = {
    "refused": ("error", "ATC ends with an error"),
    "wrong": ("error", "the numbers are others, and nothing says so"),
    "memory": ("error", "the device has not enough memory"),
    "aicpu": ("warning", "it runs on AI CPU, not AI Core (W11001), or takes a path that is as slow"),
    "slow": ("warning", "it works and costs time"),
    "accuracy": ("warning", "float16 loses what the numbers say"),
    "note": ("note", "worth knowing before ATC runs"),
}


@dataclass(frozen=True, slots=True)
class Message:
    """A text with expressions in braces, such as ``window {prod(kernel)}``."""

    text: str
    parts: tuple[str | Expr, ...]


@dataclass(frozen=True, slots=True)
class Case:
    """A graph in ONNX text, and the nodes (or values) at which the rule is to be found in it; () for a negative case.

    ``target`` overrides what the rule asks of its target: ``soc``, ``cann``, ``options``, ``batches``, ``feed``.
    """

    name: str
    graph: str
    found: tuple[str, ...]
    opset: int
    target: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Rule:
    """One ``[[rule]]`` of a rule file.

    Its condition is ``ops`` with ``wheres``, or a ``pattern`` with ``wheres``, or the registered function ``native``.
    ``fix`` are the passes, in order, that remove the finding; ``advice`` says what else does. ``devices`` are those of
    which the source speaks (none: all).
    """

    id: str
    name: str
    path: str
    summary: str
    why: str
    consequence: str
    level: Level
    source: str
    date: str
    cann: Range
    basis: str
    devices: tuple[str, ...]
    ops: tuple[str, ...]
    pattern: Pattern | None
    native: str | None
    lets: tuple[tuple[str, Expr], ...]
    wheres: tuple[Expr, ...]
    message: Message
    fix: tuple[str, ...]
    advice: str
    cases: tuple[Case, ...] = field(repr=False, default=())


@dataclass(frozen=True, slots=True)
class Finding:
    """A rule that holds at a place: a node, or what ``kind`` says (input, output, constant, model).

    ``only`` are the releases to which it applies, where none is named and it may not matter: a note, whatever it is.
    ``fix`` are passes in place of the rule's.
    """

    rule: Rule
    where: str
    op: str
    text: str
    kind: str = "node"
    only: str = ""
    fix: tuple[str, ...] | None = None

    @property
    def fixes(self) -> tuple[str, ...]:
        """The passes that may remove it, in order."""
        return self.rule.fix if self.fix is None else self.fix

    @property
    def level(self) -> Level:
        """How much it matters."""
        return "note" if self.only else self.rule.level


@dataclass(frozen=True, slots=True)
class Undecided:
    """A rule that could not be judged at a node: what it asks for is not known, such as an open size."""

    rule: Rule
    where: str
    reason: str
