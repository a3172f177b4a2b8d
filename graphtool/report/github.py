"""Findings as workflow commands of GitHub Actions, which shows them beside the files of a pull request. Floor 7."""

from __future__ import annotations

from graphtool.errors import show
from graphtool.report.finding import Finding, Report

_COMMANDS = {"error": "error", "warning": "warning", "note": "notice"}
_WHOLE = 4000  # characters; GitHub cuts an annotation at 4 KB


def github(report: Report) -> str:
    """Return a line for each finding; one that says how it went where there is none.

    GitHub shows at most ten errors, ten warnings and ten notices of a step.
    """
    if report.findings:
        return "".join(map(_line, report.findings))
    title = _property(f"graphtool {report.command}")
    return f"::{'notice' if report.ok else 'error'} title={title}::{_data(report.summary)}\n"


def _line(found: Finding) -> str:
    title = f"graphtool {found.rule}" + (f": {show(found.node)}" if found.node else "")
    words = {"file": found.file, "line": str(found.line) if found.line else "", "title": title}
    properties = ",".join(f"{key}={_property(value)}" for key, value in words.items() if value)
    return f"::{_COMMANDS[found.level]} {properties}::{_data(found.message)}\n"


def _data(text: str) -> str:
    """Escape as actions/toolkit does (packages/core/src/command.ts); nothing in ``text`` ends the line."""
    return show(text, _WHOLE).replace("%", "%25")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
