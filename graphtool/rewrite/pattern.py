"""Patterns: ONNX text read as the shape to look for, or as the shape to build."""

from __future__ import annotations

import re
from dataclasses import dataclass

from onnx import AttributeProto, NodeProto, helper

from graphtool.errors import PassError, quoted
from graphtool.graph.text import parse_nodes

FORWARD = "Forward__"  # the op that stands for `y = x`, which ONNX text cannot say
LIKE = "like"
MAX_STATEMENTS = 64  # of a match: the matcher recurses by statement
# a call, and not a forward, goes on with attributes, inputs, a domain's dot or an overload's colon
_STATEMENT = re.compile(r"(?<![\w.@])([A-Za-z_]\w*)(\s*=\s*)([A-Za-z_]\w*)\b(?!\s*[<(.:])")
_QUOTED = re.compile(r'"(?:[^"\\]|\\.)*"')


@dataclass(frozen=True, slots=True)
class PatternNode:
    """One statement: literal attributes by name, and attributes bound to (or read from) a variable."""

    op_type: str
    domain: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    literals: tuple[tuple[str, object], ...]
    variables: tuple[tuple[str, str], ...]
    like: str | None


@dataclass(frozen=True, slots=True)
class Pattern:
    """Statements in order. ``free`` values come from outside; ``roots`` are read by no statement."""

    nodes: tuple[PatternNode, ...]

    @property
    def made(self) -> tuple[str, ...]:
        """Return the values that statements make, in order."""
        return tuple(name for node in self.nodes for name in node.outputs if name)

    @property
    def free(self) -> tuple[str, ...]:
        """Return the values that come from outside, in order of first use."""
        made = set(self.made)
        return tuple(dict.fromkeys(name for node in self.nodes for name in node.inputs if name and name not in made))

    @property
    def roots(self) -> tuple[str, ...]:
        """Return the values that no statement reads."""
        read = {name for node in self.nodes for name in node.inputs}
        return tuple(name for name in self.made if name not in read)

    @property
    def variables(self) -> tuple[str, ...]:
        """Return the attribute variables."""
        return tuple(dict.fromkeys(variable for node in self.nodes for _, variable in node.variables))


def parse_pattern(text: str) -> Pattern:
    """Return the statements in ``text``; raises PassError with the reason."""
    nodes = tuple(_pattern_node(node) for node in parse_nodes(_with_forwards(text)))
    if not nodes:
        raise PassError("no statement")
    for node in nodes:
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
    """Raise PassError unless ``pattern`` can be looked for: one connected shape that ends in one statement."""
    if any(node.op_type == FORWARD or node.like for node in pattern.nodes):
        raise PassError("'y = x' and 'like' belong in a replacement")
    if len(pattern.nodes) > MAX_STATEMENTS:
        raise PassError(f"{len(pattern.nodes)} statements; a match has at most {MAX_STATEMENTS}")
    both = set(pattern.variables) & {*pattern.made, *pattern.free}
    if both:
        raise PassError(f"{quoted(sorted(both)[0])} names both a value and an attribute")
    for node in pattern.nodes[:-1]:
        if not set(node.outputs) & {name for other in pattern.nodes for name in other.inputs}:
            made = next(name for name in node.outputs if name)
            raise PassError(f"nothing reads {quoted(made)}; a match ends in one statement, the last")
    check_order(pattern)


def check_order(pattern: Pattern) -> None:
    """Raise PassError unless each statement reads what comes from outside or was made before it."""
    later = set(pattern.made)
    for node in pattern.nodes:
        early = later.intersection(node.inputs)
        if early:
            raise PassError(f"{quoted(sorted(early)[0])} is read before it is made")
        later.difference_update(node.outputs)


def _with_forwards(text: str) -> str:
    """Write each statement ``y = x`` as a call that the parser accepts; attributes and strings are left alone."""
    masked = _QUOTED.sub(lambda m: '"' + "_" * (len(m.group()) - 2) + '"', text)
    depth = 0
    flat = []
    for character in masked:
        depth -= character == ">"
        flat.append(character if depth <= 0 else "<")
        depth += character == "<"
    pieces, kept = [], 0
    for found in _STATEMENT.finditer("".join(flat)):
        start, end = found.span(3)
        pieces += [text[kept:start], f"{FORWARD}({text[start:end]})"]
        kept = end
    return "".join(pieces) + text[kept:]


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
    return PatternNode(
        node.op_type, node.domain, tuple(node.input), tuple(node.output), tuple(literals), tuple(variables), like
    )


def _text(value: object) -> object:
    if isinstance(value, bytes):
        return value.decode("utf-8", "surrogateescape")
    if isinstance(value, (int, float, str)) or not hasattr(value, "__iter__"):
        return value
    return [_text(item) for item in value]
