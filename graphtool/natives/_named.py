"""Nodes and tensors that a person names, and attributes written as text: what the passes for single nodes share."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from onnx import AttributeProto, NodeProto, defs

from graphtool.errors import PassError, did_you_mean, quoted
from graphtool.graph import Graph, dtype_code
from graphtool.graph import opset as ops
from graphtool.graph.bodies import walk
from graphtool.graph.declared import drop_inner_types, redeclare_outputs

# attributes that hold an element type: TensorProto.DataType as a number, or a name such as float16
_TYPES = frozenset({"to", "dtype", "output_datatype", "output_dtype", "stash_type"})
_KINDS = AttributeProto


def find_node(graph: Graph, name: str) -> tuple[Graph, int]:
    """Return the level and slot of the node of that name, in a body too; else the node that makes that tensor.

    Raises PassError with the nearest name. The level stays valid for edits until :func:`done`.
    """
    for level in graph.levels():
        for slot in level.live_slots():
            node = level.node(slot)
            if node is not None and node.name == name and name:
                return level, slot
    maker = graph.index.producer_slot(name)
    if maker is not None:
        return graph, maker
    names = [node.name for node in walk(graph.proto.graph) if node.name]
    near = did_you_mean(name, [*names, *graph.index.producers])
    raise PassError(f"no node named {quoted(name)}{near or '; graphtool inspect --by node --all lists the nodes'}")


def done(graph: Graph, level: Graph) -> None:
    """Take up an edit of ``level`` in the whole model: node order, types that no longer hold, declared outputs."""
    if level is not graph:
        level.commit()
    graph.commit()
    graph.reindex()
    drop_inner_types(graph)
    redeclare_outputs(graph, only_wrong=True)


def op_of(text: str, graph: Graph) -> tuple[str, str]:
    """Return operator and domain of ``Relu`` or ``com.microsoft.Gelu``; raises PassError for an unknown operator."""
    domain, _, op_type = text.rpartition(".")
    version = graph.opset(domain)
    if not op_type:
        raise PassError("no operator is named; give operator=NAME")
    if domain in ("", "ai.onnx") and ops.schema(op_type, "", version) is None:
        later = ops.versions(op_type)
        if later:
            raise PassError(f"{op_type} needs opset {later[0]}; the model has {version}")
        known = [schema.name for schema in defs.get_all_schemas()]
        raise PassError(f"no operator {quoted(op_type)}{did_you_mean(op_type, known)}")
    return op_type, "" if domain == "ai.onnx" else domain


def parsed_attributes(words: Sequence[str], op_type: str, domain: str, graph: Graph) -> dict[str, AttributeProto]:
    """Return attributes written as ``axis=1`` and ``pads=1x1x1x1``; raises PassError for what does not fit the op."""
    found = {}
    for word in words:
        name, sign, text = word.partition("=")
        if not sign:
            raise PassError(f"{quoted(word)} is not ATTRIBUTE=VALUE")
        found[name] = parsed_attribute(op_type, domain, graph, name, text)
    return found


def parsed_attribute(
    op_type: str, domain: str, graph: Graph, name: str, text: str, old: AttributeProto | None = None
) -> AttributeProto:  # fmt: skip
    """Return an attribute written as text, of the type that the operator's schema asks for.

    Lists are written ``3x3`` or ``3,3``. An operator without a schema keeps the type of its ``old`` attribute, or gets
    the plainest type that fits: int, float, list of those, text. Raises PassError.
    """
    version = graph.opset(domain)
    known = ops.schema(op_type, domain, version)
    if known is not None and name not in known.attributes:
        near = did_you_mean(name, known.attributes) or f"; it has {', '.join(sorted(known.attributes)) or 'none'}"
        raise PassError(f"{op_type} of opset {known.since_version} has no attribute {quoted(name)}{near}")
    if known is not None:
        kind = int(AttributeProto.AttributeType.Value(str(known.attributes[name].type).rpartition(".")[2]))
    else:
        kind = old.type if old is not None else _plainest(text)
    try:
        value = _value(kind, name, text)
        return ops.make_attribute(op_type, domain, version, name, value)
    except (ValueError, KeyError):
        wanted = AttributeProto.AttributeType.Name(kind).lower()
        raise PassError(f"attribute {quoted(name)} of {op_type} takes {wanted}, not {quoted(text)}") from None


def _value(kind: int, name: str, text: str) -> int | float | str | list[int] | list[float] | list[bytes]:
    items = [item.strip() for item in text.split("," if "," in text else "x")] if text else []
    match kind:
        case _KINDS.INT:
            return _int(name, text)
        case _KINDS.FLOAT:
            return float(text)
        case _KINDS.STRING:
            return text
        case _KINDS.INTS:
            return [_int(name, item) for item in items]
        case _KINDS.FLOATS:
            return [float(item) for item in items]
        case _KINDS.STRINGS:
            return [item.strip().encode() for item in text.split(",")]
    raise ValueError("tensors, graphs and types are not written as text")


def _int(name: str, text: str) -> int:
    if text.lower() in ("true", "false"):
        return int(text.lower() == "true")
    if name in _TYPES and not text.lstrip("-").isdecimal():
        return dtype_code(text)
    return int(text)


def _plainest(text: str) -> int:
    for kind in (_KINDS.INT, _KINDS.FLOAT, _KINDS.INTS, _KINDS.FLOATS):
        try:
            _value(kind, "", text)
        except (ValueError, KeyError):
            continue
        return int(kind)
    return int(_KINDS.STRING)


def set_attributes(node: NodeProto, attributes: Iterable[AttributeProto]) -> bool:
    """Set attributes of a node and return whether one of them was not so already."""
    changed = False
    for new in attributes:
        old = ops.attribute_of(node, new.name)
        if old is None:
            node.attribute.add().CopyFrom(new)
        elif old != new:
            old.CopyFrom(new)
        else:
            continue
        changed = True
    return changed


def same_attributes(node: NodeProto, wanted: dict[str, AttributeProto]) -> bool:
    """Whether a node sets just these attributes, in any order."""
    return {attribute.name: attribute for attribute in node.attribute} == wanted


def check_tensors(level: Graph, names: Iterable[str]) -> None:
    """Raise PassError for a name that is no tensor which nodes of a level can read."""
    home: Graph | None = level
    known: set[str] = set()
    while home is not None:
        known.update((*home.index.producers, *home.initializers, *(info.name for info in home.header.input)))
        home = home.parent
    for name in names:
        if name not in known:
            raise PassError(f"no tensor named {quoted(name)}{did_you_mean(name, known)}")
