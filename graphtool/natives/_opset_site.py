"""What an adapter of the opset conversion works with: a node, what is known around it, and what it may add."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import NodeProto, TensorProto, helper

from graphtool.errors import quoted
from graphtool.graph import Graph, Value
from graphtool.graph import opset as ops
from graphtool.graph.values import Shape
from graphtool.natives._opset_steps import Refusal

Array = NDArray[Any]


class Site:
    """One level of a model (the main graph, a body, a function's nodes) while its nodes are converted.

    The graph is only read: new nodes and constants are handed back, so that a refusal leaves nothing half done.
    """

    def __init__(self, graph: Graph, target: int, shrinking: str = "refuse") -> None:
        self.graph = graph
        self.target = target
        self.shrinking = shrinking  # what nearest of opset 10 is taken to do where an axis shrinks
        self.constants: dict[str, Array] = {}  # new constants by name
        self.kept: set[str] = set()  # those of them that other nodes read already
        self._shared: dict[tuple[str, tuple[int, ...], bytes], str] = {}
        self._made: dict[str, Value] = {}  # what is known of values that adapters make
        self._outputs = frozenset(info.name for info in graph.header.output)
        self.stem = ""

    def begin(self, node: NodeProto) -> None:
        """Name what is added from here on after ``node``."""
        self.stem = node.name or next((name for name in node.output if name), node.op_type)

    # -- what is known

    def value(self, name: str) -> Value:
        """Return type and shape of a value, a new one included; all unknown where nothing is known."""
        if name in self.constants:
            array = self.constants[name]
            return Value(name, helper.np_dtype_to_tensor_dtype(array.dtype), array.shape)
        return self._made.get(name) or self.graph.value(name) or Value(name, kind="unknown")

    def shape(self, name: str) -> Shape | None:
        """Return a value's shape; None where not even the rank is known."""
        value = self.value(name)
        return value.shape if value.kind == "tensor" else None

    def rank(self, name: str, why: str) -> int:
        """Return a value's rank; refuses where it is not known."""
        shape = self.shape(name)
        if shape is None:
            raise Refusal(f"{why}, and the rank of {quoted(name)} is not known")
        return len(shape)

    def dtype(self, name: str, why: str) -> int:
        """Return a value's element type; refuses where it is not known."""
        value = self.value(name)
        if value.kind != "tensor" or not value.dtype:
            raise Refusal(f"{why}, and the element type of {quoted(name)} is not known")
        return value.dtype

    def constant(self, name: str) -> Array | None:
        """Return the value of a constant, a new one included, or of an Identity of one; None where it is none."""
        if name in self.constants:
            return self.constants[name]
        return self.graph.constant(self.graph.behind_identities(name))

    def unused(self, name: str) -> bool:
        """Whether nothing reads a value."""
        return not name or not (self.graph.index.uses(name) or name in self._outputs)

    # -- attributes

    def attribute(self, node: NodeProto, name: str, version: int) -> Any:
        """Return an attribute as set or by default; refuses one that the caller of a function gives."""
        own = ops.attribute_of(node, name)
        if own is not None and own.ref_attr_name:
            raise Refusal(f"attribute {quoted(name)} is given by the caller of the function")
        return ops.effective(node, name, version)

    def set(self, node: NodeProto, name: str, value: object, version: int) -> None:
        """Set an attribute in the type that the op wants at an opset; the others keep their order."""
        made = ops.make_attribute(node.op_type, "", version, name, value)
        own = ops.attribute_of(node, name)
        if own is not None:
            own.CopyFrom(made)
        else:
            node.attribute.append(made)

    @staticmethod
    def drop(node: NodeProto, name: str) -> None:
        """Remove an attribute, where it is set."""
        for place, attribute in enumerate(node.attribute):
            if attribute.name == name:
                del node.attribute[place]
                return

    # -- additions

    def tensor(self, array: Array, hint: str) -> str:
        """Return a constant of that value, one for all nodes of this level that want it."""
        array = np.asarray(array)
        key = (array.dtype.str, array.shape, array.tobytes())
        if key not in self._shared:
            name = self.graph.names.fresh_value(f"{self.stem}/{hint}")
            self._shared[key] = name
            self.constants[name] = array
        return self._shared[key]

    def becomes(self, name: str, array: Array) -> bool:
        """Let the value ``name`` be an initializer instead of a node's output; False where it is an output."""
        if name in self._outputs:
            return False
        self.constants[name] = array
        self.kept.add(name)
        return True

    def ints(self, numbers: Sequence[int], hint: str) -> str:
        """Return a constant list of int64."""
        return self.tensor(np.asarray(numbers, np.int64).reshape(-1), hint)

    def make(
        self,
        op: str,
        inputs: Sequence[str],
        version: int,
        known: tuple[int, Shape | None],
        hint: str,
        output: str | None = None,
        **attributes: object,
    ) -> NodeProto:
        """Return a new node in the form of opset ``version``.

        ``known`` is type and shape of its output, a new value called after ``hint`` unless ``output`` is given.
        """
        made = output if output is not None else self.graph.names.fresh_value(f"{self.stem}/{hint}")
        node = NodeProto(op_type=op, input=inputs, output=[made])
        node.name = self.graph.names.fresh_node(f"{self.stem}/{hint}")
        for name in sorted(attributes):
            node.attribute.append(ops.make_attribute(op, "", version, name, attributes[name]))
        if output is None:
            self._made[made] = Value(made, *known)
        return node

    def known(self, name: str) -> tuple[int, Shape | None]:
        """Return type and shape of a value as :meth:`make` takes them."""
        value = self.value(name)
        return (value.dtype, value.shape) if value.kind == "tensor" else (0, None)

    def step_aside(self, node: NodeProto, hint: str, shape: Shape | None) -> str:
        """Give ``node`` a new output called after ``hint``, and return the old one, which another node will make.

        The maker of the old output takes over the node's name (see :meth:`take_over`), so that out_nodes lead back.
        """
        old = str(node.output[0])
        node.output[0] = self.graph.names.fresh_value(f"{self.stem}/{hint}")
        self._made[node.output[0]] = Value(node.output[0], self.value(old).dtype, shape)
        return old

    def take_over(self, node: NodeProto, last: NodeProto) -> None:
        """Let ``last``, which makes the old output of ``node`` now, have its name, and ``node`` the other one."""
        if node.name:
            node.name, last.name = last.name, node.name
        last.doc_string = node.doc_string
        last.metadata_props.extend(node.metadata_props)
        node.ClearField("doc_string")
        del node.metadata_props[:]


INT64: int = TensorProto.INT64
