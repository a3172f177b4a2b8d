"""Statements that ONNX has no such operator for: attributes and inputs that it never had, found when a file is read."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

from graphtool.errors import PassError, did_you_mean, nearest, quoted
from graphtool.graph import opset as ops
from graphtool.rewrite.edit import Edit
from graphtool.rewrite.passfile import Pass
from graphtool.rewrite.pattern import PatternNode
from graphtool.rewrite.rule import Rule


def check_statements(spec: Pass, file: str) -> None:
    """Raise PassError for the first statement about an ONNX operator that no opset has in that form.

    An attribute that is only looked for may be somebody's own, unless an operator's has nearly that name.
    """
    for body in spec.bodies:
        if isinstance(body.form, Rule):
            parts = [("match", node) for pattern in body.form.patterns for node in pattern.nodes]
            parts += [("replace", node) for node in body.form.replacement.nodes]
            faults = ((key, fault) for key, node in parts for fault in _faults(node, made=key == "replace"))
        elif isinstance(body.form, Edit) and not body.form.domain:
            names = [(op, name) for op in body.form.ops for name, _ in body.form.set]
            faults = (("set", _unknown(op, name)) for op, name in names if _is_unknown(op, name))
        else:
            continue
        for key, fault in faults:
            raise PassError(f"{file}: {body.form.name}.{key}: {fault}")


def _faults(node: PatternNode, made: bool) -> Iterator[str]:
    if node.domain not in ("", "ai.onnx") or node.op_of is not None:
        return
    for op in node.op_types or (node.op_type,):
        for name, _ in (*node.literals, *node.variables):
            if _is_unknown(op, name) and (made or nearest(name, _attributes(op))):
                yield _unknown(op, name)
        most = _most(op)
        if most is not None and not node.many and len(node.inputs) > most[0]:
            yield f"{op} has at most {_count(most[0], 'input')}, not {len(node.inputs)}"
        if most is not None and len(node.outputs) > most[1]:
            yield f"{op} has at most {_count(most[1], 'output')}, not {len(node.outputs)}"


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def _is_unknown(op: str, name: str) -> bool:
    return bool(ops.versions(op)) and name not in _attributes(op)


def _unknown(op: str, name: str) -> str:
    return f"{op} has no attribute {quoted(name)}{did_you_mean(name, _attributes(op))}"


@lru_cache(maxsize=256)
def _attributes(op: str) -> frozenset[str]:
    """Return the attributes that an operator has had at any opset."""
    known = (ops.attributes(op, "", version) for version in ops.versions(op))
    return frozenset().union(*(names for names in known if names))


@lru_cache(maxsize=256)
def _most(op: str) -> tuple[int, int] | None:
    """Return how many inputs and outputs an operator has had at most; None for one that ONNX does not define."""
    known = [found for version in ops.versions(op) if (found := ops.schema(op, "", version)) is not None]
    return (max(s.max_input for s in known), max(s.max_output for s in known)) if known else None
