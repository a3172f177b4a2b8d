"""Nodes that follow from tensors that are known to be the same: what reads them in the same way is the same node."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from onnx import NodeProto

from graphtool.comparator.result import Pair
from graphtool.graph import Graph
from graphtool.graph.counts import op_label

EITHER_ORDER = frozenset("Add And Equal Max Mean Min Mul Or Sum Xor".split())
_MOST_READERS = 64


def follow(a: Graph, b: Graph, known: Mapping[str, str]) -> list[Pair]:
    """Return pairs of tensors that follow from the pairs ``known``, in the order of ``a``.

    A node of ``b`` is a node of ``a`` where it has its op type, reads the same tensors in the same places, and weights
    of the same shapes where those do; and where no other is. Exporters that write weights in other ways (folded,
    transposed to other names) are followed past the point where the numbers part.
    """
    values = dict(known)
    taken = set(values.values())
    pairs = []
    for node in a.nodes:
        if not node.output or node.output[0] in values:
            continue
        options = list(_alike(a, b, node, values, taken))
        if len(options) > 1:
            mine = sorted(attribute.SerializeToString(deterministic=True) for attribute in node.attribute)
            options = [
                other
                for other in options
                if sorted(attribute.SerializeToString(deterministic=True) for attribute in other.attribute) == mine
            ]
        if len(options) == 1:
            for x, y in zip(node.output, options[0].output, strict=False):
                if x and y and x not in values and y not in taken:
                    values[x] = y
                    taken.add(y)
                    pairs.append(Pair(x, y, "structure"))
    return pairs


def _alike(a: Graph, b: Graph, node: NodeProto, values: Mapping[str, str], taken: set[str]) -> Iterator[NodeProto]:
    data = [name for name in node.input if name and not a.is_constant(name)]
    if not data or any(name not in values for name in data):
        return
    for slot in b.index.reader_slots(values[data[0]])[:_MOST_READERS]:
        other = b.node(slot)
        if other is None or op_label(other) != op_label(node) or not other.output or other.output[0] in taken:
            continue
        mine, theirs = list(node.input), list(other.input)
        if _same_reads(a, b, mine, theirs, values) or (
            node.op_type in EITHER_ORDER and len(mine) == 2 and _same_reads(a, b, mine[::-1], theirs, values)
        ):
            yield other


def _same_reads(a: Graph, b: Graph, mine: Sequence[str], theirs: Sequence[str], values: Mapping[str, str]) -> bool:
    if len(mine) != len(theirs):
        return False
    for x, y in zip(mine, theirs, strict=True):
        if bool(x) != bool(y) or a.is_constant(x) != b.is_constant(y):
            return False
        if x and not a.is_constant(x) and values.get(x) != y:
            return False
        if a.is_constant(x):
            p, q = a.value(x), b.value(y)
            if p is not None and q is not None and p.shape != q.shape:
                return False
    return True
