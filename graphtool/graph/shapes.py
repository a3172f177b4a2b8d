"""Types and shapes of all tensors at once, by onnx's shape inference.

Stored value_info of inner tensors is dropped first: exporters write wrong ones (one symbol for two different
dimensions, stale shapes), and inference would believe them. Large weights enter as typed graph inputs, so inference
copies kilobytes, not the weights. What onnx leaves open is the matter of :mod:`graphtool.graph.facts`.
"""

from __future__ import annotations

from collections import Counter
from itertools import chain
from typing import TYPE_CHECKING

import onnx
from onnx import AttributeProto, NodeProto, TensorProto, checker, helper, shape_inference

from graphtool.graph.bodies import HOLDERS, bodies, has_bodies, tensors
from graphtool.graph.facts_call import INVENTED, Fact
from graphtool.graph.facts_local import fact_of, forget_symbols
from graphtool.graph.facts_masks import mask, mask_bodies
from graphtool.graph.facts_symbols import Size, Symbols
from graphtool.graph.fields import keep_only
from graphtool.graph.weights import LAZY_BYTES, Weights, is_external, is_lazy, make_inline, payload_bytes

if TYPE_CHECKING:
    from graphtool.graph.model import Graph

_NAMELESS = ("-1", "?")
_HOLDING = ("If", "Loop", "Scan", "SequenceMap")  # of whose bodies onnx makes something
# elements of a sequence, and iterations, may differ in a size that onnx gives one symbol
_LOOSE = (
    "ConcatFromSequence", "Loop", "OptionalGetElement", "Scan", "SequenceAt", "SequenceErase", "SequenceInsert",
    "SequenceMap",
)  # fmt: skip


def symbols_of(proto: onnx.ModelProto) -> Symbols:
    """Return the symbols of a model: those that its tensor inputs name.

    Exporters write ``-1`` and ``?`` for any size that they do not know: more than one of them are no symbol.
    """
    counts = Counter(dim.dim_param for info in proto.graph.input for dim in info.type.tensor_type.shape.dim)
    return Symbols({name for name, count in counts.items() if name and (count == 1 or name not in _NAMELESS)})


def infer(graph: Graph, symbols: Symbols) -> dict[str, Fact]:
    """Return what onnx knows of the values that nodes of the main graph make, by name, in the order of the nodes.

    Sizes to which onnx gave a symbol of its own have it as an opaque one. Empty where inference fails as a whole.
    """
    model = weightless(graph.proto)
    for info in model.graph.output:  # a declared output shape may be stale after an edit
        info.ClearField("type")
    for info in model.graph.input:
        if info.type.WhichOneof("value") != "tensor_type":
            forget_symbols(info.type)
        for dim in info.type.tensor_type.shape.dim:
            if dim.dim_param in _NAMELESS and dim.dim_param not in symbols.own:
                dim.ClearField("dim_param")
    if model.ir_version < 4:  # an initializer that is no input is against the rules there, but onnxruntime takes it
        inputs = {info.name for info in model.graph.input}
        for tensor in model.graph.initializer:
            if tensor.name not in inputs:
                model.graph.input.append(helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims))
    if any(op in graph.index.types for op in _HOLDING):
        for node in model.graph.node:
            mask_bodies(node)
    for function in model.functions:
        del function.value_info[:]
    mask(graph, model)
    try:
        result = shape_inference.infer_shapes(model, strict_mode=False)
    except (shape_inference.InferenceError, checker.ValidationError, RuntimeError, ValueError):
        return {}  # nothing beyond what is declared; the checker says what is wrong with the model

    def symbol(name: str) -> Size:
        return name if name in symbols.own else symbols.mark + name if INVENTED.fullmatch(name) else None

    facts: dict[str, Fact] = {}
    seen: dict[bytes, Fact] = {}  # most values have one of a few types
    for info in chain(result.graph.value_info, result.graph.output):
        key = info.type.SerializeToString()
        fact = seen.get(key)
        if fact is None:
            fact = seen[key] = fact_of(info.type, symbol)
        if fact.kind != "unknown":
            facts[info.name] = fact
    _loosen(graph, facts, symbols)
    return facts


def _loosen(graph: Graph, facts: dict[str, Fact], symbols: Symbols) -> None:
    """Make those invented symbols unknown of which equality does not follow."""
    calls = {function.name for function in graph.proto.functions}
    loose: set[Size] = set()
    for op in sorted({*_LOOSE, *calls}):
        for node in graph.index.by_type(op):
            for name in node.output:
                loose.update(facts[name].shape or () if name in facts else ())
    loose = {size for size in loose if isinstance(size, str) and not symbols.is_own(size)}
    if not loose:
        return
    for name, fact in facts.items():
        if fact.shape is not None and not loose.isdisjoint(fact.shape):
            facts[name] = Fact(fact.dtype, tuple(None if size in loose else size for size in fact.shape), fact.kind)


def weightless(proto: onnx.ModelProto, weights: Weights | None = None) -> onnx.ModelProto:
    """Return a copy of the skeleton that onnx's checker and inference accept: no marker is in it.

    Large and external initializers, and Constant nodes of such, become graph inputs of the same type and shape, as
    do initializers that a caller can override; tensors in bodies and functions become inline, external ones where
    ``weights`` has them (the checker asks for their files, inference does not). Stored value_info of inner tensors is
    dropped.
    """
    model = onnx.ModelProto()
    model.CopyFrom(proto)
    graph = model.graph
    inputs = {info.name for info in graph.input}
    if model.ir_version >= 4:
        keep_only(graph.initializer, lambda tensor: tensor.name not in inputs)
    large = {tensor.name: tensor for tensor in graph.initializer if _is_outside(tensor)}
    # of the nodes that are there, which somebody holds: to walk over those of the copy makes each of them anew
    kinds = {node.op_type if node.domain in ("", "ai.onnx") else "" for node in proto.graph.node}
    made = {}
    if "Constant" in kinds:
        made = {node.output[0]: node.attribute[0].t for node in graph.node if _makes_outside(node)}
    types: dict[tuple[int, ...], onnx.TypeProto] = {}  # most weights have one of a few
    for name, tensor in chain(large.items(), made.items()):
        if name not in inputs:
            key = tensor.data_type, *tensor.dims
            if key not in types:
                types[key] = helper.make_tensor_type_proto(tensor.data_type, key[1:])
            graph.input.add(name=name).type.CopyFrom(types[key])
    if large:
        keep_only(graph.initializer, lambda tensor: tensor.name not in large)
    if made:
        keep_only(graph.node, lambda node: not _makes_outside(node))
    inner = []
    if "" in kinds or not HOLDERS.isdisjoint(kinds):
        inner = [body for node in graph.node if has_bodies(node) for body in bodies(node)]
    for tensor in chain.from_iterable(map(tensors, (*inner, *model.functions))):
        if weights is None:
            make_inline(tensor)
        else:
            weights.bring_in(tensor)
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
