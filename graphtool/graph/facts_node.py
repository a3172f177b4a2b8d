"""What follows for the outputs of one node from what is known of its inputs.

Pure: a graph of repeated layers asks the same question for each of them, so answers are kept by operator, attributes,
facts of the inputs and those contents that decide a shape.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import onnx
from onnx import NodeProto

from graphtool.graph import contents_math, contents_moves, facts_foreign, facts_rules, facts_windows
from graphtool.graph.contents import FLOATS, Content
from graphtool.graph.facts_call import Call, Fact, Unknown
from graphtool.graph.facts_local import MOST_KEPT, SIZING, Local
from graphtool.graph.facts_symbols import Symbols
from graphtool.graph.rows import Row

DEFAULT = ("", "ai.onnx")
MEASURES = frozenset({"Shape", "Size"})  # their content is made from a shape, not from a content

_SHAPES = facts_rules.RULES | facts_windows.RULES
_CONTENTS = contents_moves.RULES | contents_math.RULES
SIZED = frozenset(_SHAPES) | frozenset(SIZING)  # ops of which more may be known than their inputs' types say
FOLLOWED = frozenset(_CONTENTS) | {"Split"}  # ops whose outputs can have a content
# what arithmetic on a wrong model runs into
_FAULTS = (Unknown, ValueError, TypeError, IndexError, ZeroDivisionError, OverflowError, AttributeError, KeyError)

_Key = tuple[Any, ...]


class NodeRules:
    """Facts and contents of the outputs of single nodes of one model."""

    def __init__(self, model: onnx.ModelProto, symbols: Symbols) -> None:
        self._symbols = symbols
        self._local = Local(model, symbols)
        self._version = self._local.version
        self._facts: dict[_Key, Sequence[Fact]] = {}
        self._contents: dict[_Key, Sequence[Content]] = {}

    def facts(
        self,
        node: NodeProto,
        row: Row,
        facts: Sequence[Fact | None],
        contents: Sequence[Content | None],
        captured: Mapping[str, Fact],
    ) -> Sequence[Fact]:
        """Return the facts of each output; a size that is not known is None.

        ``facts`` and ``contents`` (of the inputs that :data:`SIZING` names) are those of the inputs, place by place;
        ``captured`` the facts of outer values that a body of the node reads.
        """
        if row.op_type == "Constant" and len(node.attribute) == 1 and node.attribute[0].name == "value":
            tensor = node.attribute[0].t  # its bytes may lie in a file
            return [Fact(tensor.data_type, tuple(tensor.dims))]
        if row.holds:
            return self._local.outputs(node, facts, contents, captured)
        key = (*_question(node, row), tuple(map(bool, row.outputs)), tuple(facts), tuple(contents))
        found = self._facts.get(key)
        if found is None:
            if len(self._facts) > MOST_KEPT:
                self._facts.clear()
            found = self._facts[key] = self._inferred(node, facts, contents)
        return found

    def _inferred(
        self, node: NodeProto, facts: Sequence[Fact | None], contents: Sequence[Content | None]
    ) -> Sequence[Fact]:
        op, domain = node.op_type, node.domain
        rule = _SHAPES.get(op) if domain in DEFAULT else facts_foreign.RULES.get((domain, op))
        if rule is not None:
            try:
                found = rule(Call(node, self._version, self._symbols, facts, contents))
                if len(found) >= len(node.output):
                    return [_possible(fact) for fact in found[: len(node.output)]]
            except _FAULTS:
                pass  # onnx is asked
        return self._local.outputs(node, facts, contents, {})

    def content(
        self, node: NodeProto, row: Row, facts: Sequence[Fact | None], contents: Sequence[Content | None], place: int
    ) -> Content | None:
        """Return the content of output ``place`` of a node in :data:`FOLLOWED`; None where nothing is known of it.

        Elements that are not known are None. ``facts`` of the inputs are read for :data:`MEASURES` only, and those ask
        for nothing else.
        """
        if any(content is not None and content.dtype in FLOATS for content in contents):
            return _at(self._evaluated(node, facts, contents), place)  # 0.0 and -0.0 would be one question
        key = (*_question(node, row), len(row.outputs), tuple(facts), tuple(contents))
        found = self._contents.get(key)
        if found is None:
            if len(self._contents) > MOST_KEPT:
                self._contents.clear()
            found = self._contents[key] = self._evaluated(node, facts, contents)
        return _at(found, place)

    def _evaluated(
        self, node: NodeProto, facts: Sequence[Fact | None], contents: Sequence[Content | None]
    ) -> Sequence[Content]:
        call = Call(node, self._version, self._symbols, facts, contents)
        try:
            return contents_moves.split(call) if node.op_type == "Split" else [_CONTENTS[node.op_type](call)]
        except _FAULTS:
            return []


def _possible(fact: Fact) -> Fact:
    """Return a fact without sizes below 0, which a wrong model asks for."""
    if fact.shape is None or not any(isinstance(size, int) and size < 0 for size in fact.shape):
        return fact
    return Fact(fact.dtype, tuple(None if isinstance(s, int) and s < 0 else s for s in fact.shape), fact.kind)


def _at(found: Sequence[Content], place: int) -> Content | None:
    return found[place] if place < len(found) else None


def _question(node: NodeProto, row: Row) -> _Key:
    attributes = node.attribute[:]
    if not attributes:
        return row.op_type, row.domain, len(row.inputs)
    if len(attributes) == 1:
        return row.op_type, row.domain, len(row.inputs), attributes[0].SerializeToString(deterministic=True)
    return row.op_type, row.domain, len(row.inputs), *[a.SerializeToString(deterministic=True) for a in attributes]
