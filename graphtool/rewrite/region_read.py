"""Reading a ``[[region]]`` table; every error has its file and key."""

from __future__ import annotations

import re
from collections.abc import Mapping

from graphtool.errors import PassError, quoted
from graphtool.graph import dtype_code
from graphtool.rewrite.edit import MAX_PLACES, PLACES
from graphtool.rewrite.expr import Expr
from graphtool.rewrite.params import Param
from graphtool.rewrite.pattern import FORWARD, Pattern, check_order, parse_pattern
from graphtool.rewrite.reader import Reader
from graphtool.rewrite.region import COUNTS, Region
from graphtool.rewrite.region_build import OUTSIDE
from graphtool.rewrite.region_find import ANY, Member

_CONSTANT = "c"  # what an expression calls the constant that it converts
_PLACE = re.compile(r"input(\d)")


def read_region(reader: Reader, params: Mapping[str, Param]) -> Region:
    """Return the region in a table; every name it reads is checked."""
    reader.only("values", "dtype", "constants", "enter", "leave", "let", "where", "member", "opset")
    known = frozenset(params)
    for name in (OUTSIDE, _CONSTANT, *COUNTS):
        if name in known:
            raise reader.error("", f"{quoted(name)} has another meaning in a region; name the parameter otherwise")
    values = reader.expression("values", reader.text("values"), known | {OUTSIDE})
    constants = None
    if "constants" in reader.table:
        constants = reader.expression("constants", reader.text("constants"), known | {_CONSTANT})
    readable = known | {OUTSIDE}
    lets: list[tuple[str, Expr]] = []
    for key, text in reader.table_of("let").items():
        if key in readable:
            raise reader.error(f"let.{key}", "the value or a parameter has that name already")
        lets.append((key, reader.expression(f"let.{key}", text, readable)))
        readable |= {key}
    named = readable - {OUTSIDE}
    enter = _statements(reader, "enter", OUTSIDE, named)
    leave = _statements(reader, "leave", None, named)
    inside = reader.guarded("enter", lambda: _inside(enter, named))
    reader.guarded("leave", lambda: _check_leave(leave, inside, named))
    members = tuple(_member(inner, params) for inner in reader.array("member"))
    if not members:
        raise reader.error("member", "is missing: no node can belong to the region")
    return Region(
        reader.place, members, values, _dtype(reader), constants, inside, enter, leave, tuple(lets),
        reader.expressions("where", known | frozenset(COUNTS)),
    )  # fmt: skip


def _dtype(reader: Reader) -> int | None:
    text = reader.text("dtype", default=None)
    if text is None:
        return None
    try:
        return dtype_code(text)
    except KeyError:
        raise reader.error("dtype", f"{quoted(text)} is not an element type") from None


def _statements(reader: Reader, key: str, source: str | None, named: frozenset[str]) -> Pattern:
    """Return the statements of ``enter`` or ``leave``, whose attributes are literals, lets or parameters."""
    text = reader.text(key) or ""
    pattern = reader.guarded(key, lambda: parse_pattern(text))

    def check() -> None:
        for node in pattern.nodes:
            if node.op_type == FORWARD or node.like or node.many or node.chain:
                raise PassError("only plain statements convert a value: no 'y = x', 'like', '*xs' or 'Op+'")
            for _, variable in node.variables:
                if variable not in named:
                    raise PassError(f"no let or parameter is named {quoted('@' + variable)}")
        if source is not None and source not in pattern.free:
            raise PassError(f"it does not read {quoted(source)}, the value outside")
        again = set(pattern.made) & named
        if again:
            raise PassError(f"{quoted(min(again))} is a let or a parameter; name what is made otherwise")
        check_order(pattern)

    reader.guarded(key, check)
    return pattern


def _inside(enter: Pattern, named: frozenset[str]) -> str:
    """Return what ``enter`` calls the value inside: the one that no statement reads."""
    _check_read(enter, named | {OUTSIDE})
    if len(enter.roots) != 1 or OUTSIDE in enter.made:
        raise PassError(f"it must make one value out of {quoted(OUTSIDE)}, the one inside")
    return enter.roots[0]


def _check_leave(leave: Pattern, inside: str, named: frozenset[str]) -> None:
    _check_read(leave, named | {inside})
    if inside not in leave.free or leave.roots != (OUTSIDE,):
        raise PassError(f"it must make {quoted(OUTSIDE)} out of {quoted(inside)}, the value that enter makes")


def _check_read(pattern: Pattern, readable: frozenset[str]) -> None:
    unknown = [name for name in pattern.free if name not in readable]
    if unknown:
        raise PassError(f"nothing is named {quoted(unknown[0])} here")


def _member(reader: Reader, params: Mapping[str, Param]) -> Member:
    reader.only("op", "domain", "name", "attrs", "where", "set", "constants", "core")
    ops = tuple(reader.texts("op", single=True))
    if not ops:
        raise reader.error("op", "must not be empty")
    glob = reader.text("name", default=ANY) or ANY
    attributes = reader.table_of("attrs")
    for key, value in (("name", glob), *((f"attrs.{key}", value) for key, value in attributes.items())):
        _check_literal(reader, key, value, params)
    known = PLACES | frozenset(params)
    wheres = tuple(
        _expression(reader, f"where[{number}]", text, known)
        for number, text in enumerate(reader.texts("where", default=[]))
    )
    sets = tuple((key, _expression(reader, f"set.{key}", text, known)) for key, text in reader.table_of("set").items())
    constants = []
    for key, text in reader.table_of("constants").items():
        place = _PLACE.fullmatch(key)
        if place is None or int(place[1]) >= MAX_PLACES:
            raise reader.error(f"constants.{key}", f"is no input; write input0 to input{MAX_PLACES - 1}")
        constants.append((int(place[1]), _expression(reader, f"constants.{key}", text, known | {_CONSTANT})))
    return Member(
        reader.place, ops, reader.text("domain", default="") or "", glob, tuple(attributes.items()), wheres, sets,
        tuple(constants), reader.flag("core"),
    )  # fmt: skip


def _expression(reader: Reader, key: str, text: object, known: frozenset[str]) -> Expr:
    # attributes are those of whatever node is looked at: any name may be one
    found = reader.guarded(key, lambda: Expr.parse(text) if isinstance(text, str) else Expr.parse(""))
    return reader.expression(key, text, known | {f"@{attribute}" for attribute in found.attributes})


def _check_literal(reader: Reader, key: str, value: object, params: Mapping[str, Param]) -> None:
    items = value if isinstance(value, list) else [value]
    if not all(isinstance(item, (str, int, float)) for item in items):
        raise reader.error(key, "must be a number, a string or a list of them")
    for item in items:
        if isinstance(item, str) and item.startswith("$") and item[1:] not in params:
            raise reader.error(key, f"the pass has no parameter {quoted(item[1:])}")
