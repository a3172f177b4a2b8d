"""A report as JUnit XML, which every CI server reads. Floor 7.

No attribute ``time``: the same run is the same bytes.
"""

from __future__ import annotations

from collections.abc import Iterable
from xml.etree import ElementTree as Xml

from graphtool.errors import show
from graphtool.report.finding import Item, Report

_WHOLE = 10_000  # characters of a message


def junit(report: Report) -> str:
    """Return one suite with a test case for each item; where there are none, for each rule that found something."""
    items = report.items or tuple(_of_rules(report)) or (Item(report.subject or report.command, "passed"),)
    counts = {
        "tests": len(items),
        "failures": sum(item.status == "failed" for item in items),
        "errors": 0,
        "skipped": sum(item.status == "skipped" for item in items),
    }
    numbers = {key: str(count) for key, count in counts.items()}
    top = Xml.Element("testsuites", {"name": "graphtool", **numbers})
    name = f"graphtool {report.command} {report.subject}".strip()
    suite = Xml.SubElement(top, "testsuite", {"name": show(name, _WHOLE), **numbers})
    for item in items:
        case = Xml.SubElement(suite, "testcase", {"classname": f"graphtool.{report.command}", "name": show(item.name)})
        message = show(item.message, _WHOLE)
        if item.status == "failed":
            Xml.SubElement(case, "failure", {"message": message, "type": report.command}).text = _lines(item) or message
        elif item.status == "skipped":
            Xml.SubElement(case, "skipped", {"message": message})
        elif text := _lines(item):
            Xml.SubElement(case, "system-out").text = text
    Xml.indent(top)
    return '<?xml version="1.0" encoding="utf-8"?>\n' + Xml.tostring(top, encoding="unicode") + "\n"


def _of_rules(report: Report) -> Iterable[Item]:
    for rule in dict.fromkeys(found.rule for found in report.findings):
        own = [found for found in report.findings if found.rule == rule]
        failed = [found for found in own if found.level == "error"]
        text = "\n".join(" ".join(filter(None, (f"{f.level}:", f.file, f.node, f.message))) for f in own)
        yield Item(rule, "failed" if failed else "passed", (), (failed or own)[0].message, text)


def _lines(item: Item) -> str:
    return "\n".join(show(line, _WHOLE) for line in item.detail.splitlines())
