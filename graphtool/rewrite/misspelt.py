"""Operators that a pass looks for and that neither ONNX nor the model has, though one has nearly that name."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

from onnx import defs

from graphtool.errors import nearest, quoted
from graphtool.graph import Graph
from graphtool.graph.bodies import walk
from graphtool.rewrite.edit import Edit
from graphtool.rewrite.passfile import Pass
from graphtool.rewrite.rule import Rule


def misspelt(spec: Pass, graph: Graph) -> list[str]:
    """Return a line for each such operator of the default domain, in the order of the file; of shipped files, none.

    An operator without a near name is somebody's own.
    """
    wanted = dict.fromkeys(_wanted(spec))
    known = _operators() | {item.op for item in spec.semantics} if wanted else frozenset()
    unknown = [op for op in wanted if op not in known]
    if not unknown:
        return []
    there = {node.op_type for node in walk(graph.proto.graph)}
    near = {op: nearest(op, sorted(known | there)) for op in unknown if op not in there}
    return [f"no operator is named {quoted(op)}; did you mean {quoted(name)}?" for op, name in near.items() if name]


def _wanted(spec: Pass) -> Iterator[str]:
    for body in spec.bodies:
        if isinstance(body.form, Edit) and not body.form.domain:
            yield from body.form.ops
        if isinstance(body.form, Rule):
            statements = [node for pattern in body.form.patterns for node in pattern.nodes]
            yield from (op for node in statements if not node.domain for op in node.op_types or (node.op_type,))


@lru_cache(maxsize=1)
def _operators() -> frozenset[str]:
    return frozenset(schema.name for schema in defs.get_all_schemas() if schema.domain == "")
