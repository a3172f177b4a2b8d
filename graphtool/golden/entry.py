"""A check as plain data: what ``golden check --json`` prints of a record, and a child process hands back. Floor 5."""

from __future__ import annotations

from typing import Any

from graphtool.golden.store import Checked


def entry_of(found: Checked) -> dict[str, Any]:
    """Return how a check went; keys are part of the interface."""
    return {
        "name": found.name,
        "ok": found.ok,
        "status": found.status,
        "reason": found.reason,
        "faults": list(found.faults),
        "lines": list(found.lines),
        "outputs": [
            {
                "name": one.name,
                "error": one.error,
                "worst": one.worst,
                "tolerance": one.tolerance,
                "flips": one.flips,
                "may_flip": one.may_flip,
            }
            for one in found.figures.values()
        ],
        "place": None if found.place is None else {"file": found.place[0], "line": found.place[1]},
    }


def failed(name: str, fault: str) -> dict[str, Any]:
    """Return the entry of a record that could not be checked."""
    return entry_of(Checked(name, (fault,), ()))
