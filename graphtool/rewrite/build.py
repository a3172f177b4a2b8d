"""Building what takes a match's place: nodes and constants instantiated from the statements of a replacement."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import AttributeProto, NodeProto

from graphtool.errors import quoted, show
from graphtool.graph import Graph
from graphtool.graph import opset as ops
from graphtool.rewrite.matcher import Binding
from graphtool.rewrite.pattern import Pattern, PatternNode

Array = NDArray[Any]


class Refused(Exception):  # noqa: N818  # no error: a match that does not apply, with its reason
    """A match fits but must not be applied; the message says why."""


def make_attribute(node: NodeProto, version: int | None, name: str, value: object) -> AttributeProto:
    """Return an attribute for ``node`` in the type that its op wants; raises Refused where the value does not fit."""
    try:
        return ops.make_attribute(node.op_type, node.domain, version, name, value)
    except (AssertionError, TypeError, ValueError) as error:  # the first two: onnx, of lists that it did not expect
        raise Refused(show(error) or f"attribute {quoted(name)} of {node.op_type} cannot be {value!r}") from None


class Constants:
    """The initializers that one sweep made, by value, so that equal ones are shared."""

    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self._names: dict[tuple[object, ...], str] = {}

    def find(self, value: Array) -> str | None:
        """Return the initializer with that type, shape and bytes."""
        name = self._names.get(_key(value))
        return name if name in self._graph.initializers else None

    def put(self, name: str, value: Array) -> None:
        """Note that initializer ``name`` has that value."""
        self._names[_key(value)] = name


def _key(value: Array) -> tuple[object, ...]:
    return (value.dtype.str, value.shape, hashlib.sha256(np.ascontiguousarray(value).tobytes()).digest())


class Builder:
    """Instantiates the statements of a replacement; touches the graph only in :meth:`add_constants`."""

    def __init__(
        self,
        graph: Graph,
        constants: Constants,
        pattern: Pattern,
        binding: Binding,
        env: Mapping[str, object],
        lets: frozenset[str],
    ) -> None:
        self.graph = graph
        self.constants = constants
        self.lets = lets
        self.binding = binding
        self.env = env
        root = graph.node(binding.slots[len(pattern.nodes) - 1])
        assert root is not None
        self.root = root
        self.stem = root.name or next((name for name in root.output if name), root.op_type)
        self.roots = {name for name in pattern.nodes[-1].outputs if name}
        self.named = False  # whether a node has taken over the root's name
        self.pattern = pattern
        self.made: dict[str, str] = {}
        self.new: dict[str, Array] = {}

    def node(self, wanted: PatternNode) -> NodeProto:
        """Return the node for one statement."""
        graph = self.graph
        inputs = [self.input(name) for name in wanted.inputs]
        while inputs and not inputs[-1]:
            inputs.pop()
        outputs = []
        for name in wanted.outputs:
            if name in self.roots or not name:
                self.made[name] = self.binding.values.get(name, "")
            else:
                self.made[name] = graph.names.fresh_value(f"{self.stem}/{name}")
            outputs.append(self.made[name])
        node = NodeProto(op_type=wanted.op_type, domain=wanted.domain, input=inputs, output=outputs)
        if not self.named and not self.roots.isdisjoint(wanted.outputs):
            # the node that makes the old output takes over its name: out_nodes and profiler rows lead back to it
            self.named = True
            node.name = self.root.name or graph.names.fresh_node(self.stem)
            if self.root.doc_string:
                node.doc_string = self.root.doc_string
            node.metadata_props.extend(self.root.metadata_props)
        else:
            output = next((name for name in wanted.outputs if name), wanted.op_type)
            node.name = graph.names.fresh_node(f"{self.stem}/{output}")
        self._attributes(wanted, node)
        return node

    def _attributes(self, wanted: PatternNode, node: NodeProto) -> None:
        version = self.graph.opset(wanted.domain)
        values = dict(wanted.literals)
        for name, variable in wanted.variables:
            # a tensor or body is bound whole; expressions only see that it is there
            found = self.binding.attributes.get(variable, self.env.get(variable))
            if found is not None:
                values[name] = found.tolist() if isinstance(found, np.ndarray) else found
        made = [make_attribute(node, version, name, value) for name, value in sorted(values.items())]
        if wanted.like is not None:
            source, bound = self._source(wanted.like)
            known = ops.schema(node.op_type, node.domain, version)
            made += [
                attribute
                for attribute in source.attribute
                if attribute.name not in bound
                and attribute.name not in values
                and (known is None or attribute.name in known.attributes)
            ]
        node.attribute.extend(sorted(made, key=lambda attribute: attribute.name))

    def _source(self, like: str) -> tuple[NodeProto, set[str]]:
        """Return the matched node that made ``like``, and its attributes that the pattern bound."""
        for number, statement in enumerate(self.pattern.nodes):
            if like in statement.outputs:
                node = self.graph.node(self.binding.slots[number])
                assert node is not None
                return node, {name for name, _ in statement.variables}
        raise AssertionError(f"no matched statement makes {like}; checked when the file was read")

    def input(self, name: str) -> str:
        """Return the value that a statement reads under ``name``: one of the graph, a new one, or a new constant."""
        if not name or name in self.made:
            return self.made.get(name, "")
        if name in self.lets or (name in self.env and not self.binding.values.get(name)):
            return self._constant(name)
        return self.binding.values.get(name, "")

    def _constant(self, name: str) -> str:
        value = self.env[name]
        if value is None or getattr(value, "present", None) is False:  # an absent optional input
            return ""
        if isinstance(value, str) or not isinstance(value, (np.ndarray, list, int, float)):
            raise Refused(f"{name} is not a constant")
        if not isinstance(value, np.ndarray):
            kind = np.float32 if isinstance(value, float) or (isinstance(value, list) and any(
                isinstance(item, float) for item in value)) else np.int64  # fmt: skip
            try:
                value = np.asarray(value, kind)
            except (TypeError, ValueError):
                raise Refused(f"{name} is not a constant: {value!r}") from None
        found = self.constants.find(value) or self._same_here(value)
        if found is None:
            found = self.graph.names.fresh_value(f"{self.stem}/{name}")
            self.new[found] = value
        self.made[name] = found
        return found

    def _same_here(self, value: Array) -> str | None:
        """Return the new constant of this replacement with that type, shape and bytes."""
        return next((name for name, known in self.new.items() if _key(known) == _key(value)), None)

    def add_constants(self) -> None:
        """Put the new initializers into the graph."""
        for name, value in self.new.items():
            self.graph.put_initializer(name, value)
            self.constants.put(name, value)
