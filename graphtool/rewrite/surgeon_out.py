"""Handing a graph over to onnx-graphsurgeon: its objects built from ours, with a note of what stands for what.

Its own importer is not used: it fails on text that is not UTF-8, takes default values of inputs for constants, prints
on stdout, and its lazy weights cannot lie in a mapped file.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import onnx
import onnx_graphsurgeon as gs
from numpy.typing import NDArray
from onnx import AttributeProto, GraphProto, NodeProto, TensorProto, ValueInfoProto, helper
from onnx_graphsurgeon.ir.tensor import LazyValues

from graphtool.errors import PassError, quoted
from graphtool.graph import Graph
from graphtool.graph.bodies import defined
from graphtool.graph.weights import Weights, payload_bytes

Type = tuple[int, tuple[int | str | None, ...] | None]  # element type, shape

# numpy has no form of its own for these; onnx-graphsurgeon gives out the number of the type
_NO_NUMPY = frozenset({
    TensorProto.BFLOAT16, TensorProto.FLOAT8E4M3FN, TensorProto.FLOAT8E4M3FNUZ, TensorProto.FLOAT8E5M2,
    TensorProto.FLOAT8E5M2FNUZ,
})  # fmt: skip


class Weight(LazyValues):  # type: ignore[misc]  # the library has no types
    """The values of a tensor of the model, read when first asked for.

    ``original`` is the tensor itself, ``home`` the level whose initializer it is (None in an attribute).
    """

    def __init__(self, original: TensorProto, weights: Weights, home: GraphProto | None) -> None:
        # not the base's, which would look at the bytes
        self.original = original
        self.home = home
        self._weights = weights
        self.shape = list(original.dims)
        self.dtype = surgeon_dtype(original.data_type)
        self.nbytes = max(payload_bytes(original) or 0, 0)

    @property
    def tensor(self) -> TensorProto:
        """The tensor with its bytes inline: what the library writes when a pass exports (``fold_constants`` does)."""
        own = TensorProto()
        own.CopyFrom(self.original)
        payload = self._weights.payload(self.original)
        if self.original.raw_data or self.original.data_location == TensorProto.EXTERNAL:
            own.raw_data = bytes(payload)
        own.ClearField("external_data")
        own.ClearField("data_location")
        return own

    def load(self) -> NDArray[np.generic]:
        """Return the values as an array that may be written to."""
        return np.array(self._weights.array(self.original))

    def __deepcopy__(self, memo: object) -> Weight:
        return self  # never written to, and a mapped file cannot be copied


def surgeon_dtype(code: int) -> Any:
    """Return an element type as onnx-graphsurgeon has it: a numpy type, or the number where numpy has none."""
    if not code:
        return None
    if code in _NO_NUMPY or code not in helper.get_all_tensor_dtypes():
        return code
    return np.dtype(helper.tensor_dtype_to_np_dtype(code))


def type_of(tensor: Any) -> Type:
    """Return element type and shape of one of onnx-graphsurgeon's tensors; (0, None) where it knows neither."""
    return dtype_code(tensor.dtype), shape_of(tensor.shape)


def dtype_code(dtype: Any) -> int:
    """Return the ONNX number of an element type; 0 for None. Raises PassError for one that ONNX does not have."""
    if dtype is None:
        return 0
    if isinstance(dtype, int):
        return dtype
    try:
        return int(helper.np_dtype_to_tensor_dtype(np.dtype(dtype)))
    except (KeyError, TypeError, ValueError):
        raise PassError(f"ONNX has no element type {quoted(dtype)}") from None


def shape_of(shape: Sequence[Any] | None) -> tuple[int | str | None, ...] | None:
    """Return a shape of onnx-graphsurgeon as plain values; a negative extent is an unknown one."""
    if shape is None:
        return None
    return tuple(d if isinstance(d, str) else None if d is None or int(d) < 0 else int(d) for d in shape)


