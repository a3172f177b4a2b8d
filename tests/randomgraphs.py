"""Random small graphs that rewrites act on: the same seed makes the same model on every machine.

A :class:`Maker` writes nodes and knows type and shape of each value, under each of two sizes of the open dimension
``N``: a dimension is fixed where both agree. What it writes is a row of *parts* (``random*.py`` beside this file): the
forms that passes look for, and forms that differ from them in one respect. Between the statements of a part it may put
a copy of a node, an Identity, another reader or an output, so that matches meet each other, shared values and outputs.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, TypeProto, defs, helper, numpy_helper
from onnx.shape_inference import infer_node_outputs

Array = np.ndarray[Any, Any]
Shape = tuple[int, ...]

SIZES = (3, 1)  # of N in the two runs; with 1 it broadcasts
OPSETS = (11, 13, 17, 18, 20, 21, 23, 24)
IR = {11: 6, 13: 7, 17: 8, 18: 8, 20: 9, 21: 10, 23: 11, 24: 12}
F32, F64, F16, I64, I32, BOOL = (
    TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.FLOAT16, TensorProto.INT64, TensorProto.INT32, TensorProto.BOOL,
)  # fmt: skip
FLOATS, INTS = (F32, F64, F16), (I64, I32)
_MOST_ELEMENTS, _MOST_INPUTS = 3000, 6


class Unfit(Exception):  # noqa: N818
    """What was begun cannot be written here: no value fits, or shape inference refuses it."""


@dataclass(frozen=True, slots=True)
class Val:
    """A value: its shapes and, where they are known, its elements for each size of ``N``."""

    name: str
    dtype: int
    shapes: tuple[Shape, Shape]
    data: tuple[Array | None, Array | None] = (None, None)
    constant: bool = False  # the data are those of an initializer or a Constant node

    @property
    def rank(self) -> int:
        return len(self.shapes[0])

    @property
    def dims(self) -> list[int | None]:
        """Dimensions, None for one that depends on ``N``."""
        return [a if a == b else None for a, b in zip(*self.shapes, strict=True)]

    @property
    def shape(self) -> Shape:
        """The shape, where it does not depend on ``N``."""
        if self.shapes[0] != self.shapes[1]:
            raise Unfit("an open dimension")
        return self.shapes[0]

    def fixed(self, axis: int) -> int:
        """The size of an axis, where it does not depend on ``N``."""
        if not -self.rank <= axis < self.rank or (size := self.dims[axis]) is None:
            raise Unfit("an open dimension")
        return size

    def info(self) -> onnx.ValueInfoProto:
        pairs = zip(*self.shapes, strict=True)
        dims = ["N" if pair == SIZES else pair[0] if pair[0] == pair[1] else None for pair in pairs]
        return helper.make_tensor_value_info(self.name, self.dtype, dims)


@dataclass
class Model:
    """What belongs to a model as a whole: names, local functions, what feeds need."""

    opset: int
    names: int = 0
    inputs: list[Val] = field(default_factory=list)
    functions: dict[str, onnx.FunctionProto] = field(default_factory=dict)
    spread: float = 0.12  # how often something is put between the statements of a part


class Maker:
    """Writes one graph or body. Values outside a body are those of ``parent``."""

    def __init__(self, rng: random.Random, model: Model, parent: Maker | None = None) -> None:
        self.rng, self.model, self.parent = rng, model, parent
        self.opset = model.opset
        self.nodes: list[NodeProto] = []
        self.weights: list[TensorProto] = []
        self.pool: list[Val] = []
        self.outputs: list[Val] = []

    def chance(self, share: float) -> bool:
        return self.rng.random() < share

    def fresh(self, stem: str) -> str:
        self.model.names += 1
        return f"{stem}{self.model.names}"

    # -- values

    def input(self, dtype: int, dims: Sequence[int | str]) -> Val:
        """Add an input to the model; ``"N"`` is the open dimension."""
        if len(self.model.inputs) >= _MOST_INPUTS:
            raise Unfit("enough inputs")
        root = self
        while root.parent is not None:
            root = root.parent
        shapes = [tuple(size if dim == "N" else int(dim) for dim in dims) for size in SIZES]
        value = Val(root.fresh("x"), dtype, (shapes[0], shapes[1]))
        self.model.inputs.append(value)
        root.pool.append(value)
        return value

    def constant(self, array: Array, node: bool | None = None) -> Val:
        """Add a constant: an initializer, one that is there already, or a Constant node."""
        if self.chance(0.2):
            for tensor in self.weights:
                if tensor.data_type == helper.np_dtype_to_tensor_dtype(array.dtype) and (
                    tensor.raw_data == array.tobytes() and tuple(tensor.dims) == array.shape
                ):
                    return Val(tensor.name, tensor.data_type, (array.shape, array.shape), (array, array), True)
        name = self.fresh("c")
        dtype = helper.np_dtype_to_tensor_dtype(array.dtype)
        if self.chance(0.15) if node is None else node:
            self.nodes.append(self._constant_node(array, name))
        else:
            home = self.parent if self.parent is not None and self.chance(0.5) else self
            home.weights.append(numpy_helper.from_array(np.ascontiguousarray(array).reshape(array.shape), name))
        return Val(name, dtype, (array.shape, array.shape), (array, array), True)

    def _constant_node(self, array: Array, name: str) -> NodeProto:
        if self.opset >= 12 and array.dtype == np.int64 and array.ndim == 1 and array.size:
            return helper.make_node("Constant", [], [name], value_ints=array.tolist())
        if self.opset >= 12 and array.dtype == np.float32 and array.ndim == 0 and self.chance(0.5):
            return helper.make_node("Constant", [], [name], value_float=float(array))
        return helper.make_node("Constant", [], [name], value=numpy_helper.from_array(array, name))

    def ints(self, *items: int) -> Val:
        return self.constant(np.array(items, np.int64))

    def known(self, dtype: int | None = None) -> list[Val]:
        """The values that may be read here, latest last."""
        outer = self.parent.known(dtype) if self.parent is not None else []
        return outer + [value for value in self.pool if dtype is None or value.dtype == dtype]

    def pick(
        self, dtypes: Iterable[int] = (F32,), ranks: Iterable[int] = range(6), fits: Callable[[Val], bool] | None = None
    ) -> Val:
        """Return a value, rather a late one; a new input where none fits."""
        wanted, allowed = tuple(dtypes), tuple(ranks)
        found = [v for v in self.known() if v.dtype in wanted and v.rank in allowed and (fits is None or fits(v))]
        if found:
            return found[max(self.rng.randrange(len(found)), self.rng.randrange(len(found)))]
        rank = self.rng.choice(allowed)
        for _ in range(4):
            dims: list[int | str] = [self.rng.choice([1, 2, 3, 4, 4, 6, 8]) for _ in range(rank)]
            if rank and self.chance(0.4):
                dims[0] = "N"
            shapes = [tuple(size if dim == "N" else int(dim) for dim in dims) for size in SIZES]
            if fits is None or fits(Val("", wanted[0], (shapes[0], shapes[1]))):
                return self.input(wanted[0], dims)
        raise Unfit("no value fits")

    # -- nodes

    def op(self, op: str, *inputs: Val | None, count: int = 1, **attributes: Any) -> Val:
        """Write a node and return its first output."""
        return self.ops(op, *inputs, count=count, **attributes)[0]

    def ops(self, op: str, *inputs: Val | None, count: int = 1, **attributes: Any) -> list[Val]:
        """Write a node and return its outputs; raises Unfit where onnx's inference refuses it or does not know."""
        names = [value.name if value is not None else "" for value in inputs]
        while names and not names[-1]:
            names.pop()
        stem = op[:3].lower()
        node = helper.make_node(op, names, [self.fresh(stem) for _ in range(count)], **attributes)
        if self.chance(0.6):
            node.name = self.fresh("n")
        made = self._inferred(node, [value for value in inputs if value is not None])
        self.nodes.append(node)
        self.pool += made
        if self.chance(self.model.spread):
            made[0] = self._disturbed(node, made[0])
        return made

    def raw(self, node: NodeProto, made: Sequence[Val]) -> None:
        """Write a node whose outputs are known."""
        self.nodes.append(node)
        self.pool += made

    def _inferred(self, node: NodeProto, inputs: Sequence[Val]) -> list[Val]:
        if not defs.has(node.op_type, self.opset, ""):
            raise Unfit(f"no {node.op_type} at this opset")
        schema = defs.get_schema(node.op_type, self.opset)
        shapes: list[list[Shape]] = [[] for _ in node.output]
        dtypes = [0 for _ in node.output]
        for run in range(len(SIZES)):
            types = {v.name: helper.make_tensor_type_proto(v.dtype, v.shapes[run]) for v in inputs}
            data = {v.name: numpy_helper.from_array(d, v.name) for v in inputs if (d := v.data[run]) is not None}
            opsets = [helper.make_opsetid("", self.opset)]
            try:
                found = infer_node_outputs(schema, node, types, data, opset_imports=opsets)
            except Exception as error:  # onnx raises several kinds
                raise Unfit(str(error)) from None
            for place, name in enumerate(node.output):
                dtypes[place], shape = _of_type(found.get(name))
                shapes[place].append(shape)
        return [Val(name, dtype, (a, b)) for name, dtype, (a, b) in zip(node.output, dtypes, shapes, strict=True)]

    def _disturbed(self, node: NodeProto, value: Val) -> Val:
        """Put something beside or behind a new node that leaves its value as it is."""
        kind = self.rng.choice(["output", "output", "copy", "copy", "reader", "Identity", "Cast", "Reshape", "twice"])
        plain = all(attribute.type != onnx.AttributeProto.GRAPH for attribute in node.attribute)
        if kind == "output":
            self.outputs.append(value)
        elif kind in ("copy", "twice") and plain:
            copy = NodeProto()
            copy.CopyFrom(node)
            copy.name = ""
            for place, name in enumerate(copy.output):
                copy.output[place] = self.fresh(name[:3]) if name else ""
            own = Val(copy.output[0], value.dtype, value.shapes, value.data)
            self.raw(copy, [own])
            if kind == "twice" and value.dtype in FLOATS + INTS:
                self.op("Add", value, own)
            elif self.chance(0.5):
                return own
        elif kind == "reader":
            self.op("Neg" if value.dtype in FLOATS + INTS else "Identity", value)
        elif kind == "Identity":
            return self.op("Identity", value)
        elif kind == "Cast":
            return self.op("Cast", value, to=value.dtype)
        elif kind == "Reshape" and None not in value.dims and 0 not in value.shape:
            return self.op("Reshape", value, self.ints(*value.shape))
        return value


