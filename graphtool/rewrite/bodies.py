"""The bodies of a pass as its file writes them: ``edit``, ``rewrite``, ``region``, ``boundary``; read and checked."""

from __future__ import annotations

import operator
import re
from collections.abc import Mapping, Sequence
from functools import partial
from typing import NamedTuple

from graphtool.errors import PassError, quoted
from graphtool.graph import Graph, dtype_code
from graphtool.rewrite.boundary import Boundary
from graphtool.rewrite.edit import PLACES, Edit
from graphtool.rewrite.expr import Expr
from graphtool.rewrite.late import LateRule
from graphtool.rewrite.params import Param
from graphtool.rewrite.pattern import FORWARD, Pattern, check_match, check_order, from_first_root, parse_pattern
from graphtool.rewrite.reader import Reader
from graphtool.rewrite.region import Region
from graphtool.rewrite.region_read import read_region
from graphtool.rewrite.result import Applied
from graphtool.rewrite.rule import Rule
from graphtool.rewrite.selection import Offer

_COMPARE = {">=": operator.ge, "<=": operator.le, ">": operator.gt, "<": operator.lt, "==": operator.eq}
_BOUND = re.compile(r"\s*(>=|<=|==|>|<)\s*(\d{1,4})\s*")


class Requires(NamedTuple):
    """The opsets of the default domain that a pass or a body is for, such as ``>=11,<18``."""

    opset: tuple[tuple[str, int], ...] = ()

    @classmethod
    def read(cls, reader: Reader, key: str) -> Requires:
        """Read ``requires = { opset = ">=11" }`` (or ``opset = ">=11"`` of a body)."""
        if key == "opset":
            text = reader.text("opset", default=None)
        else:
            inner = Reader(reader.file, reader.table_of(key), reader.key(key))
            inner.only("opset")
            text = inner.text("opset", default=None)
        bounds = []
        for part in text.split(",") if text is not None else []:
            found = _BOUND.fullmatch(part)
            if not found:
                raise reader.error(key, f"{quoted(part)} is not a bound such as '>=11' or '<18'")
            bounds.append((found[1], int(found[2])))
        return cls(tuple(bounds))

    def missing(self, graph: Graph) -> str | None:
        """Return why ``graph`` does not meet this, or None."""
        version = graph.opset() or 0
        if all(_COMPARE[sign](version, bound) for sign, bound in self.opset):
            return None
        return f"it needs opset {', '.join(f'{sign}{bound}' for sign, bound in self.opset)}; the model has {version}"


class Body(NamedTuple):
    """One table of a pass file, for the opsets it is for."""

    requires: Requires
    form: Edit | Rule | Region | Boundary | LateRule

    @property
    def run(self) -> Edit | Rule | Region | Boundary:
        """Return what it does."""
        return self.form.rule if isinstance(self.form, LateRule) else self.form

    @property
    def kind(self) -> type:
        """Return what kind of body it is."""
        return Rule if isinstance(self.form, LateRule) else type(self.form)

    @property
    def boundary(self) -> Boundary | None:
        """Return the boundary, where it is one."""
        return self.form if isinstance(self.form, Boundary) else None

    def apply(
        self,
        graph: Graph,
        params: Mapping[str, object],
        tell: bool = True,
        record: bool = True,
        offer: Offer | None = None,
    ) -> Applied:
        """Apply this body where the opset is right; elsewhere nothing matches. For the flags see :meth:`Rule.apply`."""
        if self.requires.missing(graph) or (isinstance(self.form, LateRule) and not self.form.may_match(graph)):
            return Applied()
        run = self.run
        if isinstance(run, Rule):
            return run.apply(graph, params, tell, record, offer)
        if isinstance(run, Region):
            return run.apply(graph, params, record, offer)
        return run.apply(graph, params, offer)


def read_bodies(reader: Reader, params: Sequence[Param], late: bool = False) -> tuple[Body, ...]:
    """Return the bodies of a pass in the order edit, rewrite, region, boundary; ``late``: rewrites as LateRule."""
    known = {param.name: param for param in params}
    names = frozenset(known)
    found: list[Body] = []
    for inner in reader.array("edit"):
        found.append(Body(Requires.read(inner, "opset"), _edit(inner, known)))
    for inner in reader.array("rewrite"):
        read = partial(read_rule, inner, inner.place, names, extra=("opset",))
        form = LateRule(inner.texts("match", single=True), read) if late else read()
        found.append(Body(Requires.read(inner, "opset"), form))
    for inner in reader.array("region"):
        found.append(Body(Requires.read(inner, "opset"), read_region(inner, known)))
    for inner in reader.array("boundary"):
        found.append(Body(Requires(), _boundary(inner, known)))
    return tuple(found)


