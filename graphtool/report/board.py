"""The comparison of a model with a board's files as text, reports and plain data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from graphtool.atc.ascend_model import Change
from graphtool.comparator.board_result import Allowed, Board, Row
from graphtool.errors import show
from graphtool.report.ascend import LABEL, changes_data, print_changes
from graphtool.report.data import document, figures_data
from graphtool.report.figures import figure_text
from graphtool.report.finding import Finding, Item, Report
from graphtool.report.printing import line

_BLAME = {
    "conversion": "the conversion is at fault: files are further from ONNX than float16 explains",
    "export": "the export is at fault: ONNX is further from PyTorch than rounding explains, and the files follow ONNX",
    "both": "the conversion and the export are at fault: files differ from ONNX, and ONNX from PyTorch",
    "files": "files are mixed up: those that are off hold the numbers of other samples or outputs",
    "neither": "neither is at fault: files agree with ONNX as closely as float16 allows",
}


def verdict_text(found: Board) -> str:
    """Return who is at fault, and what was not checked, in one line."""
    text = _BLAME[found.blame]
    if found.broken:
        text = text.replace("files are further from ONNX than float16 explains", "files are over the budget")
    if not found.pytorch:
        text += " (ONNX was not held against PyTorch: --pytorch DIR)"
    elif found.blame == "neither":
        text += ", and ONNX with PyTorch"
    missing = sum(bool(row.fault) for row in (*found.rows, *found.pytorch))
    return text + (f"; {_missing_text(missing)}" if missing else "")


def fault_text(found: Board) -> str:
    """Return why the command ends with exit code 1, in a few words; empty where it does not."""
    missing = sum(bool(row.fault) for row in (*found.rows, *found.pytorch))
    words = [] if found.blame == "neither" else [_BLAME[found.blame].split(":")[0]]
    words += [f"over the budget: {found.broken[0]}"] if found.broken else []
    return "; ".join(words + ([_missing_text(missing)] if missing else []))


def _missing_text(count: int) -> str:
    return f"{count} file{'s' if count > 1 else ''} could not be compared"


def print_board(found: Board) -> None:
    """Print a line for each sample and output, a summary for each output, and the verdict."""
    line(f"{show(found.folder)}: {found.samples} samples, outputs numbered {found.numbering}", "bold")
    for note in found.notes:
        line(f"note: {note}", "yellow")
    _print_rows(found.rows)
    if found.pytorch:
        line("ONNX against PyTorch:", "bold")
        _print_rows(found.pytorch)
    for text in summaries(found):
        line(text)
    line(verdict_text(found), "bold")


def print_board_chip(changes: Sequence[Change], chip: Board | None) -> None:
    """Print how the files compare with the model of the chip, whose plugins compute ``changes`` otherwise than ONNX."""
    if chip is None:
        line(f"{LABEL}: no node is known to be computed otherwise than ONNX says")
        return
    line(f"{LABEL}:", "bold")
    print_changes(changes)
    for text in summaries(chip):
        line(text)
    line(f"held against that: {_BLAME[chip.blame].replace('ONNX', 'the model of the chip')}", "bold")


def _print_rows(rows: Sequence[Row]) -> None:
    width = max((len(show(row.stem, 60)) for row in rows), default=0)
    names = max((len(show(row.output, 40)) for row in rows), default=0)
    for row in rows:
        head = f"{show(row.stem, 60):<{width}}  {show(row.output, 40):<{names}}"
        if row.figures is None:
            line(f"{head}  {show(row.file)}: {row.fault}", "red")
            continue
        text = f"{head}  {row.dtype:<8}  {figure_text(row.figures)}"
        if row.beyond and not row.belongs:
            text += "; more than explained"
        if row.belongs:
            text += f"; the file holds the numbers of {show(row.belongs)}"
        line(text, "red" if row.beyond else "")
    for note in dict.fromkeys(note for row in rows for note in row.notes):
        noted = [row.file for row in rows if note in row.notes]
        more = f" and {len(noted) - 1} more" if len(noted) > 1 else ""
        line(f"{show(noted[0])}{more}: {note}", "yellow")


def summaries(found: Board) -> list[str]:
    """Return a line for each output over all samples."""
    texts = []
    for name in dict.fromkeys(row.output for row in found.rows if row.output):
        rows = [row for row in found.rows if row.output == name and row.figures is not None]
        figures = [row.figures for row in rows if row.figures is not None]
        if not figures:
            continue
        worst = max(rows, key=lambda row: row.figures.max_abs if row.figures is not None else 0.0)
        assert worst.figures is not None
        words = [
            f"{sum(row.beyond for row in rows)} of {len(rows)} off",
            f"max {worst.figures.max_abs:.3g} ({show(worst.stem)})",
            f"mean {sum(f.mean_abs for f in figures) / len(figures):.2g}",
            f"least cosine {min(f.cosine for f in figures):.6f}",
        ]
        shares = [f.argmax_agreement for f in figures if f.argmax_agreement is not None]
        if shares:
            words.append(f"argmax {100 * sum(shares) / len(shares):.4g} %")
        same = [f.agreement for f in figures if f.agreement is not None]
        if same:
            words.append(f"{100 * sum(same) / len(same):.4g} % equal")
        texts.append(f"{show(name)}: {', '.join(words)}{_explained(found.half.get(name), worst)}")
    return texts


def _explained(allowed: Allowed | None, worst: Row) -> str:
    if allowed is None or worst.figures is None:
        return ""
    top = worst.figures.before_max
    return f"; float16 explains max {allowed.largest * top:.2g}, mean {allowed.mean * top:.2g}"


def board_data(found: Board, chip: tuple[Sequence[Change], Board | None] | None = None) -> dict[str, Any]:
    """Return the comparison of a model with a board's files; ``chip`` is that with the model of the chip."""
    more: dict[str, Any] = {}
    if chip is not None:
        more["as_ascend"] = {
            "label": LABEL,
            "changes": changes_data(chip[0]),
            "at_fault": (chip[1] or found).blame,
            "rows": [_row_data(row) for row in (chip[1] or found).rows],
        }
    return {
        **more,
        "ok": found.blame == "neither" and found.complete,
        "verdict": verdict_text(found),
        "at_fault": found.blame,
        "complete": found.complete,
        "folder": found.folder,
        "numbering": found.numbering,
        "samples": found.samples,
        "rows": [_row_data(row) for row in found.rows],
        "pytorch": [_row_data(row) for row in found.pytorch],
        "float16_explains": {name: asdict(allowed) for name, allowed in found.half.items()},
        "float32_explains": {name: asdict(allowed) for name, allowed in found.single.items()},
        "reasons": list(found.broken),
        "notes": list(found.notes),
    }