def _of_type(found: TypeProto | None) -> tuple[int, Shape]:
    tensor = found.tensor_type if found is not None else TypeProto.Tensor()
    if not tensor.elem_type or not tensor.HasField("shape"):
        raise Unfit("a type that inference does not know")
    if any(not dim.HasField("dim_value") for dim in tensor.shape.dim):
        raise Unfit("a shape that inference does not know")
    shape = tuple(dim.dim_value for dim in tensor.shape.dim)
    if int(np.prod(shape)) > _MOST_ELEMENTS:
        raise Unfit("too large")
    return tensor.elem_type, shape


Part = Callable[[Maker], None]


def random_model(seed: int, parts: Sequence[tuple[Part, int]], opset: int | None = None) -> ModelProto:
    """Return a model of a few random parts, each drawn by its weight; onnx or onnxruntime may refuse it."""
    rng = random.Random(seed)
    model = Model(opset or rng.choice(OPSETS), spread=rng.choice([0, 0.1, 0.2]))
    maker = Maker(rng, model)
    chosen = rng.choices([part for part, _ in parts], [weight for _, weight in parts], k=rng.choice([3, 5, 12]))
    seeds = rng.choices(chosen, k=40)  # few kinds of parts, so that they meet
    wanted = rng.randint(4, 16)
    for part in seeds:
        if len(maker.nodes) >= wanted:
            break
        attempt(maker, part)
    return _finished(maker)


