"""Write an ONNX graph with the names torch 1.8's exporter gives. Floor 6.

A node is called ``OpType_index`` after its place in the graph; tensors are numbered as they are made; weights go on
from where the tensors end, and constants that the exporter folded from where the weights end.
"""

from __future__ import annotations

from itertools import count

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import NodeProto, TensorProto, ValueInfoProto, helper, numpy_helper

Attribute = int | float | str | list[int] | TensorProto


class ExporterGraph:
    """Nodes and initializers in order, with the exporter's three running numbers."""

    def __init__(self, *, first_tensor: int, first_weight: int, first_folded: int) -> None:
        """Start the numbers of tensors, of weights and of folded constants."""
        self.nodes: list[NodeProto] = []
        self.initializers: list[TensorProto] = []
        self._tensors = count(first_tensor)
        self._weights = count(first_weight)
        self._folded = count(first_folded)

    def skip(self, numbers: int) -> None:
        """Leave out numbers, as the exporter does for values that it traced and then dropped."""
        for _ in range(numbers):
            next(self._tensors)

    def node(self, op_type: str, *inputs: str, **attributes: Attribute) -> str:
        """Append a node with one output and return the output's name."""
        output = str(next(self._tensors))
        node = NodeProto(op_type=op_type, name=f"{op_type}_{len(self.nodes)}", input=inputs, output=[output])
        node.attribute.extend(helper.make_attribute(name, attributes[name]) for name in sorted(attributes))
        self.nodes.append(node)
        return output

    def constant(self, value: NDArray[np.generic]) -> str:
        """Append a Constant node and return its output."""
        return self.node("Constant", value=numpy_helper.from_array(value))

    def weight_name(self) -> str:
        """Return the next weight's name; the caller may draw the weight by it."""
        return str(next(self._weights))

    def folded(self, value: NDArray[np.float32]) -> str:
        """Add a constant that the exporter folded into an initializer and return its name."""
        return self.initializer(str(next(self._folded)), value)

    def initializer(self, name: str, value: NDArray[np.float32]) -> str:
        """Add an initializer and return its name."""
        self.initializers.append(numpy_helper.from_array(value, name))
        return name

    def model(
        self, inputs: list[ValueInfoProto], outputs: list[ValueInfoProto], *, name: str, opset: int, ir_version: int
    ) -> onnx.ModelProto:
        """Return the graph as a model of the default domain at ``opset``."""
        graph = helper.make_graph(self.nodes, name, inputs, outputs, self.initializers)
        return helper.make_model(
            graph,
            producer_name="graphtool",
            ir_version=ir_version,
            opset_imports=[helper.make_opsetid("", opset)],
        )
