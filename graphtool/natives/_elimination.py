"""Conditions that can only be one way: with the other, a node behind the If would read a rank that it must refuse.

torch.onnx writes an If around each squeeze of a size that it does not know, and another wherever a rank decides. One
branch then makes a rank that an LSTM behind it does not take: no run that ends has gone that way.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import islice

import numpy as np
from onnx import NodeProto

from graphtool.graph import Graph
from graphtool.graph import opset as ops
from graphtool.graph.sort import remove_unused

_MOST_NODES = 200_000  # that one call looks at: each condition costs a look at the whole model, twice
_MARK = "\0the level that is looked at"  # no name in a file has a NUL
_RECURRENT = frozenset({"LSTM", "GRU", "RNN"})
_CONVOLVING = frozenset({"Conv", "ConvTranspose"})
_POOLS = frozenset({"MaxPool", "AveragePool", "LpPool"})
_STRICT = (*sorted(_RECURRENT | _CONVOLVING | _POOLS), "Transpose")


def only_way(level: Graph, ifs: Iterable[int], fold: Callable[[Graph], object]) -> dict[str, bool]:
    """Return the first condition of the nodes in slots ``ifs`` of ``level`` that can only be one way, and which.

    ``fold`` folds the If nodes of a model whose conditions are constants. A node of a level runs whenever the level
    does: what it refuses, no run with a result has met.
    """
    if not any(level.index.slots_of_type(op) for op in _STRICT):
        return {}
    for name in islice(_open(level, ifs), _MOST_NODES // max(1, 2 * level.root.node_count)):
        ways = [way for way in (True, False) if _may_be(level, name, way, fold)]
        if len(ways) == 1:
            return {name: ways[0]}
    return {}


def _open(level: Graph, ifs: Iterable[int]) -> Iterator[str]:
    """Yield the conditions, made at this level, that decide the rank of something."""
    seen = set()
    for slot in ifs:
        node = level.node(slot)
        if node is None or node.input[0] in seen or level.index.producer_slot(node.input[0]) is None:
            continue
        if any(_rank(level, name) is None for name in node.output if name):
            seen.add(node.input[0])
            yield node.input[0]


def _may_be(level: Graph, condition: str, way: bool, fold: Callable[[Graph], object]) -> bool:
    """Whether the nodes of ``level`` take what they would read with ``condition`` one way."""
    model = _marked_copy(level)
    level = _marked(model)
    assumed = level.names.fresh_value(condition)
    level.put_initializer(assumed, np.array(way))
    level.replace_uses(condition, assumed)
    level.commit()
    fold(model)
    remove_unused(model)  # of what nothing needs a runtime may not run anything
    level = _marked(model)
    return not any(_refuses(level, node) for op in _STRICT for node in level.index.by_type(op))


def _marked_copy(level: Graph) -> Graph:
    """Return a copy of the whole model in which the graph that ``level`` is has a name like no other."""
    around: Graph | None = level
    while around is not None:  # a graph is else put in order when the walk over the levels leaves it
        around.commit()
        around = around.parent
    name, level.header.name = level.header.name, _MARK
    try:
        return level.root.copy()
    finally:
        level.header.name = name


def _marked(model: Graph) -> Graph:
    return next(level for level in model.levels() if level.header.name == _MARK)


def _refuses(level: Graph, node: NodeProto) -> bool:
    """Whether the operator does not take the rank of an input (ONNX operator specification, of each opset alike)."""
    if node.domain not in ("", "ai.onnx"):
        return False
    ranks = [_rank(level, name) for name in node.input]
    if node.op_type in _RECURRENT:
        return any(rank not in (3, None) for place, rank in enumerate(ranks) if place in (0, 5, 6))
    if node.op_type in _CONVOLVING:
        return len({rank for rank in ranks[:2] if rank is not None}) == 2
    wanted = ops.attribute_of(node, "perm" if node.op_type == "Transpose" else "kernel_shape")
    spatial = 0 if node.op_type == "Transpose" else 2
    return wanted is not None and ranks[0] not in (None, len(wanted.ints) + spatial)


def _rank(level: Graph, name: str) -> int | None:
    """Return the rank as inference finds it: what a graph declares of its outputs is a mere hint to runtimes."""
    if not name:
        return None
    constant = level.initializers.get(name)
    if constant is not None:
        return len(constant.dims)
    fact = level.facts.fact(name)
    return None if fact.kind != "tensor" or fact.shape is None else len(fact.shape)
