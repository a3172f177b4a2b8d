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


def bytes_text(count: int) -> str:
    """Return bytes in a few digits: ``159 MB`` of 10^6 bytes each."""
    for unit, size in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if count >= size:
            return f"{count / size:.3g} {unit}"
    return f"{count} B"
