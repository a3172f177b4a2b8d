"""Findings and items in each format: what a reader of it may rely on, whatever a name holds."""

from __future__ import annotations

import json
import re
from pathlib import Path
from xml.etree import ElementTree as Xml

import pytest
from clirun import fit_for_a_terminal
from jsonschema import Draft202012Validator

from graphtool.errors import UsageError
from graphtool.report.files import FORMATS, wanted, write
from graphtool.report.finding import Finding, Item, Report
from graphtool.report.github import github
from graphtool.report.junit import junit
from graphtool.report.markdown import code, fenced, markdown
from graphtool.report.sarif import sarif, uri_of

EVIL = "a|b`c``<b>@user\n::error::x\x1b[31m\u202e%0A,file=/etc:[l](http://h)]]>\udc80\ufffe&"
FINDINGS = (
    Finding("resize-5d", "error", "5-D Resize is not supported", "m.onnx", "Resize_1", "https://h/5d", "Resize in 5-D"),
    Finding("resize-5d", "error", "5-D Resize is not supported", "m.onnx", "Resize_2", "https://h/5d", "Resize in 5-D"),
    Finding("odd-channels", "warning", EVIL, f"sub dir/{EVIL}.onnx", EVIL),
    Finding("hint", "note", "a hint", line=3, file="/abs/run.txt"),
)
ITEMS = (
    Item("resize_nearest", "passed", ("10", "equal")),
    Item(EVIL, "failed", ("1", EVIL), f"broke its promise {EVIL}", f"first\n```\n{EVIL}"),
    Item("rest", "skipped", ("0", ""), "nothing to do"),
)
WHOLE = Report("run", EVIL, False, f"went wrong: {EVIL}", ("pass", "matches", "verdict"), ITEMS, FINDINGS, {"a": 1.5})
GOOD = Report("check", "m.onnx", True, "nothing was found")

# the parts of the official schema (sarif-schema-2.1.0.json, errata 01) that are written: names, types, what is required
_TEXT = {"type": "string"}
_MESSAGE = {"type": "object", "properties": {"text": _TEXT}, "required": ["text"], "additionalProperties": False}
_LEVEL = {"enum": ["none", "note", "warning", "error"]}


def closed(required: list[str], **properties: object) -> dict[str, object]:
    return {"type": "object", "properties": properties, "required": required, "additionalProperties": False}


def many(items: object, **more: object) -> dict[str, object]:
    return {"type": "array", "items": items, **more}


RULE = closed(
    ["id"],
    id=_TEXT, shortDescription=_MESSAGE, fullDescription=_MESSAGE, help=_MESSAGE,
    helpUri={"type": "string", "pattern": "^https?://"}, defaultConfiguration=closed([], level=_LEVEL),
)  # fmt: skip
ARTIFACT = closed([], uri={"type": "string", "pattern": r"^[\w.~!$&'()*+;=:@/%-]+$"}, uriBaseId=_TEXT)
PHYSICAL = closed([], artifactLocation=ARTIFACT, region=closed([], startLine={"type": "integer", "minimum": 1}))
LOCATION = closed([], physicalLocation=PHYSICAL, logicalLocations=many(closed([], name=_TEXT, kind=_TEXT)))
RESULT = closed(
    ["message"],
    ruleId=_TEXT, ruleIndex={"type": "integer", "minimum": -1}, level=_LEVEL, message=_MESSAGE,
    locations=many(LOCATION), partialFingerprints={"type": "object", "additionalProperties": _TEXT},
)  # fmt: skip
DRIVER = closed(
    ["name"],
    name=_TEXT, version=_TEXT, rules=many(RULE, uniqueItems=True),
    semanticVersion={"type": "string", "pattern": r"^\d+\.\d+\.\d+$"},
)  # fmt: skip
RUN = closed(
    ["tool"],
    tool=closed(["driver"], driver=DRIVER), results=many(RESULT), automationDetails=closed([], id=_TEXT),
    invocations=many(
        closed(["executionSuccessful"], executionSuccessful={"type": "boolean"}, exitCode={"type": "integer"})
    ),
    columnKind={"enum": ["utf16CodeUnits", "unicodeCodePoints"]},
)  # fmt: skip
SARIF = closed(
    ["version", "runs"], version={"enum": ["2.1.0"]}, runs=many(RUN), **{"$schema": {"type": "string", "format": "uri"}}
)


@pytest.mark.parametrize("report", [WHOLE, GOOD])
def test_sarif_keeps_to_the_schema(report: Report) -> None:
    log = sarif(report)
    Draft202012Validator(SARIF).validate(log)
    run = log["runs"][0]
    for result in run["results"]:
        assert run["tool"]["driver"]["rules"][result["ruleIndex"]]["id"] == result["ruleId"]
        assert fit_for_a_terminal(result["message"]["text"]), "and no line ends in a message"


def test_sarif_tells_two_nodes_of_one_model_apart() -> None:
    results = sarif(WHOLE)["runs"][0]["results"]
    prints = [result["partialFingerprints"]["primaryLocationLineHash"] for result in results]
    assert len(set(prints)) == len(results) and all(re.fullmatch(r"[0-9a-f]{32}:\d", text) for text in prints)
    assert [r["locations"][0]["physicalLocation"]["region"]["startLine"] for r in results] == [1, 1, 1, 3]
    assert results[1]["locations"][0]["logicalLocations"][0]["name"] == "Resize_2"
    moved = Report("run", "m.onnx", False, "", findings=(Finding("resize-5d", "error", "other", "m.onnx", "Resize_1"),))
    assert sarif(moved)["runs"][0]["results"][0]["partialFingerprints"]["primaryLocationLineHash"] == prints[0]