def read_rule(reader: Reader, name: str, params: frozenset[str], extra: tuple[str, ...]) -> Rule:
    """Return the rewrite in a table; every name it reads is checked."""
    reader.only("match", "where", "default", "let", "replace", "shared", "plain", *extra)
    texts = reader.texts("match", single=True)
    patterns = []
    for number, text in enumerate(texts):
        key = "match" if isinstance(reader.table["match"], str) else f"match[{number}]"
        pattern = reader.guarded(key, lambda text=text: parse_pattern(text))  # type: ignore[misc]
        reader.guarded(key, lambda pattern=pattern: check_match(pattern))  # type: ignore[misc]
        patterns.append(from_first_root(pattern))
    if reader.flag("plain"):
        patterns = [Pattern(tuple(node._replace(plain=True) for node in pattern.nodes)) for pattern in patterns]
    if not patterns:
        raise reader.error("match", "must not be empty")
    values = {value for p in patterns for value in (*p.made, *p.free)}
    if values & params:
        raise reader.error("match", f"{quoted(sorted(values & params)[0])} is a parameter; name the value otherwise")
    # what every alternative binds
    inputs = frozenset.intersection(*(frozenset(p.free) for p in patterns))
    made = frozenset.intersection(*(frozenset(p.made) for p in patterns))
    variables = frozenset.intersection(*(frozenset(p.variables) for p in patterns))
    known = inputs | made | params | variables | {f"@{name}" for name in variables}
    defaults = []
    for key, expression in reader.table_of("default").items():
        if key not in inputs:
            raise reader.error(f"default.{key}", "the match has no such input")
        defaults.append((key, reader.expression(f"default.{key}", expression, known)))
    wheres = reader.expressions("where", known)
    lets: list[tuple[str, Expr]] = []
    for key, expression in reader.table_of("let").items():
        if key in values | variables | params:
            raise reader.error(f"let.{key}", "the match or a parameter has that name already")
        lets.append((key, reader.expression(f"let.{key}", expression, known)))
        known |= {key}
    new = params | {key for key, _ in lets}
    shared = _shared(reader, patterns)
    text = reader.text("replace") or ""
    replacement = reader.guarded("replace", lambda: parse_pattern(text))
    readable = inputs | new | shared
    reader.guarded("replace", lambda: _check_replacement(replacement, patterns, readable, variables | new))
    return Rule(name, tuple(patterns), wheres, tuple(defaults), tuple(lets), replacement, shared)


def _shared(reader: Reader, patterns: Sequence[Pattern]) -> frozenset[str]:
    """Return the values inside the match that may have other readers, and that the replacement may read."""
    names = reader.texts("shared", default=[], single=True)
    for place, value in enumerate(names):
        if any(value not in p.made or value in p.roots for p in patterns):
            raise reader.error(f"shared[{place}]", f"{quoted(value)} is not a value inside the match")
    return frozenset(names)


def _check_replacement(
    replacement: Pattern, patterns: Sequence[Pattern], readable: frozenset[str], attributes: frozenset[str]
) -> None:
    """Raise PassError unless the statements read only ``readable`` values and ``attributes``, and make every root."""
    roots = set(patterns[0].roots).intersection(replacement.made)
    if any(p.ends != patterns[0].ends or not roots.issubset(p.roots) for p in patterns):
        raise PassError("the alternatives of the match make different values")
    many = frozenset.intersection(*(p.many for p in patterns))
    missing = patterns[0].ends - roots
    if missing:
        raise PassError(f"it does not make {quoted(sorted(missing)[0])}, which the match makes")
    inner = {name for p in patterns for name in p.made} - roots
    forwarded = {node.outputs[0] for node in replacement.nodes if node.op_type == FORWARD}
    for node in replacement.nodes:
        if node.chain:
            raise PassError("a chain such as 'Op+(x)' belongs in a match")
        if len(node.op_types) > 1:
            ops = "|".join(node.op_types)
            raise PassError(f"{quoted(ops)} belongs in a match; '@y(x)' is the op of the node that made y")
        for name in node.inputs:
            if (name in node.many) != (name in many):
                raise PassError(f"'*{name}' is several values in the match and in the replacement, or in neither")
            if name in attributes - readable:
                raise PassError(f"{quoted(name)} is an attribute; make a constant of it with let")
            if name in inner - readable:
                raise PassError(f"{quoted(name)} is inside the match and vanishes with it, unless it is shared")
            if name and name not in readable and name not in replacement.made:
                raise PassError(f"nothing is named {quoted(name)}: not in match, let or params, nor made here")
        for _, variable in node.variables:
            if variable not in attributes:
                raise PassError(f"no attribute, let or parameter is named {quoted('@' + variable)}")
        for word, source in (("like = @", node.like), ("@", node.op_of)):
            if source is not None and not all(source in p.made for p in patterns):
                raise PassError(f"{word}{source}: no matched statement makes {quoted(source)}")
        if node.op_type == FORWARD and node.outputs[0] not in roots:
            raise PassError(f"{quoted(node.outputs[0])} = ... forwards a value that the match does not make")
        if node.op_type == FORWARD and node.inputs[0] in forwarded:
            raise PassError(f"{quoted(node.inputs[0])} is itself forwarded; name the value it stands for")
    again = set(replacement.made) & ({name for p in patterns for name in (*p.made, *p.free)} - roots)
    if again:
        raise PassError(f"{quoted(sorted(again)[0])} is a value of the match; name a new one otherwise")
    check_order(replacement)


