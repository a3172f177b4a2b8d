"""Conditions of rules, evaluated over a graph: by op type, or by a pattern of the pass language."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial

import numpy as np
from onnx import NodeProto

from graphtool.errors import show
from graphtool.graph import Graph
from graphtool.graph import opset as ops
from graphtool.graph.forms import virtual_inputs
from graphtool.lint.rule import Finding, Message, Rule, Undecided
from graphtool.lint.target import Aim
from graphtool.rewrite.edit import MAX_PLACES
from graphtool.rewrite.expr import Expr, ExprError
from graphtool.rewrite.facts import View
from graphtool.rewrite.matcher import Matcher
from graphtool.rewrite.refs import TensorRef
from graphtool.rewrite.result import label

Found = Finding | Undecided


def by_ops(graph: Graph, rules: Sequence[Rule], aim: Aim) -> Iterator[tuple[int, Found]]:
    """Yield what rules on op types find in one graph, with the slot of the node. Bodies are graphs of their own."""
    wanted: dict[str, list[Rule]] = {}
    for rule in rules:
        for op in rule.ops:
            wanted.setdefault(op, []).append(rule)
    outputs = frozenset(info.name for info in graph.header.output)
    with np.errstate(all="ignore"):
        for op in sorted(wanted.keys() & graph.index.types.keys()):
            for slot in graph.index.slots_of_type(op):
                node = graph.node(slot)
                if node is None or node.domain not in ("", "ai.onnx"):
                    continue
                for rule in wanted[op]:
                    found = _judge(rule, node, _NodeNames(rule, graph, node, aim, outputs))
                    if found is not None:
                        yield slot, found


def by_pattern(graph: Graph, rule: Rule, aim: Aim) -> Iterator[tuple[int, Found]]:
    """Yield the matches of a rule's pattern in one graph: every place at which its conditions hold."""
    assert rule.pattern is not None
    pattern = rule.pattern
    open_names = frozenset(pattern.made)  # lint looks: other readers of an inner value are no hindrance
    optional = frozenset(name for name in pattern.free if name not in pattern.many)
    matcher = Matcher(graph, pattern, optional, {}, open_names, frozenset(), tell=False)
    types = pattern.nodes[-1].op_types
    with np.errstate(all="ignore"):
        for slot in sorted(slot for op in types for slot in graph.index.slots_of_type(op)):
            found: list[Found] = []
            if matcher.screen.passes(graph.row_at(slot).inputs):
                matcher.attempt(slot, partial(_accept, rule, graph, aim, matcher, slot, found))
            if found:
                yield slot, found[-1]


def _accept(rule: Rule, graph: Graph, aim: Aim, matcher: Matcher, slot: int, found: list[Found]) -> bool:
    names = _PatternNames(rule, graph, matcher, aim)
    node = graph.node(slot)
    assert node is not None
    result = _judge(rule, node, names)
    if result is None:
        return False
    found.append(result)
    return isinstance(result, Finding)


def _judge(rule: Rule, node: NodeProto, names: _Names) -> Found | None:
    """Return a finding where every condition holds, None where one does not, and why where that cannot be told."""
    try:
        for expression in rule.wheres:
            if not expression.decides(expression.quiet(names)):
                return None
        return Finding(rule, label(node), node.op_type, filled(rule.message, names))
    except ExprError as error:
        return Undecided(rule, label(node), str(error))


def filled(message: Message, names: Mapping[str, object]) -> str:
    """Return a message with its expressions evaluated; one that has no value is a question mark."""
    words = []
    for part in message.parts:
        words.append(part if isinstance(part, str) else _value(part, names))
    return "".join(words)


def _value(expression: Expr, names: Mapping[str, object]) -> str:
    try:
        value = expression.quiet(names)
    except ExprError:
        return "?"
    if isinstance(value, list):
        return "x".join(show(str(item).lstrip("?")) for item in value)
    if isinstance(value, float):
        return f"{value:.6g}"
    return show(value.name if isinstance(value, TensorRef) else value, 120)


class _Names(dict[str, object]):
    """What expressions read, looked up when asked for: what a rule names by ``let``, then what the graph holds."""

    def __init__(self, rule: Rule, aim: Aim) -> None:
        super().__init__(aim.names())
        self._lets = dict(rule.lets)

    def __missing__(self, key: str) -> object:
        let = self._lets.get(key)
        found = self[key] = self.look(key) if let is None else let.quiet(self)
        return found

    def get(self, key: str, default: object = None) -> object:
        """Return ``self[key]``: expressions ask so for attributes."""
        try:
            return self[key]
        except KeyError:
            return default

    def look(self, key: str) -> object:
        """Return what a name stands for; raises KeyError."""
        raise NotImplementedError


class _NodeNames(_Names):
    """What expressions over one node read: ``input0`` ..., ``output0`` ..., ``op``, ``name``, attributes as ``@name``.

    Attributes that became inputs are inputs (``graph/forms.py``).
    """

    def __init__(self, rule: Rule, graph: Graph, node: NodeProto, aim: Aim, outputs: frozenset[str]) -> None:
        super().__init__(rule, aim)
        self["op"], self["name"] = node.op_type, node.name
        self._graph, self._node, self._outputs = graph, node, outputs
        self._version = graph.opset(node.domain)

    def look(self, key: str) -> object:
        """Return what a name stands for; raises KeyError."""
        if key.startswith("@"):
            return _plain(ops.effective(self._node, key[1:], self._version))
        word, place = key[:-1], key[-1:]
        if word not in ("input", "output") or not place.isdigit() or int(place) >= MAX_PLACES:
            raise KeyError(key)
        node, graph, at = self._node, self._graph, int(place)
        values = virtual_inputs(node, self._version, graph.constant) if word == "input" else node.output
        return View(graph, self._outputs).tensor(values[at] if at < len(values) else "")


class _PatternNames(_Names):
    """What expressions over a match read: its values and attributes."""

    def __init__(self, rule: Rule, graph: Graph, matcher: Matcher, aim: Aim) -> None:
        super().__init__(rule, aim)
        for name, value in matcher.binding.attributes.items():
            self["@" + name] = _plain(value)
        self._graph, self._values, self._outputs = graph, dict(matcher.binding.values), matcher.outputs

    def look(self, key: str) -> object:
        """Return what a name stands for; raises KeyError."""
        if key not in self._values:
            raise KeyError(key)
        return View(self._graph, self._outputs).tensor(self._values[key])


def _plain(value: object) -> object:
    """Return an attribute; a body or tensor, which can be asked for with has() and not read, is True."""
    return value if value is None or isinstance(value, (bool, int, float, str, list)) else True
