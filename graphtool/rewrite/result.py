"""What applying a pass found: matches, and misses with their reasons."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from onnx import NodeProto


class Match(NamedTuple):
    """A place where a body applied.

    ``where`` is the name of the node it is known by. For a rewrite, ``old`` and ``new`` are copies of the nodes before
    and after, ``inputs`` the values they read and ``outputs`` the values they make for others: what parity needs to
    judge this match alone. Other bodies leave these empty.
    """

    where: str
    body: str
    old: tuple[NodeProto, ...] = ()
    new: tuple[NodeProto, ...] = ()
    inputs: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()


class Miss(NamedTuple):
    """A node that a body was tried on, and the reason why it did not apply.

    ``reach`` is how much of it fitted, ``values`` what a condition read that does not hold.
    """

    where: str
    body: str
    reason: str
    reach: int = 0
    values: str = ""

    def text(self) -> str:
        """Return the reason with the values."""
        return f"{self.reason} ({self.values})" if self.values else self.reason


@dataclass(slots=True)
class Applied:
    """All that one application of a pass did."""

    matches: list[Match] = field(default_factory=list)
    misses: list[Miss] = field(default_factory=list)
    # interface changes by name: new output or input name -> old one
    renamed: dict[str, str] = field(default_factory=dict)

    def add(self, other: Applied) -> None:
        """Take up what another application did."""
        self.matches += other.matches
        self.misses += other.misses
        self.renamed.update(other.renamed)


def label(node: NodeProto) -> str:
    """Return the name a person knows a node by: its own, or its type and first output."""
    return node.name or alias(node)


def alias(node: NodeProto) -> str:
    """Return a node as ``OP(OUTPUT)``, by the first value it makes."""
    return f"{node.op_type}({next((name for name in node.output if name), '')})"
