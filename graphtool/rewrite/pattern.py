"""Patterns: ONNX text read as the shape to look for, or as the shape to build."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

from onnx import AttributeProto, NodeProto, helper

from graphtool.errors import PassError, quoted
from graphtool.graph.text import parse_nodes

FORWARD = "Forward__"  # the op that stands for `y = x`, which ONNX text cannot say
MANY = "Many__"  # before a name: `*xs`, any number of inputs, which it cannot say either
CHAIN = "Chain__"  # before an op type: `Op+(x)`, a chain of one or more
EITHER, OR = "Either__", "__or__"  # `A|B(x)`, one of several op types
OP_OF = "OpOf__"  # before a name: `@c(x)`, the op type of the node that made c
LIKE = "like"
MAX_MANY = 2  # inputs such as '*xs' of one statement: where they part is tried at every place
MAX_STATEMENTS = 64  # of a match: the matcher recurses by statement
# a call, and not a forward, goes on with attributes, inputs, a domain's dot or an overload's colon
_STATEMENT = re.compile(r"(?<![\w.@])([A-Za-z_]\w*)(\s*=\s*)([A-Za-z_]\w*)\b(?!\s*[<(.:])")
_EITHER = re.compile(r"(?<![\w@.])[A-Za-z_]\w*(?:\s*\|\s*[A-Za-z_]\w*)+(?=\s*[<(+])")
_OP_OF = re.compile(r"(?<==)\s*@([A-Za-z_]\w*)(?=\s*[<(])")
_MANY = re.compile(r"\*\s*(?=[A-Za-z_])")
_CHAIN = re.compile(r"(?<![\w@])([A-Za-z_]\w*)\+(?=\s*[<(])")
_ANGLE = re.compile(r"([<>])")
_QUOTED = re.compile(r'"(?:[^"\\]|\\.)*"')


class PatternNode(NamedTuple):
    """One statement: literal attributes by name, and attributes bound to (or read from) a variable.

    A match may name several ``op_types``; a replacement may take that of the node that made ``op_of``. ``many`` are
    the inputs that stand for any number of values; a ``chain`` stands for one or more nodes, each of which reads the
    one before it in its first input. Attributes that a ``plain`` one does not mention have their defaults.
    """

    op_type: str
    domain: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    literals: tuple[tuple[str, object], ...]
    variables: tuple[tuple[str, str], ...]
    like: str | None
    many: frozenset[str] = frozenset()
    chain: bool = False
    op_types: tuple[str, ...] = ()
    op_of: str | None = None
    plain: bool = False

    def text(self) -> str:
        """Return what it is a statement of, as it is written: ``Relu|Clip``, ``com.microsoft.Gelu``."""
        return f"{self.domain}." * bool(self.domain) + "|".join(self.op_types)


@dataclass(frozen=True)
class Pattern:
    """Statements in order. ``free`` values come from outside; ``roots`` are read by no statement."""

    nodes: tuple[PatternNode, ...]

    @cached_property
    def made(self) -> tuple[str, ...]:
        """Return the values that statements make, in order."""
        return tuple(name for node in self.nodes for name in node.outputs if name)

    @cached_property
    def free(self) -> tuple[str, ...]:
        """Return the values that come from outside, in order of first use."""
        made = set(self.made)
        return tuple(dict.fromkeys(name for node in self.nodes for name in node.inputs if name and name not in made))

    @cached_property
    def roots(self) -> tuple[str, ...]:
        """Return the values that no statement reads."""
        read = {name for node in self.nodes for name in node.inputs}
        return tuple(name for name in self.made if name not in read)

    @cached_property
    def ends(self) -> frozenset[str]:
        """Return the values of the statements of which no output is read: what a replacement has to make."""
        unread = {*self.roots, ""}
        return frozenset(n for node in self.nodes if unread.issuperset(node.outputs) for n in node.outputs if n)

    @cached_property
    def many(self) -> frozenset[str]:
        """Return the names that stand for any number of values."""
        return frozenset(name for node in self.nodes for name in node.many)

    @cached_property
    def variables(self) -> tuple[str, ...]:
        """Return the attribute variables."""
        return tuple(dict.fromkeys(variable for node in self.nodes for _, variable in node.variables))


def parse_pattern(text: str) -> Pattern:
    """Return the statements in ``text``; raises PassError with the reason."""
    nodes = tuple(_pattern_node(node) for node in parse_nodes(_plain(text)))
    if not nodes:
        raise PassError("no statement")
    for node in nodes:
        if any(name.startswith((MANY, CHAIN)) for name in node.outputs):
            raise PassError("'*xs' stands for inputs")
        if node.op_type.startswith(MANY):
            op = node.op_type.removeprefix(MANY)
            raise PassError(f"'*{op}(' is no operator; '*' stands before inputs, as in 'y = Concat(*xs)'")
        if not any(node.outputs):
            raise PassError(f"a statement of {quoted(node.op_type)} makes nothing")
        if node.op_type == FORWARD and not (len(node.inputs) == len(node.outputs) == 1):
            raise PassError(f"'{FORWARD}' stands for 'y = x': one value, one name")
    pattern = Pattern(nodes)
    twice = {name for name in pattern.made if pattern.made.count(name) > 1}
    if twice:
        raise PassError(f"{quoted(sorted(twice)[0])} is made twice")
    return pattern


def check_match(pattern: Pattern) -> None:
    """Raise PassError unless ``pattern`` can be looked for: connected, each statement after those it reads."""
    if any(node.op_type == FORWARD or node.like or node.op_of for node in pattern.nodes):
        raise PassError("'y = x', 'like' and '@c(x)' belong in a replacement")
    if len(pattern.nodes) > MAX_STATEMENTS:
        raise PassError(f"{len(pattern.nodes)} statements; a match has at most {MAX_STATEMENTS}")
    both = set(pattern.variables) & {*pattern.made, *pattern.free}
    if both:
        raise PassError(f"{quoted(sorted(both)[0])} names both a value and an attribute")
    for node in pattern.nodes:
        _check_many(pattern, node)
        if node.chain and not (node.inputs and node.inputs[0] and len(node.outputs) == 1):
            raise PassError(f"a chain of {quoted(node.op_type)} has one output, and follows its first input")
    check_order(pattern)
    _check_connected(pattern)


def from_first_root(pattern: Pattern) -> Pattern:
    """Return the pattern with the statement of its first root last: a match is looked for from the last one on.

    So what is alike, three MatMuls of one input, is found in the order of the graph.
    """
    read = {name for node in pattern.nodes for name in node.inputs}
    first = next(number for number, node in enumerate(pattern.nodes) if read.isdisjoint(filter(None, node.outputs)))
    nodes = pattern.nodes
    return Pattern((*nodes[:first], *nodes[first + 1 :], nodes[first])) if first < len(nodes) - 1 else pattern


def _check_many(pattern: Pattern, node: PatternNode) -> None:
    if len(node.many) > MAX_MANY or any(node.inputs.count(name) > 1 for name in node.many):
        raise PassError(f"a statement has at most {MAX_MANY} inputs such as '*xs', each once")
    if node.many and node.chain:
        raise PassError("a chain has no inputs such as '*xs'")
    for name in node.many:
        if name in pattern.made or any(name in other.inputs for other in pattern.nodes if other is not node):
            raise PassError(f"'*{name}' stands for values from outside and is named once")


def _check_connected(pattern: Pattern) -> None:
    """Raise PassError unless every statement can be reached from the last one through values that are named."""
    reached = {len(pattern.nodes) - 1}
    known = _names(pattern.nodes[-1])
    while True:
        near = [n for n, node in enumerate(pattern.nodes) if n not in reached and known & _names(node)]
        if not near:
            break
        reached.update(near)
        known = known.union(*(_names(pattern.nodes[n]) for n in near))
    for number, node in enumerate(pattern.nodes):
        if number not in reached:
            made = next(name for name in node.outputs if name)
            raise PassError(f"nothing connects {quoted(made)} with the last statement")


def _names(node: PatternNode) -> set[str]:
    return {name for name in (*node.inputs, *node.outputs) if name and name not in node.many}


def check_order(pattern: Pattern) -> None:
    """Raise PassError unless each statement reads what comes from outside or was made before it."""
    later = set(pattern.made)
    for node in pattern.nodes:
        early = later.intersection(node.inputs)
        if early:
            raise PassError(f"{quoted(sorted(early)[0])} is read before it is made")
        later.difference_update(node.outputs)


def _plain(text: str) -> str:
    """Write ``y = x``, ``*xs`` and ``Op+`` in names that the parser accepts; attributes and strings are left alone."""
    for regex, written in (
        (_MANY, lambda found: MANY),
        (_EITHER, lambda found: EITHER + OR.join(re.split(r"\s*\|\s*", found[0]))),
        (_OP_OF, lambda found: f" {OP_OF}{found[1]}"),
        (_CHAIN, lambda found: CHAIN + found[1]),
        (_STATEMENT, lambda found: f"{found[1]}{found[2]}{FORWARD}({found[3]})"),
    ):
        if not regex.search(text):
            continue  # nor in what is masked
        flat = _flat(text)
        pieces, kept = [], 0
        for found in regex.finditer(flat):
            pieces += [text[kept : found.start()], written(found)]
            kept = found.end()
        text = "".join(pieces) + text[kept:]
    return text


def _flat(text: str) -> str:
    """Return ``text`` with everything masked that stands in strings or between angle brackets."""
    if "<" not in text and '"' not in text:
        return text
    masked = _QUOTED.sub(lambda m: '"' + "_" * (len(m.group()) - 2) + '"', text)
    depth = 0
    flat = []
    for piece in _ANGLE.split(masked):
        depth -= piece == ">"
        flat.append(piece if depth <= 0 else "<" * len(piece))
        depth += piece == "<"
    return "".join(flat)


def _pattern_node(node: NodeProto) -> PatternNode:
    literals: list[tuple[str, object]] = []
    variables: list[tuple[str, str]] = []
    like = None
    for attribute in node.attribute:
        if attribute.name == LIKE:
            like = attribute.ref_attr_name
            if not like:
                raise PassError("'like' names the output of a matched statement, as in like = @y")
        elif attribute.ref_attr_name:
            variables.append((attribute.name, attribute.ref_attr_name))
        elif attribute.type in (AttributeProto.GRAPH, AttributeProto.GRAPHS):
            raise PassError(f"attribute {quoted(attribute.name)}: a body cannot be part of a pattern")
        else:
            value = helper.get_attribute_value(attribute)
            literals.append((attribute.name, _text(value)))
    op_type = node.op_type.removeprefix(CHAIN)
    op_types = tuple(op_type.removeprefix(EITHER).split(OR)) if op_type.startswith(EITHER) else (op_type,)
    return PatternNode(
        op_types[0],
        node.domain,
        tuple(name.removeprefix(MANY) for name in node.input),
        tuple(node.output),
        tuple(literals),
        tuple(variables),
        like,
        frozenset(name.removeprefix(MANY) for name in node.input if name.startswith(MANY)),
        node.op_type.startswith(CHAIN),
        op_types,
        op_type.removeprefix(OP_OF) if op_type.startswith(OP_OF) else None,
    )


def _text(value: object) -> object:
    if isinstance(value, bytes):
        return value.decode("utf-8", "surrogateescape")
    if isinstance(value, (int, float, str)) or not hasattr(value, "__iter__"):
        return value
    return [_text(item) for item in value]
