"""Parts of a graph that run alone: some of its nodes, fed with the tensors that they read from the others.

A part computes what its nodes compute in the whole, bit for bit: optimizations are off, each node is the same kernel,
and weights and Constant nodes stay constants.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from typing import Any

import onnx
from numpy.typing import NDArray
from onnx import NodeProto, TensorProto, helper

from graphtool.graph import Graph
from graphtool.graph import opset as ops
from graphtool.graph.bodies import captures, has_bodies, walk
from graphtool.graph.calls import Library
from graphtool.parity.hashes import Numbered
from graphtool.parity.session import Session

Array = NDArray[Any]

# ops that are most of a network's work; any other counts a twentieth
_HEAVY = frozenset(
    "Attention Conv ConvInteger ConvTranspose DeformConv Einsum Gemm GRU If Loop LSTM MatMul MatMulInteger "
    "QLinearConv QLinearMatMul RNN Scan".split()
)
LIGHT = 0.05


class View:
    """A graph that nobody edits any more, its tensors' numbers, and its nodes by place in graph order."""

    def __init__(self, graph: Graph, numbered: Numbered) -> None:
        self.graph = graph
        self.numbered = numbered
        self.nodes = graph.nodes

    @cached_property
    def makers(self) -> dict[str, int]:
        """Place of the node that makes a value, by the value's name."""
        return {name: place for place, node in enumerate(self.nodes) for name in node.output if name}

    @cached_property
    def names(self) -> dict[int, str]:
        """A value's name by the number that its readers see."""
        return {number: name.decode() for name, number in self.numbered.values.items()}

    @cached_property
    def library(self) -> Library:
        """The local functions: a part takes along those that it calls, for onnxruntime reads all that it is given."""
        return Library(self.graph.proto.functions)

    @cached_property
    def weight(self) -> float:
        """How much work the whole graph is, in nodes of the heavy kind."""
        return work(self.nodes)

    def is_constant(self, name: str) -> bool:
        """Whether a value is a weight or made by a Constant node: it goes with the nodes that read it."""
        if name in self.makers:
            return is_constant(self.nodes[self.makers[name]])
        sparse = (tensor.values.name for tensor in self.graph.header.sparse_initializer)
        return name in self.graph.initializers or name in sparse


def is_constant(node: NodeProto) -> bool:
    """Whether this is a Constant node."""
    return node.op_type == "Constant" and node.domain in ("", "ai.onnx")


def reads(node: NodeProto) -> list[str]:
    """Return the values that a node reads, those that its bodies capture included."""
    found = [name for name in node.input if name]
    return [*found, *sorted(captures(node))] if has_bodies(node) else found


def work(nodes: Iterable[NodeProto]) -> float:
    """Return how much work nodes are, in nodes of the heavy kind."""
    return sum(weigh(node) for node in nodes)


def weigh(node: NodeProto) -> float:
    """Return how much work a node is, in nodes of the heavy kind."""
    return 1.0 if node.op_type in _HEAVY or node.domain not in ("", "ai.onnx") else LIGHT


def draws(graph: Graph) -> bool:
    """Whether a node of the graph or of its bodies may give another result each time."""
    return any(
        node.op_type in ops.RANDOM or (node.op_type == "Dropout" and len(node.input) > 2)
        for part in (graph.proto.graph, *graph.proto.functions)
        for node in walk(part)
    )


def part(view: View, places: Iterable[int], given: Mapping[str, Array], outputs: Sequence[str]) -> Graph:
    """Return a graph of the nodes at ``places``: its inputs are what these read from others and ``given`` has.

    Weights and Constant nodes that they read come along. KeyError where a value is read that is nowhere.
    """
    graph = view.graph
    wanted = set(places)
    made = {name for place in wanted for name in view.nodes[place].output}
    inputs: list[onnx.ValueInfoProto] = []
    weights: list[TensorProto | str] = []  # a sparse one by name
    for name in sorted({name for place in wanted for name in reads(view.nodes[place])} - made):
        if name in given:
            code = helper.np_dtype_to_tensor_dtype(given[name].dtype)
            inputs.append(helper.make_tensor_value_info(name, code, given[name].shape))
        elif name in graph.initializers:
            weights.append(graph.initializers[name])
        elif name in view.makers:
            assert is_constant(view.nodes[view.makers[name]]), f"{name} is no constant, and nothing is given for it"
            wanted.add(view.makers[name])
        else:
            weights.append(name)
    proto = onnx.ModelProto(ir_version=max(graph.proto.ir_version, 4))
    proto.opset_import.extend(graph.proto.opset_import)
    proto.functions.extend(view.library.called(view.nodes[place] for place in wanted))
    own = proto.graph
    own.name = "part"
    own.node.extend(view.nodes[place] for place in sorted(wanted))
    own.input.extend(inputs)
    own.output.extend(onnx.ValueInfoProto(name=name) for name in outputs)
    for weight in weights:
        if isinstance(weight, str):
            sparse = {tensor.values.name: tensor for tensor in graph.header.sparse_initializer}
            own.sparse_initializer.add().CopyFrom(sparse[weight])
        else:
            own.initializer.add().CopyFrom(weight)
    return Graph(proto, graph.weights, graph.path)


def run_part(view: View, places: Iterable[int], given: Mapping[str, Array], outputs: Sequence[str]) -> dict[str, Array]:
    """Run the nodes at ``places`` on ``given`` and return some of what they make; RunError where that fails."""
    own = part(view, places, given, outputs)
    return Session(own, outputs).run({value.name: given[value.name] for value in own.inputs})
