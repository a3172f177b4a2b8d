"""Attributes, bodies and functions in a form that does not depend on the names inside them."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from onnx import AttributeProto, FunctionProto, GraphProto, NodeProto, TensorProto

from graphtool.graph import Graph, dtype_name
from graphtool.graph.bodies import defined
from graphtool.graph.counts import op_label
from graphtool.graph.digests import Contents

_SHOWN = 8  # elements of a tensor attribute that are written out

Number = Callable[[str], Hashable]


@dataclass(slots=True)
class Form:
    """A node's attributes, or a function: ``key`` is equal for equal ones whatever the names in bodies are.

    ``captures`` are the outer values that bodies read, in order of first use (``key`` refers to them by number), and
    ``names`` the values and nodes inside, in an order that is the same for equal keys.
    """

    key: dict[str, Hashable] = field(default_factory=dict)
    captures: list[str] = field(default_factory=list)
    names: list[str] = field(default_factory=list)


_EMPTY = Form()


class Forms:
    """Makes forms for the nodes of one model."""

    def __init__(self, graph: Graph, contents: Contents) -> None:
        self._graph = graph
        self._contents = contents

    def node(self, node: NodeProto) -> Form:
        """Return the form of a node's attributes; its key has an entry for each."""
        if not node.attribute:
            return _EMPTY
        form = Form()
        numbers: dict[str, Hashable] = {}

        def outer(name: str) -> Hashable:
            if name not in numbers:
                numbers[name] = ("outer", len(numbers))
            return numbers[name]

        form.key = dict(self._attributes(node.attribute, outer, form.names, 0))
        form.captures = list(numbers)
        return form

    def function(self, function: FunctionProto) -> Form:
        """Return the form of a local function."""
        form = Form()
        scope = _Scope({*function.input, *(n for node in function.node for n in node.output)}, lambda name: name, 0)
        form.key = {
            "inputs": tuple(scope(name) for name in function.input),
            "nodes": self._nodes(function.node, scope, form.names),
            "outputs": tuple(scope(name) for name in function.output),
            "attributes": tuple(function.attribute),
            "defaults": self._attributes(function.attribute_proto, scope, form.names, 1),
            "opsets": tuple(sorted(((e.domain, e.version) for e in function.opset_import), key=str)),
        }
        form.names += scope.numbers
        return form

    def _attributes(
        self, attributes: Iterable[AttributeProto], number: Number, names: list[str], depth: int
    ) -> tuple[tuple[str, Hashable], ...]:
        # by str, here and elsewhere in this package: text that is not UTF-8 comes out of protobuf as bytes
        found = sorted(attributes, key=lambda attribute: str(attribute.name))
        return tuple((attribute.name, self._attribute(attribute, number, names, depth)) for attribute in found)

    def _attribute(self, attribute: AttributeProto, number: Number, names: list[str], depth: int) -> Hashable:
        match attribute.type:
            case AttributeProto.TENSOR if not attribute.ref_attr_name:
                return self._contents.key(self._graph, attribute.t)
            case AttributeProto.TENSORS:
                return tuple(self._contents.key(self._graph, tensor) for tensor in attribute.tensors)
            case AttributeProto.GRAPH if not attribute.ref_attr_name:
                return self._body(attribute.g, number, names, depth)
            case AttributeProto.GRAPHS:
                return tuple(self._body(graph, number, names, depth) for graph in attribute.graphs)
        if attribute.doc_string:
            plain = AttributeProto()
            plain.CopyFrom(attribute)
            plain.ClearField("doc_string")
            attribute = plain
        # bytes, not values: NaN is equal to itself, and -0 is not 0
        found: bytes = attribute.SerializeToString(deterministic=True)
        return found

    def _body(self, graph: GraphProto, outer: Number, names: list[str], depth: int) -> Hashable:
        scope = _Scope(defined(graph), outer, depth)
        inputs = tuple((scope(value.name), _type(value)) for value in graph.input)
        nodes = self._nodes(graph.node, scope, names)
        outputs = tuple((scope(value.name), _type(value)) for value in graph.output)
        weights: dict[Hashable, Hashable] = {}
        for tensor in graph.initializer:
            weights[scope(tensor.name)] = self._contents.key(self._graph, tensor)
        for sparse in graph.sparse_initializer:
            parts = (self._contents.key(self._graph, tensor) for tensor in (sparse.values, sparse.indices))
            weights[scope(sparse.values.name)] = (tuple(sparse.dims), *parts)
        names += scope.numbers
        return inputs, nodes, outputs, frozenset(weights.items())

    def _nodes(self, nodes: Iterable[NodeProto], scope: _Scope, names: list[str]) -> Hashable:
        found = []
        for node in nodes:
            reads = tuple(scope(name) for name in node.input)
            attributes = self._attributes(node.attribute, scope, names, scope.depth + 1)
            found.append((op_label(node), reads, tuple(scope(name) for name in node.output), attributes))
            names.append(node.name)
        return tuple(found)


class _Scope:
    """Numbers the names that a body defines, in order of first use; others are the outer scope's matter."""

    def __init__(self, own: set[str], outer: Number, depth: int) -> None:
        self._own = own
        self._outer = outer
        self.depth = depth
        self.numbers: dict[str, int] = {}

    def __call__(self, name: str) -> Hashable:
        if not name:
            return None
        if name not in self._own:
            return self._outer(name)
        return ("inner", self.depth, self.numbers.setdefault(name, len(self.numbers)))


def _type(value: Any) -> bytes:
    found: bytes = value.type.SerializeToString(deterministic=True)
    return found


def attribute_text(graph: Graph, attribute: AttributeProto, key: Hashable) -> str:
    """Return the value of an attribute in words; ``key`` is its form, from which a large tensor's digest comes."""
    if attribute.ref_attr_name:
        return f"@{attribute.ref_attr_name}"
    match attribute.type:
        case AttributeProto.INT:
            return str(attribute.i)
        case AttributeProto.FLOAT:
            return _float(attribute.f)
        case AttributeProto.STRING:
            return _string(attribute.s)
        case AttributeProto.INTS:
            return f"[{','.join(map(str, attribute.ints))}]"
        case AttributeProto.FLOATS:
            return f"[{','.join(map(_float, attribute.floats))}]"
        case AttributeProto.STRINGS:
            return f"[{','.join(map(_string, attribute.strings))}]"
        case AttributeProto.TENSOR:
            return _tensor(graph, attribute.t, key)
    return str(AttributeProto.AttributeType.Name(attribute.type)).lower()


def _float(number: float) -> str:
    return str(np.float32(number))


def _string(text: bytes) -> str:
    return f"'{text.decode('utf-8', 'backslashreplace')}'"


def _tensor(graph: Graph, tensor: TensorProto, key: Hashable) -> str:
    kind = f"{dtype_name(tensor.data_type)}[{','.join(map(str, tensor.dims))}]"
    if math.prod(tensor.dims) <= _SHOWN:
        if tensor.data_type == TensorProto.STRING:
            return f"{kind} {{{','.join(map(_string, tensor.string_data))}}}"
        with contextlib.suppress(ValueError):  # fewer bytes than the shape says: the digest is all there is to tell
            return f"{kind} {{{','.join(str(x) for x in graph.array(tensor).ravel())}}}"
    digest = key[2] if isinstance(key, tuple) else ""
    return f"{kind} sha256 {digest}"
