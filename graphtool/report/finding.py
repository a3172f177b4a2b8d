"""What a report is made of, whatever the format: findings, items that were judged, and the whole. Floor 7."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Level = Literal["error", "warning", "note"]
Status = Literal["passed", "failed", "skipped"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that a reader should see, and where.

    ``rule`` is a stable id such as ``broken-promise``, ``summary`` what the rule is about in one line (the message
    where it is empty), ``help`` a URI with more. ``file`` is the model or record as it was named on the command line,
    ``line`` counts from 1 in a text file and is 0 where there is none, ``node`` is a node or tensor of the model.
    """

    rule: str
    level: Level
    message: str
    file: str = ""
    node: str = ""
    help: str = ""
    summary: str = ""
    line: int = 0


@dataclass(frozen=True, slots=True)
class Item:
    """One thing that was judged: a pass, an output, a record; a row of a table and a test case of JUnit.

    ``cells`` follow the report's ``columns``; ``message`` says why it failed or was skipped, ``detail`` is more text of
    several lines, such as a diff.
    """

    name: str
    status: Status
    cells: tuple[str, ...] = ()
    message: str = ""
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Report:
    """What a command came to: ``subject`` is the file it was about, ``summary`` one line, ``data`` its JSON form.

    ``items`` are rows under ``columns`` (the first of which is the item's name). ``ok`` is whether the command ends
    with exit code 0; ``heading`` is the word for how it went where that is not "holds" or "fails".
    """

    command: str
    subject: str
    ok: bool
    summary: str
    columns: tuple[str, ...] = ()
    items: tuple[Item, ...] = ()
    findings: tuple[Finding, ...] = ()
    data: Mapping[str, Any] = field(default_factory=dict)
    heading: str = ""

    def count(self, level: Level) -> int:
        """Return the number of findings of a level."""
        return sum(found.level == level for found in self.findings)
