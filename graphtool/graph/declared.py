"""What a graph declares of its inputs and outputs, changed: dimensions, and types that no longer hold.

Denotations of dimensions stay where they are: entries of a declared shape are changed in place.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping, Sequence

import onnx
from onnx import GraphProto, NodeProto, ValueInfoProto

from graphtool.graph.bodies import bodies
from graphtool.graph.fields import keep_only
from graphtool.graph.model import Graph
from graphtool.graph.shapes import weightless
from graphtool.graph.values import Dim, Value, value_of


def copied(info: ValueInfoProto) -> ValueInfoProto:
    """Return an independent copy of a declaration."""
    own = ValueInfoProto()
    own.CopyFrom(info)
    return own


def declare_dim(info: ValueInfoProto, axis: int, dim: Dim) -> None:
    """Declare one dimension of a tensor: a size, a symbol, or None for one that is open and has no name."""
    entry = info.type.tensor_type.shape.dim[axis]
    if dim is None:
        entry.ClearField("value")
    elif isinstance(dim, int):
        entry.dim_value = dim
    else:
        entry.dim_param = dim


def declare(info: ValueInfoProto, dtype: int, shape: Sequence[Dim] | None) -> None:
    """Declare a tensor's element type and shape; a shape of the same rank keeps its denotations."""
    tensor = info.type.tensor_type
    tensor.elem_type = dtype
    if shape is None:
        tensor.ClearField("shape")
        return
    if not tensor.HasField("shape") or len(tensor.shape.dim) != len(shape):
        tensor.ClearField("shape")
        tensor.shape.SetInParent()
        for _ in shape:
            tensor.shape.dim.add()
    for axis, dim in enumerate(shape):
        declare_dim(info, axis, dim)


def drop_inner_types(graph: Graph) -> None:
    """Drop stored types of inner tensors, and the sizes that bodies declare: none of them need hold any more."""
    proto = graph.proto.graph
    boundary = {info.name for info in (*proto.input, *proto.output)}
    keep_only(proto.value_info, lambda info: info.name in boundary)
    for node in proto.node:
        drop_body_types(node)
    graph.forget_shapes()


def drop_body_types(node: NodeProto) -> None:
    """Leave all sizes open that the bodies of a node declare, at any depth; ranks stay (onnxruntime wants Loop's)."""
    for body in bodies(node):
        _forget(body)


def _forget(body: GraphProto) -> None:
    del body.value_info[:]
    for info in (*body.input, *body.output):
        if info.type.WhichOneof("value") == "tensor_type":
            for dim in info.type.tensor_type.shape.dim:
                dim.ClearField("value")
    for node in body.node:
        drop_body_types(node)


def open_states(graph: Graph) -> None:
    """Leave open what bodies of Loops declare of a value that they carry and what its first value contradicts.

    onnxruntime takes such a body as long as it knows too little to see the contradiction (tf2onnx before opset 11
    declares scalars), and refuses it when an edit lets its inference see more. Shapes of what a Loop carries may
    change (ONNX operator specification), so nothing needs them.
    """
    for level in graph.levels():
        for node in level.index.by_type("Loop"):
            for body in bodies(node):
                for info, name in zip(body.input[2:], node.input[2:], strict=False):
                    first = level.value(name)
                    if first is not None and first.shape is not None:
                        _open(info, first.shape)


def _open(info: ValueInfoProto, shape: Sequence[Dim]) -> None:
    """Clear a declared shape that is of another rank than ``shape``, else the sizes in it that are others."""
    if info.type.WhichOneof("value") != "tensor_type" or not info.type.tensor_type.HasField("shape"):
        return
    declared = info.type.tensor_type.shape.dim
    if len(declared) != len(shape):
        info.type.tensor_type.ClearField("shape")
        return
    for dim, size in zip(declared, shape, strict=True):
        if dim.HasField("dim_value") and isinstance(size, int) and dim.dim_value != size:
            dim.ClearField("value")


def narrowed(before: Iterable[Value], after: Iterable[Value]) -> dict[str, Dim] | None:
    """Return what became of each symbol in the shapes of inputs; None where a shape of now is not one of those before.

    A graph that is narrowed so makes what it made of such inputs before.
    """
    now = {value.name: value.shape for value in after}
    became: dict[str, Dim] = {}
    for value in before:
        shape = now.get(value.name)
        if value.shape is None:
            continue
        if shape is None or len(shape) != len(value.shape):
            return None
        for a, b in zip(value.shape, shape, strict=True):
            if (isinstance(a, int) and a != b) or (isinstance(a, str) and became.setdefault(a, b) != b):
                return None
    return became


def redeclare_outputs(
    graph: Graph, only_wrong: bool = False, gone: Container[str] = (), became: Mapping[str, Dim] | None = None
) -> list[str]:
    """Declare each output as inference finds it now and return the names of those that changed.

    A size that inference does not find becomes open; a symbol stays, since it says no more than a name, unless it is
    ``gone``. With ``only_wrong`` a declaration stays that inference does not contradict. Where inputs were
    :func:`narrowed`, with ``became``, what is declared still holds, and a size that inference does not find stays.
    """

    def kept(was: Dim) -> Dim:
        if became is not None:
            return became.get(was, was) if isinstance(was, str) else was
        return was if isinstance(was, str) and was not in gone else None

    old = {info.name: value_of(info) for info in graph.header.output}
    declarations = {info.name: copied(info) for info in graph.header.output}
    for info in graph.header.output:
        if info.type.WhichOneof("value") == "tensor_type":
            info.type.tensor_type.ClearField("shape")
    graph.forget_shapes()
    found = {name: graph.value(name) for name in old}
    changed = []
    for info in graph.header.output:
        before, now = old[info.name], found[info.name]
        if before.kind != "tensor" or now is None or now.kind != "tensor" or (only_wrong and _agree(before, now)):
            info.CopyFrom(declarations[info.name])
            continue
        shape = now.shape
        if before.shape is not None and (shape is None or len(shape) == len(before.shape)):
            known = shape or (None,) * len(before.shape)
            shape = tuple(kept(was) if dim is None else dim for was, dim in zip(before.shape, known, strict=True))
        info.CopyFrom(declarations[info.name])
        declare(info, now.dtype or before.dtype, shape)
        if (now.dtype or before.dtype, shape) != (before.dtype, before.shape):
            changed.append(info.name)
    graph.forget_shapes()
    return list(dict.fromkeys(changed))


def _agree(declared: Value, found: Value) -> bool:
    """Whether what is found does not contradict what is declared."""
    if found.dtype and found.dtype != declared.dtype:
        return False
    if found.shape is None or declared.shape is None:
        return True
    return len(found.shape) == len(declared.shape) and all(
        a == b or not (isinstance(a, int) and isinstance(b, int))
        for a, b in zip(found.shape, declared.shape, strict=True)
    )


def inference_fault(graph: Graph) -> str | None:
    """Return what onnx's strict shape inference finds wrong first, in its words; None where shapes fit together."""
    try:
        onnx.shape_inference.infer_shapes(weightless(graph.proto), strict_mode=True, data_prop=True)
    except (onnx.shape_inference.InferenceError, onnx.checker.ValidationError, RuntimeError, ValueError) as error:
        return " ".join(str(error).split())
    return None
