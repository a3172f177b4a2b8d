"""The second rule of ``close``: each match against the same computation in double precision.

A rewrite may be further from onnxruntime's own result than noise explains because that result is the worse one: its
linear Resize computes coordinates in float32. So the nodes before and after are both held against float64.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import NodeProto, ValueInfoProto, helper

from graphtool.errors import GraphtoolError, quoted
from graphtool.graph import Graph
from graphtool.parity.double import NoTruth, evaluate
from graphtool.parity.double_channels import channel_plan, sample, spread
from graphtool.parity.eps import eps_of
from graphtool.parity.metrics import equal
from graphtool.parity.session import Session, give_back
from graphtool.rewrite.apply import Inner
from graphtool.rewrite.result import Match

Array = NDArray[Any]
_CHANNELS, _CHANGED = 3, 2  # judged where a match acts on each channel alone: spread evenly, and most changed
_RETURNED = 1 << 27  # bytes that the cone returned: from there on giving memory back is worth its time
FLOOR = 16.0  # times eps times the largest value: what any rounding may cost
WORSE = 2.0  # times the error before: what the error after may be
UNLIKELY = 4.0  # times the root of eps times the largest value: no rounding of one match is that far from the truth


# returns tensors of a graph on a feed: those that matches read, and those that they make
Recorder = Callable[[Graph, Mapping[str, Array], Sequence[str], Sequence[str]], Mapping[str, Array]]


@dataclass(frozen=True, slots=True)
class MatchTruth:
    """How far one match was from the truth before and after, in the output's units, and what was allowed."""

    where: str
    before: float
    after: float
    allowed: float

    @property
    def ok(self) -> bool:
        """Whether the match is no further from the truth than allowed."""
        return self.after <= self.allowed


def judge_matches(
    inner: Inner,
    before: Graph,
    after: Graph,
    feed: Mapping[str, Array],
    recorder: Recorder | None = None,
    known: dict[str, tuple[Array, Array]] | None = None,
) -> list[MatchTruth]:
    """Judge every match of one pass on boundary tensors recorded from the graph before it.

    ``recorder`` returns them without a run of the whole graph, ``known`` has tensors that matches make, as the nodes
    before and after were found to make them of what the recorder returns; it is emptied on the way. Without a recorder
    a pass that does not say what it replaced has no match to judge where both graphs make the same. Raises NoTruth,
    with the reason, where a match cannot be judged alone, and what the recorder raises.
    """
    known = {} if known is None else known
    matches = inner.applied.matches
    silent = not all(match.old for match in matches)  # code, which does not say what it replaced
    if silent and recorder is None and not inner.spec.interface:
        was, now = Session(before).run(feed), Session(after).run(feed)
        if not all(equal(array, now[name]) for name, array in was.items()):
            raise NoTruth(f"{inner.spec.name} changes numbers and does not say which nodes it replaced")
        return []
    dynamic = boundary(inner, before)
    if recorder is None:
        recorded = Session(before, outputs=sorted(dynamic)).run(feed)
        return [_judge(match, inner.spec.parity, before, after, dict(recorded), known) for match in matches]
    found = []
    give_back(_RETURNED)
    for match in matches:  # one after the other: together they may be most of the model's tensors
        making = [name for name in match.outputs if name in dynamic and name not in known]
        recorded = {
            **recorder(before, feed, sorted(dynamic.intersection(match.inputs)), making),
            **{name: known[name][0] for name in match.outputs if name in known},
        }
        found.append(_judge(match, inner.spec.parity, before, after, recorded, known))
    return found


def boundary(inner: Inner, before: Graph) -> set[str]:
    """Return the tensors at the border of a pass's matches that are no constants.

    Raises NoTruth where the matches do not say them, or one is not in the graph before.
    """
    matches = inner.applied.matches
    if any(not match.old for match in matches):
        raise NoTruth(f"{inner.spec.name} does not say which nodes it replaced")
    there = {v.name for v in before.inputs} | set(before.index.producers) | set(before.initializers)
    wanted = dict.fromkeys(name for match in matches for name in (*match.inputs, *match.outputs))
    strange = [name for name in wanted if name not in there]
    if strange:
        raise NoTruth(f"{quoted(strange[0])} is not in the graph before the pass")
    return {name for name in wanted if before.constant(name) is None}


