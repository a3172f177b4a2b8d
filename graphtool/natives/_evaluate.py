"""The value of a node whose inputs are known, computed in this process; see the two modules of evaluators."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from onnx import NodeProto

from graphtool.natives._arithmetic import ARITHMETIC
from graphtool.natives._call import Array, Call, Elsewhere, Undefined
from graphtool.natives._moves import MOVES

EVALUATORS = {**MOVES, **ARITHMETIC}

__all__ = ["EVALUATORS", "Array", "Undefined", "evaluate"]


def evaluate(node: NodeProto, opset: int, inputs: Sequence[Array | None], limit: int) -> list[Array] | None:
    """Return the outputs of a node of the default domain, bit-equal to onnxruntime's; None where that is its job.

    ``limit`` is the most bytes that a result computed here may take. Raises Undefined, with the reason, where the node
    has no value.
    """
    evaluator = EVALUATORS.get(node.op_type)
    if evaluator is None:
        return None
    try:
        with np.errstate(all="ignore"):
            results = evaluator(Call(node, opset, inputs, limit))
    except (Elsewhere, ArithmeticError, IndexError, TypeError, ValueError):
        return None  # what numpy refuses is for onnxruntime to compute or to refuse
    return results if len(results) == len(node.output) else None
