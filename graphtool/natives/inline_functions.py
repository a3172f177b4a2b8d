"""Calls of model-local functions: their nodes, in place of the call."""

from __future__ import annotations

from collections.abc import Mapping

from onnx import AttributeProto, FunctionProto, ModelProto, NodeProto

from graphtool.errors import quoted
from graphtool.graph import Graph
from graphtool.graph.bodies import walk
from graphtool.graph.fields import keep_only
from graphtool.natives._meaning import same_meaning
from graphtool.natives._splice import Splicer, identity_fault
from graphtool.rewrite.result import Applied, Match, Miss, alias, label
from graphtool.rewrite.selection import Offer, everywhere

Key = tuple[str, str, str]  # domain, name, overload


UNITS = True  # each call


def apply(graph: Graph, params: Mapping[str, object], offer: Offer = everywhere) -> Applied:
    """Inline every call, in bodies and in what was inlined too, and drop the functions that nothing calls then."""
    applied = Applied()
    proto = graph.proto
    if not proto.functions:
        return applied
    library = _Library(proto)
    names = dict.fromkeys(name for _, name, _ in library.functions)
    for level in graph.levels():
        types = level.index.types
        queue = [slot for name in names if name in types for slot in level.index.slots_of_type(name)]
        for slot in queue:  # grows: what is inlined may call
            node = level.node(slot)
            function = library.called(node) if node is not None else None
            if node is None or function is None:
                continue
            fault = library.fault(function) or _fault(level, node, function)
            if fault:
                applied.misses.append(Miss(label(node), "native", fault))
                continue
            if not offer(label(node), alias(node)):
                continue
            applied.matches.append(Match(label(node), "native"))
            library.import_for(function)
            queue += _inline(level, slot, node, function, proto.ir_version)
    if applied.matches:
        _drop_unused(graph.proto, library)
    return applied


class _Library:
    """The functions of a model, and what forbids to inline each."""

    def __init__(self, proto: ModelProto) -> None:
        self.functions = {(_plain(f.domain), f.name, f.overload): f for f in proto.functions}
        self._opsets = proto.opset_import
        self._versions = {_plain(entry.domain): entry.version for entry in proto.opset_import}
        self._faults: dict[Key, str] = {}

    def called(self, node: NodeProto) -> FunctionProto | None:
        """Return the function that a node calls; None for an operator."""
        return self.functions.get(_key(node))

    def fault(self, function: FunctionProto) -> str:
        """Return why no call of a function can be inlined; empty where it can.

        A function must not call itself, and each of its operators must mean the same in the model's opsets: those of
        the function count for its nodes, those of the model once they are in the model.
        """
        key = (_plain(function.domain), function.name, function.overload)
        if key not in self._faults:
            self._faults[key] = self._recursion(key) or self._mismatch(function)
        return self._faults[key]

    def import_for(self, function: FunctionProto) -> None:
        """Let the model import what a function's operators need and the model does not import yet."""
        for domain, version in _versions(function).items():
            if domain not in self._versions and any(_plain(node.domain) == domain for node in walk(function)):
                self._versions[domain] = version
                self._opsets.add(domain=domain, version=version)
                self._faults.clear()  # another function may import another version

    def _recursion(self, start: Key) -> str:
        seen: set[Key] = set()
        queue = [start]
        while queue:
            for node in walk(self.functions[queue.pop()]):
                key = _key(node)
                if key == start:
                    return f"function {quoted(start[1])} calls itself, which ONNX forbids"
                if key in self.functions and key not in seen:
                    seen.add(key)
                    queue.append(key)
        return ""

    def _mismatch(self, function: FunctionProto) -> str:
        own = _versions(function)
        for node in walk(function):
            domain = _plain(node.domain)
            if _key(node) in self.functions:
                continue
            version = own.get(domain)
            if version is None:
                return f"function {quoted(function.name)} uses {quoted(node.op_type)} and imports no opset for it"
            wanted = self._versions.get(domain, version)
            if not same_meaning(node.op_type, domain, version, wanted):
                return (
                    f"{quoted(node.op_type)} of function {quoted(function.name)} is that of opset {version}, "
                    f"and may mean another thing in the model's opset {wanted}"
                )
        return ""


