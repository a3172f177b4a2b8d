"""A model against the model of the chip, as text, a report and plain data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from graphtool.atc.ascend_layers import Layer
from graphtool.atc.ascend_model import AS_OF, Ascend, Change
from graphtool.comparator.half import LARGEST
from graphtool.errors import quoted, show
from graphtool.report.compare import print_columns
from graphtool.report.data import document, figures_data
from graphtool.report.figures import figure_text
from graphtool.report.finding import Finding, Item, Report
from graphtool.report.printing import line

_MOST = 6

LABEL = (
    f"a model of the Ascend 310 from public sources as of {AS_OF}, run in onnxruntime; nothing was tried on a device"
)


def print_ascend(found: Ascend, feed: str) -> None:
    """Print what is computed otherwise, the difference of each output in two parts, and what float16 cannot hold."""
    line(f"{LABEL}; feed {feed}", "bold")
    if not found.changes:
        line("semantics: no node is known to be computed otherwise than ONNX says; what differs is float16")
    print_changes(found.changes)
    if found.fault:
        line(f"with these semantics the graph does not run: {found.fault}", "red")
    for name in found.half:
        for text in _output_lines(found, name):
            line(text)
    for text in overflow_lines(found):
        line(text, "red")
    for text in found.unmodelled:
        line(f"not in this model: {text}", "yellow")


def print_layers(rows: Sequence[Layer]) -> None:
    """Print how far the model of the chip is from ONNX, tensor by tensor."""
    cells = [("tensor", "node", "op", "max", "mean", "cosine")]
    for row in rows:
        found = row.figures
        numbers = f"{found.max_abs:.3g}", f"{found.mean_abs:.2g}", f"{found.cosine:.6f}"
        cells.append((show(row.tensor, 40), show(row.node, 40), show(row.op, 24), *numbers))
    print_columns(cells)


def print_changes(changes: Sequence[Change]) -> None:
    """Print which nodes are computed otherwise, and the rules that say so."""
    for change in changes:
        known = f"{change.rule.id}, {change.rule.source}, {change.rule.date}"
        line(f"semantics: {show(change.node)}: {change.onnx} -> {change.ascend} ({known})")
    for text in dict.fromkeys(f"{change.rule.id}: {change.rule.says}" for change in changes):
        line(f"  {text}", "dim")


def changes_data(changes: Sequence[Change]) -> list[dict[str, str]]:
    """Return the nodes that are computed otherwise."""
    return [
        {"node": change.node, "onnx": change.onnx, "ascend": change.ascend, **asdict(change.rule)} for change in changes
    ]


def _output_lines(found: Ascend, name: str) -> list[str]:
    shapes = found.shapes.get(name)
    lines = []
    if shapes is not None:
        lines.append(f"{show(name)}: ONNX makes {list(shapes[0])}, the plugin {list(shapes[1])}: not compared")
    elif name in found.both:
        lines.append(f"{show(name)}: {figure_text(found.both[name])}")
        if found.changes and name in found.semantics:
            lines.append(f"  by semantics: {figure_text(found.semantics[name])}")
    if found.changes:
        lines.append(f"  by float16:   {figure_text(found.half[name])}")
    return lines


def overflow_lines(found: Ascend) -> list[str]:
    """Return what float16 cannot hold: the first result and how many more, and the weights."""
    lines = []
    if found.overflows:
        first = found.overflows[0]
        more = f"; {len(found.overflows) - 1} more nodes behind it" if len(found.overflows) > 1 else ""
        lines.append(
            f"first overflow: node {quoted(first.node)}, tensor {quoted(first.tensor)}: {first.value:.6g} is beyond "
            f"float16's largest number {LARGEST:g} and becomes that{more}"
        )
    for weight in found.weights[:_MOST]:
        words = [f"{weight.over} numbers beyond {LARGEST:g}"] if weight.over else []
        words += [f"{weight.lost} numbers too small, which become 0"] if weight.lost else []
        lines.append(f"weight {quoted(weight.name)} of node {quoted(weight.node)}: {', '.join(words)}")
    if len(found.weights) > _MOST:
        lines.append(f"{len(found.weights) - _MOST} more weights that float16 cannot hold")
    return lines


def ascend_data(found: Ascend, reasons: tuple[str, ...], rows: Sequence[Layer] | None = None) -> dict[str, Any]:
    """Return the comparison with the model of the chip; ``rows`` are its inner tensors, where they were asked for."""
    more: dict[str, Any] = {}
    if rows is not None:
        more["layers"] = [
            {"tensor": row.tensor, "node": row.node, "op": row.op, "figures": figures_data(row.figures)} for row in rows
        ]
    return {
        **more,
        "ok": not reasons,
        "reasons": list(reasons),
        "label": LABEL,
        "as_of": AS_OF,
        "changes": changes_data(found.changes),
        "outputs": {
            name: {
                "semantics": figures_data(found.semantics[name]) if name in found.semantics else None,
                "float16": figures_data(found.half[name]),
                "both": figures_data(found.both[name]) if name in found.both else None,
                "shapes": [list(shape) for shape in found.shapes.get(name, ())],
            }
            for name in found.half
        },
        "overflows": [asdict(overflow) for overflow in found.overflows],
        "weights": [asdict(weight) for weight in found.weights],
        "fault": found.fault,
        "unmodelled": list(found.unmodelled),
    }


def ascend_report(model: str, found: Ascend, reasons: tuple[str, ...]) -> Report:
    """Return the report: an item an output, findings for changed nodes, overflow and budgets."""
    items = []
    for name, figures in (found.both or found.half).items():
        own = [reason for reason in reasons if f"output {quoted(name)}" in reason]
        items.append(Item(name, "failed" if own else "passed", (figure_text(figures),), "; ".join(own)))
    findings = [Finding("over-budget", "error", reason, model) for reason in reasons]
    for change in found.changes:
        text = f"{change.onnx} -> {change.ascend} ({change.rule.source}, {change.rule.date})"
        findings.append(Finding(change.rule.id, "warning", text, model, change.node, summary=change.rule.says))
    findings += [Finding("float16-overflow", "warning", text, model) for text in overflow_lines(found)]
    findings += [Finding("not-modelled", "note", text, model) for text in found.unmodelled]
    summary = f"over the budget: {reasons[0]}" if reasons else LABEL
    data = document("compare-ascend", ascend_data(found, reasons))
    return Report("compare", model, not reasons, summary, ("output", "difference"), tuple(items), tuple(findings), data)