@dataclass(slots=True)
class Level:
    """The main graph or a body as it was handed over."""

    proto: GraphProto
    surgeon: Any
    pristine: GraphProto | None = None  # a copy of a body, for one that comes back in another node
    origins: list[NodeProto] = field(default_factory=list)
    weights: dict[str, TensorProto] = field(default_factory=dict)  # initializers, those that were not handed over too
    defined: set[str] = field(default_factory=set)
    # ids are those of the library's objects, which `kept` keeps alive
    nodes: dict[int, int] = field(default_factory=dict)  # node -> place in origins
    names: dict[int, str] = field(default_factory=dict)  # tensor -> its name when it was handed over
    types: dict[str, Type] = field(default_factory=dict)  # of variables, by that name
    bodies: dict[tuple[int, str], Level] = field(default_factory=dict)  # by place in origins and attribute
    kept: list[object] = field(default_factory=list)

    def copied(self, to: GraphProto) -> Level:
        """Return the same level over a copy of its graph in ``to``: a body that came back in another node."""
        assert self.pristine is not None, "only a body can be in another node"
        to.CopyFrom(self.pristine)
        weights = {weight.name: weight for weight in to.initializer}
        own = replace(self, proto=to, origins=list(to.node), weights=weights, bodies={})
        for (place, name), body in self.bodies.items():
            attribute = next(a for a in own.origins[place].attribute if a.name == name)
            own.bodies[place, name] = body.copied(attribute.g)
        return own


@dataclass(slots=True)
class Handed:
    """A model as it was handed over: its levels, and what of the model itself the library carries."""

    top: Level
    by_graph: dict[int, Level]  # by id of the library's graph
    model: dict[str, object]


def hand_over(graph: Graph) -> Handed:
    """Return ``graph`` as an onnx-graphsurgeon graph; nothing of ``graph`` is shared that a pass could write to."""
    model = graph.proto
    imports = []
    for entry in model.opset_import:
        own = onnx.OperatorSetIdProto()
        own.CopyFrom(entry)
        imports.append(own)
    handing = _Handing(graph, imports)
    top = handing.level(model.graph, [], main=True)
    surgeon = top.surgeon
    surgeon.producer_name, surgeon.producer_version = model.producer_name, model.producer_version
    surgeon.ir_version = model.ir_version
    carried = {name: getattr(surgeon, name) for name in MODEL_FIELDS}
    return Handed(top, handing.by_graph, carried)


MODEL_FIELDS = ("opset", "ir_version", "producer_name", "producer_version")


class _Handing:
    def __init__(self, graph: Graph, imports: list[onnx.OperatorSetIdProto]) -> None:
        self.graph = graph
        self.weights = graph.weights
        self.opset = graph.opset()
        self.imports = imports
        # before IR version 4 every initializer is an input too and still a constant
        self.listed = model_lists_initializers(graph.proto)
        self.by_graph: dict[int, Level] = {}

    def level(self, proto: GraphProto, outer: list[dict[str, Any]], main: bool = False) -> Level:
        """Return one graph handed over; ``outer`` are the tensors of those around it, innermost first."""
        level = Level(proto, None, origins=list(proto.node), defined=defined(proto))
        level.weights.update((weight.name, weight) for weight in proto.initializer)
        if not main:
            level.pristine = GraphProto()
            level.pristine.CopyFrom(proto)
        tensors: dict[str, Any] = {}
        inputs = {info.name for info in proto.input}
        constants = () if main and self.listed else inputs  # a default value can be overridden: no constant
        for weight in proto.initializer:
            if weight.name not in constants:
                tensors[weight.name] = gs.Constant(weight.name, Weight(weight, self.weights, proto))
        for sparse in proto.sparse_initializer:
            known = surgeon_dtype(sparse.values.data_type), list(sparse.dims)
            tensors[sparse.values.name] = gs.Variable(sparse.values.name, *known)
        # of the main graph's inner values what was inferred is handed over: what exporters store there may be wrong
        for info in (*proto.input, *proto.output, *(() if main else proto.value_info)):
            if info.name in level.defined:  # else a body gives out a value from around it
                _declare(tensors, info)
        for name in (name for node in level.origins for name in node.output if name):
            self._infer(tensors.setdefault(name, gs.Variable(name)), main)
        scopes = [tensors, *outer]
        nodes = [self._node(level, place, node, scopes) for place, node in enumerate(level.origins)]
        level.surgeon = gs.Graph(
            nodes=nodes,
            inputs=[tensors[info.name] for info in proto.input if not isinstance(tensors[info.name], gs.Constant)],
            outputs=[_find(info.name, scopes) for info in proto.output],
            name=proto.name,
            doc_string=proto.doc_string,
            opset=self.opset,
            import_domains=self.imports,
        )
        level.kept += [level.surgeon, *nodes, *tensors.values()]
        for name, tensor in tensors.items():
            level.names[id(tensor)] = name
            if not isinstance(tensor, gs.Constant):
                level.types[name] = type_of(tensor)
        self.by_graph[id(level.surgeon)] = level
        return level

    def _infer(self, tensor: Any, main: bool) -> None:
        """Tell a node's output what is known of it and it does not say yet."""
        known = self.graph.value(tensor.name) if main and not isinstance(tensor, gs.Constant) else None
        if known is not None and tensor.dtype is None:
            tensor.dtype, tensor.type = surgeon_dtype(known.dtype), f"{known.kind}_type"
        if known is not None and known.shape is not None and tensor.shape is None:
            tensor.shape = list(known.shape)

    def _node(self, level: Level, place: int, node: NodeProto, scopes: list[dict[str, Any]]) -> Any:
        attributes: dict[str, Any] = {}
        for attribute in node.attribute:
            if attribute.type == AttributeProto.GRAPH:
                body = self.level(attribute.g, scopes)
                level.bodies[place, attribute.name] = body
                attributes[attribute.name] = body.surgeon
            elif not is_hidden(attribute):
                attributes[attribute.name] = self._value(attribute)
        made = gs.Node(
            op=node.op_type,
            name=node.name,
            attrs=attributes,
            inputs=[_find(name, scopes) for name in node.input],
            outputs=[scopes[0][name] if name else gs.Variable.empty() for name in node.output],
            domain=node.domain if node.HasField("domain") else None,
        )
        level.nodes[id(made)] = place
        return made

    def _value(self, attribute: AttributeProto) -> object:
        if attribute.type == AttributeProto.TENSOR:
            return gs.Constant(attribute.t.name, Weight(attribute.t, self.weights, None))
        value = helper.get_attribute_value(attribute)
        if isinstance(value, bytes):
            return value.decode()
        if isinstance(value, (int, float)):
            return value
        return [item.decode() if isinstance(item, bytes) else item for item in value]