def _inline(graph: Graph, slot: int, node: NodeProto, function: FunctionProto, ir_version: int) -> list[int]:
    """Put the function's nodes in place of its call; return their slots."""
    given = [*node.input, *[""] * (len(function.input) - len(node.input))]
    formal = dict(zip(function.input, given, strict=False))
    results = [(inner, outside) for inner, outside in zip(function.output, node.output, strict=False) if outside]
    graph.remove_node(slot)
    splicer = Splicer(graph, slot, ir_version)
    splicer.splice(_instance(function, node), formal, results, node.name or node.op_type)
    if node.metadata_props:
        for new in splicer.added:
            own = graph.node(new)
            assert own is not None
            there = {entry.key for entry in own.metadata_props}
            own.metadata_props.extend(entry for entry in node.metadata_props if entry.key not in there)
    return splicer.added


def _instance(function: FunctionProto, node: NodeProto) -> FunctionProto:
    """Return the function with the call's attributes, or their defaults, in place of references to them."""
    if not any(attribute.ref_attr_name for inner in walk(function) for attribute in inner.attribute):
        return function
    values = {attribute.name: attribute for attribute in (*function.attribute_proto, *node.attribute)}
    own = FunctionProto()
    own.CopyFrom(function)
    for inner in walk(own):
        if any(attribute.ref_attr_name for attribute in inner.attribute):
            attributes = [_resolved(attribute, values) for attribute in inner.attribute]
            del inner.attribute[:]
            inner.attribute.extend(attribute for attribute in attributes if attribute is not None)
    return own


def _resolved(attribute: AttributeProto, values: Mapping[str, AttributeProto]) -> AttributeProto | None:
    """Return an attribute as it is in a call; None for a reference to one that the call leaves to its default."""
    own = AttributeProto()
    if not attribute.ref_attr_name:
        own.CopyFrom(attribute)
        return own
    value = values.get(attribute.ref_attr_name)
    if value is None:
        return None
    own.CopyFrom(value)
    own.name = attribute.name
    return own


def _fault(graph: Graph, node: NodeProto, function: FunctionProto) -> str:
    """Return why this call cannot be inlined; empty where it can."""
    if len(node.input) > len(function.input) or len(node.output) > len(function.output):
        return f"it has more inputs or outputs than function {quoted(function.name)}"
    if any(attribute.HasField("g") or attribute.graphs for attribute in node.attribute):
        return "it hands over a graph as an attribute"
    given = dict(zip(function.input, [*node.input, *[""] * len(function.input)], strict=False))
    results = [(inner, outside) for inner, outside in zip(function.output, node.output, strict=False) if outside]
    if any(given.get(inner) == "" for inner, _ in results):
        return "an output of it is an absent input"
    return identity_fault(graph, results, {name for inner in function.node for name in inner.output})


def _drop_unused(proto: ModelProto, library: _Library) -> None:
    """Drop functions that no node calls any more, directly or through another function."""
    used: set[Key] = set()
    queue = [key for node in walk(proto.graph) if (key := _key(node)) in library.functions]
    while queue:
        key = queue.pop()
        if key not in used:
            used.add(key)
            queue += [k for node in walk(library.functions[key]) if (k := _key(node)) in library.functions]
    keep_only(proto.functions, lambda function: (_plain(function.domain), function.name, function.overload) in used)


def _key(node: NodeProto) -> Key:
    return _plain(node.domain), node.op_type, node.overload


def _versions(function: FunctionProto) -> dict[str, int]:
    return {_plain(entry.domain): entry.version for entry in function.opset_import}


def _plain(domain: str) -> str:
    return "" if domain == "ai.onnx" else domain
