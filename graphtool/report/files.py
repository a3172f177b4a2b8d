"""``--report FORMAT:FILE``: which formats there are, and a report written in them. Floor 7."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from graphtool.errors import UsageError, did_you_mean, quoted, show
from graphtool.graph.save import write_text
from graphtool.report.data import dumps, untimed
from graphtool.report.finding import Report
from graphtool.report.github import github
from graphtool.report.junit import junit
from graphtool.report.markdown import markdown
from graphtool.report.sarif import sarif

STDOUT = "-"
_HEAD = 4096  # bytes of a file by which a report is known

FORMATS: Mapping[str, Callable[[Report], str]] = {
    "json": lambda report: dumps(untimed(dict(report.data))) + "\n",
    "junit": junit,
    "sarif": lambda report: dumps(sarif(report)) + "\n",
    "github": github,
    "markdown": markdown,
}


@dataclass(frozen=True, slots=True)
class Wanted:
    """A report that was asked for; ``file`` None is stdout."""

    format: str
    file: Path | None


def wanted(words: Sequence[str], json: bool = False, taken: Sequence[Path] = ()) -> list[Wanted]:
    """Return what the words of ``--report`` ask for; called before the work, so that a wrong word costs nothing.

    With ``json`` stdout is spoken for. Raises UsageError for an unknown format, a file named twice, one of ``taken``,
    or one that is there and is no report of graphtool.
    """
    found: list[Wanted] = []
    for word in words:
        kind, colon, name = word.partition(":")
        if not colon or not name:
            raise UsageError(f"--report {show(word)}: expected FORMAT:FILE, such as markdown:report.md ('-' is stdout)")
        if kind not in FORMATS:
            raise UsageError(
                f"--report {show(word)}: no format {quoted(kind)}{did_you_mean(kind, FORMATS)}; "
                f"there are {', '.join(FORMATS)}"
            )
        one = Wanted(kind, None if name == STDOUT else Path(name))
        if json and one.file is None:
            raise UsageError(f"--report {show(word)}: stdout has the document of --json; name a file")
        if any(one.file == other.file for other in found):
            raise UsageError(f"--report {show(word)}: two reports cannot go to one place")
        if one.file is not None:
            _refuse_foreign(one.file, taken)
        found.append(one)
    return found


def _refuse_foreign(file: Path, taken: Sequence[Path]) -> None:
    if not file.exists():
        if not file.parent.is_dir():
            raise UsageError(f"--report: there is no folder {quoted(file.parent)}")
        return
    if not file.is_file():
        raise UsageError(f"--report: {quoted(file)} is not a regular file")
    if any(other.exists() and other.samefile(file) for other in taken):
        raise UsageError(f"--report: {quoted(file)} is a file that this command reads or writes")
    with file.open("rb") as stream:
        head = stream.read(_HEAD)
    if head and (b"\0" in head or b"graphtool" not in head):
        raise UsageError(f"--report: {quoted(file)} exists and is no report of graphtool; name another file")


def write(report: Report, places: Sequence[Wanted]) -> bool:
    """Write each report that was asked for; return whether one of them went to stdout, in place of the text."""
    for place in places:
        text = FORMATS[place.format](report)
        if place.file is None:
            sys.stdout.write(text)
        else:
            write_text(place.file, text)
    return any(place.file is None for place in places)
