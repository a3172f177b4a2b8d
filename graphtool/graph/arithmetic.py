"""Shape arithmetic: the computations on a few numbers by which exporters make the shapes of Reshape, Resize, Slice ...

``onnx``'s own data propagation knows a handful of these operators; here all pure ones that occur in such chains are
evaluated, so that a chain of Shape, Slice, Concat and Resize gets static shapes.
"""

from __future__ import annotations

import math

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import NodeProto, TensorProto, helper

from graphtool.errors import ModelError
from graphtool.graph.values import Value
from graphtool.graph.weights import Weights

Array = NDArray[np.generic]
_SMALL = 256  # elements
# pure, and small in time and memory on small inputs
_PURE = frozenset(
    "Abs Add And Cast Ceil Concat Div Equal Flatten Floor Gather Greater GreaterOrEqual Identity Less LessOrEqual Mod "
    "Mul Neg Not Or Reciprocal ReduceMax ReduceMin ReduceProd ReduceSum Reshape Round Slice Split Sqrt Squeeze Sub "
    "Transpose Unsqueeze".split()
)
_GROWING = frozenset({"Expand", "Max", "Min", "Sum", "Where"})  # broadcast many inputs, and make much of little
_MEASURES = frozenset({"Shape", "Size"})


class ShapeArithmetic:
    """Evaluates the shape arithmetic of a model, step by step as inference learns more.

    The model is one that :func:`graphtool.graph.shapes.weightless` made: each initializer is small and constant.
    """

    def __init__(self, model: onnx.ModelProto) -> None:
        graph = model.graph
        self._opsets = list(model.opset_import)
        self._nodes: list[NodeProto] = []
        self._constants: dict[str, TensorProto | NodeProto] = {tensor.name: tensor for tensor in graph.initializer}
        for node in graph.node:
            if node.domain in ("", "ai.onnx") and node.output and all(node.output):
                if node.op_type == "Constant":
                    self._constants[node.output[0]] = node
                elif node.op_type in _PURE | _GROWING | _MEASURES:
                    self._nodes.append(node)
        self._known: dict[str, Array | None] = {}  # None: has no small value that could be read

    def step(self, values: dict[str, Value]) -> dict[str, Array]:
        """Return what has become computable since the last step, by value name; ``values`` are the facts so far."""
        new: dict[str, Array] = {}
        left = []
        for node in self._nodes:
            results = self._evaluate(node, values)
            if results is None:
                left.append(node)
                continue
            for name, result in zip(node.output, results, strict=True):
                fits = result.size <= _SMALL and result.dtype.kind in "biuf"
                self._known[name] = result if fits else None
                if fits:
                    new[name] = result
        self._nodes = left
        return new

    def _evaluate(self, node: NodeProto, values: dict[str, Value]) -> list[Array] | None:
        """Return the outputs of ``node``; None where they are not computable, or not yet."""
        if node.op_type in _MEASURES:
            source = values.get(node.input[0]) if node.input else None
            if source is None or not source.static:
                return None
            # a view of one number has any shape and no memory
            return self._run(node, {source.name: np.broadcast_to(np.float32(0), source.dims)})
        feed: dict[str, Array] = {}
        for name in filter(None, node.input):  # an empty name is an absent optional input
            array = self._constant(name)
            if array is None:
                return None
            feed[name] = array
        return None if node.op_type in _GROWING and _grows(node, feed) else self._run(node, feed)

    def _constant(self, name: str) -> Array | None:
        if name not in self._known and name in self._constants:
            self._known[name] = _small_constant(self._constants[name])
        return self._known.get(name)

    def _run(self, node: NodeProto, feed: dict[str, Array]) -> list[Array] | None:
        from onnx.reference import ReferenceEvaluator  # many models have nothing to evaluate

        inputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in feed]  # types are not read
        outputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in node.output]
        one = helper.make_model(helper.make_graph([node], "one", inputs, outputs), opset_imports=self._opsets)
        try:
            with np.errstate(all="ignore"):
                return [np.asarray(array) for array in ReferenceEvaluator(one).run(None, feed)]
        except Exception:  # whatever the arithmetic of a stranger's model runs into: the value stays unknown
            return None


def _small_constant(source: TensorProto | NodeProto) -> Array | None:
    reader = Weights(None, None)
    try:
        if isinstance(source, TensorProto):
            return reader.array(source) if math.prod(source.dims) <= _SMALL else None
        if any(math.prod(attribute.t.dims) > _SMALL for attribute in source.attribute):
            return None
        array = reader.constant(source)
    except ModelError:
        return None
    return array if array is not None and array.size <= _SMALL else None


def _grows(node: NodeProto, feed: dict[str, Array]) -> bool:
    shapes = [feed[name].shape for name in node.input if name]
    if node.op_type == "Expand":
        shapes[1] = tuple(feed[node.input[1]].tolist())
    try:
        return math.prod(np.broadcast_shapes(*shapes)) > _SMALL
    except (TypeError, ValueError):
        return True
