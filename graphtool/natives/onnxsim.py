"""onnxsim in a child process: a crash, a hang or an exhausted memory there is a message here, not a dead tool."""

from __future__ import annotations

import importlib.util
import tempfile
from collections.abc import Mapping
from pathlib import Path

from onnx import GraphProto, TensorProto

from graphtool.errors import GraphtoolError, PassError, show
from graphtool.graph import Graph
from graphtool.graph.bodies import defined
from graphtool.graph.fields import keep_only
from graphtool.graph.text import node_line
from graphtool.graph.values import value_of
from graphtool.natives import _child
from graphtool.rewrite.result import Applied, Match

_CHILD = """
import sys, onnx, onnxsim
model, _ = onnxsim.simplify(onnx.load(sys.argv[1]), check_n=0)
onnx.save(model, sys.argv[2])
"""
_MEMORY = 64 << 30  # bytes of address space; onnxruntime reserves far more than it uses


def apply(graph: Graph, params: Mapping[str, object]) -> Applied:
    """Replace the graph by what onnxsim makes of it; raises PassError, naming the phase, where it fails."""
    if importlib.util.find_spec("onnxsim") is None:
        raise PassError("onnxsim is not installed; run 'pip install onnxsim'")
    before = _lines(graph)
    given, defaults = _without_defaults(graph)
    with tempfile.TemporaryDirectory(prefix="graphtool-") as folder:
        source, target = Path(folder, "before.onnx"), Path(folder, "after.onnx")
        given.save(source)
        seconds = params["seconds"]
        assert isinstance(seconds, int)
        _run(source, target, seconds)
        try:
            simplified = Graph.load(target)
        except GraphtoolError as error:
            raise PassError(f"onnxsim wrote no usable model: {error}") from None
    simplified.header.initializer.extend(defaults)
    _restore_what_it_drops(graph, simplified)
    simplified.reindex()
    after = _lines(simplified)
    if before == after:
        return Applied()
    changed = len(set(before) ^ set(after))
    graph.become(simplified)
    return Applied([Match(f"the whole graph ({changed} node lines differ)", "native")])


def _without_defaults(graph: Graph) -> tuple[Graph, list[TensorProto]]:
    """Return the graph without the default values of inputs, which onnxsim would take for constants, and those."""
    inputs = {info.name for info in graph.header.input} if graph.proto.ir_version >= 4 else set()
    defaults = [tensor for name, tensor in graph.initializers.items() if name in inputs]
    if not defaults:
        return graph, []
    own = graph.copy()
    keep_only(own.header.initializer, lambda tensor: tensor.name not in inputs)
    own.reindex()
    return own, defaults


def _run(source: Path, target: Path, seconds: int) -> None:
    ended = _child.run(_CHILD, [str(source), str(target)], seconds, _MEMORY)
    if ended.late:
        raise PassError(f"onnxsim was stopped after {seconds} seconds; give it more with onnxsim.seconds")
    if ended.signal:
        raise PassError(f"onnxsim crashed ({ended.signal}) while simplifying")
    if ended.code or not target.exists():
        raise PassError(f"onnxsim failed while simplifying: {show(ended.said, 300)}")


def _restore_what_it_drops(graph: Graph, simplified: Graph) -> None:
    """Carry over what onnxsim loses or stamps: metadata, documentation, quantization annotations."""
    old, new = graph.proto, simplified.proto
    del new.metadata_props[:]
    new.metadata_props.extend(old.metadata_props)
    for field in ("producer_name", "producer_version", "domain", "model_version", "doc_string"):
        if old.HasField(field):
            setattr(new, field, getattr(old, field))
        else:
            new.ClearField(field)
    if old.graph.doc_string:
        new.graph.doc_string = old.graph.doc_string
    if not new.graph.metadata_props:
        new.graph.metadata_props.extend(old.graph.metadata_props)
    declared = {info.name: info for info in (*old.graph.input, *old.graph.output)}
    for info in (*new.graph.input, *new.graph.output):
        if info.name in declared and value_of(info) == value_of(declared[info.name]):
            info.CopyFrom(declared[info.name])  # denotations too
    if not new.graph.quantization_annotation:
        _restore_annotations(old.graph, new.graph)
    for node in new.graph.node:
        if node.output:
            same = graph.index.producer(node.output[0])
            if same is not None and same.op_type == node.op_type and not node.metadata_props:
                node.metadata_props.extend(same.metadata_props)
                if same.doc_string:
                    node.doc_string = same.doc_string


def _restore_annotations(old: GraphProto, new: GraphProto) -> None:
    """Carry over the annotations of values that are still there, and the scales that only they refer to."""
    there = defined(new)
    notes = [note for note in old.quantization_annotation if note.tensor_name in there]
    new.quantization_annotation.extend(notes)
    scales = {entry.value for note in notes for entry in note.quant_parameter_tensor_names} - there
    new.initializer.extend(tensor for tensor in old.initializer if tensor.name in scales)


def _lines(graph: Graph) -> list[str]:
    return [node_line(node) for node in graph.nodes]
