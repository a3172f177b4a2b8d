"""float16 as it is written: every result of an operator rounded to it.

onnxruntime has few float16 kernels for the CPU. It computes chains of other operators in float32 and takes the Casts
that it put between them out again, optimizations off or not (its InsertCastTransformer; seen with 1.32): nothing is
rounded, nothing overflows, and a model converted to float16 looks as good as the one before. Casts that the model
itself has between float32 operators stay, so that is the form it is given here.
"""

from __future__ import annotations

from collections.abc import Sequence

from onnx import NodeProto, TensorProto, helper

from graphtool.graph import Graph
from graphtool.graph.bodies import has_bodies

_HALF, _FULL = TensorProto.FLOAT16, TensorProto.FLOAT
# they make float16 by an attribute or from another type, and round as they do
_MAKERS = frozenset(
    "Cast CastLike Constant ConstantOfShape DequantizeLinear EyeLike RandomNormal RandomUniform".split()
)
_TYPED = ("Cast", "EyeLike", "RandomNormal", "RandomUniform")


def rounded(graph: Graph) -> Graph:
    """Return ``graph``, or where it computes in float16 a copy whose operators compute in float32 and round to it.

    Names, inputs and outputs keep their types. Nodes of other domains, of sequences, and those that hold bodies stay as
    they are; what is in the bodies does not.
    """
    if not any(map(_has_halves, graph.levels())) or not any(_computing(level) for level in graph.levels()):
        return graph
    own = graph.copy()
    for level in own.levels():
        _round(level, _computing(level))
    return own


def _has_halves(graph: Graph) -> bool:
    """Whether anything of type float16 begins here."""
    tensors = [*graph.initializers.values()]
    for op_type in ("Constant", "ConstantOfShape"):
        tensors += [a.t for node in graph.index.by_type(op_type) for a in node.attribute if a.name == "value"]
    typed = [
        a for op in _TYPED for node in graph.index.by_type(op) for a in node.attribute if a.name in ("to", "dtype")
    ]
    return (
        any(info.type.tensor_type.elem_type == _HALF for info in graph.header.input)
        or any(tensor.data_type == _HALF for tensor in tensors)
        or any(attribute.name in ("to", "dtype") and attribute.i == _HALF for attribute in typed)
    )


def _computing(graph: Graph) -> list[tuple[int, list[int], list[int]]]:
    """Return the nodes that compute in float16: slot, and the positions of float16 inputs and outputs."""
    found = []
    for slot in graph.live_slots():
        node = graph.node(slot)
        if node is None or node.op_type in _MAKERS or node.domain not in ("", "ai.onnx") or has_bodies(node):
            continue
        values = {name: graph.value(name) for name in (*node.input, *node.output) if name}
        if any(value is not None and value.kind != "tensor" for value in values.values()):
            continue
        halves = {name for name, value in values.items() if value is not None and value.dtype == _HALF}
        reads = [place for place, name in enumerate(node.input) if name in halves]
        makes = [place for place, name in enumerate(node.output) if name in halves]
        if reads or makes:
            found.append((slot, reads, makes))
    return found


def _round(graph: Graph, computing: Sequence[tuple[int, list[int], list[int]]]) -> None:
    made: dict[str, int] = {}  # a rounded value: the slot of the Cast that makes it
    wide: dict[str, str] = {}
    for slot, _, makes in computing:
        for step, position in enumerate(makes):
            node = graph.node(slot)
            assert node is not None
            name = node.output[position]
            raw = graph.names.fresh_value(f"{name}/float32")
            graph.rename_output(slot, position, raw)
            made[name] = graph.add_node(_cast(graph, raw, name, _HALF), slot, step)
    for slot, reads, _ in computing:
        for position in reads:
            node = graph.node(slot)
            assert node is not None
            name = node.input[position]
            if name not in wide:
                wide[name] = graph.names.fresh_value(f"{name}/wide")
                cast = _cast(graph, name, wide[name], _FULL)
                maker = made.get(name, graph.index.producer_slot(name))
                if maker is None:  # an input, a weight, or a value of the graph around
                    graph.prepend_node(cast)
                else:
                    graph.add_node(cast, maker, 0)
            graph.set_input(slot, position, wide[name])


def _cast(graph: Graph, read: str, make: str, to: int) -> NodeProto:
    return helper.make_node("Cast", [read], [make], graph.names.fresh_node(make), to=to)
