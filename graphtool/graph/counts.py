"""How many nodes of each op type there are. Floor 1."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from onnx import NodeProto

from graphtool.errors import show

if TYPE_CHECKING:
    from graphtool.graph.model import Graph


def op_label(node: NodeProto) -> str:
    """Return the op type, with domain and overload where it has them: ``com.microsoft::Gelu``."""
    op: str = node.op_type
    if node.domain not in ("", "ai.onnx"):
        op = f"{node.domain}::{op}"
    return f"{op}:{node.overload}" if node.overload else op


def op_counts(before: Graph, after: Graph) -> dict[str, tuple[int, int]]:
    """Return how many nodes of an op type two graphs have, where that differs: what costs little."""
    return changed_counts(map(op_label, before.nodes), map(op_label, after.nodes))


def changed_counts(before: Iterable[str], after: Iterable[str]) -> dict[str, tuple[int, int]]:
    """Return how often a word occurs in each of two lists, where that differs."""
    a, b = Counter(before), Counter(after)
    return {op: (a[op], b[op]) for op in sorted(a.keys() | b.keys()) if a[op] != b[op]}


def counts_line(ops: Mapping[str, tuple[int, int]]) -> str:
    """Return such counts in words, such as ``op counts: Conv 3 -> 4``."""
    changed = ", ".join(f"{show(op)} {before} -> {after}" for op, (before, after) in ops.items())
    return f"op counts: {changed or 'unchanged'}"
