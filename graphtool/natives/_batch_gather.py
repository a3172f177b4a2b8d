"""Indices that run through the items of a batch, one after the other: freed by one Gather within each item.

Exporters write ``mask[batch, position]`` of tensors of indices so: as a Gather of the flattened data, whose indices of
item b are those of item 0 plus b times the size of an item, or as a GatherND whose first index is b.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from onnx import NodeProto, helper

from graphtool.graph import Graph
from graphtool.graph import opset as ops
from graphtool.natives._batch_facts import Facts
from graphtool.rewrite.result import label

Indices = NDArray[np.int64]


def free_gather(graph: Graph, facts: Facts, slot: int, node: NodeProto) -> bool:
    """Free a Gather or GatherND whose constant indices name each item of the batch in turn; return whether it is one.

    The shape of what it makes is noted then. What it makes stays the same at the batch of now.
    """
    data, shape = node.input[0], facts.shape_now(node.input[0])
    found = graph.constant(graph.behind_identities(node.input[1]))
    if found is None or shape is None or facts.axis(data) != 0 or not all(isinstance(d, int) and d for d in shape):
        return False
    sizes = [int(size) for size in shape if isinstance(size, int)]
    indices = np.asarray(found, np.int64)
    within = _within(node, graph.opset(), indices, sizes, facts.now)
    if within is None:
        return False
    rest, items = sizes[1:], data
    if node.op_type == "Gather":
        length = sizes[0] // facts.now
        items = graph.names.fresh_value(f"{label(node)}/items")
        wanted = graph.add_initializer(f"{label(node)}/sizes", np.array([-1, length, *rest], np.int64))
        graph.add_node(helper.make_node("Reshape", [data, wanted], [items], graph.names.fresh_node(items)), slot, 0)
        facts.learn(items, facts.dtype(data), (facts.now, length, *rest), (facts.then, length, *rest))
    else:
        rest = rest[1:]
    own = graph.add_initializer(f"{node.input[1]}/item", within)
    name = node.name or graph.names.fresh_node(label(node))
    graph.remove_node(slot)
    graph.add_node(helper.make_node("Gather", [items, own], [node.output[0]], name, axis=1), slot, 1)
    facts.set(node.output[0], (facts.then, *within.shape, *rest))
    return True


def _within(node: NodeProto, version: int | None, indices: Indices, sizes: list[int], now: int) -> Indices | None:
    """Return the indices within an item, the same for each; None where they are not."""
    if indices.ndim == 0 or indices.shape[0] != now or indices.size == 0:
        return None
    items = np.arange(now).reshape(-1, *[1] * (indices.ndim - 1))
    if node.op_type == "Gather":
        length, left = divmod(sizes[0], now)
        if left or length < 2 or ops.effective(node, "axis", version) != 0:
            return None  # an item of one row: its row may be picked from the batch as well
        inner = indices - items * length
    else:
        if indices.shape[-1] != 2 or len(sizes) < 2 or ops.effective(node, "batch_dims", version) not in (None, 0):
            return None
        if not np.array_equal(indices[..., 0], np.broadcast_to(items[..., 0], indices.shape[:-1])):
            return None
        length, inner = sizes[1], indices[..., 1]
    first = inner[0]
    fits = np.array_equal(inner, np.broadcast_to(first, inner.shape)) and first.min() >= 0 and first.max() < length
    return np.ascontiguousarray(first) if fits else None
