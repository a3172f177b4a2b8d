"""Shapes of a graph at another batch size, node by node: what tells where the batch is, and what blocks it.

Shapes at the batch that the graph has now come from one inference over the whole graph. Shapes at the other one are
found while the caller walks the nodes in order and frees constants on the way, so each node is judged with everything
before it freed. Only what depends on the batch is kept; all other shapes are those of now.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import onnx
from onnx import NodeProto, TensorProto, TypeProto, ValueInfoProto, checker, helper, numpy_helper, shape_inference

from graphtool.graph import Graph
from graphtool.graph import opset as ops
from graphtool.graph.bodies import captures, has_bodies
from graphtool.graph.declared import drop_body_types
from graphtool.graph.values import Dim, Shape, value_of
from graphtool.natives._batch_content import MOST_ITEMS, RULES, Items, measured

ShapeOf = Callable[[str], Shape | None]

# a batch at axis 0 of input 0 is at axis 0 of the output, and no other size there depends on it
_BY_ITEM = frozenset(
    """Abs Acos Acosh Asin Asinh Atan Atanh AveragePool BatchNormalization BitwiseNot Cast Ceil Celu Clip Conv
    ConvTranspose Cos Cosh DepthToSpace DequantizeLinear Dropout Elu Erf Exp Floor Gelu GlobalAveragePool
    GlobalLpPool GlobalMaxPool GroupNormalization HardSigmoid HardSwish Identity InstanceNormalization IsInf IsNaN
    LRN LayerNormalization LeakyRelu Log LpPool MaxPool MeanVarianceNormalization Mish Neg Not QuantizeLinear
    Reciprocal Relu Round Selu Sigmoid Sign Sin Sinh Softplus Softsign SpaceToDepth Sqrt Tan Tanh
    ThresholdedRelu""".split()
)
_BROADCAST = frozenset("Add And Div Equal Greater Less Max Min Mod Mul Or PRelu Pow Sub Sum Where Xor".split())
# an input's numbers decide the shape of the output
_BY_CONTENT = frozenset(
    """AffineGrid CenterCropPad Col2Im ConstantOfShape Expand If Loop MaxUnpool OneHot Pad Range Reshape Resize Scan
    SequenceMap Slice Split Tile TopK Upsample""".split()
)
# what sizes are computed in
_COUNTS = frozenset({TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.INT32, TensorProto.INT64, TensorProto.BOOL})
_DEEPEST = 200  # producers of one shape vector, one behind the other


class UnfitError(Exception):
    """Shapes do not fit together at the other batch; the message is what inference says."""


class Facts:
    """Shapes at batch ``now`` (inferred on ``base``, a copy of ``graph`` with that batch) and at ``then``.

    ``graph`` may be edited while the facts are asked; what its new values are at ``then`` must be told by :meth:`set`.
    """

    def __init__(self, graph: Graph, base: Graph, now: int, then: int, inputs: Sequence[str]) -> None:
        self.graph, self.base, self.now, self.then = graph, base, now, then
        self._then: dict[str, Shape | None] = {}
        self._now: dict[str, Shape | None] = {}
        self._better: set[str] = set()  # of which more is known than inference found
        self._dtypes: dict[str, int] = {}
        for name in inputs:
            shape = self.shape_now(name)
            assert shape is not None
            self._then[name] = (then, *shape[1:])
        self._contents: tuple[dict[str, Items | None], dict[str, Items | None]] = ({}, {})

    # -- what is known

    def shape_now(self, name: str) -> Shape | None:
        """Return a value's shape at the batch of now."""
        if name not in self._now:
            value = self.base.value(name)
            if value is None:  # a constant that an edit made
                tensor = self.graph.initializers.get(name)
                return None if tensor is None else tuple(tensor.dims)
            self._now[name] = value.shape if value.kind == "tensor" else None
        return self._now[name]

    def shape_then(self, name: str) -> Shape | None:
        """Return a value's shape at the other batch."""
        return self._then[name] if name in self._then else self.shape_now(name)

    def set(self, name: str, shape: Shape | None) -> None:
        """Note the shape of a value at the other batch; None where it is not known."""
        if name and (shape is None or shape != self.shape_now(name)):
            self._then[name] = shape
        else:
            self._then.pop(name, None)
        self._contents[1].pop(name, None)

    def forget_content(self, name: str) -> None:
        """Look at the numbers of a value anew: the node that makes it was edited."""
        for known in self._contents:
            known.pop(name, None)

    def learn(self, name: str, dtype: int, now: Shape, then: Shape) -> None:
        """Note type and shapes of a value that an edit made, or of which inference knows less."""
        if self.shape_now(name) != now:
            self._dtypes[name] = dtype
            self._now[name] = now
            self._better.add(name)
        self.set(name, then)

    def dtype(self, name: str) -> int:
        """Return the element type of a value; 0 where it is unknown."""
        value = self.base.value(name)
        if value is not None:
            return value.dtype
        tensor = self.graph.initializers.get(name)
        return self._dtypes.get(name, 0) if tensor is None else tensor.data_type

    def differs(self, name: str) -> bool:
        """Whether the shape of a value depends on the batch, or is not known at the other one."""
        return name in self._then

    def axes(self, name: str) -> list[int] | None:
        """Return the axes whose size depends on the batch; None where that is not known."""
        now, then = self.shape_now(name), self.shape_then(name)
        if now is None or then is None or len(now) != len(then) or None in now or None in then:
            return None
        return [axis for axis, (a, b) in enumerate(zip(now, then, strict=True)) if a != b]

    def axis(self, name: str) -> int | None:
        """Return the one axis that the batch is at; None where there is none, or not just one."""
        axes = self.axes(name)
        return axes[0] if axes and len(axes) == 1 else None

    # -- one node

    def pass_on(self, node: NodeProto) -> None:
        """Note the shapes of a node's outputs at the other batch; raises UnfitError where they do not fit."""
        if not self._concerns(node):
            return
        if any(name in self._better for name in node.input):
            for name, shape in zip(node.output, self.shapes_if(node, {}, self.shape_now), strict=True):
                if name and shape is not None and None in (self.shape_now(name) or (None,)):
                    self._now[name] = shape
                    self._better.add(name)
        made = self._simple(node)
        shapes = [made] if made is not None else self.shapes_if(node, {}, self.shape_then)
        for name, shape in zip(node.output, shapes, strict=True):
            if name:
                self.set(name, shape)

    def _concerns(self, node: NodeProto) -> bool:
        if any(name in self._then for name in node.input):
            return True
        if node.op_type in _BY_CONTENT and any(self._may_be_computed(name) for name in node.input):
            return True
        return has_bodies(node) and any(name in self._then for name in captures(node))

    def _may_be_computed(self, name: str) -> bool:
        """Whether ``name`` may be a vector of numbers that depend on the batch."""
        if not name or self.graph.is_constant(name):
            return False
        shape = self.shape_now(name)
        return self.dtype(name) in _COUNTS and (shape is None or len(shape) <= 1)

    def _simple(self, node: NodeProto) -> Shape | None:
        """Return the shape of the only output of most nodes, without inference; None where that takes more."""
        if len(node.output) != 1 or node.domain not in ("", "ai.onnx"):
            return None
        made = self.shape_now(node.output[0])
        if not made:
            return None
        if node.op_type in _BY_ITEM or node.op_type == "MatMul":
            axis = self.axis(node.input[0])
            if axis is None or any(self.differs(name) for name in node.input[1:]):
                return None
            before, source = self.shape_now(node.input[0]), self.shape_then(node.input[0])
            assert before is not None and source is not None
            if node.op_type in _BY_ITEM:
                fits = axis == 0 and before[0] == made[0]
            else:  # rows of the left matrix, with one matrix on the right
                right = self.shape_now(node.input[1])
                fits = right is not None and len(right) == 2 and axis < len(before) - 1 == len(made) - 1
            return (*made[:axis], source[axis], *made[axis + 1 :]) if fits else None
        return self._broadcast(node, made) if node.op_type in _BROADCAST else None

    def _broadcast(self, node: NodeProto, made: Shape) -> Shape | None:
        """Return what the inputs of an elementwise node make; None where only inference can tell whether they fit."""
        places: set[int] = set()
        size: Dim = None
        for name in node.input:
            axes, shape = self.axes(name), self.shape_then(name)
            if axes is None or shape is None or len(axes) > 1:
                return None
            if axes:
                places.add(len(made) - len(shape) + axes[0])
                size = shape[axes[0]]
        if len(places) != 1:
            return None
        (place,) = places
        for name in node.input:
            shape = self.shape_then(name) or ()
            own = place - (len(made) - len(shape))
            if own >= 0 and shape[own] not in (1, size):
                if size == 1 and shape[own] == self.now:
                    raise UnfitError("one item would be repeated for each that was there")
                return None
        return (*made[:place], size, *made[place + 1 :])

    def shapes_if(
        self, node: NodeProto, instead: dict[str, Shape], shape_of: ShapeOf | None = None
    ) -> list[Shape | None]:
        """Return the shapes of a node's outputs, some inputs having the shapes ``instead``, the others ``shape_of``.

        By default those of the other batch. None for an output of which inference finds nothing. Raises UnfitError.
        """
        shape_of = shape_of or self.shape_then
        content_of = self.content_now if shape_of == self.shape_now else self.content_then
        read = [name for name in node.input if name]
        if has_bodies(node):
            read = list(dict.fromkeys([*read, *sorted(captures(node))]))
        types: dict[str, TypeProto] = {}
        for name in read:
            dtype, shape = self.dtype(name), instead.get(name, shape_of(name))
            if not dtype:
                return [None] * len(node.output)
            types[name] = helper.make_tensor_type_proto(dtype, shape)
        data = {}
        for name in read:
            content = content_of(name) if self._is_vector(types[name]) else None
            if content is not None and all(isinstance(item, (int, float)) for item in content.ravel()):
                array = content.astype(ops.numpy_dtype(self.dtype(name)))
                data[name] = numpy_helper.from_array(array, name)
        schema = ops.schema(node.op_type, node.domain, self.graph.opset(node.domain))
        if schema is None:
            return [None] * len(node.output)
        try:
            found = (
                self._by_model(node, types, data)
                if has_bodies(node)
                else shape_inference.infer_node_outputs(
                    schema, node, types, data,
                    opset_imports=list(self.graph.proto.opset_import), ir_version=self.graph.proto.ir_version,
                )
            )  # fmt: skip
        except (shape_inference.InferenceError, checker.ValidationError, RuntimeError, ValueError) as error:
            raise UnfitError(_reason(error)) from None
        return [_shape(found.get(name)) for name in node.output]

    def _is_vector(self, kind: TypeProto) -> bool:
        tensor = kind.tensor_type
        return len(tensor.shape.dim) <= 1 and tensor.elem_type in _COUNTS

    def _by_model(
        self, node: NodeProto, types: dict[str, TypeProto], data: dict[str, onnx.TensorProto]
    ) -> dict[str, TypeProto]:
        """Infer a node with bodies: a model of it alone, what the bodies capture being inputs."""
        given = [ValueInfoProto(name=name, type=kind) for name, kind in types.items()]
        made = [ValueInfoProto(name=name) for name in node.output if name]
        body = helper.make_graph([node], "one", given, made, list(data.values()))
        proto = self.graph.proto
        model = helper.make_model(body, opset_imports=proto.opset_import, ir_version=max(proto.ir_version, 4))
        drop_body_types(model.graph.node[0])
        inferred = shape_inference.infer_shapes(model, strict_mode=True, data_prop=True)
        return {info.name: info.type for info in inferred.graph.output}

    # -- numbers in small tensors

    def content_now(self, name: str) -> Items | None:
        """Return the numbers of a small tensor at the batch of now."""
        return self._content(name, 0, 0)

    def content_then(self, name: str) -> Items | None:
        """Return the numbers of a small tensor at the other batch."""
        return self._content(name, 1, 0)

    def _content(self, name: str, when: int, depth: int) -> Items | None:
        known = self._contents[when]
        if name not in known:
            known[name] = None  # a cycle or a depth beyond the limit stays unknown
            if name and depth < _DEEPEST:
                known[name] = self._evaluate(name, when, depth)
        return known[name]

    def _evaluate(self, name: str, when: int, depth: int) -> Items | None:
        graph = self.graph
        if graph.is_constant(name):
            value = graph.value(name)
            if value is None or value.dtype not in _COUNTS:
                return None
            if value.static and int(np.prod(value.dims)) > MOST_ITEMS:
                return None
            array = graph.constant(name)
            small = array is not None and array.size <= MOST_ITEMS and array.dtype.kind in "iufb"
            return array.astype(object) if small and array is not None else None
        node = graph.index.producer(name)
        if node is None or node.domain not in ("", "ai.onnx"):
            return None
        if node.op_type in ("Shape", "Size"):
            shape = (self.shape_now, self.shape_then)[when](node.input[0])
            return measured(node, shape, graph.opset())
        rule = RULES.get(node.op_type)
        if rule is None:
            return None
        inputs = []
        for source in node.input:
            found = self._content(source, when, depth + 1) if source else None
            if source and found is None:
                return None
            inputs.append(found)
        try:
            made = rule(node, inputs, graph.opset() or 1)
        except (TypeError, ValueError, IndexError, ZeroDivisionError, KeyError, OverflowError):
            return None  # a symbol among the numbers, or a node that is wrong itself
        return made if made is not None and made.size <= MOST_ITEMS else None


def _reason(error: Exception) -> str:
    text = " ".join(str(error).split())
    return text.rpartition("] ")[2] or text


def _shape(kind: TypeProto | None) -> Shape | None:
    if kind is None:
        return None
    found = value_of(ValueInfoProto(name="x", type=kind)).shape
    return None if found is None else tuple(None if _is_made_up(dim) else dim for dim in found)


def _is_made_up(dim: Dim) -> bool:
    return isinstance(dim, str) and dim.startswith("unk__")
