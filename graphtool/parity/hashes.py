"""What each tensor of a graph computes, as a number: two tensors have one number only where they compute the same.

The structural hash of a tensor stands over the operator that makes it (type, domain and its version, attributes), the
hashes of what that reads, and for a weight over its place in a file, or its bytes where it is in memory. It is not
shortened to some bits: equal structures are given equal numbers by look-up (hash-consing), so no two can collide.
Names count nowhere but for the graph's inputs.

At 100,000 nodes reading fields through protobuf would be most of the cost. So each node is serialised, its wire form
starts with the names it reads and makes, and the rest is what it does; the same rest is looked at once.
"""

from __future__ import annotations

import gc
from collections.abc import Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import blake2b

from onnx import NodeProto, SparseTensorProto, TensorProto

from graphtool.graph import Graph
from graphtool.graph.bodies import captures, has_bodies
from graphtool.graph.weights import source_of

_SMALL = 1024  # bytes that are kept as they are; more are reduced to 32 of a digest
# tags on the wire (onnx.proto): a graph begins with its nodes, a node with input, output, name, op_type
_NODE, _INPUT, _OUTPUT, _NAME, _OP = b"\x0a\x0a\x12\x1a\x22"
_LONG = 0x80  # a length of more than one byte
_ABSENT, _UNKNOWN, _HELD = 0, -1, -2


class _Values(dict[bytes, int]):
    """Numbers by name; of a name that is not known, ``_UNKNOWN``."""

    def __missing__(self, name: bytes) -> int:
        return _UNKNOWN


@dataclass(slots=True)
class Numbered:
    """The numbers of one graph.

    ``nodes`` are those of the nodes in order (of a node's first output). ``values`` are by tensor what readers see: a
    number for which another stands in is replaced by it; ``own`` are the numbers themselves where that is so.
    """

    nodes: list[int]
    values: dict[bytes, int]
    own: dict[bytes, int] = field(default_factory=dict)
    changed: list[int] = field(default_factory=list)  # places of nodes that the graph numbered against does not have

    def seen(self, name: str) -> int | None:
        """Return the number that readers of ``name`` see; None for an unknown name."""
        return self.values.get(name.encode())

    def number(self, name: str) -> int | None:
        """Return the number of ``name`` itself; None for an unknown name."""
        key = name.encode()
        return self.own.get(key, self.values.get(key))


@dataclass(frozen=True, slots=True)
class Against:
    """The graph before a pass, for a numbering that supposes: what keeps its name keeps its values.

    So a change ends where a name is met again, and what follows has the numbers it had. ``renamed`` says under which
    name today's values were known; ``refuted`` are names of which it is known that they hold something else.
    """

    before: Numbered
    renamed: Mapping[str, str] = field(default_factory=dict)
    refuted: frozenset[str] = frozenset()

    def supposed(self) -> dict[bytes, int]:
        """Return the number that readers are to see, by name, where a node is met that was not there before."""
        known = dict(self.before.values)
        for new, old in self.renamed.items():
            number = self.before.values.get(old.encode())
            if number is not None:
                known[new.encode()] = number
        for name in (b"", *(name.encode() for name in self.refuted)):
            known.pop(name, None)
        return known