def is_hidden(attribute: AttributeProto) -> bool:
    """Whether onnx-graphsurgeon cannot hold an attribute: of a rare type, a reference, or text that is not UTF-8."""
    if attribute.ref_attr_name:
        return True
    match attribute.type:
        case AttributeProto.STRING | AttributeProto.STRINGS:
            return not all(_is_utf8(text) for text in (attribute.s, *attribute.strings))
        case AttributeProto.FLOAT | AttributeProto.INT | AttributeProto.TENSOR | AttributeProto.GRAPH:
            return False
        case AttributeProto.FLOATS | AttributeProto.INTS:
            return False
    return True


def model_lists_initializers(model: onnx.ModelProto) -> bool:
    """Whether the model's IR version wants every initializer among the inputs, where it is no input of the caller's."""
    return model.ir_version < 4


def _is_utf8(text: bytes) -> bool:
    try:
        text.decode()
    except UnicodeDecodeError:
        return False
    return True


def _declare(tensors: dict[str, Any], info: ValueInfoProto) -> None:
    """Put a declared value among the tensors, or add to one that is there what it does not say yet."""
    kind = info.type.WhichOneof("value") or "tensor_type"
    code = 0
    shape: list[int | str | None] | None = None
    if kind in ("tensor_type", "sparse_tensor_type"):
        declared = getattr(info.type, kind)
        code = declared.elem_type
        if declared.HasField("shape"):
            shape = [getattr(d, str(d.WhichOneof("value"))) if d.WhichOneof("value") else None
                     for d in declared.shape.dim]  # fmt: skip
    elif kind == "sequence_type":
        code = info.type.sequence_type.elem_type.tensor_type.elem_type
    known = tensors.get(info.name)
    if known is None:
        tensors[info.name] = gs.Variable(info.name, surgeon_dtype(code), shape, type=kind)
    elif not isinstance(known, gs.Constant):
        known.dtype = surgeon_dtype(code) if known.dtype is None else known.dtype
        known.shape = shape if known.shape is None else known.shape


def _find(name: str, scopes: Sequence[dict[str, Any]]) -> Any:
    """Return the tensor of that name, innermost first."""
    if not name:
        return gs.Variable.empty()
    found = next((scope[name] for scope in scopes if name in scope), None)
    return scopes[0].setdefault(name, gs.Variable(name)) if found is None else found
