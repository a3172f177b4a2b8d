"""Reading a checked TOML table: each value by type, each error with file and key."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

from graphtool.errors import PassError, did_you_mean, quoted, show
from graphtool.graph.text import parse_case
from graphtool.rewrite.expr import Expr

_T = TypeVar("_T")
_MISSING = object()


class Reader:
    """A table of a pass file at a place such as ``rewrite[0]``."""

    def __init__(self, file: str, table: dict[str, object], place: str = "") -> None:
        self.file = file
        self.table = table
        self.place = place

    def key(self, key: str) -> str:
        """Return the full name of a key here."""
        return show(".".join(part for part in (self.place, key) if part))

    def error(self, key: str, reason: str) -> PassError:
        """Return the error for a key here."""
        return PassError(f"{self.file}: {self.key(key)}: {reason}")

    def guarded(self, key: str, make: Callable[[], _T]) -> _T:
        """Return ``make()``; its PassError gets file and key."""
        try:
            return make()
        except PassError as error:
            raise self.error(key, str(error)) from None

    def only(self, *known: str) -> None:
        """Raise for a key that is not known: a misspelt one must not be ignored."""
        for key in self.table:
            if key not in known:
                hint = did_you_mean(key, known) or f"; known here: {', '.join(known)}"
                raise self.error(key, f"unknown key{hint}")

    def _get(self, key: str, kind: type, what: str, default: object) -> object:
        value = self.table.get(key, default)
        if value is _MISSING:
            raise self.error(key, "is missing")
        if value is default and default is not _MISSING:
            return value
        if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
            raise self.error(key, f"must be {what}")
        return value

    def text(self, key: str, default: str | object | None = _MISSING) -> str | None:
        """Return a string."""
        value = self._get(key, str, "a string", default)
        assert value is None or isinstance(value, str)
        return value

    def number(self, key: str, default: int) -> int:
        """Return a whole number from 1 on."""
        value = self._get(key, int, "a whole number", default)
        assert isinstance(value, int)
        if not 1 <= value <= 10_000:
            raise self.error(key, "must be between 1 and 10000")
        return value

    def flag(self, key: str) -> bool:
        """Return true or false; false where it is not there."""
        return bool(self._get(key, bool, "true or false", False))

    def choice(self, key: str, choices: Sequence[str]) -> str:
        """Return one of the allowed words."""
        value = self.text(key) or ""
        if value not in choices:
            raise self.error(key, f"{quoted(value)} is not one of {', '.join(choices)}")
        return value

    def texts(
        self, key: str, default: list[str] | None = None, choices: Sequence[str] = (), single: bool = False
    ) -> list[str]:
        """Return a list of strings; with ``single`` one string may stand for a list of one."""
        value = self.table.get(key, default)
        if single and isinstance(value, str):
            value = [value]
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            raise self.error(key, "is missing" if value is None else "must be a list of strings")
        for item in value:
            if choices and item not in choices:
                raise self.error(key, f"{quoted(item)} is not one of {', '.join(choices)}")
        return value

    def array(self, key: str) -> list[Reader]:
        """Return the tables of ``[[key]]`` (or of one ``[key]``)."""
        value = self.table.get(key, [])
        one = isinstance(value, dict)
        tables = [value] if one else value
        if not isinstance(tables, list) or not all(isinstance(item, dict) for item in tables):
            place = re.sub(r"\[\d+\]", "", self.key(key))
            raise self.error(key, f"must be tables, [[{place}]]")
        place = self.key(key)
        return [Reader(self.file, t, place if one else f"{place}[{n}]") for n, t in enumerate(tables)]

    def tables(self, key: str) -> Iterator[tuple[str, Reader]]:
        """Yield the named tables of ``[key.NAME]``."""
        value = self.table.get(key, {})
        if not isinstance(value, dict):
            raise self.error(key, f"must be tables, [{key}.NAME]")
        for name, table in value.items():
            if not isinstance(table, dict):
                raise self.error(f"{key}.{name}", "must be a table")
            yield name, Reader(self.file, table, self.key(f"{key}.{name}"))

    def table_of(self, key: str) -> dict[str, object]:
        """Return an inline table; empty where it is not there."""
        value = self.table.get(key, {})
        if not isinstance(value, dict):
            raise self.error(key, "must be a table")
        return value

    def expressions(self, key: str, known: frozenset[str]) -> tuple[Expr, ...]:
        """Return a list of expressions that read no name but ``known`` ones."""
        texts = self.texts(key, default=[])
        return tuple(self.expression(f"{key}[{n}]", text, known) for n, text in enumerate(texts))

    def expression(self, key: str, text: object, known: frozenset[str]) -> Expr:
        """Return one expression, its names checked."""
        if not isinstance(text, str):
            raise self.error(key, "must be an expression in quotes")
        found = self.guarded(key, lambda: Expr.parse(text))
        for name in sorted(found.names | {f"@{attribute}" for attribute in found.attributes}):
            if name not in known:
                raise self.error(key, f"nothing is named {quoted(name)} here{did_you_mean(name, known)}")
        return found

    def onnx_graph(self, key: str) -> None:
        """Raise unless the string at ``key`` is a graph in ONNX text."""
        text = self.text(key) or ""
        self.guarded(key, lambda: parse_case(text))
