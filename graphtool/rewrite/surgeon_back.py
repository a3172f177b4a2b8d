"""Taking an onnx-graphsurgeon graph back: what the pass changed is written into the model, the rest keeps its bytes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import onnx_graphsurgeon as gs
from onnx import AttributeProto, NodeProto, ValueInfoProto
from onnx_graphsurgeon.ir.tensor import SparseValues

from graphtool.errors import ModelError, PassError, quoted, show
from graphtool.graph import Graph
from graphtool.graph.fields import arrange, keep_only
from graphtool.graph.sort import in_order, topological
from graphtool.rewrite.result import Applied, Match, label
from graphtool.rewrite.surgeon_notes import (
    Changes,
    differs,
    forget_stale,
    is_read,
    store_types,
    write_model,
    write_type,
)
from graphtool.rewrite.surgeon_out import Handed, Level, Weight, is_hidden, model_lists_initializers, type_of
from graphtool.rewrite.surgeon_values import Values, attribute_of, same_value

_UNNAMED = "onnx_graphsurgeon_graph"  # what the library calls a graph without a name


def take_back(graph: Graph, handed: Handed, surgeon: Any) -> Applied:
    """Write into ``graph`` what differs between what was handed over and ``surgeon``; return it as matches.

    A node is recognised as the object that it was, or (where the pass copied the graph) by the values it makes. Raises
    PassError for what ONNX cannot say; the graph may then be half written, and ``apply_stage`` restores it.
    """
    taking = _Taking(graph, handed)
    try:
        taking.level(handed.top, surgeon, [])
    except ModelError as error:  # a cycle
        raise PassError(str(error)) from None
    taking.changes.matches += write_model(graph.proto, handed, surgeon, taking.imports)
    if taking.changes.matches:
        forget_stale(graph.proto.graph, taking.changes)
        graph.reindex()
    renamed = {new: old for new, old in taking.renamed.items() if new != old}
    return Applied([Match(where, "native") for where in taking.changes.matches], [], renamed)


class _Taking:
    def __init__(self, graph: Graph, handed: Handed) -> None:
        self.graph = graph
        self.handed = handed
        self.values = Values(graph.weights)
        self.changes = Changes()
        self.renamed: dict[str, str] = {}  # of the model's inputs and outputs, new name to old
        self.imports: dict[str, str] = {}  # domain of a new node -> its op type
        # the constants that are initializers of a level, by id of its graph, which `levels` keeps alive
        self.claimed: dict[int, dict[str, Any]] = {}
        self.levels: list[Level] = []

    def level(self, level: Level, surgeon: Any, outer: list[Level]) -> bool:
        """Write one graph; return whether anything in it changed."""
        before = len(self.changes.matches)
        proto = level.proto
        chain = [level, *outer]
        self.levels.append(level)
        read_before = is_read(proto)
        claimed = self.claimed[id(proto)] = {}
        for tensor in (*(t for node in surgeon.nodes for t in node.inputs), *surgeon.outputs):
            self._claim(tensor, chain)
        self._interface(level, surgeon.inputs, "input", main=not outer)
        self._interface(level, surgeon.outputs, "output", main=not outer)
        self._nodes(level, surgeon, chain)
        self._initializers(level, claimed, read_before, main=not outer)
        store_types(level, surgeon, self.changes)
        for name in ("name", "doc_string"):
            text, own = getattr(surgeon, name) or "", getattr(proto, name)
            made_anew = surgeon is not level.surgeon and text in ("", _UNNAMED)
            if text != own and not (made_anew and own):
                setattr(proto, name, text)
                self.changes.matches.append(f"{name} of the graph")
        return len(self.changes.matches) > before

    # -- nodes

    def _nodes(self, level: Level, surgeon: Any, chain: list[Level]) -> None:
        origins = self._origins(level, surgeon)
        nodes = list(surgeon.nodes)
        now = {place: node for node, place in zip(nodes, origins, strict=True) if place is not None}
        for place, proto in enumerate(level.origins):
            if place not in now:
                self.changes.matches.append(label(proto))
            elif self._update(level, place, now[place], chain):
                self.changes.dirty(proto)
        kept = [level.origins[place] for place in sorted(now)]
        names = {proto.name for proto in kept}
        made = []
        for node in (node for node, place in zip(nodes, origins, strict=True) if place is None):
            proto = level.proto.node.add()
            self._write(proto, node, level, chain)
            proto.name = _free(proto.name, names)
            self.changes.dirty(proto)
            self.changes.matches.append(label(proto))
            made.append(proto)
        # new nodes go as early as what they read allows; the others stay in the order they had
        wanted = [*made, *kept]
        if not in_order(wanted):
            wanted = [wanted[place] for place in topological(wanted)]
        if [id(proto) for proto in wanted] != [id(proto) for proto in level.origins]:
            arrange(level.proto.node, wanted)

    def _origins(self, level: Level, surgeon: Any) -> list[int | None]:
        """Return for each node the place of the one that it was; None for a new one."""
        found: list[int | None] = []
        taken: set[int] = set()
        for node in surgeon.nodes:
            place = level.nodes.get(id(node))
            place = None if place in taken else place  # the same object twice
            taken |= set() if place is None else {place}
            found.append(place)
        if None in found and len(taken) < len(level.origins):
            by_values = {
                tuple(node.output): place
                for place, node in enumerate(level.origins)
                if place not in taken and node.output
            }
            for number, node in enumerate(surgeon.nodes):
                place = by_values.get(tuple(t.name for t in node.outputs)) if found[number] is None else None
                if place is not None and place not in taken and _same_op(level.origins[place], node):
                    found[number] = place
                    taken.add(place)
        return found

    def _update(self, level: Level, place: int, node: Any, chain: list[Level]) -> bool:
        """Write into a node of the model what is new in its counterpart; return whether anything is."""
        proto = level.origins[place]
        before = len(self.changes.matches)
        changed = self._write(proto, node, level, chain, place)
        if changed:
            self.changes.matches.insert(before, label(proto))
        return changed or len(self.changes.matches) > before

    def _write(self, proto: NodeProto, node: Any, level: Level, chain: list[Level], place: int = -1) -> bool:
        changed = False
        for name, wanted in (("op_type", node.op), ("name", node.name or ""), ("domain", node.domain or "")):
            if getattr(proto, name) != wanted:
                setattr(proto, name, _text(wanted, f"the {name} of a node"))
                changed = True
        for field, tensors in ((proto.input, node.inputs), (proto.output, node.outputs)):
            names = [tensor.name for tensor in tensors]
            if names != list(field):
                for name in names:
                    _text(name, f"a tensor of node {quoted(node.name or node.op)}")
                del field[:]
                field.extend(names)
                changed = True
        if changed:
            self.imports.setdefault(proto.domain, proto.op_type)
        kept = {a.name: a for a in proto.attribute if a.name in node.attrs or is_hidden(a)}
        if len(kept) < len(proto.attribute):
            keep_only(proto.attribute, lambda attribute: attribute.name in kept)
            changed = True
        for name, value in node.attrs.items():
            changed |= self._attribute(proto, kept.get(name), name, value, level, chain, place)
        return changed

    def _attribute(
        self, proto: NodeProto, own: AttributeProto | None, name: str, value: Any, level: Level, chain: list[Level],
        place: int,
    ) -> bool:  # fmt: skip
        """Write one attribute; return whether the node itself changed (a change in a body is told by its nodes)."""
        if isinstance(value, gs.Graph):
            body = level.bodies.get((place, name))
            known = self.handed.by_graph.get(id(value))
            new = own is None or own.type != AttributeProto.GRAPH
            if own is None:
                own = proto.attribute.add()
            if new or (body is not known and known is not None):
                own.Clear()
                own.name, own.type = name, AttributeProto.GRAPH
                body, new = (known.copied(own.g) if known is not None else Level(own.g, gs.Graph(name=""))), True
            assert body is not None, "a body that was there has its level"
            self.level(body, value, chain)
            return new
        if own is not None and same_value(own, value, self.values):
            return False
        version = self.graph.opset(proto.domain)
        made = attribute_of(proto.op_type, proto.domain, version, name, value, own, self.values)
        if own is None:
            own = proto.attribute.add()
        own.CopyFrom(made)
        return True

    # -- initializers

    def _claim(self, tensor: Any, chain: list[Level]) -> None:
        """Note at which level a constant is an initializer: where its name is known, where it was, or right here."""
        if not isinstance(tensor, gs.Constant):
            return
        name = _text(tensor.name, "a constant")
        for level in chain:
            claimed = self.claimed[id(level.proto)]
            if name not in claimed and name in level.weights:
                claimed[name] = tensor
            if name in claimed:
                if claimed[name] is not tensor and not self.values.equal(claimed[name], tensor):
                    raise PassError(f"two constants are named {quoted(name)}")
                return
        home = tensor._values.home if isinstance(tensor._values, Weight) else None
        at = next((level for level in chain if level.proto is home), chain[0])
        self.claimed[id(at.proto)][name] = tensor

    def _initializers(self, level: Level, claimed: dict[str, Any], read_before: set[str], main: bool) -> None:
        proto = level.proto
        listed = main and model_lists_initializers(self.graph.proto)
        for name, constant in claimed.items():
            own = level.weights.get(name)
            if isinstance(constant._values, SparseValues):
                proto.sparse_initializer.add().CopyFrom(constant._values.tensor)
            elif own is None:
                own = proto.initializer.add()
                own.CopyFrom(self.values.tensor(constant, None))
                if listed:
                    write_type(proto.input.add(name=name), constant)
            elif self.values.same(own, constant):
                continue
            else:
                own.CopyFrom(self.values.tensor(constant, own))
            self.changes.touch(proto, name)
            self.changes.matches.append(f"weight {name}")
        gone = {name for name in (read_before - is_read(proto)) & level.weights.keys() if name not in claimed}
        if not listed:
            gone -= {info.name for info in proto.input}
        if gone:
            keep_only(proto.initializer, lambda weight: weight.name not in gone)
            keep_only(proto.quantization_annotation, lambda note: note.tensor_name not in gone)
            if listed:
                keep_only(proto.input, lambda info: info.name not in gone)
            self.changes.matches += [f"weight {name}" for name in sorted(gone)]

    # -- inputs and outputs

    def _interface(self, level: Level, tensors: Sequence[Any], side: str, main: bool) -> None:
        field = getattr(level.proto, side)
        constants = (
            level.weights.keys() if side == "input" and main and model_lists_initializers(self.graph.proto) else ()
        )
        hidden = [info for info in field if info.name in constants]
        visible = [info for info in field if info.name not in constants]
        free: dict[str, list[ValueInfoProto]] = {}
        for info in visible:
            free.setdefault(info.name, []).append(info)
        old_names = {id(info): info.name for info in visible}
        wanted = []
        for tensor in tensors:
            name = _text(tensor.name, f"a graph {side}")
            before = level.names.get(id(tensor), name)
            origin = before if free.get(before) else name
            info = free[origin].pop(0) if free.get(origin) else None
            if info is None:
                info = field.add()
                info.name = name
                write_type(info, tensor)
            else:
                changed = info.name != name
                info.name = name
                found = type_of(tensor)
                if differs(found, level.types.get(origin, found)):
                    write_type(info, tensor)
                    self.changes.touch(level.proto, name)
                    changed = True
                if main:
                    self.renamed[name] = old_names[id(info)]
                if changed:
                    self.changes.matches.append(f"{side} {name}")
            wanted.append(info)
        new = [info for info in wanted if id(info) not in old_names]
        gone = [info for infos in free.values() for info in infos]
        self.changes.matches += [f"{side} {info.name}" for info in (*gone, *new)]
        if not (gone or new) and [id(info) for info in wanted] != [id(info) for info in visible]:
            self.changes.matches.append(f"the order of {side}s")
        if [id(info) for info in wanted] != [id(info) for info in visible]:
            arrange(field, [*wanted, *hidden])


def _same_op(proto: NodeProto, node: Any) -> bool:
    return bool(proto.op_type == node.op and proto.domain == (node.domain or ""))


def _text(value: object, what: str) -> str:
    if not isinstance(value, str):
        raise PassError(f"the name of {what} is {show(value)}, not text")
    return value


def _free(name: str, taken: set[str]) -> str:
    """Return ``name``, numbered where a node of the graph has it: onnxruntime refuses two nodes of one name."""
    wish, count = name, 1
    while name and name in taken:
        count += 1
        name = f"{wish}_{count}"
    taken.add(name)
    return name
