"""A report as Markdown of GitHub's flavour, for a comment on a pull request or a job's summary. Floor 7.

What comes from a model or a file stands in code spans: it can be no markup, no link and no mention.
"""

from __future__ import annotations

import re
from html import escape

from graphtool.errors import show
from graphtool.report.finding import Finding, Report

_WHOLE = 2000  # characters of a message
_MOST = 50  # findings or details that are written out
_WORDS = {"passed": "holds", "failed": "**fails**", "skipped": "skipped"}


def markdown(report: Report) -> str:
    """Return the report: a heading, a table of its items, its findings, and details that fold away.

    The comment in the first line lets a bot find its own comment again.
    """
    subject = f" {code(report.subject)}" if report.subject else ""
    head = f"<!-- graphtool {report.command} -->\n### graphtool {report.command}{subject}: "
    parts = [f"{head}{report.heading or ('holds' if report.ok else 'fails')}", code(report.summary)]
    if report.items:
        parts.append(_table(report))
    if report.findings:
        shown = [_finding(found) for found in report.findings[:_MOST]]
        more = len(report.findings) - len(shown)
        parts.append("\n".join(shown + ([f"- and {more} more"] if more else [])))
    details = [item for item in report.items if item.detail][:_MOST]
    for item in details:
        body = "\n".join(show(line, _WHOLE) for line in item.detail.splitlines())
        parts.append(
            f"<details><summary><code>{escape(show(item.name))}</code></summary>\n\n{fenced(body)}\n\n</details>"
        )
    return "\n\n".join(parts) + "\n"


def code(text: str) -> str:
    """Return ``text`` as a code span on one line, fit for a cell of a table."""
    text = show(text, _WHOLE).replace("|", "\\|")
    if not text.strip():
        return ""
    ticks = "`" * (max((len(run) for run in re.findall("`+", text)), default=0) + 1)
    pad = " " if text[0] in "` " or text[-1] in "` " else ""
    return f"{ticks}{pad}{text}{pad}{ticks}"


def fenced(text: str) -> str:
    """Return ``text`` in a code block that nothing in it can end."""
    ticks = "`" * max(3, max((len(run) for run in re.findall("`+", text)), default=0) + 1)
    return f"{ticks}\n{text}\n{ticks}"


def _table(report: Report) -> str:
    judged = not report.heading  # else nothing was held to anything
    rows = [[*report.columns, *([""] if judged else [])], ["---"] * (len(report.columns) + judged)]
    rows += [
        [*map(code, (item.name, *item.cells)), *([_WORDS[item.status]] if judged else [])] for item in report.items
    ]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _finding(found: Finding) -> str:
    place = found.file + (f":{found.line}" if found.line else "")
    where = " ".join(code(word) for word in (place, found.node) if word)
    rule = f"[{found.rule}]({found.help})" if found.help else found.rule
    words = [found.level, rule if found.rule != found.level else "", where]
    return f"- {' '.join(filter(None, words))}: {code(found.message)}"
