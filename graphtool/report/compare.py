"""Comparisons of two models as text, reports and plain data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from graphtool.comparator import Comparison, Divergence, OnFeed, Pair, Row
from graphtool.errors import quoted, show
from graphtool.parity.metrics import Figures
from graphtool.report.data import document, figures_data
from graphtool.report.figures import figure_text
from graphtool.report.finding import Finding, Item, Report
from graphtool.report.printing import line

_HOW = {
    "map": "mapped", "name": "by name", "structure": "by structure", "type": "by type and shape",
    "values": "by values", "position": "by position",
}  # fmt: skip


def print_comparison(found: Comparison, layers: bool) -> None:
    """Print the outputs, how they were paired where names do not say, and where the models part."""
    for pair in found.inputs:
        if pair.how not in ("name", "map"):
            line(f"input {_pair(pair)}")
    if len(found.feeds) > 1:
        apart = any(figures.changed for one in found.feeds for figures in one.figures.values())
        line(f"the {'worst' if apart else 'first'} of {len(found.feeds)} feeds: {found.feed}", "bold")
    for pair in found.outputs:
        figures = found.figures[pair.after]
        line(f"{_pair(pair)}: {figure_text(figures)}{_explained(found, pair)}")
    for other in found.feeds:
        if other.figures is not found.figures:
            line(f"  {other.feed}: {_on_feed(other, found.bounded)}", "dim")
    for note in found.notes:
        line(f"note: {note}", "yellow")
    if layers and found.rows:
        print_rows(found.rows)
    elif layers:
        line("no tensor is computed by both models")
    if found.rows:
        agree = sum(row.verdict != "diverges" for row in found.rows)
        values = sum(row.pair.how == "values" for row in found.rows)
        line(
            f"inner tensors: {len(found.rows)} compared ({values} found by their values) of {found.tensors[0]} and "
            f"{found.tensors[1]}; {agree} agree"
        )
    if found.first is not None:
        _print_first(found.first)


def _on_feed(other: OnFeed, bounded: bool) -> str:
    """Return how the outputs did on one of several feeds, the one furthest off in figures."""
    name, figures = max(other.figures.items(), key=lambda item: item[1].max_abs)
    over = "over the budget; " if bounded else "diverges; "
    said = over if other.broken else "agrees; "
    return f"{said if figures.changed else ''}{show(name)}: {figure_text(figures)}"


def _pair(pair: Pair) -> str:
    if pair.before == pair.after:
        return show(pair.after)
    return f"{show(pair.before)} / {show(pair.after)} ({_HOW[pair.how]})"


def _explained(found: Comparison, pair: Pair) -> str:
    allowed = found.allowed[pair.after]
    if allowed is None or found.figures[pair.after].changed == 0:
        return ""
    if pair.after in found.diverging:
        return f"; more than rounding explains ({allowed:.2g})" if allowed else ""
    return f"; rounding explains it (up to {allowed:.2g})"


def first_text(first: Divergence) -> str:
    """Return the first diverging tensor and its figures in one line."""
    row = first.row
    allowed = "" if row.allowed is None else f"; rounding explains {row.allowed:.2g}"
    where = "" if row.pair.before == row.pair.after else f" ({_HOW[row.pair.how]})"
    names = show(row.pair.before) + ("" if row.pair.before == row.pair.after else f" / {show(row.pair.after)}")
    return f"first diverging tensor: {names}{where}: {_inner_text(row.figures)}{allowed}"


def _print_first(first: Divergence) -> None:
    line(first_text(first), "bold")
    for label, nodes in (("first model ", first.before), ("second model", first.after)):
        for text in nodes:
            line(f"  {label}  {text}")
    for text in first.details:
        line(f"  differs: {text}")


def _inner_text(found: Figures) -> str:
    return figure_text(replace(found, argmax_agreement=None, miou=None))


def print_rows(rows: Sequence[Row]) -> None:
    """Print the tensors that both models compute, a line each, in the order of the first model."""
    head = ("tensor", "in the second model", "op", "max", "mean", "cosine", "explained", "verdict")
    table = [head]
    for row in rows:
        figures, name = row.figures, row.pair.after
        ops = row.ops[0] if row.ops[0] == row.ops[1] else f"{row.ops[0]}/{row.ops[1]}"
        verdict = row.verdict
        if row.verdict == "diverges" and not row.passed_on:
            verdict = "differs here only"  # type: ignore[assignment]
        table.append(
            (
                show(row.pair.before, 40),
                "=" if name == row.pair.before else show(name, 40),
                show(ops, 24),
                f"{figures.max_abs:.3g}",
                f"{figures.mean_abs:.2g}",
                f"{figures.cosine:.6f}",
                "" if row.allowed is None else f"{row.allowed:.2g}",
                verdict,
            )
        )
    print_columns(table)


def print_columns(table: Sequence[Sequence[str]]) -> None:
    """Print rows of cells as columns, lines that are not wrapped."""
    widths = [max(len(cells[place]) for cells in table) for place in range(len(table[0]))]
    for cells in table:
        line("  ".join(text.ljust(width) for text, width in zip(cells, widths, strict=True)).rstrip())


# -- reports and JSON


def compare_report(before: str, after: str, found: Comparison, layers: bool) -> Report:
    """Return the report of a comparison: an item an output; findings for broken budgets and where the models part."""
    items = []
    for name, figures in found.figures.items():
        own = [reason for reason in found.broken if f"output {quoted(name)}" in reason]
        items.append(Item(name, "failed" if own else "passed", (figure_text(figures),), "; ".join(own)))
    counts = f"{len(items)} outputs compared with those of {before}"
    findings = [
        Finding("over-budget", "error", reason, after, summary="An output is over its budget")
        if found.bounded
        else Finding("diverging", "error", reason, after, summary="An output is further off than rounding explains")
        for reason in found.broken
    ]
    if found.first is not None:
        pair, node = found.first.row.pair, found.first.row.nodes[1]
        text = f"{first_text(found.first)}; first model: {'; '.join(found.first.before)}"
        summary = "The first tensor at which two models part"
        findings.append(Finding("first-divergence", "note", text, after, node or pair.after, summary=summary))
    findings += [Finding("note", "note", note, after, summary="Something to know") for note in found.notes]
    if len(found.feeds) > 1:
        counts += f", on {len(found.feeds)} feeds; the worst is {found.feed}"
    summary = found.fault or counts
    data = document("compare", comparison_data(found, layers))
    return Report(
        "compare", after, not found.broken, summary, ("output", "difference"), tuple(items), tuple(findings), data
    )


def comparison_data(found: Comparison, layers: bool) -> dict[str, Any]:
    """Return a comparison of two models."""
    data: dict[str, Any] = {
        "ok": not found.broken,
        "reasons": list(found.broken),
        "inputs": [_pair_data(pair) for pair in found.inputs],
        "outputs": {
            pair.after: {
                **_pair_data(pair),
                **figures_data(found.figures[pair.after]),
                "explained": found.allowed[pair.after],
                "diverges": pair.after in found.diverging,
            }
            for pair in found.outputs
        },
        "first_divergence": None if found.first is None else _first_data(found.first),
        "tensors": {
            "before": found.tensors[0],
            "after": found.tensors[1],
            "compared": len(found.rows),
            "agree": sum(row.verdict != "diverges" for row in found.rows),
        },
        "notes": list(found.notes),
        "feed": found.feed,
        "feeds": [
            {
                "feed": one.feed,
                "ok": not one.broken,
                "reasons": list(one.broken),
                "diverging": list(one.diverging),
                "outputs": {name: figures_data(figures) for name, figures in one.figures.items()},
            }
            for one in found.feeds
        ],
    }
    if layers:
        data["layers"] = [_row_data(row) for row in found.rows]
    return data


def _pair_data(pair: Pair) -> dict[str, str]:
    return {"before": pair.before, "after": pair.after, "paired_by": pair.how}


def _row_data(row: Row) -> dict[str, Any]:
    return {
        **_pair_data(row.pair),
        "nodes": list(row.nodes),
        "ops": list(row.ops),
        **figures_data(row.figures),
        "explained": row.allowed,
        "noise_measured": row.measured,
        "verdict": row.verdict,
        "passed_on": row.passed_on,
    }


def _first_data(first: Divergence) -> dict[str, Any]:
    return {
        **_row_data(first.row),
        "before_nodes": list(first.before),
        "after_nodes": list(first.after),
        "details": list(first.details),
    }