def _edit(reader: Reader, params: Mapping[str, Param]) -> Edit:
    reader.only("select", "where", "set", "unset", "opset")
    select = Reader(reader.file, reader.table_of("select"), reader.key("select"))
    select.only("op", "domain", "name", "attrs")
    change = reader.table_of("set")
    unset = tuple(reader.texts("unset", default=[]))
    if not change and not unset:
        raise reader.error("set", "is missing: the edit changes nothing")
    both = sorted(set(unset) & change.keys())
    if both:
        raise reader.error("unset", f"{quoted(both[0])} is set too")
    attributes = select.table_of("attrs")
    glob = select.text("name", default="*") or "*"
    for place, table in (("select.attrs", attributes), ("set", change), ("select", {"name": glob})):
        for key, value in table.items():
            _check_value(reader, f"{place}.{key}", value, params)
    wheres = reader.texts("where", default=[])
    checked = tuple(_edit_where(reader, number, text, frozenset(params)) for number, text in enumerate(wheres))
    ops = tuple(select.texts("op", single=True))
    if not ops:
        raise select.error("op", "must not be empty")
    return Edit(
        reader.place, ops, select.text("domain", default="") or "", glob, tuple(attributes.items()), checked,
        tuple(change.items()), unset,
    )  # fmt: skip


def _edit_where(reader: Reader, number: int, text: str, params: frozenset[str]) -> Expr:
    # attributes are those of whatever node is looked at: any name may be one
    found = reader.guarded(f"where[{number}]", lambda: Expr.parse(text))
    attributes = {f"@{attribute}" for attribute in found.attributes}
    return reader.expression(f"where[{number}]", text, PLACES | params | attributes)


def _check_value(reader: Reader, key: str, value: object, params: Mapping[str, Param]) -> None:
    items = value if isinstance(value, list) else [value]
    if not all(isinstance(item, (str, int, float)) for item in items):
        raise reader.error(key, "must be a number, a string or a list of them")
    for item in items:
        if isinstance(item, str) and item.startswith("$"):
            if item[1:] not in params:
                raise reader.error(key, f"the pass has no parameter {quoted(item[1:])}")
            if isinstance(value, list) and params[item[1:]].type in ("names", "ints"):
                raise reader.error(key, f"{quoted(item)} is a list, which cannot be in a list")


def _boundary(reader: Reader, params: Mapping[str, Param]) -> Boundary:
    reader.only("at", "keep", "when", "cast")
    at = reader.choice("at", ("inputs", "outputs"))
    if ("keep" in reader.table) == ("cast" in reader.table):
        raise reader.error("keep", "a boundary has either keep or cast")
    if "keep" in reader.table:
        if at == "inputs":
            raise reader.error("keep", "inputs cannot be dropped: they are part of the interface")
        if "when" in reader.table:
            raise reader.error("when", "belongs to cast; keep names the outputs itself")
        return Boundary(reader.place, at, keep=_kept(reader, params))
    when = Reader(reader.file, reader.table_of("when"), reader.key("when"))
    when.only("dtype", "name")
    dtype, cast = when.text("dtype"), reader.text("cast")
    glob = when.text("name", default="*")
    for key, value in (("when.dtype", dtype), ("cast", cast), ("when.name", glob)):
        _check_value(reader, key, value, params)
        if key != "when.name" and isinstance(value, str) and not value.startswith("$"):
            try:
                dtype_code(value)
            except KeyError:
                raise reader.error(key, f"{quoted(value)} is not an element type") from None
    return Boundary(reader.place, at, dtype=dtype, glob=glob, cast=cast)


def _kept(reader: Reader, params: Mapping[str, Param]) -> str | list[str]:
    """Return the list of names to keep, or the parameter that gives it."""
    keep = reader.table["keep"]
    _check_value(reader, "keep", keep, params)
    if isinstance(keep, str) and keep.startswith("$"):
        if params[keep[1:]].type != "names":
            raise reader.error("keep", f"{quoted(keep)} must be a parameter of type names")
        return keep
    names = reader.texts("keep", single=True)
    if any(name.startswith("$") and params[name[1:]].type != "string" for name in names):
        raise reader.error("keep", "in a list, a parameter must be of type string")
    return names
