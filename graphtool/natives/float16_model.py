"""A float32 model converted to float16, with what must stay float32 left out."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from graphtool.errors import PassError, did_you_mean, quoted
from graphtool.graph import Graph
from graphtool.graph import opset as ops
from graphtool.graph.bodies import walk
from graphtool.natives._half_plan import Plan
from graphtool.natives._half_write import Writer, beyond
from graphtool.rewrite.result import Applied, alias, label
from graphtool.rewrite.selection import Offer, everywhere

UNITS = True  # each node


def apply(graph: Graph, params: Mapping[str, object], offer: Offer = everywhere) -> Applied:
    """Convert the nodes of the model and its bodies; raises PassError for a constant that float16 cannot hold.

    A node that is not taken stays float32, an If, Loop or Scan where nothing in it is taken.
    """
    blocked, names, keep_io, overflow = (params[key] for key in ("block", "block_nodes", "keep_io", "overflow"))
    assert isinstance(blocked, list) and isinstance(names, list)
    _check_ops(graph, blocked)
    known: dict[tuple[int, str], bool] = {}

    def too_large(level: Graph, name: str) -> bool:
        if overflow != "keep" or not level.is_constant(name):
            return False
        key = (id(level), name)
        if key not in known:
            array = level.constant(name)
            known[key] = array is not None and array.dtype == np.float32 and beyond(array) > 0
        return known[key]

    plan = Plan(graph, frozenset(blocked), names, bool(keep_io), too_large)
    left = _left(plan, offer)
    if left:
        plan = Plan(graph, frozenset(blocked), names, bool(keep_io), too_large, left)
    # a node that only holds bodies has no slots of its own
    changes = any(slots.inputs or slots.outputs for level in plan.levels for slots in level.half.values())
    if not changes and (keep_io or not _float_boundary(plan)):
        return Applied()
    writer = Writer(plan, overflow == "clamp")
    writer.run()
    ops.import_domain(graph.proto, "", "Cast")
    return Applied(writer.matches, writer.misses)


def _left(plan: Plan, offer: Offer) -> set[tuple[int, int]]:
    """Return the nodes that are not taken, by level and slot; what holds bodies goes with the nodes in them."""
    left: set[tuple[int, int]] = set()
    for level in reversed(plan.levels):  # bodies first
        for slot in level.half:
            node = level.graph.node(slot)
            assert node is not None
            inside = [(body.number, inner) for body in plan.below(level, slot) for inner in body.half]
            if left.issuperset(inside) if inside else not offer(label(node), alias(node)):
                left.add((level.number, slot))
    return left


def _float_boundary(plan: Plan) -> bool:
    root = plan.levels[0]
    infos = (*root.graph.header.input, *root.graph.header.output)
    return any(plan.is_float(root, info.name) and not root.graph.is_constant(info.name) for info in infos)


def _check_ops(graph: Graph, blocked: list[str]) -> None:
    there = {node.op_type for node in walk(graph.proto.graph)}
    for op_type in blocked:
        if op_type not in there and not ops.versions(op_type):
            raise PassError(f"no operator {quoted(op_type)}{did_you_mean(op_type, there)}")