def _judge(
    match: Match,
    parity: str,
    before: Graph,
    after: Graph,
    recorded: dict[str, Array],
    known: dict[str, tuple[Array, Array]],
) -> MatchTruth:
    """Hold one match against the truth. What it makes is taken out of ``recorded`` and ``known``: it may be large."""
    opset = before.opset() or 1
    old_values = _values(match.old, before, recorded)
    was = {name: recorded.pop(name) for name in match.outputs}
    both = {name: known.pop(name) for name in match.outputs if name in known}
    if both.keys() == was.keys():
        now = {name: array for name, (_, array) in both.items()}
    else:
        now = _run(match, after, _values(match.new, after, recorded))
    both.clear()
    for name in match.outputs:
        if was[name].shape != now[name].shape:
            raise NoTruth(f"{quoted(match.where)} gives another shape")
    if parity == "exact":
        same = all(equal(was[name], now[name]) for name in match.outputs)
        return MatchTruth(match.where, 0.0, 0.0 if same else float("inf"), 0.0)
    plan = channel_plan(match.old, old_values, opset)
    if plan is not None and all(array.ndim > 1 and array.shape[1] == plan.channels for array in now.values()):
        chosen = _channels(plan.channels, was, now)
        old_values = sample(old_values, plan, chosen)
        was = {name: np.take(array, chosen, 1) for name, array in was.items()}
        now = {name: np.take(array, chosen, 1) for name, array in now.items()}
    truth = evaluate(match.old, old_values, opset, match.outputs)
    worst: MatchTruth | None = None
    for name in match.outputs:
        eps, top = eps_of(was[name].dtype), _largest(truth[name])
        a, b = _distance(truth[name], was[name]), _distance(truth[name], now[name])
        if a > UNLIKELY * math.sqrt(eps) * top:
            raise NoTruth(f"{quoted(match.where)} was {a:.3g} from it before, which is no rounding")
        found = MatchTruth(match.where, a, b, WORSE * a + FLOOR * eps * top)
        if worst is None or found.after - found.allowed > worst.after - worst.allowed:
            worst = found
    assert worst is not None, "a match makes something"
    return worst


def _largest(array: Array) -> float:
    """Return the largest finite magnitude."""
    finite = np.isfinite(array)
    return float(max(array.max(where=finite, initial=0.0), -array.min(where=finite, initial=0.0)))


def _distance(truth: Array, array: Array) -> float:
    """Return the largest distance; infinite where one is NaN or infinite and the other is not the same."""
    distance = array.astype(np.float64)
    same = (distance == truth) | (np.isnan(distance) & np.isnan(truth))
    with np.errstate(invalid="ignore", over="ignore"):
        distance -= truth
        np.abs(distance, out=distance)
    distance[same] = 0
    return float(distance.max(initial=0.0)) if np.isfinite(distance).all() else math.inf


def _channels(count: int, was: Mapping[str, Array], now: Mapping[str, Array]) -> list[int]:
    """Return a few channels: some evenly spread, and those in which the match changed most."""
    chosen = set(spread(count, _CHANNELS))
    for name, array in was.items():
        with np.errstate(invalid="ignore"):  # two infinities are the same
            moved = [float(np.max(np.abs(now[name][:, c] - array[:, c]), initial=0.0)) for c in range(count)]
        chosen.update(int(c) for c in np.argsort(moved)[-_CHANGED:])
    return sorted(chosen)


def _values(nodes: Sequence[NodeProto], graph: Graph, recorded: Mapping[str, Array]) -> dict[str, Array]:
    """Return what ``nodes`` read from outside: recorded tensors and constants."""
    made = {name for node in nodes for name in node.output}
    values = {}
    for name in {name for node in nodes for name in node.input if name and name not in made}:
        constant = graph.constant(name)
        array = recorded.get(name) if constant is None else constant
        if array is not None:
            values[name] = np.asarray(array)
    return values


def _run(match: Match, after: Graph, values: Mapping[str, Array]) -> dict[str, Array]:
    """Run the new nodes alone in onnxruntime on the recorded inputs and the constants of the graph after."""
    made = {name for node in match.new for name in node.output}
    read = sorted({name for node in match.new for name in node.input if name and name not in made})
    missing = [name for name in read if name not in values]
    if missing:
        raise NoTruth(f"{quoted(missing[0])} was not recorded")
    outputs = [ValueInfoProto(name=name) for name in match.outputs]  # onnxruntime infers the types
    graph = helper.make_graph(list(match.new), "match", [_info(name, values[name]) for name in read], outputs)
    model = helper.make_model(graph, opset_imports=list(after.proto.opset_import), ir_version=after.proto.ir_version)
    try:
        return Session(Graph(model), outputs=match.outputs).run({name: values[name] for name in read})
    except GraphtoolError as error:
        raise NoTruth(f"{quoted(match.where)} does not run alone: {error}") from None


def _info(name: str, array: Array) -> Any:
    return helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(array.dtype), array.shape)
