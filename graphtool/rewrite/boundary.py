"""The ``boundary`` body: choose, or cast, the inputs or outputs of a graph."""

from __future__ import annotations

from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import NamedTuple

import onnx
from onnx import NodeProto, ValueInfoProto, helper

from graphtool.errors import PassError, did_you_mean, quoted
from graphtool.graph import Graph, dtype_code, dtype_name
from graphtool.graph.declared import copied
from graphtool.graph.fields import keep_only
from graphtool.graph.opset import import_domain
from graphtool.graph.sort import remove_unused
from graphtool.graph.values import value_of
from graphtool.rewrite.params import filled
from graphtool.rewrite.result import Applied, Match, Miss
from graphtool.rewrite.selection import Offer

_NOT_SELECTED = "it is not selected"


class Boundary(NamedTuple):
    """One ``[[boundary]]`` at ``inputs`` or ``outputs``: ``keep`` some outputs, or ``cast`` those of type ``dtype``."""

    name: str
    at: str
    keep: object = None
    dtype: object = None
    glob: object = "*"
    cast: object = None

    def apply(self, graph: Graph, params: Mapping[str, object], offer: Offer | None = None) -> Applied:
        """Change the boundary where ``offer`` takes it; raises PassError for a name that the graph does not have."""
        if self.keep is not None:
            wanted = filled(self.keep, params)
            assert isinstance(wanted, list)
            return self._keep(graph, wanted, offer)
        try:
            source, target = (dtype_code(str(filled(word, params))) for word in (self.dtype, self.cast))
        except KeyError as error:
            raise PassError(f"{quoted(error.args[0])} is not an element type; use one such as float16") from None
        if source == target:
            raise PassError(f"a cast from {dtype_name(source)} to itself changes nothing")
        glob = str(filled(self.glob, params))
        result = Applied()
        infos = graph.header.input if self.at == "inputs" else graph.header.output
        for info in list({info.name: info for info in infos}.values()):
            reason = self._refusal(graph, info, source, glob)
            if not reason and offer is not None and not offer(info.name, info.name):
                reason = _NOT_SELECTED
            if reason:
                result.misses.append(Miss(info.name, self.name, reason))
                continue
            cast = _cast_input if self.at == "inputs" else _cast_output
            cast(graph, info.name, source, target)
            for same in infos:  # an output may be listed twice
                if same.name == info.name:
                    same.type.tensor_type.elem_type = target
            result.matches.append(Match(info.name, self.name))
        if result.matches:
            import_domain(graph.proto, "", "Cast")
        changed = {match.where for match in result.matches}
        keep_only(graph.header.value_info, lambda info: info.name not in changed)  # of the type they had
        graph.forget_shapes()
        return result

    def _refusal(self, graph: Graph, info: ValueInfoProto, source: int, glob: str) -> str | None:
        value = value_of(info)
        if value.kind != "tensor" or value.dtype != source:
            return f"its type is {value.type_text()}, not {dtype_name(source)}"
        if not fnmatchcase(info.name, glob):
            return f"its name does not match {glob}"
        if self.at == "inputs":
            if info.name in graph.initializers:
                return "it is the default value of an input, not an input that is given"
            if any(output.name == info.name for output in graph.header.output):
                return "it is a graph output too"
        elif graph.index.producer_slot(info.name) is None:
            return "it is an input or a constant, not made by a node"
        return None

    def _keep(self, graph: Graph, wanted: list[str], offer: Offer | None) -> Applied:
        outputs = graph.header.output
        values = list(dict.fromkeys(value for name in wanted for value in _resolve(graph, name))) or [outputs[0].name]
        present = {info.name: info for info in outputs}
        gone = [name for name in present if name not in values]
        added = [value for value in values if value not in present]
        if offer is not None:
            taken = [name for name in (gone or added) if offer(name, name)]
            if added and taken != (gone or added):  # new outputs come with all that goes, or not at all
                return Applied(misses=[Miss(name, self.name, _NOT_SELECTED) for name in (gone or added)])
            values = [name for name in present if name in values or name not in taken] if not added else values
            gone = taken if not added else gone
        if not gone and not added:
            return Applied(misses=[Miss(value, self.name, "it is kept") for value in present])
        if added:
            infos = [copied(present[value]) if value in present else _described(graph, value) for value in values]
        else:  # the order of outputs is part of the interface, and one may be listed twice
            infos = [copied(info) for info in outputs if info.name in values]
        del outputs[:]
        outputs.extend(infos)
        remove_unused(graph)
        graph.forget_shapes()
        return Applied(matches=[Match(name, self.name) for name in (gone or added)])


def _resolve(graph: Graph, name: str) -> list[str]:
    """Return the value that ``name`` is, or those of the node of that name that are outputs, or else its first.

    Raises PassError with the nearest name.
    """
    outputs = {info.name for info in graph.header.output}
    if name in outputs or name in graph.index.producers:
        return [name]
    nodes = {node.name: node for node in graph.nodes if node.name}
    made = [value for value in nodes[name].output if value] if name in nodes else []
    if made:
        return [value for value in made if value in outputs] or made[:1]
    if name in graph.initializers or any(info.name == name for info in graph.header.input):
        raise PassError(f"{quoted(name)} is an input or a weight; an output is made by a node")
    near = did_you_mean(name, [*nodes, *graph.index.producers])
    raise PassError(f"no node or tensor named {quoted(name)}{near or '; graphtool inspect lists the outputs'}")


def _described(graph: Graph, name: str) -> ValueInfoProto:
    value = graph.value(name)
    if value is None or value.kind != "tensor" or not value.dtype:
        raise PassError(f"the type of {quoted(name)} is unknown, so it cannot become an output")
    return helper.make_tensor_value_info(name, value.dtype, value.shape)


def _cast_output(graph: Graph, name: str, source: int, target: int) -> None:
    slot = graph.index.producer_slot(name)
    assert slot is not None
    producer = graph.node(slot)
    assert producer is not None
    inner = graph.names.fresh_value(f"{name}/{dtype_name(source)}")
    graph.replace_uses(name, inner)
    graph.rename_output(slot, list(producer.output).index(name), inner)
    graph.append_node(_cast(graph, inner, name, target, producer.name or name))


def _cast_input(graph: Graph, name: str, source: int, target: int) -> None:
    inner = graph.names.fresh_value(f"{name}/{dtype_name(source)}")
    graph.replace_uses(name, inner)
    graph.prepend_node(_cast(graph, name, inner, source, name))


def _cast(graph: Graph, source: str, made: str, to: int, stem: str) -> NodeProto:
    node = helper.make_node("Cast", [source], [made], graph.names.fresh_node(f"{stem}/cast_{dtype_name(to)}"), to=to)
    assert isinstance(node, onnx.NodeProto)
    return node
