"""CANN releases and operator tables: which opsets and operators ATC reads, as of when and by which source."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, total_ordering

from graphtool.atc.tables import fault, fields, table
from graphtool.errors import ProfileError, did_you_mean, quoted

_FORM = re.compile(r"(\d{1,3})\.(\d{1,3})\.(RC)?(\d{1,4})(?:\.(\d{1,3}))?(?:\.?(alpha|beta)(\d{1,4}))?", re.ASCII)
_STAGE = {"alpha": 0, "beta": 1, None: 2}


@total_ordering
@dataclass(frozen=True, slots=True, eq=False)
class Cann:
    """A CANN version such as ``5.0.2.alpha003`` or ``6.0.RC1``; an RC comes before the numbered release."""

    text: str
    key: tuple[int, ...]

    @classmethod
    def parse(cls, text: str) -> Cann:
        """Read a version; raises ProfileError for anything else."""
        found = _FORM.fullmatch(text.strip().removeprefix("CANN").strip())
        if not found:
            raise ProfileError(f"{quoted(text)} is not a CANN version such as 5.0.2.alpha003, 6.0.RC1 or 7.0.0")
        major, minor, candidate, third, patch, stage, number = found.groups()
        key = (int(major), int(minor), 0 if candidate else 1, int(third), int(patch or 0))
        return cls(found[0], (*key, _STAGE[stage], int(number or 0)))

    def __lt__(self, other: Cann) -> bool:
        return self.key < other.key

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Cann) and self.key == other.key

    def __hash__(self) -> int:
        return hash(self.key)

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True, slots=True)
class Release:
    """What is known of a release: ``opsets`` as documented, ``plugins`` as registered; None where nothing is known."""

    version: Cann
    date: str
    opsets: tuple[int, int] | None
    plugins: tuple[int, int] | None
    source: str


@dataclass(frozen=True, slots=True)
class Operators:
    """One table of operators; ``opsets`` per operator, empty for a table of kernels."""

    name: str
    kind: str
    date: str
    source: str
    opsets: Mapping[str, frozenset[int]]

    def __contains__(self, op: str) -> bool:
        return op in self.opsets


@cache
def releases() -> tuple[Release, ...]:
    """Return the known releases, oldest first."""
    known = {"name": str, "date": str, "opsets": list, "plugins": list, "source": str}
    found = []
    for place, entry in enumerate(table("cann").get("release", ())):
        checked = fields("cann", f"release[{place}]", entry, known, ("name", "date", "source"))
        ranges = {word: _range(checked[word], place, word) for word in ("opsets", "plugins") if word in checked}
        found.append(
            Release(
                Cann.parse(checked["name"]),
                checked["date"],
                ranges.get("opsets"),
                ranges.get("plugins"),
                checked["source"],
            )
        )
    if [one.version for one in found] != sorted(one.version for one in found):
        raise fault("cann", "release", "not in the order of versions")
    return tuple(found)


def _range(value: list[int], place: int, word: str) -> tuple[int, int]:
    if len(value) != 2 or not all(type(one) is int for one in value) or value[0] > value[1]:
        raise fault("cann", f"release[{place}].{word}", f"{value} is not [LOWEST, HIGHEST]")
    return value[0], value[1]


def release(version: Cann) -> Release | None:
    """Return the newest known release at or before a version; None where all are later."""
    return next((one for one in reversed(releases()) if not version < one.version), None)


@cache
def operator_tables() -> Mapping[str, Operators]:
    """Return the operator tables by name."""
    known = {"kind": str, "date": str, "source": str, "operators": list}
    found = {}
    for name, entry in table("operators").items():
        checked = fields("operators", name, entry, known, ("kind", "date", "source", "operators"))
        if checked["kind"] not in ("onnx", "engine"):
            raise fault("operators", f"{name}.kind", f"{quoted(checked['kind'])} is neither onnx nor engine")
        opsets: dict[str, frozenset[int]] = {}
        for place, group in enumerate(checked["operators"]):
            row = fields("operators", f"{name}.operators[{place}]", group, {"opsets": list, "names": str}, ("names",))
            opsets.update(dict.fromkeys(row["names"].split(), frozenset(row.get("opsets", ()))))
        found[name] = Operators(name, checked["kind"], checked["date"], checked["source"], opsets)
    return found


def operators(name: str) -> Operators:
    """Return one operator table; raises ProfileError for an unknown one."""
    known = operator_tables()
    if name not in known:
        raise ProfileError(f"unknown operator table {quoted(name)}{did_you_mean(name, known)}  ({', '.join(known)})")
    return known[name]


def plugins(version: Cann) -> Operators | None:
    """Return the table of ONNX operators that bounds a version from above: the first taken at or after its release.

    What such a table does not have, the version does not have either. None where no table is that late.
    """
    own = release(version)
    found = [one for one in operator_tables().values() if one.kind == "onnx" and own and own.date <= one.date[:7]]
    return min(found, key=lambda one: one.date, default=None)
