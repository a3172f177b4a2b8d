"""What a model says of its values besides computing them, after an onnx-graphsurgeon pass: types and annotations.

A stored type of a value that no change can have reached stays as it was; one behind a change is dropped (it may be
wrong now, and onnxruntime believes it), unless the pass gave the value's type itself.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import onnx_graphsurgeon as gs
from onnx import GraphProto, ModelProto, NodeProto, ValueInfoProto
from onnx_graphsurgeon.exporters.onnx_exporter import OnnxExporter

from graphtool.errors import PassError, show
from graphtool.graph import opset as ops
from graphtool.graph.bodies import bodies, captures, defined, has_bodies
from graphtool.graph.fields import keep_only
from graphtool.rewrite.surgeon_out import MODEL_FIELDS, Handed, Level, type_of

_DEFAULT = ("", "ai.onnx")


@dataclass(slots=True)
class Changes:
    """What a pass changed: in words, as nodes, and as values whose type may not be what it was."""

    matches: list[str] = field(default_factory=list)
    told: set[str] = field(default_factory=set)  # values whose type the pass gave
    _dirty: dict[int, NodeProto] = field(default_factory=dict)  # nodes kept alive, so that ids stay theirs
    _touched: dict[int, set[str]] = field(default_factory=dict)  # by id of the graph: other changed values

    def dirty(self, node: NodeProto) -> None:
        """Note that a node is new or changed, or a body in it."""
        self._dirty[id(node)] = node

    def is_dirty(self, node: NodeProto) -> bool:
        """Whether the node is new or changed."""
        return id(node) in self._dirty

    def touch(self, graph: GraphProto, name: str) -> None:
        """Note that a value that no node makes, an input or an initializer of ``graph``, is another one now."""
        self._touched.setdefault(id(graph), set()).add(name)

    def touched(self, graph: GraphProto) -> set[str]:
        """Return those values."""
        return self._touched.get(id(graph), set())


def is_read(graph: GraphProto) -> set[str]:
    """Return the names that must stay in ``graph``: read by a node or in a body, an output, or a scale of a note."""
    names = {info.name for info in graph.output}
    for note in graph.quantization_annotation:
        names.update(entry.value for entry in note.quant_parameter_tensor_names)
    for node in graph.node:
        names.update(node.input)
        if has_bodies(node):
            names |= captures(node)
    return names


def store_types(level: Level, surgeon: Any, changes: Changes) -> None:
    """Let stored types and annotations follow renamed values, drop those of vanished ones, write those that are new."""
    proto = level.proto
    variables = {t.name: t for node in surgeon.nodes for t in node.outputs if t.name and not isinstance(t, gs.Constant)}
    origins = {name: level.names.get(id(tensor), name) for name, tensor in variables.items()}
    renamed = {old: new for new, old in origins.items() if old != new}
    now = defined(proto)
    interface = {info.name for info in (*proto.input, *proto.output)}
    if renamed or level.defined - now:
        renamed = {old: new for old, new in renamed.items() if old not in now}
        for info in proto.value_info:
            info.name = renamed.get(info.name, info.name)
        for note in proto.quantization_annotation:
            note.tensor_name = renamed.get(note.tensor_name, note.tensor_name)
        gone = level.defined - now
        moved = set(renamed.values()) & interface  # said there now
        keep_only(proto.value_info, lambda info: info.name not in gone and info.name not in moved)
        keep_only(proto.quantization_annotation, lambda note: note.tensor_name not in gone)
    stored = {info.name: info for info in proto.value_info}
    for name, tensor in variables.items():
        before, found = level.types.get(origins[name]), type_of(tensor)
        if not found[0] or name in interface or (before is not None and not differs(found, before)):
            continue
        write_type(stored[name] if name in stored else proto.value_info.add(name=name), tensor)
        changes.told.add(name)
        if before is not None:
            changes.matches.append(f"type of {name}")


def differs(found: tuple[int, object], before: tuple[int, object]) -> bool:
    """Whether a tensor that came back says something else of its type; one without a shape says nothing of it."""
    return bool(found[0]) and (found[0] != before[0] or (found[1] is not None and found[1] != before[1]))


def write_type(info: ValueInfoProto, tensor: Any) -> None:
    """Write a tensor's type into ``info``; what is there of the dimensions that stay, such as denotations, stays."""
    code, shape = type_of(tensor)
    if not code:
        return
    if not isinstance(tensor, gs.Constant) and tensor.type != "tensor_type":
        info.type.CopyFrom(OnnxExporter.export_value_info_proto(tensor, do_type_check=False).type)
        return
    own = info.type.tensor_type
    own.elem_type = code
    if shape is None:
        own.ClearField("shape")
        return
    own.shape.SetInParent()
    if len(own.shape.dim) != len(shape):
        del own.shape.dim[:]
        for _ in shape:
            own.shape.dim.add()
    for dim, extent in zip(own.shape.dim, shape, strict=True):
        if isinstance(extent, str):
            dim.dim_param = extent
        elif extent is not None:
            dim.dim_value = extent
        else:
            dim.ClearField("dim_value")
            dim.ClearField("dim_param")