def test_uris() -> None:
    assert uri_of("a b/ü%.onnx") == "a%20b/%C3%BC%25.onnx"
    assert uri_of("/a b/c.onnx") == "file:///a%20b/c.onnx"


def test_a_finding_is_one_workflow_command() -> None:
    lines = github(WHOLE).splitlines()
    assert lines[0] == "::error file=m.onnx,title=graphtool resize-5d%3A Resize_1::5-D Resize is not supported"
    assert lines[3] == "::notice file=/abs/run.txt,line=3,title=graphtool hint::a hint"
    assert len(lines) == len(FINDINGS), "no name ends a line or starts a command of its own"
    for line in lines:
        head, _, _ = line.removeprefix("::").partition("::")
        command, _, words = head.partition(" ")
        assert command in ("error", "warning", "notice")
        assert all(word.split("=")[0] in ("file", "line", "title") for word in words.split(","))
    assert github(GOOD) == "::notice title=graphtool check::nothing was found\n"


def test_markdown_shows_names_as_code_and_nothing_else() -> None:
    text = markdown(WHOLE)
    assert text.startswith("<!-- graphtool run -->\n### graphtool run ")
    outside = re.sub(r"(?ms)^(`{3,})\n.*?^\1$", "", text)
    rows = [line for line in outside.splitlines() if line.startswith("|")]
    assert len(rows) == 2 + len(ITEMS)
    assert all(len(re.findall(r"(?<!\\)\|", row)) == 5 for row in rows), "no name opens a cell"
    outside = re.sub(r"<code>[^<]*</code>", "", outside)
    outside = re.sub(r"(?s)(?<!`)(`+)(?!`).*?(?<!`)\1(?!`)", "", outside)
    assert "@user" not in outside and "<b>" not in outside and "http://h" not in outside
    assert "[resize-5d](https://h/5d)" in outside
    assert all(map(fit_for_a_terminal, text.split("\n")))


def test_code_spans_and_blocks_cannot_be_ended() -> None:
    assert (code("a"), code("a`b"), code("`"), code("``x"), code("")) == (
        "`a`",
        "``a`b``",
        "`` ` ``",
        "``` ``x ```",
        "",
    )
    assert fenced("a\n````").startswith("`````\n")


def test_junit_has_a_case_for_each_item() -> None:
    top = Xml.fromstring(junit(WHOLE))
    assert (top.get("tests"), top.get("failures"), top.get("skipped")) == ("3", "1", "1")
    cases = top.findall("testsuite/testcase")
    assert [case.get("name") for case in cases[::2]] == ["resize_nearest", "rest"]
    failure, skipped = cases[1].find("failure"), cases[2].find("skipped")
    assert failure is not None and failure.text is not None and failure.text.startswith("first\n```\n")
    assert skipped is not None and skipped.get("message") == "nothing to do"
    assert "time" not in junit(WHOLE)


def test_junit_of_findings_alone_has_a_case_for_each_rule() -> None:
    top = Xml.fromstring(junit(Report("check", "m.onnx", False, "3 findings", findings=FINDINGS)))
    cases = {case.get("name"): case for case in top.findall("testsuite/testcase")}
    assert list(cases) == ["resize-5d", "odd-channels", "hint"]
    failure = cases["resize-5d"].find("failure")
    assert failure is not None and failure.text is not None and "Resize_2" in failure.text
    assert cases["odd-channels"].find("failure") is None and cases["odd-channels"].find("system-out") is not None
    assert Xml.fromstring(junit(GOOD)).get("tests") == "1", "a suite without a case is an error to some readers"


@pytest.mark.parametrize("kind", FORMATS)
def test_each_format_is_written_and_may_be_replaced(kind: str, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    file = tmp_path / "report"
    assert not write(WHOLE, wanted([f"{kind}:{file}"]))
    first = file.read_bytes()
    if kind != "json":  # data of a real command carries the name
        write(WHOLE, wanted([f"{kind}:{file}"]))
        assert file.read_bytes() == first
    assert write(WHOLE, wanted([f"{kind}:-"]))
    assert capsys.readouterr().out.encode() == first
    assert kind not in ("json", "sarif") or json.loads(first)


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["json"], "expected FORMAT:FILE"),
        (["json:"], "expected FORMAT:FILE"),
        (["jsno:r"], "no format 'jsno'; did you mean 'json'?"),
        (["json:r", "sarif:r"], "two reports cannot go to one place"),
        (["json:-", "sarif:-"], "two reports cannot go to one place"),
        (["json:none/r"], "there is no folder 'none'"),
        (["json:."], "is not a regular file"),
        (["json:mine.txt"], "exists and is no report of graphtool"),
        (["json:m.onnx"], "is a file that this command reads or writes"),
    ],
)
def test_a_word_that_does_not_fit_is_refused_first(
    words: list[str], reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("mine.txt").write_text("my notes")
    Path("m.onnx").write_bytes(b"graphtool")
    with pytest.raises(UsageError, match=re.escape(reason)):
        wanted(words, taken=[Path("m.onnx"), Path("gone.onnx")])