class Numbers:
    """Gives numbers to the tensors of graphs: one and the same for one structure, in whatever graph it occurs."""

    def __init__(self) -> None:
        self._known: dict[Hashable, int] = {"absent": _ABSENT}
        self._tails: dict[bytes, int] = {}  # by all that a node says behind its names
        self._operators: Hashable = None

    def of(
        self, graph: Graph, inputs: Mapping[str, Hashable], stands: Mapping[int, int], against: Against | None = None
    ) -> Numbered:
        """Number every tensor of the main graph.

        ``inputs`` says by name what the feed gives each graph input. ``stands`` says which number stands in for which:
        it was found to hold the same values, or values as good to judge with.
        """
        proto = graph.proto
        operators = tuple(sorted((entry.domain, entry.version) for entry in proto.opset_import))
        functions = tuple(function.SerializeToString(deterministic=True) for function in proto.functions)
        if (operators, functions) != self._operators:
            self._operators, self._tails = (operators, functions), {}
        values = _Values({b"": _ABSENT})
        for name, source in inputs.items():
            values[name.encode()] = self._number(("input", source))
        for tensor in proto.graph.initializer:
            values[tensor.name.encode()] = self._number(weight_key(tensor))
        for sparse in proto.graph.sparse_initializer:
            values[sparse.values.name.encode()] = self._number(_sparse_key(sparse))
        with _collector_paused():
            return self._walk(graph, Numbered([], values), stands, against)

    def _walk(  # noqa: PLR0915 (one loop)
        self, graph: Graph, found: Numbered, stands: Mapping[int, int], against: Against | None
    ) -> Numbered:
        values, numbers, known, tails = found.values, found.nodes, self._known, self._tails
        data = graph.proto.graph.SerializeToString(deterministic=True)
        end, at = len(data), 0
        kept = None if against is None else frozenset(against.before.nodes)
        nothing: Mapping[int, int] = {}
        supposed = {} if against is None else against.supposed()
        identity, stood = self._identity(graph), frozenset(stands.values())
        node_tag, input_tag, output_tag, name_tag, op_tag, long = _NODE, _INPUT, _OUTPUT, _NAME, _OP, _LONG
        while at < end and data[at] == node_tag:
            length = data[at + 1]
            at += 2
            if length >= long:
                length, at = _long(data, at - 1)
            stop = at + length
            key = [0]
            tag = data[at]
            while tag == input_tag and (length := data[at + 1]) < long:
                start = at + 2
                at = start + length
                key.append(values[data[start:at]])
                tag = data[at]
            first = b""
            if tag == output_tag and (length := data[at + 1]) < long:
                start = at + 2
                at = start + length
                first = data[start:at]
                tag = data[at]
            if tag == name_tag and (length := data[at + 1]) < long:
                at += 2 + length
                tag = data[at]
            others: Sequence[str] = ()
            if tag == op_tag:
                tail = data[at:stop]
            else:  # several outputs, a name of 128 bytes or more, fields in another order
                node = graph.proto.graph.node[len(numbers)]
                key[1:] = [values[name.encode()] for name in node.input]
                first, others = (node.output[0] if node.output else "").encode(), list(node.output)[1:]
                tail = _tail(node)
            at = stop
            form = tails.get(tail)
            if form is None:
                form = self._form(graph, len(numbers), tail)
            if form < 0:  # holds bodies, which read values by name
                outer = sorted(captures(graph.proto.graph.node[len(numbers)]))
                key += [_HELD, *(values[name.encode()] for name in outer)]
            key[0] = form
            if form == identity and key[1] not in stood:
                number = key[1]
                numbers.append(number)
                values[first] = number
                continue
            number = known.setdefault(tuple(key), len(known))
            instead = stands
            if kept is not None and number not in kept:
                found.changed.append(len(numbers))
                instead = nothing
            numbers.append(number)
            values[first] = number
            if number in instead or (instead is not stands and first in supposed):
                found.own[first] = number
                values[first] = stands[number] if instead is stands else supposed[first]
            if not first or others:
                self._more(found, others, number, stands if instead is stands else None, supposed)
        return found

    def _more(
        self, found: Numbered, others: Sequence[str], node: int, stands: Mapping[int, int] | None,
        supposed: Mapping[bytes, int],
    ) -> None:  # fmt: skip
        """Number the outputs of a node behind its first one; ``stands`` is None where the graph before lacks it."""
        for place, name in enumerate(others, 1):
            key = name.encode()
            number = self._number((node, "output", place))
            seen = supposed.get(key) if stands is None else stands.get(number)
            found.values[key] = number if seen is None else seen
            if seen is not None:
                found.own[key] = number
        found.values[b""] = _ABSENT

    def _identity(self, graph: Graph) -> int:
        """Return the form of an Identity, whose result is what it reads."""
        return 1 + self._number(("form", _canonical(NodeProto(op_type="Identity")), graph.opset("")))

    def _form(self, graph: Graph, place: int, tail: bytes) -> int:
        """Return a number for what a node does, negative where it holds bodies."""
        node = graph.proto.graph.node[place]
        bodies = has_bodies(node)
        # a body or a function may use any operator
        whole = bodies or (node.domain and graph.proto.functions)
        number = 1 + self._number(("form", _canonical(node), self._operators if whole else graph.opset(node.domain)))
        self._tails[tail] = form = -number if bodies else number
        return form

    def _number(self, key: Hashable) -> int:
        number = self._known.get(key)
        if number is None:
            number = self._known[key] = len(self._known)
        return number


@contextmanager
def _collector_paused() -> Iterator[None]:
    """Keep the cyclic collector from walking hundreds of thousands of tuples, none of which is part of a cycle."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()


def weight_key(tensor: TensorProto) -> Hashable:
    """Return what a weight is known by: its type, shape, and the place of its bytes, or the bytes."""
    kind = tensor.data_type, tuple(tensor.dims)
    place = source_of(tensor)
    if place is not None:
        return ("weight", *kind, place[0].number, *place[1:])
    if tensor.external_data:
        return ("external", *kind, tuple(sorted((entry.key, entry.value) for entry in tensor.external_data)))
    if tensor.HasField("raw_data"):
        return ("bytes", *kind, _short(tensor.raw_data))
    own = TensorProto()
    own.CopyFrom(tensor)
    for name in ("name", "doc_string", "metadata_props"):
        own.ClearField(name)
    return ("tensor", _short(own.SerializeToString(deterministic=True)))


def _sparse_key(sparse: SparseTensorProto) -> Hashable:
    return ("sparse", tuple(sparse.dims), weight_key(sparse.values), weight_key(sparse.indices))


def _long(data: bytes, at: int) -> tuple[int, int]:
    """Read a length of several bytes on the wire; return it and where what it measures begins."""
    length = shift = 0
    while (byte := data[at]) >= _LONG:
        length |= (byte - _LONG) << shift
        shift += 7
        at += 1
    return length | byte << shift, at + 1


def _short(data: bytes) -> bytes:
    return data if len(data) <= _SMALL else b"blake2b" + blake2b(data, digest_size=32).digest()


def _tail(node: NodeProto) -> bytes:
    own = NodeProto()
    own.CopyFrom(node)
    for name in ("input", "output", "name"):
        own.ClearField(name)
    return bytes(own.SerializeToString())


def _canonical(node: NodeProto) -> bytes:
    """Return what a node does, however it is written: without names and texts, attributes in order."""
    own = NodeProto(op_type=node.op_type, domain="" if node.domain == "ai.onnx" else node.domain)
    own.overload = node.overload
    own.attribute.extend(sorted(node.attribute, key=lambda attribute: attribute.name))
    for attribute in own.attribute:
        attribute.ClearField("doc_string")
    return bytes(own.SerializeToString(deterministic=True))