def forget_stale(graph: GraphProto, changes: Changes, reached: set[str] | None = None) -> None:
    """Drop the stored types of values behind a change, in ``graph`` and below; its nodes must be in order.

    ``reached`` are values from around ``graph``, and its inputs, that are behind one.
    """
    touched = changes.touched(graph) | (reached or set())
    for node in graph.node:
        holder = has_bodies(node)
        fed = any(name in touched for name in node.input)
        for body in bodies(node) if holder else ():
            inputs = {info.name for info in body.input} if fed else set()
            forget_stale(body, changes, (touched - defined(body)) | inputs)
        if fed or changes.is_dirty(node) or (holder and not touched.isdisjoint(captures(node))):
            touched.update(node.output)
    touched.discard("")
    if graph.value_info and touched:
        keep_only(graph.value_info, lambda info: info.name not in touched or info.name in changes.told)


def write_model(model: ModelProto, handed: Handed, surgeon: Any, imports: dict[str, str]) -> list[str]:
    """Write what belongs to the model itself (opsets, functions that were added, who made it); return what changed.

    ``imports`` are the domains of new nodes, each with an operator of it.
    """
    said = {name: getattr(surgeon, name, None) for name in MODEL_FIELDS}
    if surgeon is not handed.top.surgeon:  # a copy of the library's has no producer, and one made anew opset 11
        said = {name: found for name, found in said.items() if found and (name != "opset" or surgeon.import_domains)}
    changed = {name for name, found in said.items() if found != handed.model[name]}
    for name in sorted(changed - {"opset"}):
        try:
            setattr(model, name, said[name])
        except (TypeError, ValueError) as error:
            raise PassError(f"{name}: {show(error)}") from None
    default = next((entry for entry in model.opset_import if entry.domain in _DEFAULT), None)
    for entry in surgeon.import_domains or ():
        own = next((known for known in model.opset_import if known.domain == entry.domain), None)
        if own is None and (entry.domain not in _DEFAULT or default is None):
            own = model.opset_import.add(domain=entry.domain)
        if own is not None and own.version != entry.version:
            own.version = entry.version
            changed.add(f"opset of {entry.domain or 'ai.onnx'}")
    if "opset" in changed and default is not None:
        default.version = surgeon.opset
    for domain, op_type in sorted(imports.items()):
        count = len(model.opset_import)
        ops.import_domain(model, domain, op_type)
        changed |= {f"opset of {domain}"} if len(model.opset_import) > count else set()
    for function in surgeon.functions:
        model.functions.append(OnnxExporter.export_function(function))
        changed.add(f"function {function.name}")
    return sorted(changed)
