"""onnx's own inference for one node, asked with the facts at hand."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import onnx
from onnx import NodeProto, TensorProto, TypeProto, helper, shape_inference

from graphtool.graph import opset as ops
from graphtool.graph.bodies import bodies, has_bodies, tensors
from graphtool.graph.contents import Content
from graphtool.graph.facts_call import NOTHING, Fact
from graphtool.graph.facts_masks import breaks_onnx, mask_bodies
from graphtool.graph.facts_symbols import Size, Symbols
from graphtool.graph.weights import make_inline

# inputs whose contents decide a shape (ONNX operator specification)
SIZING: dict[str, tuple[int, ...]] = {
    "Reshape": (1,), "Expand": (1,), "Tile": (1,), "ConstantOfShape": (0,), "Slice": (1, 2, 3, 4), "Range": (0, 1, 2),
    "Squeeze": (1,), "Unsqueeze": (1,), "Split": (1,), "NonZero": (0,), "TopK": (1,), "Pad": (1, 3),
    "Resize": (1, 2, 3), "Upsample": (1,), "OneHot": (1,), "CenterCropPad": (1,), "MaxUnpool": (2,), "Col2Im": (1, 2),
    "AffineGrid": (1,), "DFT": (1, 2), "STFT": (1, 3), "MelWeightMatrix": (0, 1), "BlackmanWindow": (0,),
    "HannWindow": (0,), "HammingWindow": (0,), "SplitToSequence": (1,),
    **dict.fromkeys(
        ("ReduceL1", "ReduceL2", "ReduceLogSum", "ReduceLogSumExp", "ReduceMax", "ReduceMean", "ReduceMin",
         "ReduceProd", "ReduceSum", "ReduceSumSquare"), (1,)
    ),
}  # fmt: skip

MOST_KEPT = 4096  # answers: where no two layers are alike, keeping them costs memory and saves nothing


class Local:
    """Asks onnx about single nodes of one model."""

    def __init__(self, model: onnx.ModelProto, symbols: Symbols) -> None:
        self._symbols = symbols
        self._ir = model.ir_version
        self._opsets = list(model.opset_import)
        self._versions: dict[str, int] = {"" if e.domain == "ai.onnx" else e.domain: e.version for e in self._opsets}
        self._types: dict[Fact, TypeProto] = {}

    @property
    def version(self) -> int:
        """The version of the default operator set."""
        return self._versions.get("", 1)

    def outputs(
        self,
        node: NodeProto,
        facts: Sequence[Fact | None],
        contents: Sequence[Content | None],
        captured: Mapping[str, Fact],
    ) -> tuple[Fact, ...]:
        """Return the facts of each output, NOTHING where nothing is known; sizes that onnx leaves open are None.

        ``facts`` and ``contents`` are those of the inputs, place by place; ``captured`` those of outer values that a
        body of the node reads.
        """
        domain = "" if node.domain == "ai.onnx" else node.domain
        known = ops.schema(node.op_type, domain, self._versions.get(domain))
        if known is None or not node.output or breaks_onnx(node):
            return (NOTHING,) * len(node.output)
        if has_bodies(node):
            own = NodeProto()
            own.CopyFrom(node)
            for body in bodies(own):
                for tensor in tensors(body):
                    make_inline(tensor)
            mask_bodies(own)
            node = own
        types = {name: self._type(fact) for name, fact in captured.items()}
        data: dict[str, TensorProto] = {}
        for name, fact, content in zip(node.input, facts, contents, strict=True):
            if name:
                types[name] = self._type(fact or NOTHING)
                array = None if content is None else content.numeric
                if array is not None:
                    data[name] = onnx.numpy_helper.from_array(array, name)
        try:
            found = shape_inference.infer_node_outputs(known, node, types, data, None, self._opsets, self._ir)
        except (shape_inference.InferenceError, onnx.checker.ValidationError, RuntimeError, ValueError, KeyError):
            return (NOTHING,) * len(node.output)
        return tuple(fact_of(found[name], self._symbols.known) if name in found else NOTHING for name in node.output)

    def _type(self, fact: Fact) -> TypeProto:
        made = self._types.get(fact)
        if made is None:
            if len(self._types) > MOST_KEPT:
                self._types.clear()
            if fact.kind == "tensor":
                made = helper.make_tensor_type_proto(fact.dtype, fact.shape)
            else:
                made = TypeProto.FromString(fact.other)
            self._types[fact] = made
        return made


def fact_of(proto: TypeProto, symbol: Callable[[str], Size]) -> Fact:
    """Return what a TypeProto says; ``symbol`` gives the size that a ``dim_param`` stands for."""
    kind = proto.WhichOneof("value")
    if kind is None:
        return NOTHING
    if kind not in ("tensor_type", "sparse_tensor_type"):
        return Fact(kind=kind.removesuffix("_type"), other=proto.SerializeToString(deterministic=True))
    tensor = proto.tensor_type if kind == "tensor_type" else proto.sparse_tensor_type
    shape: tuple[Size, ...] | None = None
    if tensor.HasField("shape"):
        sizes: list[Size] = []
        for dim in tensor.shape.dim[:]:
            which = dim.WhichOneof("value")
            if which == "dim_value":
                sizes.append(dim.dim_value if dim.dim_value >= 0 else None)  # no tensor has a negative extent
            else:
                sizes.append(symbol(dim.dim_param) if dim.dim_param else None)
        shape = tuple(sizes)
    if kind == "tensor_type":
        return Fact(tensor.elem_type, shape)
    return Fact(tensor.elem_type, shape, "sparse", proto.SerializeToString(deterministic=True))


def forget_symbols(kind: TypeProto) -> None:
    """Make the symbolic sizes in the type of a sequence, optional or map unknown: each element may have its own."""
    which = kind.WhichOneof("value")
    if which in ("tensor_type", "sparse_tensor_type"):
        for dim in getattr(kind, which).shape.dim:
            dim.ClearField("dim_param")
    elif which in ("sequence_type", "optional_type"):
        forget_symbols(getattr(kind, which).elem_type)
    elif which == "map_type":
        forget_symbols(kind.map_type.value_type)
