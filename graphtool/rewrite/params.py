"""Parameters of passes: their types, values from the command line, and ``$name`` in tables."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from graphtool.errors import PassError, did_you_mean, quoted, show

TYPES = ("string", "int", "float", "bool", "names", "ints")


class Param(NamedTuple):
    """One ``[params.NAME]``: a typed value with a default. ``names`` and ``ints`` are lists, written ``a+b``."""

    name: str
    type: str
    default: object
    help: str
    choices: tuple[str, ...] = ()

    def from_text(self, text: str) -> object:
        """Return the value written as ``text``; raises PassError with what is wanted."""
        try:
            match self.type:
                case "int":
                    return self.checked(int(text))
                case "float":
                    return self.checked(float(text))
                case "bool":
                    return self.checked({"true": True, "false": False, "1": True, "0": False}[text.lower()])
                case "names":
                    return self.checked([part for part in split(text, "+") if part])
                case "ints":
                    return self.checked([int(part) for part in text.split("+") if part])
        except (ValueError, KeyError):
            raise PassError(f"{quoted(text)} is not {_wanted(self)}") from None
        return self.checked(text)

    def checked(self, value: object) -> object:
        """Return ``value`` where it is of this parameter's type; raises PassError."""
        kinds: dict[str, type | tuple[type, ...]] = {"string": str, "int": int, "float": (int, float), "bool": bool}
        if self.type in ("names", "ints"):
            item = str if self.type == "names" else int
            if isinstance(value, str) and self.type == "names":
                value = [value]
            # an empty name is an absent input, not a value of the graph
            fits = isinstance(value, Sequence) and all(
                isinstance(v, item) and not isinstance(v, bool) and v != "" for v in value
            )
            value = list(value) if fits and isinstance(value, Sequence) else value
        else:
            fits = isinstance(value, kinds[self.type]) and (self.type == "bool" or not isinstance(value, bool))
            if fits and self.type == "float":
                number = as_float(value)
                fits, value = number is not None, value if number is None else number
        if not fits or (self.choices and value not in self.choices):
            raise PassError(f"{quoted(value)} is not {_wanted(self)}")
        return value


def as_float(value: object) -> float | None:
    """Return a number of a pass file as a float; None for what is none, or an integer beyond the largest."""
    if not isinstance(value, int | float):
        return None
    try:
        return float(value)
    except OverflowError:
        return None


def _wanted(param: Param) -> str:
    if param.choices:
        return "one of " + ", ".join(map(show, param.choices))
    return {
        "string": "a text",
        "int": "a whole number",
        "float": "a number",
        "bool": "true or false",
        "names": "a list of names (a+b)",
        "ints": "a list of whole numbers (1+2)",
    }[param.type]


def resolve(params: Sequence[Param], given: Mapping[str, object], owner: str) -> dict[str, object]:
    """Return every parameter's value; ``given`` values that are text are read by type. Raises PassError."""
    known = {param.name: param for param in params}
    for name in given:
        if name not in known:
            what = f"; it takes {', '.join(known)}" if known else "; it takes none"
            raise PassError(f"{show(owner)} has no parameter {quoted(name)}{did_you_mean(name, known) or what}")
    values = {}
    for param in params:
        try:
            value = given.get(param.name, param.default)
            values[param.name] = param.from_text(value) if isinstance(value, str) else param.checked(value)
        except PassError as error:
            raise PassError(f"{show(owner)}.{param.name}: {error}") from None
    return values


def filled(value: object, params: Mapping[str, object]) -> object:
    """Return ``value`` with ``"$name"`` replaced by that parameter."""
    if isinstance(value, str) and value.startswith("$"):
        return params[value[1:]]
    if isinstance(value, list):
        return [filled(item, params) for item in value]
    return value


def split(text: str, separator: str) -> list[str]:
    """Split at ``separator``, except where a backslash stands before it; backslashes are then removed."""
    parts, current, escaped = [], "", False
    for character in text:
        if escaped:
            current += character
            escaped = False
        elif character == "\\":
            escaped = True
        elif character == separator:
            parts.append(current)
            current = ""
        else:
            current += character
    return [*parts, current]


def split_raw(text: str, separator: str) -> list[str]:
    """Split at unescaped separators and keep the backslashes, for text that is split again."""
    parts, current, escaped = [], "", False
    for character in text:
        if character == separator and not escaped:
            parts.append(current)
            current = ""
            continue
        escaped = character == "\\" and not escaped
        current += character
    return [*parts, current]


def stripped(text: str) -> str:
    """Return raw ``text`` without the space around it; a space after a backslash belongs to the text."""
    return re.sub(r"^\s+|(?<!\\)\s+$", "", text)


def unescape(text: str) -> str:
    """Return ``text`` with the backslashes removed that :func:`escape` put there."""
    return re.sub(r"\\(.)", r"\1", text, flags=re.DOTALL)


def escape(text: str) -> str:
    """Return ``text`` so that :func:`split` gives it back whole at any separator of a pipeline."""
    return "".join("\\" + c if c in "\\,:+=" or c.isspace() else c for c in text)
