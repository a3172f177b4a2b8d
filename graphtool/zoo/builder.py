"""Write an ONNX graph with the names that torch 1.8's exporter gives. Floor 6.

A node is called ``OpType_index`` after its place in the graph; tensors are numbered as they are made; weights, and
constants that the exporter folded into initializers, have running numbers of their own.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import count

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import NodeProto, TensorProto, ValueInfoProto, helper, numpy_helper

Attribute = int | float | str | Sequence[int] | TensorProto


class ExporterGraph:
    """Nodes and initializers in order, with the exporter's three running numbers."""

    def __init__(self, *, first_tensor: int, first_weight: int, first_folded: int) -> None:
        self._nodes: list[NodeProto] = []
        self._initializers: list[TensorProto] = []
        self._tensors = count(first_tensor)
        self._weights = count(first_weight)
        self._folded = count(first_folded)

    def node(self, op_type: str, *inputs: str, **attributes: Attribute) -> str:
        """Append a node with one output and return the output's name."""
        output = str(next(self._tensors))
        self._nodes.append(
            helper.make_node(op_type, inputs, [output], f"{op_type}_{len(self._nodes)}", None, None, None, **attributes)
        )
        return output

    def constant(self, value: NDArray[np.generic]) -> str:
        """Append a Constant node and return its output's name."""
        return self.node("Constant", value=numpy_helper.from_array(value))

    def skip(self, numbers: int) -> None:
        """Leave tensor numbers out, as the exporter does for values that it traced and then dropped."""
        for _ in range(numbers):
            next(self._tensors)

    def weight_name(self) -> str:
        """Return the name of the next weight; a seeded weight is drawn by its name."""
        return str(next(self._weights))

    def folded(self, value: NDArray[np.float32]) -> str:
        """Add a constant that the exporter folded into an initializer and return its name."""
        return self.initializer(str(next(self._folded)), value)

    def initializer(self, name: str, value: NDArray[np.float32]) -> str:
        """Add an initializer and return its name."""
        self._initializers.append(numpy_helper.from_array(value, name))
        return name

    def model(
        self,
        inputs: Sequence[ValueInfoProto],
        outputs: Sequence[ValueInfoProto],
        *,
        name: str,
        opset: int,
        ir_version: int,
    ) -> onnx.ModelProto:
        """Return the graph, called ``name``, as a model of the default domain at ``opset``."""
        return helper.make_model(
            helper.make_graph(self._nodes, name, inputs, outputs, self._initializers),
            producer_name="graphtool",
            ir_version=ir_version,
            opset_imports=[helper.make_opsetid("", opset)],
        )
