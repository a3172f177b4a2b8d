"""What changed around the graph: opsets, versions, metadata, functions."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping

from google.protobuf.message import Message
from onnx import FunctionProto, ModelProto, StringStringEntryProto

from graphtool.diff.forms import Form
from graphtool.diff.matching import Matching
from graphtool.diff.result import Changed, Detail, Entry, Part, Renamed
from graphtool.diff.view import View, properties, renamed_inside
from graphtool.graph.counts import op_label

_FIELDS = ("ir_version", "producer_name", "producer_version", "domain", "model_version", "doc_string")


def diff_model(m: Matching) -> Iterator[Detail]:
    """Yield what changed in the model outside nodes, weights, interface and functions."""
    x, y = m.a.graph.proto, m.b.graph.proto
    yield from _pairs("opset", _opsets(x), _opsets(y))
    for field in _FIELDS:
        before, after = getattr(x, field), getattr(y, field)
        if before != after:
            # a text that is empty is as good as absent; a number is shown as it is
            yield Detail(field, *(str(side) if side != "" else None for side in (before, after)))
    yield from property_details("metadata", x.metadata_props, y.metadata_props)
    if x.graph.name != y.graph.name:
        yield Detail("graph name", x.graph.name or None, y.graph.name or None)
    if x.graph.doc_string != y.graph.doc_string:
        yield Detail("graph doc_string", x.graph.doc_string or None, y.graph.doc_string or None)
    yield from property_details("graph metadata", x.graph.metadata_props, y.graph.metadata_props)
    # an annotation follows its tensors through renames
    annotations = _annotations(x, m.values), _annotations(y, {})
    yield from _pairs("quantization of", *annotations)
    for field in ("training_info", "configuration"):  # the latter since onnx 1.18
        sides = [_digest(getattr(model, field, ())) for model in (x, y)]
        if sides[0] != sides[1]:
            yield Detail(field, *sides)


def property_details(
    what: str, before: Iterable[StringStringEntryProto], after: Iterable[StringStringEntryProto]
) -> Iterator[Detail]:
    """Yield the differences between two lists of metadata_props."""
    yield from _pairs(what, properties(before), properties(after))


def _pairs(what: str, before: Mapping[str, str], after: Mapping[str, str]) -> Iterator[Detail]:
    for key in sorted(before.keys() | after.keys(), key=str):
        if before.get(key) != after.get(key):
            yield Detail(f"{what} {key}", before.get(key), after.get(key))


def _opsets(model: ModelProto) -> dict[str, str]:
    return {entry.domain or "ai.onnx": str(entry.version) for entry in model.opset_import}


def _annotations(model: ModelProto, names: Mapping[str, str]) -> dict[str, str]:
    found = {}
    for note in model.graph.quantization_annotation:
        entries = sorted((e.key, names.get(e.value, e.value)) for e in note.quant_parameter_tensor_names)
        found[names.get(note.tensor_name, note.tensor_name)] = ", ".join(f"{key} {value}" for key, value in entries)
    return found


def _digest(messages: Iterable[Message]) -> str | None:
    data = b"".join(message.SerializeToString(deterministic=True) for message in messages)
    return f"sha256 {hashlib.sha256(data).hexdigest()}" if data else None


def diff_functions(m: Matching) -> tuple[Part, list[Renamed]]:
    """Return what changed in the local functions, and the values and nodes that were renamed inside equal ones."""
    before, after = _functions(m.a), _functions(m.b)
    changed: list[Changed] = []
    renamed: list[Renamed] = []
    for label, (function, form) in before.items():
        if label not in after:
            continue
        other, other_form = after[label]
        details = [
            Detail(what, _function_text(function, what, form), _function_text(other, what, other_form))
            for what in form.key
            if form.key[what] != other_form.key[what]
        ]
        if function.doc_string != other.doc_string:
            details.append(Detail("doc_string", function.doc_string or None, other.doc_string or None))
        details += property_details("metadata", function.metadata_props, other.metadata_props)
        if details:
            changed.append(Changed(label, label, "", tuple(details)))
        if form.key == other_form.key:
            renamed += renamed_inside(label, form.names, other_form.names)
    part = Part(
        added=tuple(Entry(label, "") for label in after if label not in before),
        removed=tuple(Entry(label, "") for label in before if label not in after),
        changed=tuple(changed),
    )
    return part, renamed


def _functions(view: View) -> dict[str, tuple[FunctionProto, Form]]:
    found = {}
    for function in view.graph.proto.functions:
        label = f"{function.domain}::{function.name}" + (f":{function.overload}" if function.overload else "")
        found[label] = (function, view.forms.function(function))
    return found


def _function_text(function: FunctionProto, what: str, form: Form) -> str:
    match what:
        case "nodes":
            return ", ".join(op_label(node) for node in function.node)
        case "inputs":
            return ", ".join(map(str, function.input))
        case "outputs":
            return ", ".join(map(str, function.output))
        case "attributes":
            return ", ".join(map(str, function.attribute))
        case "defaults":
            return ", ".join(str(attribute.name) for attribute in function.attribute_proto)
    return str(form.key[what])
