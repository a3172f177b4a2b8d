"""Local functions that call each other: no circle, no depth that ends a parser, no size that ends a machine.

onnx and onnxruntime put the body of a function in place of each call, so forty functions that each call the next one
twice are a trillion nodes. ONNX IR: "model-local functions must not be recursive".
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from graphlib import CycleError, TopologicalSorter

from onnx import FunctionProto, ModelProto, NodeProto

from graphtool.errors import ModelError, quoted
from graphtool.graph.bodies import bodies, walk

_DEEPEST = 100  # calls in each other; onnx 1.23 refuses more
_MOST_NODES = 2_000_000  # that a model may have once its functions are written out

_Key = tuple[str, str, str]


def check_calls(model: ModelProto) -> None:
    """Raise ModelError where the model's functions call each other without end, too deeply or too often."""
    if not model.functions:
        return
    calls = {_key(function): Counter(map(_called, walk(function))) for function in model.functions}
    known = calls.keys()
    inner = {key: [other for other in found if other in known] for key, found in calls.items()}
    try:
        order = list(TopologicalSorter(inner).static_order())
    except CycleError as error:
        circle = " -> ".join(quoted(key[1]) for key in error.args[1])
        raise ModelError(f"local functions call each other in a circle: {circle}; ONNX forbids that") from None
    depth: dict[_Key, int] = {}
    nodes: dict[_Key, int] = {}
    for key in order:
        depth[key] = 1 + max((depth[other] for other in inner[key]), default=0)
        nodes[key] = sum(count * nodes.get(other, 1) for other, count in calls[key].items())
    deepest = max(depth, key=depth.__getitem__)
    if depth[deepest] > _DEEPEST:
        raise ModelError(
            f"local function {quoted(deepest[1])} calls others {depth[deepest]} deep; onnx follows {_DEEPEST}"
        )
    total = sum(nodes.get(_called(node), 1) for node in walk(model.graph))
    if total > _MOST_NODES:
        raise ModelError(f"the model has {total:.3g} nodes once its local functions are written out; that is too many")


class Library:
    """Local functions by what calls them, overloads of one name together; the order is that of the model."""

    def __init__(self, functions: Iterable[FunctionProto]) -> None:
        self._functions = list(functions)
        self._places: dict[tuple[str, str], list[int]] = {}
        for place, function in enumerate(self._functions):
            self._places.setdefault((_plain(function.domain), function.name), []).append(place)

    def called(self, nodes: Iterable[NodeProto]) -> list[FunctionProto]:
        """Return the functions that ``nodes`` or their bodies call, directly or through another function."""
        if not self._functions:
            return []
        used: set[int] = set()
        queue = list(nodes)
        while queue:
            node = queue.pop()
            for place in self._places.get((_plain(node.domain), node.op_type), ()):
                if place not in used:
                    used.add(place)
                    queue += self._functions[place].node
            queue += [inner for body in bodies(node) for inner in body.node]
        return [self._functions[place] for place in sorted(used)]


def _plain(domain: str) -> str:
    return "" if domain == "ai.onnx" else domain


def _key(function: FunctionProto) -> _Key:
    return function.domain, function.name, getattr(function, "overload", "")


def _called(node: NodeProto) -> _Key:
    return node.domain, node.op_type, getattr(node, "overload", "")
