"""Does a model agree with itself? Run twice on one feed; where it does not, tapping finds the node that causes it.

The outputs of the nodes above a differing output are recorded in two runs, in topological order: the first tensor that
differs is made by a node whose inputs did not. Calls of local functions are written out first. Inside a body of If,
Loop, Scan or SequenceMap nothing can be recorded from outside, so there the nodes that draw at random are listed.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from numpy.typing import NDArray
from onnx import NodeProto

from graphtool.errors import GraphtoolError, PromiseError, quoted, show
from graphtool.graph import Graph
from graphtool.graph import opset as ops
from graphtool.graph.bodies import bodies, captures, walk
from graphtool.parity.metrics import equal
from graphtool.parity.session import Session

Array = NDArray[Any]
_TAPPED = 1 << 28  # bytes recorded at a time
_UNKNOWN = 1 << 22  # bytes assumed for a tensor of unknown size


def agree(graph: Graph, feed: Mapping[str, Array], first: Mapping[str, Array], second: Mapping[str, Array]) -> None:
    """Raise PromiseError, naming the node to blame, where two runs of one session gave different outputs.

    Nodes with a ``seed`` go on drawing from run to run and start anew in each session. Where only such differ, and a
    fresh session gives ``first`` again, the model can be judged: each graph is judged on a session of its own.
    """
    differing = [name for name, array in first.items() if not equal(array, second[name])]
    if not differing:
        return
    drawn = [node for node in _everywhere(graph) if _draws(node)]
    if drawn and all(ops.attribute_of(node, "seed") is not None for node in drawn):
        again = Session(graph).run(feed)
        if all(equal(array, again[name]) for name, array in first.items()):
            return
    raise PromiseError(
        f"the model disagrees with itself: output {quoted(differing[0])} differs between two runs on one feed"
        f"{_cause(graph, feed, differing, drawn)}; nothing can be judged; use --no-check to go on without"
    )


def first_differing(graph: Graph, feed: Mapping[str, Array], outputs: Sequence[str]) -> tuple[NodeProto, str] | None:
    """Return the first node above ``outputs`` that makes another tensor in a second run, and that tensor.

    None where every tensor is the same both times. ``graph`` must be sorted.
    """
    producers = {output: node for node in graph.nodes for output in node.output if output}
    for names in _portions(graph, _above(graph, outputs)):
        session = Session(graph, outputs=names)
        once, twice = session.run(feed), session.run(feed)
        for name in names:
            if not equal(once[name], twice[name]):
                return producers[name], name
    return None


def _cause(graph: Graph, feed: Mapping[str, Array], outputs: Sequence[str], drawn: Sequence[NodeProto]) -> str:
    flat = graph
    if graph.proto.functions:
        from graphtool.natives import inline_functions  # it is above what most of this package needs

        flat = graph.copy()
        inline_functions.apply(flat, {})
    try:
        found = first_differing(flat, feed, outputs)
    except GraphtoolError:  # a tensor that cannot be recorded, such as an optional
        found = None
    if found is None:
        return f" (node {_called(drawn[0])} draws at random)" if drawn else ""
    node, tensor = found
    inner = [other for body in bodies(node) for other in walk(body) if _draws(other)]
    if inner:
        listed = ", ".join(map(_called, inner[:3])) + (f" and {len(inner) - 3} more" if len(inner) > 3 else "")
        return f" (it starts in the body of node {_called(node)}: {listed} draws at random)"
    why = " draws at random" if _draws(node) else " does not compute the same twice from the same inputs"
    return f" (it starts at tensor {quoted(tensor)}: node {_called(node)}{why})"


def _everywhere(graph: Graph) -> Iterator[NodeProto]:
    yield from walk(graph.proto.graph)
    for function in graph.proto.functions:
        yield from walk(function)


def _draws(node: NodeProto) -> bool:
    """Whether an operator may draw at random; a Dropout without its third input does not, from opset 12 on."""
    return node.op_type in ops.RANDOM or (node.op_type == "Dropout" and (len(node.input) > 2 or len(node.input) == 1))


def _called(node: NodeProto) -> str:
    name = node.name or next(iter(node.output), "")
    return f"{quoted(name)} ({show(node.op_type)})"


def _above(graph: Graph, outputs: Sequence[str]) -> list[str]:
    """Return the tensors that ``outputs`` are computed from, themselves included, in topological order."""
    wanted, made = set(outputs), []
    for node in reversed(graph.nodes):
        if wanted.isdisjoint(node.output):
            continue
        made.append([name for name in node.output if name])
        wanted.update(node.input)
        wanted.update(captures(node))
    return [name for names in reversed(made) for name in names]


def _portions(graph: Graph, names: Sequence[str]) -> Iterator[list[str]]:
    """Yield the names in portions of bounded size, as far as sizes are known."""
    portion: list[str] = []
    size = 0
    for name in names:
        value = graph.value(name)
        dims = [dim for dim in (value.shape or () if value is not None else ()) if isinstance(dim, int)]
        known = value is not None and value.shape is not None and len(dims) == len(value.shape)
        own = 4 * math.prod(dims) if known else _UNKNOWN
        if portion and size + own > _TAPPED:
            yield portion
            portion, size = [], 0
        portion.append(name)
        size += own
    if portion:
        yield portion
