"""ArgMax over the classes of an output, in its place."""

from __future__ import annotations

from collections.abc import Mapping

from onnx import TensorProto, helper

from graphtool.errors import PassError, did_you_mean, quoted
from graphtool.graph import Graph, Value, dtype_name
from graphtool.graph.bodies import all_names
from graphtool.graph.declared import declare
from graphtool.graph.fields import keep_only
from graphtool.graph.opset import import_domain
from graphtool.graph.values import Dim
from graphtool.rewrite.result import Applied, Match, Miss

_TYPES = {"int64": TensorProto.INT64, "int32": TensorProto.INT32, "uint8": TensorProto.UINT8}
_SCORES = frozenset({TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.DOUBLE, TensorProto.BFLOAT16})


def apply(graph: Graph, params: Mapping[str, object]) -> Applied:
    """Put labels in the place of an output that holds scores by class. Raises PassError for what does not fit."""
    wanted, axis, to, kept, name = (params[key] for key in ("output", "axis", "to", "keepdims", "labels"))
    assert isinstance(wanted, str) and isinstance(axis, int) and isinstance(to, str) and isinstance(name, str)
    found = _scores(graph, wanted)
    if isinstance(found, Miss):
        return Applied(misses=[found])
    rank = found.rank
    if rank is None or not -rank <= axis < rank:
        raise PassError(f"output {quoted(found.name)} is {found.type_text()}: it has no axis {axis}")
    assert found.shape is not None
    axis %= rank
    classes = found.shape[axis]
    if classes == 0:
        raise PassError(f"output {quoted(found.name)} is {found.type_text()}: it has no class")
    if to == "uint8" and not (isinstance(classes, int) and classes <= 256):
        count = f"{classes} classes" if isinstance(classes, int) else "a number of classes that is not known"
        raise PassError(f"uint8 does not hold the labels of {count}; give to=int32")
    labels = _free_name(graph, name, found.name)
    shape: list[Dim] = list(found.shape)
    shape[axis : axis + 1] = [1] if kept else []
    _append(graph, found.name, labels, axis, _TYPES[to], bool(kept))
    for info in graph.header.output:
        if info.name == found.name:
            info.name = labels
            info.type.tensor_type.ClearField("shape")  # denotations are of the scores
            declare(info, _TYPES[to], shape)
    keep_only(graph.header.value_info, lambda info: info.name != found.name)
    import_domain(graph.proto, "", "ArgMax")
    graph.forget_shapes()
    return Applied([Match(found.name, "native")])


def _scores(graph: Graph, wanted: str) -> Value | Miss:
    """Return the output that is meant: the named one, or the first; a miss where it holds no scores (any more)."""
    outputs = {value.name: value for value in graph.outputs}
    wanted = wanted or next(iter(outputs), "")
    if wanted not in outputs:
        if wanted in graph.index.producers:
            return Miss(wanted, "native", "it is an inner tensor, not an output")
        near = did_you_mean(wanted, outputs) or f"; the outputs are {', '.join(map(quoted, outputs))}"
        raise PassError(f"no output named {quoted(wanted)}{near}")
    value = graph.value(wanted) or outputs[wanted]  # what inference finds beside what is declared
    if value.kind != "tensor" or value.dtype not in _SCORES:
        return Miss(wanted, "native", f"it is {value.type_text()}, which holds no floating-point scores")
    return value


def _free_name(graph: Graph, name: str, output: str) -> str:
    if not name:
        return graph.names.fresh_value(f"{output}/argmax")
    if name in all_names(graph.proto.graph):
        raise PassError(f"{quoted(name)} is another tensor's name already; give 'labels' another name")
    if not name.isprintable():
        raise PassError(f"{quoted(name)} is not a printable name")
    return name


def _append(graph: Graph, scores: str, labels: str, axis: int, to: int, kept: bool) -> None:
    producer = graph.index.producer(scores)
    stem = (producer.name if producer is not None else "") or scores
    node = graph.names.fresh_node(f"{stem}/argmax")
    made = labels if to == TensorProto.INT64 else graph.names.fresh_value(f"{labels}/int64")
    graph.append_node(helper.make_node("ArgMax", [scores], [made], node, axis=axis, keepdims=int(kept)))
    if made != labels:
        cast = graph.names.fresh_node(f"{stem}/cast_{dtype_name(to)}")
        graph.append_node(helper.make_node("Cast", [made], [labels], cast, to=to))
