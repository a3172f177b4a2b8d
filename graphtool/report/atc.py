"""What ``graphtool atc`` says: explained commands, checked configurations, read logs; as text and as plain data."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from graphtool.atc.explain import Explained
from graphtool.atc.finding import Finding
from graphtool.errors import show
from graphtool.report.printing import line

_STYLES = {"error": "bold red", "warning": "yellow", "note": "cyan"}
_WIDE = 44  # columns for a value


def finding_data(found: Finding) -> dict[str, Any]:
    """Return one finding."""
    return {
        "option": found.option,
        "level": found.level,
        "code": found.code,
        "reason": found.reason,
        "fix": found.fix,
        "source": found.source,
    }


def explained_data(one: Explained) -> dict[str, Any]:
    """Return one explained command."""
    options = [
        {
            "name": given.name,
            "value": given.value,
            "known": given.option is not None,
            "help": given.option.help if given.option else "",
            "source": given.option.source if given.option else "",
        }
        for given in one.given
    ]
    findings = [finding_data(found) for found in one.findings]
    used = {"variables": {name: list(values) for name, values in one.variables.items()}}
    return {"line": one.line, "text": one.text, "ok": not one.wrong, "options": options, "findings": findings, **used}


def print_findings(found: Sequence[Finding]) -> None:
    """Print findings, each with its fix and source."""
    for one in found:
        code = f" {one.code}" if one.code else ""
        line(f"  {one.level}{code}: {one.option}: {one.reason}", _STYLES[one.level])
        if one.fix:
            line(f"    fix: {one.fix}")
        if one.source:
            line(f"    source: {one.source}", "dim")


def print_explained(found: Sequence[Explained]) -> None:
    """Print each command: its options in a line each, and what ATC would say; then how many are fine."""
    for one in found:
        count = len(one.given)
        line(f"line {one.line}: {count} option{'s' if count != 1 else ''}", "bold")
        wide = max((len(given.name) for given in one.given), default=0)
        width = max((len(show(given.value, _WIDE)) for given in one.given), default=0)
        for given in one.given:
            value = show(given.value, _WIDE)
            text = f"{given.option.help}  [{_brief(given.option.source)}]" if given.option else "unknown to ATC"
            line(f"  {given.name:{wide}}  {value:{width}}  {text}", "" if given.option else "red")
        for name, values in one.variables.items():
            line(f"  ${name} is {', '.join(show(value, _WIDE) for value in values)} in this script", "dim")
        print_findings(one.findings)
        line()
    levels = Counter(_worst(one) for one in found)
    words = [f"{levels[word]} with {word}s" for word in ("error", "warning", "note") if levels[word]]
    fine = f"{levels['fine']} fine"
    total = f"{len(found)} command{'s' if len(found) != 1 else ''}"
    line(f"{total}: {', '.join([fine, *words])}", "red" if levels["error"] else "green")


def _brief(source: str) -> str:
    return source.partition(";")[0].partition(":")[0]


def _worst(one: Explained) -> str:
    levels = {found.level for found in one.findings}
    return next((level for level in ("error", "warning", "note") if level in levels), "fine")
