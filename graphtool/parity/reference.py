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

from graphtool import guard
from graphtool.errors import show
from graphtool.graph import Graph
from graphtool.graph.save import full_model
from graphtool.parity.runerror import RunError

Array = NDArray[Any]


class Reference:
    """A graph ready to be evaluated; raises RunError where the evaluator lacks an operator too."""

    def __init__(self, graph: Graph, weights: Mapping[str, Array] | None = None) -> None:
        model = full_model(graph)
        for tensor in model.graph.initializer:
            if weights is not None and tensor.name in weights:
                tensor.CopyFrom(numpy_helper.from_array(weights[tensor.name], tensor.name))
        try:
            self._evaluator = ReferenceEvaluator(model)
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
