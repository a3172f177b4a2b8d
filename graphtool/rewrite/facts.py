"""The tensors of a graph as expressions see them."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping
from collections.abc import Set as AbstractSet

import numpy as np
from onnx import helper

from graphtool.graph import Graph
from graphtool.graph.contents import Content
from graphtool.graph.forms import Virtual
from graphtool.graph.values import Shape, Value
from graphtool.rewrite.binding import Bound
from graphtool.rewrite.refs import Array, TensorRef, Tensors
from graphtool.rewrite.signs import never_negative

_FEW, _SHOWN = 8, 60  # elements and characters of a value in a message
_QUANTIZERS = ("QuantizeLinear", "DynamicQuantizeLinear", "DynamicQuantizeMatMul", "DynamicQuantizeLSTM")


def tensor_ref(graph: Graph, value: str | Virtual | tuple[str | Virtual, ...]) -> TensorRef | Tensors:
    """Return one value of a graph, see :meth:`View.tensor`."""
    return View(graph).tensor(value)


class View:
    """A graph as expressions see it: a :class:`~graphtool.rewrite.refs.Source`.

    ``outputs`` are the names of the graph's outputs, where the caller has them already.
    """

    def __init__(self, graph: Graph, outputs: AbstractSet[str] | None = None) -> None:
        self._graph = graph
        self._outputs = {info.name for info in graph.header.output} if outputs is None else outputs

    def tensor(self, value: str | Virtual | tuple[str | Virtual, ...]) -> TensorRef | Tensors:
        """Return the facts of a value; ``''`` is an absent optional input, several values come as :class:`Tensors`."""
        if isinstance(value, tuple):
            return Tensors(tuple(map(self._one, value)))
        return self._one(value)

    def _one(self, value: str | Virtual) -> TensorRef:
        if isinstance(value, Virtual):
            array = value.array
            return TensorRef("", helper.np_dtype_to_tensor_dtype(array.dtype), array.shape, lambda: array, uses=1)
        return TensorRef(value, source=self) if value else TensorRef("", present=False)

    def constant(self, name: str) -> Array | None:
        """Return the value of a constant; None where ``name`` is not one."""
        return self._graph.constant(name)

    def look(self, name: str) -> tuple[int | None, Shape | None, int]:
        """Return the element type, the shape and the number of readers of a value."""
        graph = self._graph
        uses = graph.index.uses(name) + (name in self._outputs)
        weight = graph.initializers.get(name)
        if weight is not None and graph.is_constant(name):  # no reason to infer the shapes of a whole graph
            return weight.data_type, tuple(weight.dims[:]), uses
        found = graph.facts.fact(name)  # not what an output declares, which onnxruntime does not hold to
        return found.dtype, found.shape, uses

    def elements(self, name: str) -> Content | None:
        """Return what is known of the elements of a small integer tensor that is no constant."""
        return self._graph.facts.elements(name)

    def never_negative(self, name: str) -> bool:
        """Whether no element of a value can be less than 0, as far as the nodes above it say."""
        return never_negative(self._graph, name)

    def quantizes(self) -> bool:
        """Whether nodes of the graph, or of one around it, round to a step: QuantizeLinear and its kin."""
        around: Graph | None = self._graph
        while around is not None:
            types = around.index.types
            if any(around.node(slot) is not None for op in _QUANTIZERS for slot in types.get(op, ())):
                return True
            around = around.parent
        return False


def told(names: Iterable[str], env: Mapping[str, object]) -> str:
    """Return in a few words what those of ``names`` are that have a value here: ``x float32[2,3], k 4``."""
    shown = []
    for name in sorted(names):
        try:
            value = env[name]
        except KeyError:
            continue
        if isinstance(value, Tensors):
            shown.append(f"{name} {len(value.refs)} values")
        elif not isinstance(value, TensorRef):
            shown.append(f"{name} {value.tolist() if isinstance(value, np.ndarray) else value}"[:_SHOWN])
        elif not value.present:
            shown.append(f"{name} absent")
        elif (known := value.known) is not None and known.size <= _FEW:
            shown.append(f"{name} {known.dtype.name} {known.tolist()}"[:_SHOWN])
        else:
            shown.append(f"{name} {Value(name, value.dtype or 0, value.shape).type_text()}")
    return ", ".join(shown)


class Environment(dict[str, object]):
    """What expressions read: a value of the match is looked up when it is asked for, since that may cost an inference.

    ``values`` are those of the match by the names of the pattern, ``read`` the names that expressions read: a value
    that only a replacement reads is no entry, for it is no constant. ``made`` are the names of outputs, which
    a node may not have.
    """

    def __init__(
        self, view: View, values: Mapping[str, Bound], read: AbstractSet[str], made: Container[str] = ()
    ) -> None:
        self._view = view
        self._values = values
        self._read = read
        self._made = made

    def __missing__(self, name: str) -> object:
        if name in self._made and name in self._read and name not in self._values:
            return self._view.tensor("")
        if name not in self._values or name not in self._read:
            if "@" + name in self:  # asked for as often, and an error costs more
                return self["@" + name]
            raise KeyError(name)
        found = self[name] = self._view.tensor(self._values[name])
        return found
