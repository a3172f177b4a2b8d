"""Passes as text and plain data: the catalogue with its origins, and why a pass matches where it does."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from graphtool.errors import PassError, show
from graphtool.explain import Explanation, Look, reasons
from graphtool.report.console import names
from graphtool.report.data import pass_data
from graphtool.report.printing import line
from graphtool.rewrite import Pass
from graphtool.rewrite.catalog import Entry

_LONG = 1000  # characters of a reason
_FEW = 4  # names, where many share a reason
_NOTHING = "no node comes near"


def print_catalog(found: Sequence[tuple[Entry, Pass | PassError]]) -> None:
    """Print every pass with its promise, its origin once a project has some too, and each broken file in one line."""
    foreign = any(not entry.shipped for entry, _ in found)
    rows = [("pass", "promise", "from", "summary")]
    rows += [(e.name, spec.parity, e.origin, spec.summary) for e, spec in found if isinstance(spec, Pass)]
    wide = [max(len(row[column]) for row in rows) for column in range(3)]
    for name, parity, origin, text in rows:
        line(f"{name:<{wide[0]}}  {parity:<{wide[1]}}  " + (f"{origin:<{wide[2]}}  " if foreign else "") + text)
    for _, fault in found:
        if isinstance(fault, PassError):
            line(f"broken: {fault}", "red")
    for entry, _ in found:
        if entry.word != entry.name and entry.shipped:
            line(f"{entry.name} is there twice: say {entry.word}, or the path of the other file", "yellow")


def catalog_data(found: Sequence[tuple[Entry, Pass | PassError]]) -> list[dict[str, Any]]:
    """Return the catalogue; a broken file has an ``error`` in place of what it says."""
    return [
        {
            **({"name": entry.name, "error": str(spec)} if isinstance(spec, PassError) else pass_data(spec)),
            "origin": entry.origin,
            "word": entry.word,
        }
        for entry, spec in found
    ]


def print_explanation(found: Explanation, everything: bool) -> None:
    """Print where a stage matches and every near miss: by reason, or node by node with ``everything``."""
    line(found.stage.text(), "bold")
    if found.unmet:
        line(f"  not for this model: {found.unmet}", "yellow")
    elif not found.stage.spec.sequence:
        for look in found.looks:
            _print_look(look, everything, 2)
    else:
        idle = [look for look in found.looks if not (look.matches or look.misses or look.unmet)]
        for look in found.looks:
            if look not in idle:
                line(f"  {look.spec.name}", "bold")
                _print_look(look, everything, 4)
        if idle:
            line(f"  {_NOTHING}: {names(look.spec.name for look in idle)}", "dim")


def _print_look(look: Look, everything: bool, indent: int) -> None:
    space = " " * indent
    if look.unmet:
        line(f"{space}not for this model: {look.unmet}", "yellow")
        return
    for text in look.idle:
        line(f"{space}{text}", "dim")
    if look.matches:
        line(f"{space}{_count(len(look.matches), 'match')}", "green")
        most = len(look.matches) if everything else _FEW
        line(f"{space}  {names((match.where for match in look.matches), most)}", "dim")
    if everything:
        for miss in look.misses:
            op = f" ({show(look.ops[miss.where])})" if miss.where in look.ops else ""
            line(f"{space}not at {show(miss.where)}{op}: {miss.body}: {show(miss.text(), _LONG)}")
    else:
        for reason in reasons(look):
            line(f"{space}not at {_count(len(reason.nodes), 'node')}: {reason.body}: {show(reason.text, _LONG)}")
            line(f"{space}  {names(reason.nodes, _FEW)}", "dim")
    if not look.matches and not look.misses and len(look.idle) < max(len(look.spec.bodies), 1):
        line(f"{space}{_NOTHING}", "dim")


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 'es' if what.endswith('ch') else 's'}"


def explanation_data(found: Explanation) -> dict[str, Any]:
    """Return an explanation; keys are part of the interface."""
    return {
        "pass": found.stage.spec.name,
        "text": found.stage.text(),
        "unmet": found.unmet or None,
        "passes": [
            {
                "pass": look.spec.name,
                "unmet": look.unmet or None,
                "idle": list(look.idle),
                "matches": [{"where": m.where, "op": look.ops.get(m.where), "body": m.body} for m in look.matches],
                "misses": [
                    {
                        "where": m.where,
                        "op": look.ops.get(m.where),
                        "body": m.body,
                        "reason": m.reason,
                        "values": m.values,
                    }
                    for m in look.misses
                ],
            }
            for look in found.looks
        ],
    }
