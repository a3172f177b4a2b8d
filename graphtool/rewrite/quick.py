"""What a look at the inputs of a node tells of a pattern that ends there, before anything is bound."""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Set as AbstractSet

from graphtool.graph import opset as ops
from graphtool.graph.forms import moved
from graphtool.rewrite.pattern import Pattern

Check = tuple[int, tuple[str, ...] | None]  # the place of an input (-1: any), the op types that can make it


def quick_checks(
    pattern: Pattern, optional: AbstractSet[str], constants: AbstractSet[str], versions: Mapping[str, int | None]
) -> tuple[Check, ...]:
    """Return the places of inputs that only a node of some type can make, or (None) that only a constant can be.

    The inputs of a commutative node may have any place, which is -1. ``optional`` values may be absent, ``constants``
    must be known, ``versions`` are the model's opsets by domain.
    """
    wanted = pattern.nodes[-1]
    if wanted.many or wanted.chain or wanted.op_type == "Resize":  # its inputs have other places in old opsets
        return ()
    types = {name: node.op_types for node in pattern.nodes for name in node.outputs}
    commutes = len(wanted.inputs) == 2 and not ops.COMMUTATIVE.isdisjoint(wanted.op_types)
    moves = set().union(*(moved(op, versions[wanted.domain]) for op in wanted.op_types))
    makers: list[Check] = []
    known: list[Check] = []
    for place, name in enumerate(wanted.inputs):
        at = -1 if commutes else place
        if name and name in types:
            makers.append((at, types[name]))
        elif name in constants and name not in optional and place not in moves:
            known.append((at, None))
    return (*makers, *known)
