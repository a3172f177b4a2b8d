"""A part of a model by its nodes: tensors that other nodes make become inputs, with the values they had."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import NodeProto, ValueInfoProto, helper

from graphtool.graph import Graph
from graphtool.graph.bodies import captures
from graphtool.graph.declared import copied
from graphtool.graph.values import value_of

Array = NDArray[Any]


class UncutError(Exception):
    """A part cannot be a model of its own; the message says why."""


@dataclass(frozen=True, slots=True)
class Part:
    """Some nodes of a graph, by their places: what they read from outside and what they make for others, in order."""

    places: tuple[int, ...]
    reads: tuple[str, ...]
    makes: tuple[str, ...]


class Cutter:
    """Cuts parts out of one graph, which must not be edited."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.nodes: list[NodeProto] = list(graph.nodes)
        self._reads = [[name for name in (*node.input, *sorted(captures(node))) if name] for node in self.nodes]
        self._makes = [[name for name in node.output if name] for node in self.nodes]
        self._maker = {name: place for place, names in enumerate(self._makes) for name in names}
        self._inputs = {info.name: info for info in graph.proto.graph.input}
        self._outputs = {info.name: info for info in graph.proto.graph.output}
        self._read = {name for names in self._reads for name in names} | self._outputs.keys()

    @property
    def given(self) -> frozenset[str]:
        """The graph's own inputs that a run must be given."""
        return frozenset(value.name for value in self.graph.inputs)

    def makes(self, name: str) -> bool:
        """Whether a node of the graph makes a tensor."""
        return name in self._maker

    def part(self, places: Collection[int], outputs: Collection[str] | None = None) -> Part:
        """Return a part; ``outputs`` are those it is to have, by default the graph's and what only others read."""
        ordered = tuple(sorted(places))
        made = {name for place in ordered for name in self._makes[place]}
        read = dict.fromkeys(name for place in ordered for name in self._reads[place])
        constants = self.graph.initializers.keys() - self.given
        reads = tuple(name for name in read if name not in made and name not in constants)
        if outputs is None:
            wanted = (name for place in ordered for name in self._makes[place] if name in self._read)
            outputs = [name for name in wanted if name in self._outputs or name not in read]
        return Part(ordered, reads, tuple(name for name in dict.fromkeys(outputs) if name in made))

    def above(self, names: Sequence[str], within: Collection[int], stops: Collection[str]) -> Part:
        """Return what computes ``names`` out of ``stops``, among the nodes at some places."""
        allowed, front, chosen = set(within), list(names), set()
        for name in front:  # grows on the way
            place = None if name in stops else self._maker.get(name)
            if place is not None and place in allowed and place not in chosen:
                chosen.add(place)
                front += self._reads[place]
        return self.part(chosen, names)

    def model(self, part: Part, values: Mapping[str, Array]) -> Graph:
        """Return a part as a model; inputs that are inner tensors get type and shape of their ``values``.

        Raises UncutError where a type is not known, or the part makes nothing.
        """
        if not part.makes:
            raise UncutError("it makes nothing")
        source = self.graph.proto
        own = onnx.ModelProto(ir_version=source.ir_version)
        own.opset_import.extend(source.opset_import)
        called = {(self.nodes[place].domain, self.nodes[place].op_type) for place in part.places}
        if any((function.domain, function.name) in called for function in source.functions):
            own.functions.extend(source.functions)  # they may call each other
        graph = own.graph
        graph.name = source.graph.name or "g"
        graph.node.extend(self.nodes[place] for place in part.places)
        read = {name for place in part.places for name in self._reads[place]}
        graph.initializer.extend(t for t in source.graph.initializer if t.name in read and t.name not in part.reads)
        graph.sparse_initializer.extend(t for t in source.graph.sparse_initializer if t.values.name in read)
        held = {tensor.name for tensor in graph.initializer} | {t.values.name for t in graph.sparse_initializer}
        for name in (*part.reads, *(n for n in self._inputs if n in held)):
            graph.input.add().CopyFrom(self._inputs[name] if name in self._inputs else _info(name, values))
        for name in part.makes:
            graph.output.add().CopyFrom(self._described(name))
        return Graph(own, self.graph.weights, self.graph.path)

    def _described(self, name: str) -> ValueInfoProto:
        if name in self._outputs:
            return copied(self._outputs[name])
        value = self.graph.value(name)
        if value is None or value.kind != "tensor" or not value.dtype:
            raise UncutError(f"the type of {name} is not known")
        return helper.make_tensor_value_info(name, value.dtype, None)  # sizes may yet change

    def drawn(self, name: str, sizes: Mapping[str, int]) -> Array:
        """Return zeros in the type and shape that inference gives a tensor; raises UncutError where it gives none."""
        value = value_of(self._inputs[name]) if name in self._inputs else self.graph.value(name)
        if value is None or value.kind != "tensor" or not value.dtype or value.shape is None:
            raise UncutError(f"type and shape of {name} are not known")
        dims = [dim if isinstance(dim, int) else sizes.get(str(dim), 1) for dim in value.shape]
        dtype = helper.tensor_dtype_to_np_dtype(value.dtype)
        if dtype.kind in "OUS":
            raise UncutError(f"{name} holds strings")
        return np.ones(dims, dtype)


def _info(name: str, values: Mapping[str, Array]) -> ValueInfoProto:
    array = values.get(name)
    if array is None or array.dtype.hasobject or array.dtype.kind in "US":
        raise UncutError(f"the value of {name} is not known")
    return helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(array.dtype), array.shape)