def _row_data(row: Row) -> dict[str, Any]:
    return {
        "sample": row.stem,
        "output": row.output,
        "file": row.file,
        "dtype": row.dtype,
        "fault": row.fault,
        "beyond": row.beyond,
        "belongs_to": row.belongs,
        "notes": list(row.notes),
        "figures": None if row.figures is None else figures_data(row.figures),
    }


def board_report(model: str, found: Board) -> Report:
    """Return the report: an item a file, findings for those that are at fault."""
    items, findings = [], []
    for kind, rows in (("board", found.rows), ("PyTorch", found.pytorch)):
        for row in rows:
            text = row.fault or (figure_text(row.figures) if row.figures is not None else "")
            text += f"; the file holds the numbers of {show(row.belongs)}" if row.belongs else ""
            bad = bool(row.fault) or row.beyond
            name = f"{row.stem} {row.output}" + ("" if kind == "board" else f" ({kind})")
            items.append(Item(name, "failed" if bad else "passed", (row.dtype, text), text if bad else ""))
            if bad:
                rule = "unreadable-file" if row.fault else "differs"
                findings.append(Finding(rule, "error", f"{name}: {text}", row.file, row.output))
    findings += [Finding("note", "note", note, model, summary="Something to know") for note in found.notes]
    ok = found.blame == "neither" and found.complete
    columns = ("file", "type", "difference")
    data = document("compare-board", board_data(found))
    return Report("compare", model, ok, verdict_text(found), columns, tuple(items), tuple(findings), data)
