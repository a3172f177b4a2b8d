"""What native conditions say: a finding with the rule's message filled by name."""

from __future__ import annotations

import re
from collections.abc import Mapping

from onnx import NodeProto

from graphtool.errors import show
from graphtool.lint.rule import Finding, Rule
from graphtool.rewrite.result import label

_BRACE = re.compile(r"\{(\w+)\}")


def at_node(rule: Rule, node: NodeProto, **values: object) -> Finding:
    """Return a finding at a node."""
    return Finding(rule, label(node), node.op_type, _filled(rule, values))


def at(rule: Rule, kind: str, where: str, **values: object) -> Finding:
    """Return a finding at an input, an output, a constant or the model."""
    return Finding(rule, where, "", _filled(rule, values), kind)


def _filled(rule: Rule, values: Mapping[str, object]) -> str:
    return _BRACE.sub(lambda found: show(values[found[1]], 300), rule.message.text)
