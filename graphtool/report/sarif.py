"""Findings as SARIF 2.1.0 (OASIS, errata 01), with what GitHub code scanning asks for beyond it. Floor 7.

A model has no lines. GitHub shows no result without one and takes two results of a rule at one place for the same, so a
finding without a line is at line 1, its node a logical location, and its fingerprint made of rule, file and node.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from pathlib import PurePath
from typing import Any
from urllib.parse import quote

from graphtool import __version__
from graphtool.errors import show
from graphtool.report.finding import Finding, Report

SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
_WHOLE = 10_000  # characters of a message
_ROOT = "%SRCROOT%"


def sarif(report: Report) -> dict[str, Any]:
    """Return the log: one run, a rule for each id that was found, a result for each finding."""
    rules = list(dict.fromkeys(found.rule for found in report.findings))
    first = {rule: next(f for f in report.findings if f.rule == rule) for rule in rules}
    seen: Counter[str] = Counter()
    results = []
    for found in report.findings:
        digest = _digest(found)
        results.append(_result(found, rules.index(found.rule), f"{digest}:{seen[digest] + 1}"))
        seen[digest] += 1
    driver: dict[str, Any] = {"name": "graphtool", "version": __version__, "semanticVersion": __version__}
    driver["rules"] = [_rule(first[rule]) for rule in rules]
    run = {
        "tool": {"driver": driver},
        "automationDetails": {"id": f"graphtool/{report.command}/"},
        "invocations": [{"executionSuccessful": True, "exitCode": 0 if report.ok else 1}],
        "columnKind": "unicodeCodePoints",
        "results": results,
    }
    return {"$schema": SCHEMA, "version": "2.1.0", "runs": [run]}


def uri_of(file: str) -> str:
    """Return a path as a URI reference: ``file:///...`` for an absolute one, else relative; percent-encoded."""
    path = PurePath(file)
    text = quote(path.as_posix().lstrip("/"), "/:" if path.is_absolute() else "/", errors="surrogateescape")
    return f"file:///{text}" if path.is_absolute() else text


def _rule(found: Finding) -> dict[str, Any]:
    text = show(found.summary or found.message, _WHOLE)
    rule: dict[str, Any] = {
        "id": found.rule,
        "shortDescription": {"text": text},
        "fullDescription": {"text": text},
        "help": {"text": f"{text} {found.help}".strip()},
        "defaultConfiguration": {"level": found.level},
    }
    return rule | ({"helpUri": found.help} if found.help else {})


def _result(found: Finding, index: int, fingerprint: str) -> dict[str, Any]:
    where: dict[str, Any] = {}
    if found.file:
        place: dict[str, Any] = {"uri": uri_of(found.file)}
        if not PurePath(found.file).is_absolute():
            place["uriBaseId"] = _ROOT
        where["physicalLocation"] = {"artifactLocation": place, "region": {"startLine": max(found.line, 1)}}
    if found.node:
        where["logicalLocations"] = [{"name": show(found.node), "kind": "node"}]
    return {
        "ruleId": found.rule,
        "ruleIndex": index,
        "level": found.level,
        "message": {"text": show(found.message, _WHOLE)},
        "locations": [where] if where else [],
        "partialFingerprints": {"primaryLocationLineHash": fingerprint},
    }


def _digest(found: Finding) -> str:
    """Return what a finding keeps when its figures move."""
    parts = "\0".join((found.rule, found.file, found.node)).encode("utf-8", "surrogateescape")
    return hashlib.sha256(parts).hexdigest()[:32]
