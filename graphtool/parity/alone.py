"""Where neither onnxruntime nor the reference evaluator runs a graph: its passes by structure, their matches alone.

Interface, soundness and onnx.checker are looked at for every pass by the pipeline. Beyond that each match whose nodes
run by themselves is judged on drawn boundary tensors of the types and shapes that inference finds there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from numpy.typing import NDArray
from onnx import NodeProto, ValueInfoProto, helper, numpy_helper

from graphtool.errors import GraphtoolError
from graphtool.graph import Graph
from graphtool.graph.calls import Library
from graphtool.parity.double import NoTruth
from graphtool.parity.feed import draw
from graphtool.parity.runnable import Meanings, runnable
from graphtool.parity.session import Session
from graphtool.parity.truth import MatchTruth, judge_matches
from graphtool.parity.verdict import Verdict
from graphtool.rewrite.apply import Inner, Outcome
from graphtool.rewrite.passfile import Pass
from graphtool.rewrite.result import Applied, Match

Array = NDArray[Any]
Arrays = Mapping[str, Array]


def judge_alone(spec: Pass, outcome: Outcome, snapshots: Graph, after: Graph, meanings: Meanings) -> Verdict:
    """Judge ``after``, which cannot be run, by its matches; rule ``alone`` where each was, else ``structure``."""
    steps = [(inner, runnable(snapshots.at(inner.before), meanings)) for inner in outcome.inner]
    following = [*(graph for _, graph in steps[1:]), after]
    truths: list[MatchTruth] = []
    left, why = 0, ""
    for (inner, before), later in zip(steps, following, strict=True):
        for match in inner.applied.matches:
            try:
                if inner.spec.parity not in ("exact", "close"):
                    raise NoTruth(f"{inner.spec.name} is {inner.spec.parity}")
                truths += _judged(inner, match, before, later)
            except (NoTruth, GraphtoolError) as error:
                left, why = left + 1, why or str(error)
    bad = next((truth for truth in truths if not truth.ok), None)
    if bad is not None:
        reason = f"match {bad.where!r}, run alone on drawn tensors, is {bad.after:.3g} off, {bad.allowed:.3g} allowed"
        return Verdict(False, "alone", "", reason=reason, truths=tuple(truths))
    if truths and not left:
        return Verdict(True, "alone", "", truths=tuple(truths))
    total = left + len(truths) or len(outcome.applied.matches)
    note = f"{len(truths)} of {total} matches were run alone on drawn tensors, the others were not run"
    return Verdict(True, "structure", "", truths=tuple(truths), notes=(f"{note}: {why}" if why else note,))


def _judged(inner: Inner, match: Match, before: Graph, after: Graph) -> list[MatchTruth]:
    def record(
        graph: Graph, feed: Mapping[str, Array], names: Sequence[str], making: Sequence[str]
    ) -> dict[str, Array]:
        part = _part(match.old, graph, names, making)
        drawn = draw(part).arrays
        return {**drawn, **Session(part, making).run(drawn)}

    own = inner._replace(applied=Applied([match]))
    return judge_matches(own, before, after, {}, record)


def _part(nodes: Sequence[NodeProto], graph: Graph, names: Sequence[str], making: Sequence[str]) -> Graph:
    """Return the nodes of a match as a graph of their own, with the constants they read."""
    inputs = []
    for name in names:
        value = graph.value(name)
        if value is None or value.kind != "tensor" or value.dtype == 0 or value.shape is None:
            raise NoTruth(f"type and shape of {name!r} are not known")
        inputs.append(helper.make_tensor_value_info(name, value.dtype, list(value.shape)))
    made = {output for node in nodes for output in node.output}
    read = {name for node in nodes for name in node.input if name} - made - set(names)
    constants = {name: graph.constant(name) for name in sorted(read)}
    weights = [numpy_helper.from_array(array, name) for name, array in constants.items() if array is not None]
    proto = helper.make_graph(list(nodes), "match", inputs, [ValueInfoProto(name=name) for name in making], weights)
    model = helper.make_model(proto, opset_imports=list(graph.proto.opset_import), ir_version=graph.proto.ir_version)
    model.functions.extend(Library(graph.proto.functions).called(nodes))
    return Graph(model)