def attempt(maker: Maker, part: Part) -> bool:
    """Let a part write; where it cannot, take back what it wrote and return False."""
    makers = [maker]
    while makers[-1].parent is not None:
        makers.append(makers[-1].parent)
    marks = [(m, len(m.nodes), len(m.weights), len(m.pool), len(m.outputs)) for m in makers]
    inputs = len(maker.model.inputs)
    try:
        part(maker)
    except Unfit:
        for own, nodes, weights, pool, outputs in marks:
            del own.nodes[nodes:], own.weights[weights:], own.pool[pool:], own.outputs[outputs:]
        del maker.model.inputs[inputs:]
        return False
    return True


def _beyond(tensor: TensorProto) -> bool:
    """Whether int32 does not hold the numbers, of which int64_to_int32 promises nothing where they may change."""
    return tensor.data_type == I64 and bool((np.abs(numpy_helper.to_array(tensor) // 2) >= 2**30).any())


def _finished(maker: Maker) -> ModelProto:
    """Choose outputs: most values that nobody reads, some that are read, and the odd constant or input."""
    rng, model = maker.rng, maker.model
    read = {name for node in maker.nodes for name in node.input}
    made = {name for node in maker.nodes for name in node.output}
    values = {value.name: value for value in maker.pool if value.name in made}
    chosen = [v for v in values.values() if (v.name not in read and rng.random() < 0.85) or rng.random() < 0.05]
    chosen += [v for v in maker.outputs if v.name in values]
    if rng.random() < 0.1 and maker.weights:
        tensor = rng.choice(maker.weights)
        shape = tuple(tensor.dims)
        chosen.append(Val(tensor.name, tensor.data_type, (shape, shape)))
    if rng.random() < 0.1 and model.inputs:
        model.spread = 0
        for _ in range(rng.randint(1, 2)):
            attempt(maker, lambda m: chosen.append(m.op("Identity", rng.choice(model.inputs))))
    unique = list({value.name: value for value in chosen or maker.pool[-1:]}.values())
    rng.shuffle(unique)
    inputs = [value.info() for value in model.inputs]
    small = [tensor for tensor in maker.weights if not _beyond(tensor)]
    if rng.random() < 0.15 and small:  # a default that a caller may override
        tensor = rng.choice(small)
        inputs.append(helper.make_tensor_value_info(tensor.name, tensor.data_type, list(tensor.dims)))
    outputs = [value.info() for value in unique]
    graph: GraphProto = helper.make_graph(maker.nodes, "g", inputs, outputs, maker.weights)
    imports = [helper.make_opsetid("", model.opset)]
    if model.functions:
        imports.append(helper.make_opsetid("local", 1))
    functions = list(model.functions.values())
    return helper.make_model(graph, opset_imports=imports, ir_version=IR[model.opset], functions=functions)
