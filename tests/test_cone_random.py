"""Cones and whole runs say the same: over random graphs, of right passes and of edits that are wrong.

Edits keep to what onnxruntime refuses with an error: some wrong models make it abort.
"""

from __future__ import annotations

import os
import random
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from onnx import AttributeProto
from properties import CATALOG, exact_and_close, stages
from test_passes_random import subject
from test_traps import TRAPS

from graphtool.errors import GraphtoolError
from graphtool.graph import Graph, check
from graphtool.parity.feed import Feed, draw
from graphtool.parity.judge import Judge
from graphtool.parity.metrics import equal
from graphtool.parity.tape import Tape
from graphtool.rewrite import Outcome, Pass, apply_stage

SOAK = int(os.environ.get("GRAPHTOOL_SOAK", "0"))
SEEDS = range(SOAK or 14)
NAMES = [name for name in exact_and_close() if not CATALOG.get(name).interface]
OTHER = {
    "Add": "Sub", "Sub": "Add", "Mul": "Add", "Relu": "Neg", "Neg": "Relu", "Sigmoid": "Tanh", "Tanh": "Sigmoid",
    "Exp": "Abs", "Max": "Min", "Min": "Max",
}  # fmt: skip
Step = tuple[Pass, Outcome, Graph, Graph]  # what was applied, what it did, the graphs before and after


def passes(graph: Graph, rng: random.Random, most: int) -> list[Step]:
    """Return a few passes that match, one after the other."""
    found: list[Step] = []
    own = graph.copy()
    for name in rng.sample(NAMES, most):
        for stage in stages(name, own)[:1]:
            before = own.copy()
            try:
                outcome = apply_stage(own, stage, CATALOG)
            except GraphtoolError:
                continue
            if outcome.applied.matches:
                found.append((stage.spec, outcome, before, own.copy()))
    return found


def spoiled(graph: Graph, rng: random.Random) -> Graph:
    """Return the graph with one wrong thing in it: an operator, swapped inputs, a weight, an attribute."""
    own = graph.copy()
    nodes = own.nodes
    rng.shuffle(nodes)
    for node in nodes:
        kind = rng.choice(["op", "swap", "weight", "attribute"])
        kinds = {name: tensor.data_type for name, tensor in own.initializers.items()}
        weights = [place for place, name in enumerate(node.input) if kinds.get(name) in (1, 10, 11)]  # floats
        floats = [a for a in node.attribute if a.type == AttributeProto.FLOAT]
        if kind == "op" and node.op_type in OTHER:
            node.op_type = OTHER[node.op_type]
        elif kind == "swap" and node.op_type in ("Sub", "Div", "Greater", "Less"):
            node.input[0], node.input[1] = node.input[1], node.input[0]
        elif kind == "weight" and weights:
            place = rng.choice(weights)
            array = np.array(own.array(own.initializers[node.input[place]]))
            if not array.size:
                continue
            array.reshape(-1)[rng.randrange(array.size)] += 1
            node.input[place] = own.add_initializer("spoiled", array)
        elif kind == "attribute" and floats:
            floats[0].f = floats[0].f * 1.5 + 0.1
        else:
            continue
        break
    own.reindex()
    return own


def some_of(graph: Graph, seed: int) -> frozenset[str]:
    """Return half of the tensors, drawn."""
    rng = random.Random(seed)
    return frozenset(name for node in graph.nodes for name in node.output if name and rng.random() < 0.5)


def both_say(graph: Graph, feed: Feed, steps: list[Step], seed: int) -> list[tuple[str, bool]]:
    """Hold the verdicts of two judges against each other; return how each step was judged, and whether accepted.

    Of every second seed the one has recorded not what it will need, but any tensors.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("graphtool.parity.cone.Tape", partial(Tape, memory=64))
        record = partial(some_of, graph, seed) if seed % 2 else True
        judge = Judge(graph.copy(), feed, CATALOG.semantics(), record=record)
    if judge.cones is None:
        return []
    judge.cones.share = float("inf")  # cones however large
    other = judge.fork()
    assert other.cones is not None
    other.cones.on = False
    said = []
    for spec, outcome, before, after in steps:
        found, whole = judge.judge(spec, outcome, before, after), other.judge(spec, outcome, before, after)
        said.append((found.judged, found.ok))
        assert whole.judged == "whole"
        if found.ok and whole.rule == "not run":  # onnxruntime lacks an operator that is alone in the cone
            closing = judge.close()
            assert closing is not None and closing.verdict is not None and not closing.verdict.ok
            return said[:-1]
        assert found.ok == whole.ok, f"{spec.name}: {found.judged} {found.reason} against {whole.reason}"
        if not found.ok:
            return said
    closing = judge.close()
    assert closing is None or closing.verdict is None, "the run at the end has nothing to add"
    assert all(equal(array, judge.outputs()[name]) for name, array in other.outputs().items())
    return said


def test_right_passes_and_wrong_ones_are_judged_alike() -> None:
    said = []
    for seed in SEEDS:
        rng = random.Random(seed)
        model = subject(seed)
        feed = Feed(model.runs[0][0])
        steps = passes(model.graph, rng, 12)
        right = both_say(model.graph, feed, steps, seed)
        assert all(ok for _, ok in right)
        said += right
        for spec, outcome, before, after in steps[:2]:
            if set(feed.arrays) == {value.name for value in before.inputs}:
                said += both_say(before, feed, [(spec, outcome, before, spoiled(after, rng))], seed)
        plain = CATALOG.get("remove_identity")
        for parity in ("exact", "close"):
            spec = replace(plain, parity=parity)
            said += both_say(model.graph, feed, [(spec, Outcome(), model.graph, spoiled(model.graph, rng))], seed)
    cones = [ok for judged, ok in said if judged.startswith("cone")]
    assert sum(cones) > len(SEEDS) and len(cones) - sum(cones) > len(SEEDS) // 3, (
        "both kinds of verdict came from cones"
    )


def test_the_traps_are_judged_alike() -> None:
    """Bodies, functions, strings, shadowed names: where rewriters are known to go wrong."""
    said = []
    for number, trap in enumerate(list(TRAPS.values())[:: 1 if SOAK else 5]):
        if trap.fault is not None:
            continue
        graph = trap.make()
        check(graph)
        rng = random.Random(number)
        feed = draw(graph)
        for spec, outcome, before, after in passes(graph, rng, len(NAMES) if SOAK else 25)[:1]:
            for now in (after, spoiled(after, rng)):
                said += both_say(before, feed, [(spec, outcome, before, now)], number)
    assert any(ok for _, ok in said) and not all(ok for _, ok in said)


@pytest.mark.parametrize("seed", range(3))
def test_spoiling_changes_something(seed: int) -> None:
    graph = subject(seed).graph
    assert spoiled(graph, random.Random(seed)).proto != graph.proto
