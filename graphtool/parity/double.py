"""Truth: a few nodes computed in float64, to say which of two float32 results is nearer to it.

onnxruntime lacks float64 kernels for Conv, Resize and most pools, so they have forms of their own here (Conv,
ConvTranspose and pools in ``double_windows``, Resize in ``double_resize``, the rest in ``double_math``). Whatever
else a match contains goes through onnx's reference implementation, given float64, where that runs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from onnx import NodeProto, TensorProto, helper
from onnx.reference import ReferenceEvaluator

from graphtool.errors import show
from graphtool.parity.double_math import (
    BROADCAST,
    GLOBAL_POOL,
    OTHER,
    REDUCE,
    UNARY,
    Array,
    Attributes,
    Form,
    Inputs,
    NoTruth,
    given,
    optional,
)
from graphtool.parity.double_resize import resize, upsample
from graphtool.parity.double_windows import average_pool, conv, conv_transpose, max_pool
from graphtool.parity.eps import eps_of

__all__ = ["NoTruth", "evaluate"]

_WINDOWS: dict[str, Form] = {
    "AveragePool": lambda inputs, attributes, opset: average_pool(given(inputs, 0), attributes),
    "Conv": lambda inputs, attributes, opset: conv(given(inputs, 0), given(inputs, 1), optional(inputs, 2), attributes),
    "ConvTranspose": lambda inputs, attributes, opset: conv_transpose(
        given(inputs, 0), given(inputs, 1), optional(inputs, 2), attributes
    ),
    "MaxPool": lambda inputs, attributes, opset: max_pool(given(inputs, 0), attributes),
    "Resize": resize,
    "Upsample": upsample,
}
_FORMS: dict[str, Form] = {**UNARY, **BROADCAST, **REDUCE, **GLOBAL_POOL, **OTHER, **_WINDOWS}
# what onnx's reference implementation may compute: moves and plain mathematics whose results agreed with onnxruntime on
# the public test models. It ignores the meaning of some operators at old opsets (RoiAlign, Hardmax), so not everything.
_REFERENCE = frozenset(
    """Abs Acos Acosh Add And ArgMax ArgMin Asin Asinh Atan Atanh Cast CastLike Ceil Celu Clip Compress Concat Constant
    ConstantOfShape Cos Cosh CumSum DepthToSpace Det Div Dropout Einsum Elu Equal Expand Flatten Floor GRU
    Gather GatherElements GatherND Greater GreaterOrEqual GroupNormalization HardSigmoid HardSwish Identity
    InstanceNormalization IsInf IsNaN LSTM Less LessOrEqual LpNormalization MatMul Max Mean Min Mish Mod Mul Neg
    NonZero Not Or PRelu Pow Range ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp ReduceMax ReduceMin ReduceProd
    ReduceSum ReduceSumSquare Reshape Resize Round ScatterElements ScatterND Selu Shape Shrink Sign Sin Sinh
    Size Slice Softplus Softsign SpaceToDepth Split Squeeze Sub Sum Swish Tan ThresholdedRelu Tile TopK
    Transpose Trilu Unsqueeze Where Xor""".split()
)
_FLOATS = frozenset(
    code for name, code in TensorProto.DataType.items() if "FLOAT" in name or name == "DOUBLE"
)  # BFLOAT16 and the 8-bit types too


def evaluate(
    nodes: Sequence[NodeProto], values: Mapping[str, Array], opset: int, wanted: Sequence[str]
) -> dict[str, Array]:
    """Compute ``nodes`` in order and return the tensors ``wanted``, floating-point ones as float64.

    ``values`` holds what the nodes read from outside, constants included. A node whose outputs are all there already
    (a Constant, say) is not computed. Casts between floating-point types are exact here: truth is about real numbers.
    Raises NoTruth where a node has no float64 form.
    """
    known = dict(values)
    for node in nodes:
        if all(name in known for name in node.output if name):
            continue
        missing = next((name for name in node.input if name and name not in known), None)
        if missing is not None:
            raise NoTruth(f"{show(node.op_type)} reads a tensor that was not recorded")
        inputs: Inputs = []
        for name in node.input:
            if name:
                known[name] = _lifted(known[name])
            inputs.append(known[name] if name else None)
        with np.errstate(all="ignore"):
            results = _apply(node, inputs, opset)
        known.update((name, array) for name, array in zip(node.output, results, strict=False) if name)
    missing = next((name for name in wanted if name not in known), None)
    if missing is not None:
        raise NoTruth("a wanted tensor is made by none of the nodes")
    return {name: _lifted(known[name]) for name in wanted}


def _lifted(array: Array) -> Array:
    return array.astype(np.float64, copy=False) if eps_of(array.dtype) and array.dtype.kind in "fV" else array


def _apply(node: NodeProto, inputs: Inputs, opset: int) -> list[Array]:
    if node.domain not in ("", "ai.onnx"):
        raise NoTruth(f"{show(node.op_type)} has no float64 form")
    attributes: Attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute}
    first = optional(inputs, 0)
    real = first is not None and first.dtype == np.float64
    if node.op_type == "Cast" and attributes["to"] in _FLOATS and first is not None and first.dtype.kind in "biuf":
        return [first.astype(np.float64)]
    if node.op_type == "Dropout" and (training := optional(inputs, 2)) is not None and training.any():
        raise NoTruth("Dropout in training is random")
    form = _FORMS.get(node.op_type)
    if form is None or not real:
        return _by_reference(node, inputs, opset)
    try:
        return [form(inputs, attributes, opset)]  # a second output (indices, a mean) stays unknown
    except (ArithmeticError, LookupError, ValueError):  # numpy, of an axis of 2^32, which onnxruntime takes for 0
        raise NoTruth(f"{show(node.op_type)} has an attribute that fits no tensor it reads") from None
    except NoTruth as reason:
        try:
            return _by_reference(node, inputs, opset)
        except NoTruth:
            raise NoTruth(f"{show(node.op_type)} has no float64 form: {reason}") from None


def _by_reference(node: NodeProto, inputs: Inputs, opset: int) -> list[Array]:
    """Run one node through onnx's reference implementation."""
    if node.op_type not in _REFERENCE:
        raise NoTruth(f"{show(node.op_type)} has no float64 form")
    feed = {name: array for name, array in zip(node.input, inputs, strict=True) if array is not None}
    graph = helper.make_graph(
        [node],
        "one",
        [helper.make_tensor_value_info(n, helper.np_dtype_to_tensor_dtype(a.dtype), a.shape) for n, a in feed.items()],
        [helper.make_tensor_value_info(name, 0, None) for name in node.output if name],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    try:
        found: list[Any] = list(ReferenceEvaluator(model).run(None, feed))
    except Exception as error:  # the reference is Python of many hands: any exception says that it cannot
        raise NoTruth(f"{show(node.op_type)} has no float64 form") from error
    for place, result in enumerate(found):
        if not isinstance(result, np.ndarray | np.generic):
            raise NoTruth(f"{show(node.op_type)} has no float64 form")
        array = np.asarray(result)
        if array.dtype.kind in "fV" and array.dtype != np.float64:
            # float32 constants are exact and may be lifted; a float32 result of float64 inputs lost what it is for
            if any(a.dtype == np.float64 for a in feed.values()) or not eps_of(array.dtype):
                raise NoTruth(f"{show(node.op_type)} has no float64 form")
            array = array.astype(np.float64)
        found[place] = array
    names = iter(found)
    return [next(names) if name else np.empty(0) for name in node.output]
