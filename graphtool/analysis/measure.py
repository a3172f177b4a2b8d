"""What the nodes of a model cost, one by one: multiply-adds, bytes in and out, weights; and the model as a whole."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from onnx import NodeProto

from graphtool.analysis.amounts import Amount, total_of
from graphtool.analysis.madds import madds
from graphtool.analysis.memory import Peak, peak
from graphtool.analysis.sizes import Sized, Sizes
from graphtool.graph import Graph
from graphtool.graph.bodies import all_tensors
from graphtool.rewrite.result import label

_SCOPES = "pkg.torch.onnx.name_scopes"  # what torch's exporter notes of the modules around a node
TOP = "(top)"


@dataclass(frozen=True, slots=True)
class NodeCost:
    """One node. Bytes are those of whole tensors: activations read, values made, constants read, each value once.

    ``body`` is the path of nodes whose bodies it is in; what is counted is one run of the body.
    """

    name: str
    op: str
    domain: str
    scope: str
    body: str
    inputs: tuple[Sized, ...]
    outputs: tuple[Sized, ...]
    madds: Amount | None
    bytes_in: Amount | None
    bytes_out: Amount | None
    weights: Amount | None


@dataclass(frozen=True, slots=True)
class Group:
    """Nodes that belong together, summed: by op type or by scope. ``unknown`` counts figures that are not known."""

    key: str
    nodes: int
    madds: Amount
    bytes_in: Amount
    bytes_out: Amount
    weights: Amount
    unknown: int


@dataclass(frozen=True, slots=True)
class ModelCost:
    """A whole model. ``parameters`` and ``weight_bytes`` count each constant once; ``bodies`` nodes are in bodies."""

    nodes: tuple[NodeCost, ...]
    parameters: Amount
    weight_bytes: Amount
    peak: Peak
    calls: tuple[str, ...] = field(default=())

    @property
    def total(self) -> Group:
        """All nodes summed."""
        return _summed("total", self.nodes)

    @property
    def bodies(self) -> int:
        """How many nodes are in bodies of If, Loop and Scan."""
        return sum(bool(node.body) for node in self.nodes)

    def groups(self, by: str, depth: int | None = None) -> list[Group]:
        """Return the nodes grouped by ``op`` or ``scope`` (its first ``depth`` parts), the costly groups first."""
        key: Callable[[NodeCost], str] = op_of if by == "op" else lambda node: _cut(node.scope, depth)
        found: dict[str, list[NodeCost]] = {}
        for node in self.nodes:
            found.setdefault(key(node), []).append(node)
        return sorted((_summed(name, nodes) for name, nodes in found.items()), key=weight)


def op_of(node: NodeCost) -> str:
    """Return the op type, with its domain where that is not the default one."""
    return node.op if node.domain in ("", "ai.onnx") else f"{node.domain}.{node.op}"


def weight(item: NodeCost | Group) -> tuple[int, int, int, str]:
    """Return a key that sorts what costs most to the front: by multiply-adds, then by bytes. Open sizes count first."""
    moved = total_of((item.bytes_in, item.bytes_out, item.weights))[0]
    amounts = [total_of([item.madds])[0], moved]
    open_ = sum(not isinstance(amount, int) for amount in amounts)
    numbers = [-amount if isinstance(amount, int) else 0 for amount in amounts]
    return -open_, numbers[0], numbers[1], item.key if isinstance(item, Group) else item.name


def measure(graph: Graph) -> ModelCost:
    """Return what a model costs; sizes are those that inference finds, symbols where inputs are open."""
    nodes = tuple(_nodes(graph, ""))
    parameters: Amount = 0
    held: Amount = 0
    for tensor in all_tensors(graph.proto):
        sized = Sized(tensor.name, tensor.data_type, tuple(tensor.dims), True)
        parameters = parameters + (sized.elements or 0)
        held = held + (sized.bytes or 0)
    functions = {(function.domain, function.name) for function in graph.proto.functions}
    calls = sorted({op_of(node) for node in nodes if (node.domain, node.op) in functions})
    return ModelCost(nodes, parameters, held, peak(graph, Sizes(graph)), tuple(calls))


def madds_and_bytes(graph: Graph) -> tuple[Amount, Amount]:
    """Return a model's multiply-adds and the bytes that its nodes read and write, where they are known."""
    total = _summed("total", tuple(_nodes(graph, "")))
    return total.madds, total.bytes_in + total.bytes_out + total.weights


def _nodes(graph: Graph, body: str) -> Iterator[NodeCost]:
    sizes = Sizes(graph)
    for node in graph.nodes:
        if node.op_type != "Constant" or node.domain not in ("", "ai.onnx"):
            yield _cost(node, sizes, graph.opset(node.domain), body)
    for inner in graph.bodies():
        yield from _nodes(inner, f"{body}/{inner.header.name or 'body'}")


def _cost(node: NodeProto, sizes: Sizes, version: int | None, body: str) -> NodeCost:
    inputs = tuple(sizes.of(name) if name else Sized("", 0, None) for name in node.input)
    outputs = tuple(sizes.of(name) for name in node.output if name)
    # Shape and Size look at what a tensor is, not into it
    looked = node.op_type in ("Shape", "Size") and node.domain in ("", "ai.onnx")
    read = list(dict.fromkeys(value for value in inputs if value.name and not looked))
    return NodeCost(
        label(node), node.op_type, node.domain, _scope(node), body, inputs, outputs,
        madds(node, inputs, outputs, version),
        _all(value.bytes for value in read if not value.constant),
        _all(value.bytes for value in outputs),
        _all(value.bytes for value in read if value.constant),
    )  # fmt: skip


def _all(amounts: Iterable[Amount | None]) -> Amount | None:
    total, unknown = total_of(amounts)
    return None if unknown else total


def _summed(key: str, nodes: Sequence[NodeCost]) -> Group:
    columns = [
        total_of(getattr(node, name) for node in nodes) for name in ("madds", "bytes_in", "bytes_out", "weights")
    ]
    sums = [total for total, _ in columns]
    return Group(key, len(nodes), sums[0], sums[1], sums[2], sums[3], sum(unknown for _, unknown in columns))


def _scope(node: NodeProto) -> str:
    """Return the module that a node comes from: what torch notes, or the path in its name."""
    for entry in getattr(node, "metadata_props", ()):
        if entry.key == _SCOPES:
            try:
                names = ast.literal_eval(entry.value)
            except (ValueError, SyntaxError, MemoryError, RecursionError):
                continue
            if isinstance(names, list) and len(names) > 1:
                return str(names[-2]).replace(".", "/") or TOP
    return node.name.strip("/").rpartition("/")[0] or TOP


def _cut(scope: str, depth: int | None) -> str:
    return scope if depth is None else "/".join(scope.split("/")[:depth])
