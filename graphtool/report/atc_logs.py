"""Diagnosed logs and patched vendor files, as text and as plain data."""

from __future__ import annotations

from typing import Any

from graphtool.atc.diagnose import Diagnosis, Patched
from graphtool.atc.logs import Seen
from graphtool.atc.patch import SOURCE
from graphtool.atc.suspects import Suspect
from graphtool.errors import show
from graphtool.report.printing import line

_GUIDE = "the ICNet guide, Ascend ModelZoo, 2022-03, section 7.3.1"


def diagnosis_data(found: Diagnosis) -> dict[str, Any]:
    """Return a diagnosis."""
    return {
        "ended": found.log.ended,
        "messages": [_message_data(seen, nodes) for seen, nodes in found.nodes],
        "patched": [{"shape": list(shape), "count": count} for shape, count in found.patched],
        "notes": list(found.notes),
    }


def _message_data(seen: Seen, nodes: tuple[Suspect, ...]) -> dict[str, Any]:
    known = seen.known
    return {
        "code": seen.code,
        "line": seen.line,
        "count": seen.count,
        "text": seen.text,
        "op": seen.op,
        "op_type": seen.op_type,
        "known": known is not None,
        "title": known.title if known else "",
        "cause": known.cause if known else "",
        "fix": known.fix if known else "",
        "passes": list(seen.passes),
        "source": known.source if known else "",
        "nodes": [
            {
                "node": one.node,
                "op": one.op_type,
                "certainty": one.certainty,
                "reason": one.reason,
                "passes": list(one.passes),
            }
            for one in nodes
        ],
    }


def print_diagnosis(found: Diagnosis) -> None:
    """Print what a log says, message by message."""
    for seen, nodes in found.nodes:
        times = f", {seen.count} times" if seen.count > 1 else ""
        style = "yellow" if seen.code.startswith("W") else "bold red"
        line(f"line {seen.line}{times}: {seen.code}: {show(seen.text, 200)}", style)
        known = seen.known
        if known is None:
            line("  not in the table of codes (atc_profiles/tables/errors.toml)")
        else:
            line(f"  means: {known.title}")
            if known.cause:
                line(f"  cause: {known.cause}")
            line(f"  fix: {known.fix}")
            if seen.passes:
                line(f"  passes: {', '.join(seen.passes)}")
            line(f"  source: {known.source}", "dim")
        for one in nodes:
            line(f"  {one.certainty}: {one.node} ({one.op_type}): {one.reason}")
            if one.passes:
                line(f"    passes: {', '.join(one.passes)}", "dim")
    for shape, count in found.patched:
        if count:
            line(f"five_2_four: {list(shape)} took the patched way {count} times ({_GUIDE})", "green")
        else:
            line(f"five_2_four: no line for {list(shape)}: not patched, or not compiled at this batch", "yellow")
    for note in found.notes:
        line(f"note: {note}")
    if found.log.ended:
        line(f"ATC run {found.log.ended}", "green" if found.log.ended == "success" else "red")
    if not found.nodes and not found.patched:
        line("nothing in it that is known: no code, no message of the table")


def patch_data(found: Patched) -> dict[str, Any]:
    """Return what was done with a vendor file."""
    return {
        "file": str(found.file),
        "done": found.done,
        "diff": found.diff,
        "added": [list(shape) for shape in found.added],
        "there": [list(shape) for shape in found.there],
        "kept": str(found.kept) if found.kept else None,
        "notes": list(found.notes),
        "source": SOURCE,
    }


def print_patch(found: Patched) -> None:
    """Print the diff, alone on stdout lines that patch(1) takes, then what was done as comments."""
    if found.diff and found.done == "planned":
        print(found.diff, end="")
    for shape in found.there:
        line(f"# {list(shape)} is in the list already")
    for note in found.notes:
        line(f"# {note}", "yellow")
    if found.done == "written":
        listed = ", ".join(str(list(shape)) for shape in found.added)
        line(f"wrote {found.file}: {listed} added; the original is {found.kept}")
    elif found.done == "reverted":
        line(f"wrote {found.file} as it was; {found.kept} is gone")
    if found.done != "reverted":
        line(f"# source: {SOURCE}; {_GUIDE}", "dim")
