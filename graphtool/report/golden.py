"""Golden records as text, as data and as a report. Floor 7.

All take an entry of ``golden check --json``: that is what a child process hands back.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from graphtool.errors import show
from graphtool.golden.files import OUTPUTS, RUN
from graphtool.golden.records import Record
from graphtool.report.data import document
from graphtool.report.finding import Finding, Item, Report, Status
from graphtool.report.printing import Cell, line, table

Entry = Mapping[str, Any]

_WORDS = {"holds": "holds", "fails": "does not hold", "skipped": "was skipped"}
_STYLES = {"holds": "green", "fails": "bold red", "skipped": "yellow"}
_STATUS: Mapping[str, Status] = {"holds": "passed", "fails": "failed", "skipped": "skipped"}
_SUMMARY = "A model is not what its golden record says"
_ASCII = 100  # characters of a cell


def record_data(name: str, kept: Record | str) -> dict[str, Any]:
    """Return what ``golden list`` says of a record, or of why it cannot be read."""
    if isinstance(kept, str):
        return {"name": name, "fault": kept}
    return {
        "name": name,
        "fault": "",
        "model": kept.model,
        "source": None if kept.source is None else {"kind": kept.source.kind, "text": kept.source.text},
        "nodes": kept.nodes,
        "outputs": [output.name for output in kept.outputs],
        "feed": {"source": kept.feed.source, "seed": kept.feed.seed},
        "pipeline": kept.passes,
        "versions": dict(kept.versions),
    }


def print_records(found: Sequence[tuple[str, Record | str]]) -> None:
    """Print which records there are, and what each is about."""
    rows: list[tuple[Cell, ...]] = []
    for name, kept in found:
        if isinstance(kept, str):
            rows.append((name, "", "", "", (f"broken: {show(kept, _ASCII)}", "red")))
            continue
        source = str(kept.source) if kept.source else f"{kept.model or 'a model'} (to be named)"
        onnxruntime = kept.versions.get("onnxruntime", "")
        rows.append((name, str(kept.nodes), source, kept.passes or "", onnxruntime))
    _print(("record", "nodes", "model", "pipeline", "onnxruntime"), rows)


def print_golden(entry: Entry) -> None:
    """Print how a check of one record went."""
    for text in entry["lines"]:
        line(text)
    _print_faults(entry)
    line(f"golden {show(entry['name'])} {_WORDS[entry['status']]}", _STYLES[entry["status"]])


def print_goldens(entries: Sequence[Entry]) -> None:
    """Print how the checks of several records went: a table, and below it why some do not hold."""
    _print(("record", "graph", "outputs", "largest error", ""), [_row(entry) for entry in entries])
    for entry in entries:
        if not entry["ok"]:
            line(entry["name"], "bold")
            _print_faults(entry)
            for text in entry["lines"]:
                line(f"  {text}", "dim")
    line(counts(entries), "green" if all(entry["ok"] for entry in entries) else "bold red")


def counts(entries: Sequence[Entry]) -> str:
    """Return how many records hold, in a few words."""
    number = {status: sum(entry["status"] == status for entry in entries) for status in _WORDS}
    words = [f"{number['holds']} held", f"{number['fails']} failed"]
    return ", ".join(words + ([f"{number['skipped']} skipped"] if number["skipped"] else []))


def golden_data(entries: Sequence[Entry]) -> dict[str, Any]:
    """Return the document of ``golden check``."""
    return {"ok": all(entry["ok"] for entry in entries), "records": list(entries)}


def golden_report(entries: Sequence[Entry], folder: Path) -> Report:
    """Return the report of a check: an item a record, a finding for each that does not hold, at the line that moved."""
    items = tuple(_item(entry) for entry in entries)
    findings = tuple(_finding(entry, folder) for entry in entries if not entry["ok"])
    ok = all(entry["ok"] for entry in entries)
    data = document("golden-check", golden_data(entries))
    columns = ("record", "graph", "outputs", "largest error")
    return Report("golden check", str(folder), ok, counts(entries), columns, items, findings, data)


def _row(entry: Entry) -> tuple[str, str, str, str, Cell]:
    graph, outputs, error = _cells(entry)
    tail = f": {show(entry['reason'], _ASCII)}" if entry["reason"] else ""
    return entry["name"], graph, outputs, error, (entry["status"] + tail, _STYLES[entry["status"]])


def _cells(entry: Entry) -> tuple[str, str, str]:
    if not entry["outputs"]:
        return "", "", ""
    errors = [float(one["error"]) for one in entry["outputs"]]
    held = sum(error <= 1 for error in errors)
    worst = f"{max(errors):.3g} x tolerance" if max(errors) else "0"
    known = any(text.startswith(RUN) for text in entry["lines"])
    return "other" if entry["place"] else "same" if known else "", f"{held} of {len(errors)}", worst


def _item(entry: Entry) -> Item:
    first = entry["reason"] or (entry["faults"][0].partition("\n")[0] if entry["faults"] else "")
    detail = "\n".join((*entry["faults"], *entry["lines"])) if entry["faults"] else ""
    return Item(entry["name"], _STATUS[entry["status"]], _cells(entry), first, detail)


def _finding(entry: Entry, folder: Path) -> Finding:
    place = entry["place"] or {"file": OUTPUTS, "line": 1}
    file = folder / entry["name"] / place["file"]
    if not file.exists():  # a test data set, or what is no record any more
        file = file.parent
    message = entry["faults"][0].partition("\n")[0]
    text = f"{entry['name']}: {message}"
    return Finding("golden", "error", text, file.as_posix(), summary=_SUMMARY, line=place["line"])


def _print_faults(entry: Entry) -> None:
    for fault in entry["faults"]:
        for text in fault.split("\n"):  # a difference between graphs has several lines
            line(text, "red")


def _print(headings: Sequence[str], rows: Sequence[Sequence[Cell]]) -> None:
    table(headings, [[show(cell) if isinstance(cell, str) else cell for cell in row] for row in rows])
