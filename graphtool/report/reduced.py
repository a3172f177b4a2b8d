"""What ``reduce`` came to, as text and as plain data. Floor 7."""

from __future__ import annotations

import dataclasses
from typing import Any

from onnx import NodeProto

from graphtool.errors import show
from graphtool.reduction import Written
from graphtool.report.printing import line

_MANY = 20  # nodes of a model that are listed


def print_reduced(found: Written) -> None:
    """Print what fails, what is left, and where it is."""
    reduced = found.reduced
    before, after = reduced.before, reduced.after
    line(f"{show(found.wish.request.model)}: {show(reduced.failure.text, 400)}", "bold")
    line(
        f"{before.nodes} -> {after.nodes} nodes, weights {before.weights} -> {after.weights} elements, "
        f"inputs {before.inputs} -> {after.inputs}"
    )
    nodes = reduced.case.graphs[0].nodes
    for node in nodes[:_MANY]:
        line(f"  {show(node.op_type)} {show(name_of(node))}", "dim")
    if len(nodes) > _MANY:
        line(f"  and {len(nodes) - _MANY} more", "dim")
    if reduced.spent:
        line(f"stopped after {reduced.attempts} models; --attempts N tries more", "yellow")
    for note in found.notes:
        line(f"note: {note}", "yellow")
    line(f"wrote {show(found.folder)}", "bold")
    line(f"in it: {found.command}")
    line(f"{reduced.attempts} models tried", "dim")


def name_of(node: NodeProto) -> str:
    """Return the name of a node; without one that of its first output."""
    return node.name or next((name for name in node.output if name), "")


def reduced_data(found: Written) -> dict[str, Any]:
    """Return what was left; keys are part of the interface."""
    reduced = found.reduced
    return {
        "model": str(found.wish.request.model),
        "failure": reduced.failure.text,
        "sign": reduced.failure.sign,
        "before": dataclasses.asdict(reduced.before),
        "after": dataclasses.asdict(reduced.after),
        "nodes": [name_of(node) for node in reduced.case.graphs[0].nodes],
        "attempts": reduced.attempts,
        "spent": reduced.spent,
        "folder": str(found.folder),
        "command": found.command,
        "notes": list(found.notes),
    }
