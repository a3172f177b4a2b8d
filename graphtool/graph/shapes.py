"""Types and shapes of all tensors, by onnx's shape inference and by evaluating shape arithmetic.

Stored value_info of inner tensors is dropped first: exporters write wrong ones (one symbol for two different
dimensions, stale shapes), and inference would believe them. Large weights enter as typed graph inputs, so inference
copies kilobytes, not the weights.
"""

from __future__ import annotations

import re
from itertools import chain
from typing import TYPE_CHECKING

import onnx
from onnx import AttributeProto, NodeProto, TensorProto, helper, numpy_helper, shape_inference

from graphtool.graph.arithmetic import ShapeArithmetic
from graphtool.graph.bodies import bodies, tensors
from graphtool.graph.fields import keep_only
from graphtool.graph.values import Value, value_of
from graphtool.graph.weights import LAZY_BYTES, is_external, is_lazy, make_inline, payload_bytes

if TYPE_CHECKING:
    from graphtool.graph.model import Graph

_ROUNDS = 64  # a chain of that many resizes, each sized by the shape of the one before
_VECTORS = 2**20  # elements of all 1-D tensors; onnx's data propagation takes 125 bytes for each of them
_INVENTED = re.compile(r"unk__\d+")


def infer(graph: Graph) -> dict[str, Value]:
    """Return what is known of each value in the main graph, by name. Symbols are those of the model, never new ones."""
    proto = graph.proto
    model = weightless(proto)
    for info in model.graph.output:  # a declared output shape may be stale after an edit
        info.ClearField("type")
    own = {d.dim_param for i in (*proto.graph.input, *proto.graph.output) for d in i.type.tensor_type.shape.dim}
    arithmetic = ShapeArithmetic(model)
    values = _one_inference(model, own, data_prop=False)
    for _ in range(_ROUNDS):
        if all(name in values and values[name].static for node in model.graph.node for name in node.output if name):
            break
        data_prop = sum(value.dims[0] for value in values.values() if value.rank == 1 and value.static) < _VECTORS
        values = _one_inference(model, own, data_prop)
        new = arithmetic.step(values)
        if not new:
            break
        # the node stays where it is; inference takes the value from the Constant that replaces it
        for node in model.graph.node:
            if len(node.output) == 1 and node.output[0] in new:
                name = node.output[0]
                node.CopyFrom(helper.make_node("Constant", [], [name], value=numpy_helper.from_array(new[name])))
    for info in proto.graph.output:
        values[info.name] = _merged(values.get(info.name), value_of(info))
    inputs = {info.name for info in proto.graph.input}
    for tensor in proto.graph.initializer:
        if proto.ir_version < 4 or tensor.name not in inputs:
            values[tensor.name] = Value(tensor.name, tensor.data_type, tuple(tensor.dims))
    return values


def _one_inference(model: onnx.ModelProto, own_symbols: set[str], data_prop: bool) -> dict[str, Value]:
    try:
        result = shape_inference.infer_shapes(model, strict_mode=False, data_prop=data_prop)
    except (shape_inference.InferenceError, RuntimeError, ValueError):
        result = model  # nothing beyond what is declared; the checker says what is wrong with the model
    values = {}
    for info in (*result.graph.value_info, *result.graph.output, *result.graph.input):
        value = value_of(info)
        if value.kind == "unknown":
            continue
        if value.shape is not None:
            shape = tuple(None if _is_invented(d, own_symbols) else d for d in value.shape)
            value = Value(value.name, value.dtype, shape, value.kind)
        values[value.name] = value
    return values


def _is_invented(dim: object, own: set[str]) -> bool:
    return isinstance(dim, str) and dim not in own and _INVENTED.fullmatch(dim) is not None


def _merged(inferred: Value | None, declared: Value) -> Value:
    """Return the inferred facts of a graph output, with what only its declaration says."""
    if inferred is None or (not inferred.dtype and inferred.kind == "tensor"):
        return declared
    if inferred.shape is None:
        return Value(inferred.name, inferred.dtype, declared.shape, inferred.kind)
    if declared.shape is None or len(declared.shape) != len(inferred.shape):
        return inferred
    shape = tuple(d if i is None else i for i, d in zip(inferred.shape, declared.shape, strict=True))
    return Value(inferred.name, inferred.dtype, shape, inferred.kind)


def weightless(proto: onnx.ModelProto) -> onnx.ModelProto:
    """Return a copy of the skeleton that onnx's checker and inference accept: no marker is in it.

    Large and external initializers, and Constant nodes of such, become graph inputs of the same type and shape, as
    do initializers that a caller can override; tensors in bodies and functions become inline. Stored value_info of
    inner tensors is dropped.
    """
    model = onnx.ModelProto()
    model.CopyFrom(proto)
    graph = model.graph
    inputs = {info.name for info in graph.input}
    if model.ir_version >= 4:
        keep_only(graph.initializer, lambda tensor: tensor.name not in inputs)
    outside = [(tensor.name, tensor) for tensor in graph.initializer if _is_outside(tensor)]
    outside += [(node.output[0], node.attribute[0].t) for node in graph.node if _makes_outside(node)]
    if outside:
        graph.input.extend(
            helper.make_tensor_value_info(name, tensor.data_type, list(tensor.dims))
            for name, tensor in outside
            if name not in inputs
        )
        keep_only(graph.initializer, lambda tensor: not _is_outside(tensor))
        keep_only(graph.node, lambda node: not _makes_outside(node))
    inner = [body for node in graph.node for body in bodies(node)]
    for tensor in chain.from_iterable(map(tensors, (*inner, *model.functions))):
        make_inline(tensor)
    del graph.value_info[:]
    return model


def _is_outside(tensor: TensorProto) -> bool:
    # by shape first: raw_data of a large tensor is a copy
    return is_external(tensor) or (payload_bytes(tensor) or 0) > LAZY_BYTES or is_lazy(tensor)


def _makes_outside(node: NodeProto) -> bool:
    return (
        node.op_type == "Constant"
        and node.domain in ("", "ai.onnx")
        and len(node.attribute) == len(node.output) == 1
        and node.attribute[0].type == AttributeProto.TENSOR
        and _is_outside(node.attribute[0].t)
    )
