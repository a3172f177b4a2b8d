"""The ONNX reference evaluator, for graphs with an operator, or element types, that onnxruntime lacks on the CPU.

It is numpy, slow, and follows the specification node by node; its last bits are not those of onnxruntime, so a graph
is compared with itself on one of the two.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import numpy_helper
from onnx.reference import ReferenceEvaluator
from onnx.reference.op_run import OpRun

from graphtool import guard
from graphtool.errors import show
from graphtool.graph import Graph
from graphtool.graph.save import full_model
from graphtool.parity.runerror import RunError

Array = NDArray[Any]


class BatchNormalization(OpRun):
    """BatchNormalization of opsets 9 to 13 at inference, by the specification.

    onnx's own (1.23, op_batch_normalization.py) takes it for training wherever ``momentum`` has a value, which is
    always: its default is one.
    """

    op_domain = ""

    def _run(
        self, x: Array, scale: Array, bias: Array, mean: Array, var: Array, epsilon: float = 1e-5, **_: object
    ) -> tuple[Array]:
        along = (-1, *[1] * (x.ndim - 2))
        factor = scale.reshape(along) / np.sqrt(var.reshape(along) + epsilon)
        return (((x - mean.reshape(along)) * factor + bias.reshape(along)).astype(x.dtype),)


class Reference:
    """A graph ready to be evaluated; raises RunError where the evaluator lacks an operator too."""

    def __init__(self, graph: Graph, weights: Mapping[str, Array] | None = None) -> None:
        model = full_model(graph)
        for tensor in model.graph.initializer:
            if weights is not None and tensor.name in weights:
                tensor.CopyFrom(numpy_helper.from_array(weights[tensor.name], tensor.name))
        trains = any(len(node.output) > 1 for node in graph.nodes if node.op_type == "BatchNormalization")
        opset = graph.opset()
        own: list[type[OpRun]] = [BatchNormalization] if opset is not None and 9 <= opset < 14 and not trains else []
        try:
            self._evaluator = ReferenceEvaluator(model, new_ops=own)
        except Exception as error:  # of its own kinds for each thing it lacks
            raise RunError(f"onnx's reference evaluator cannot take the graph: {_line(error)}", "op") from None

    def run(self, outputs: Sequence[str], arrays: Mapping[str, Any]) -> list[Any]:
        """Return the tensors of those names, inner ones too; a sequence is given as a list, nothing as None."""
        try:
            with guard.phase("onnx's reference evaluator runs the graph"), np.errstate(all="ignore"):
                return list(self._evaluator.run(list(outputs), dict(arrays)))
        except Exception as error:  # operators raise whatever numpy does
            raise RunError(f"onnx's reference evaluator cannot run the graph: {_line(error)}", "run") from None


def _line(error: Exception) -> str:
    return show(" ".join(str(error).split()) or type(error).__name__, 200)
