"""Building what takes a match's place: nodes and constants instantiated from the statements of a replacement."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import AttributeProto, NodeProto

from graphtool.errors import ModelError, quoted, show
from graphtool.graph import Graph, forms
from graphtool.graph import opset as ops
from graphtool.graph.growth import FRAME_BYTES
from graphtool.rewrite.binding import Binding, Operand
from graphtool.rewrite.pattern import FORWARD, Pattern, PatternNode
from graphtool.rewrite.result import label

Array = NDArray[Any]
Key = tuple[str, tuple[int, ...], bytes]


class Refused(Exception):  # noqa: N818  # no error: a match that does not apply, with its reason
    """A match fits but must not be applied; the message says why."""


class Joined(Refused):
    """A graph output would be another name for an input, a constant or another output."""


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

    def find(self, key: Key) -> str | None:
        """Return the initializer with that type, shape and bytes."""
        name = self._names.get(key)
        return name if name in self._graph.initializers else None

    def put(self, name: str, key: Key) -> None:
        """Note that initializer ``name`` has that type, shape and bytes."""
        self._names[key] = name


@lru_cache(maxsize=4096)
def _is_plain_form(op_type: str, domain: str, version: int | None, attributes: frozenset[str], inputs: int) -> bool:
    """Whether an operator is written at an opset as at every other one, as far as its attributes and inputs go."""
    known = ops.schema(op_type, domain, version)
    if op_type in forms.MOVES or op_type == "Resize":
        return False
    if known is None:
        return domain not in ("", "ai.onnx")
    return not known.deprecated and attributes <= known.attributes.keys() and inputs <= known.max_input


def _alike(node: NodeProto, wanted: NodeProto, old: str, new: str) -> bool:
    """Whether two nodes make ``old`` and ``new`` at one place by one operator and with the same attributes."""
    if (node.op_type, node.domain, len(node.input)) != (wanted.op_type, wanted.domain, len(wanted.input)):
        return False
    own, other = (sorted(a.SerializeToString(deterministic=True) for a in n.attribute) for n in (node, wanted))
    return own == other and list(node.output).index(old) == list(wanted.output).index(new)


_SHORT = 1024  # bytes of a constant that is known by these; a larger one by their digest


def _key(value: Array) -> Key:
    data = np.ascontiguousarray(value).tobytes()
    return value.dtype.str, value.shape, data if len(data) <= _SHORT else hashlib.sha256(data).digest()


class Plan:
    """What is the same for every match of one pattern in one graph."""

    def __init__(
        self, graph: Graph, pattern: Pattern, replacement: Pattern, lets: frozenset[str], roots: Sequence[str]
    ) -> None:
        self.lets = lets
        self.roots = frozenset(roots)
        self.last = len(pattern.nodes) - 1
        self.free = pattern.free
        # the statement that makes each value, and its attributes that the pattern binds
        self.sources = {
            name: (number, frozenset(attribute for attribute, _ in node.variables))
            for number, node in reversed(list(enumerate(pattern.nodes)))
            for name in node.outputs
            if name
        }
        self.nodes = tuple(node for node in replacement.nodes if node.op_type != FORWARD)
        self.forwards = tuple(
            (node.outputs[0], node.inputs[0]) for node in replacement.nodes if node.op_type == FORWARD
        )
        self._versions: dict[str, int | None] = {}
        self._graph = graph

    def version(self, domain: str) -> int | None:
        """Return the opset of a domain in the model."""
        if domain not in self._versions:
            self._versions[domain] = self._graph.opset(domain)
        return self._versions[domain]


class Builder:
    """Instantiates the statements of a replacement; touches the graph only in :meth:`add_constants`."""

    def __init__(
        self, graph: Graph, constants: Constants, plan: Plan, binding: Binding, env: Mapping[str, object]
    ) -> None:
        self.graph = graph
        self.constants = constants
        self.plan = plan
        self.binding = binding
        self.env = env
        self.slot = binding.slots[plan.last]  # where the match begins
        root = graph.node(self.slot)
        assert root is not None
        self.root = root
        self.label = label(root)
        self.stem = root.name or next((name for name in root.output if name), root.op_type)
        self.named: set[int] = set()  # statements whose name a new node has taken over
        self.made: dict[str, str] = {}
        self.new: dict[str, Array] = {}
        self._keys: dict[Key, str] = {}  # of the new ones
        self.used: set[str] = set()  # values that a new node reads

    def statements(self) -> Sequence[PatternNode]:
        """Return the statements that are needed: not those for outputs that the old node does not have."""
        made, plan = self.binding.made, self.plan
        if all(map(made, plan.roots)):
            return plan.nodes
        needed = {name for name in plan.roots if made(name)}
        needed.update(source for name, source in plan.forwards if made(name))
        found = []
        for node in reversed(plan.nodes):
            if not needed.isdisjoint(node.outputs):
                needed.update(node.inputs)
                found.append(node)
        return found[::-1]

    def node(self, wanted: PatternNode) -> NodeProto:
        """Return the node for one statement."""
        graph = self.graph
        roots = self.plan.roots
        if wanted.many:
            inputs = [value for name in wanted.inputs for value in self._operands(name, name in wanted.many)]
        else:
            inputs = [self.input(name) for name in wanted.inputs]
        while inputs and not inputs[-1]:
            inputs.pop()
        outputs = []
        for name in wanted.outputs:
            if name in roots or not name:
                self.made[name] = self.binding.made(name)
            else:
                self.made[name] = graph.names.fresh_value(f"{self.stem}/{name}")
            outputs.append(self.made[name])
        while len(outputs) > 1 and not outputs[-1]:
            outputs.pop()
        node = NodeProto(op_type=wanted.op_type, domain=wanted.domain, input=inputs, output=outputs)
        if wanted.op_of is not None:
            maker, _ = self._source(wanted.op_of)
            node.op_type, node.domain = maker.op_type, maker.domain
        heir = next((self.plan.sources[name][0] for name in wanted.outputs if name in roots), None)
        if heir is not None and heir not in self.named:
            # the node that makes the old output takes over its name: out_nodes and profiler rows lead back to it
            self.named.add(heir)
            old = graph.node(self.binding.slots[heir])
            assert old is not None
            node.name = old.name or graph.names.fresh_node(self.stem)
            if old.doc_string:
                node.doc_string = old.doc_string
            node.metadata_props.extend(old.metadata_props)
        else:
            output = next((name for name in wanted.outputs if name), wanted.op_type)
            node.name = graph.names.fresh_node(f"{self.stem}/{output}")
        self._attributes(wanted, node)
        return node

    def _attributes(self, wanted: PatternNode, node: NodeProto) -> None:
        version = self.plan.version(node.domain)
        values: dict[str, object] = dict(wanted.literals)
        for name, variable in wanted.variables:
            # a tensor or body is bound whole; expressions only see that it is there
            found = self.binding.attributes.get(variable, self.env.get(variable))
            if found is not None:
                values[name] = found.tolist() if isinstance(found, np.ndarray) else found
        if not _is_plain_form(node.op_type, node.domain, version, frozenset(values), len(node.input)):
            self._write_form(node, version, values)
        made = [make_attribute(node, version, name, value) for name, value in sorted(values.items())]
        if wanted.like is not None:
            source, bound = self._source(wanted.like)
            known = ops.attributes(node.op_type, node.domain, version)
            made += [
                attribute
                for attribute in source.attribute[:]
                if attribute.name not in bound
                and attribute.name not in values
                and (known is None or attribute.name in known)
            ]
        self.used.update(node.input)
        node.attribute.extend(sorted(made, key=lambda attribute: attribute.name))

    def _write_form(self, node: NodeProto, version: int | None, values: dict[str, object]) -> None:
        """Write a node, given with everything an input that is one today, in the form of the model's opset."""
        if not values.keys().isdisjoint(forms.moved(node.op_type, version).values()):
            return  # it is written for that opset
        try:
            inputs, extra = forms.write(node.op_type, node.domain, version, node.input[:], self._value_of, values)
        except ValueError as error:
            raise Refused(str(error)) from None
        del node.input[:]
        node.input.extend(i if isinstance(i, str) else self._initializer("empty", i.array) for i in inputs)
        for name, value in extra.items():
            if value is None:
                values.pop(name, None)
            else:
                values[name] = value

    def _value_of(self, name: str) -> Array | None:
        return self.new[name] if name in self.new else self.graph.constant(name)

    def _source(self, like: str) -> tuple[NodeProto, AbstractSet[str]]:
        """Return the matched node that made ``like``, and its attributes that the pattern bound."""
        number, bound = self.plan.sources[like]  # checked when the file was read
        node = self.graph.node(self.binding.slots[number])
        assert node is not None
        return node, bound

    def input(self, name: str) -> str:
        """Return the value that a statement reads under ``name``: one of the graph, a new one, or a new constant."""
        if not name or name in self.made:
            return self.made.get(name, "")
        if name in self.plan.lets or (name in self.env and not self.binding.values.get(name)):
            return self._constant(name)
        return self._given(self.binding.value(name), name)

    def forward(self, name: str) -> str:
        """Return the value that is to be known under another name; a new constant for it is needed."""
        value = self.input(name)
        self.used.add(value)
        return value

    def copy(self, made: str, source: str) -> NodeProto:
        """Return the Identity that makes ``made`` of ``source`` in the place of the node where the match begins."""
        name = self.root.name or self.graph.names.fresh_node(self.stem)
        node = NodeProto(op_type="Identity", input=[source], output=[made], name=name, doc_string=self.root.doc_string)
        node.metadata_props.extend(self.root.metadata_props)
        return node

    def _operands(self, name: str, many: bool) -> list[str]:
        """Return the values that one input of a statement stands for."""
        found = self.binding.values.get(name) if many else None
        return [self._given(value, name) for value in found] if isinstance(found, tuple) else [self.input(name)]

    def _given(self, value: Operand, name: str) -> str:
        return value if isinstance(value, str) else self._initializer(name, value.array)

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
        self.made[name] = self._initializer(name, value)
        return self.made[name]

    def _initializer(self, name: str, value: Array) -> str:
        """Return the constant of that value, a new one where no rewrite of this sweep has made it yet."""
        key = _key(value)
        found = self.constants.find(key) or self._keys.get(key)
        if found is None:
            found = self._keys[key] = self.graph.names.fresh_value(f"{self.stem}/{name}")
            self.new[found] = value
        return found

    def is_there(self, built: Sequence[NodeProto], outputs: Sequence[str]) -> bool:
        """Whether the matched nodes make ``outputs`` as the new ones would: of the same values, by the same steps."""
        makers = {name: node for node in built for name in node.output[:]}
        matched = set(self.binding.all_slots())
        pairs: dict[str, str] = {}  # new values, and the old ones that they would stand for
        pending = [(name, name) for name in outputs]
        while pending:  # no inner function that calls itself: such a cycle would keep the new constants
            new, old = pending.pop()
            wanted = makers.get(new)
            if wanted is None:
                if new != old and not (new in self.new and self._holds(old, self.new[new])):
                    return False
                continue
            if new in pairs and pairs[new] == old:
                continue
            slot = self.graph.index.producer_slot(old)
            node = self.graph.node(slot) if slot is not None and slot in matched else None
            if new in pairs or node is None or not _alike(node, wanted, old, new):
                return False
            pairs[new] = old
            pending += zip(wanted.input, node.input, strict=True)
        return True

    def _holds(self, name: str, value: Array) -> bool:
        """Whether the value of the graph called ``name`` is that constant."""
        try:
            held = self.graph.constant(name)
        except ModelError:  # its data is missing
            return False
        return held is not None and held.shape == value.shape and _key(held) == _key(value)

    def added(self) -> dict[Key, int]:
        """Return the bytes that each new initializer takes, by what it holds."""
        return {key: self.new[name].nbytes + FRAME_BYTES for key, name in self._keys.items() if name in self.used}

    def add_constants(self) -> None:
        """Put the new initializers into the graph."""
        for key, name in self._keys.items():
            if name in self.used:  # and did not become an attribute
                self.graph.put_initializer(name, self.new[name])
                self.constants.put(name, key)
