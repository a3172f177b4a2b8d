"""Read a log of ATC: codes and known messages, each with its meaning, cause and what helps; and confirmed patches."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from graphtool.atc.tables import fields, table

_CODE = re.compile(r"(?<![A-Za-z0-9_])([EWI][1-9A-Z]\d{4})(?![A-Za-z0-9_])")
# the real text, and the guide's two spellings of it (the ICNet guide, Ascend ModelZoo, 2022-03)
_AVGPOOL = re.compile(
    r"not support ksize\[2\]\s*(\d+)\D+ksize\[3\]\D*?(\d+)\s*>\s*255 or strides\[2\]\s*(\d+)\s*>\s*63,?\s*"
    r"(?:or )?strides\[3\]\s*(\d+)\s*>\s*63"
)
_SHAPE = re.compile(r"ntc dst shape:\s*\[([\d,\s]+)\]")
_OPS = (
    re.compile(r"[Oo]p\s*\[([^\],]+),\s*optype\s*\[([^\]]+)\]"),
    re.compile(r"[Oo]p\s*\[([^\]]+)\](?:.*?[Oo]p\s?type\s*\[([^\]]+)\])?"),
    re.compile(r"[Nn]ode\s*\[([^\]]+)\]()"),
    re.compile(r"[Oo]pname\s*\[([^\]]+)\]()"),
    re.compile(r"[Oo]pname ([^\s\[]+)() specified"),
    re.compile(r"[Oo]p ([^\s\[]+) (?:with|of) optype ([^\s,;]+)"),
    re.compile(r"[Oo]ptype\s*\[([^\]]+)\]"),
    re.compile(r"op_name[:=]\s*([^\s,;\]]+)()"),
)
_DONE = re.compile(r"ATC run success")
_FAILED = re.compile(r"ATC run failed")


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of a code; ``node`` says that it is about an operator."""

    code: str
    title: str
    cause: str
    fix: str
    passes: tuple[str, ...]
    node: bool
    source: str


@dataclass(slots=True)
class Seen:
    """One message of a log: its code, the first line it stands on, how often it is there, and what it names."""

    code: str
    line: int
    text: str
    count: int = 1
    known: Known | None = None
    op: str = ""
    op_type: str = ""
    numbers: tuple[int, ...] = ()

    @property
    def passes(self) -> tuple[str, ...]:
        """The passes that remove the cause: those for the operator's type before those for the code."""
        own = table("names")["passes"].get(self.op_type.rpartition("::")[2], ())
        return tuple(dict.fromkeys((*own, *(self.known.passes if self.known else ()))))


@dataclass(slots=True)
class Log:
    """What a log says: messages in order of their first line, shapes of the patched TransData, and how ATC ended."""

    seen: list[Seen] = field(default_factory=list)
    shapes: dict[tuple[int, ...], int] = field(default_factory=dict)
    ended: str = ""


@cache
def codes() -> Mapping[str, Known]:
    """Return the table of codes."""
    names = ("title", "cause", "fix", "source")
    known: dict[str, type] = {**dict.fromkeys(names, str), "passes": list, "node": bool}
    found = {}
    for code, entry in table("errors").items():
        one: dict[str, Any] = fields("errors", code, entry, known, ("title", "fix", "source"))
        passes = tuple(one.get("passes", ()))
        found[code] = Known(
            code, one["title"], one.get("cause", ""), one["fix"], passes, one.get("node", False), one["source"]
        )
    return found


def read(text: str) -> Log:
    """Read a log; the same message on several lines is one, with its count."""
    log = Log()
    found: dict[tuple[str, str], Seen] = {}
    shapes: Counter[tuple[int, ...]] = Counter()
    for number, raw in enumerate(text.replace("\r\n", "\n").replace("\r", "\n").split("\n"), 1):
        row = raw[:4000]
        if match := _SHAPE.search(row):
            shapes[tuple(int(word) for word in match[1].split(",") if word.strip())] += 1
        if _DONE.search(row):
            log.ended = "success"
        elif _FAILED.search(row):
            log.ended = "failed"
        for one in _messages(row, number):
            key = (one.code, one.op or one.text)
            if key in found:
                found[key].count += 1
            else:
                found[key] = one
    log.seen = list(found.values())
    log.shapes = dict(shapes)
    return log


def _messages(row: str, number: int) -> Iterator[Seen]:
    if match := _AVGPOOL.search(row):
        yield Seen("AVGPOOL", number, match[0], known=codes()["AVGPOOL"], numbers=tuple(map(int, match.groups())))
    starts = list(_CODE.finditer(row))
    for place, match in enumerate(starts):
        end = starts[place + 1].start() if place + 1 < len(starts) else len(row)
        message = row[match.end() : end].strip(" :\t")
        name, kind = _op(message)
        yield Seen(match[1], number, message[:400], known=codes().get(match[1]), op=name, op_type=kind)


def _op(message: str) -> tuple[str, str]:
    """Return name and type of the operator that a message is about; empty where it names none."""
    for form in _OPS:
        match = form.search(message)
        if match and form.groups == 2:
            return match[1].strip(), (match[2] or "").strip()
        if match:
            return "", match[1].strip()
    return "", ""


def confirmed(log: Log, wanted: Sequence[Sequence[int]]) -> list[tuple[tuple[int, ...], int]]:
    """Return, for each shape that a five_2_four patch is for, how often the log says that it took the patched way."""
    return [(tuple(shape), log.shapes.get(tuple(shape), 0)) for shape in wanted]
