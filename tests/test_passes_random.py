"""Every exact and close pass on random small graphs: alone, after every other one, and in random orders.

What is held is said in ``properties.py``, what the graphs are in ``randomgraphs.py``. Here a fixed sample is run;
``make soak`` (``GRAPHTOOL_SOAK=2000``) runs 2,000 random subsets and orders, and all pairs on 40 graphs.
"""

from __future__ import annotations

import itertools
import os
import random

import pytest
from properties import CATALOG, LEFT_OUT, Broken, Subject, exact_and_close, model_fault, orders, stages, strays
from randombodies import PARTS
from randomgraphs import SIZES, random_model
from rewriting import HEAD, pass_of

from graphtool.cases import model_of
from graphtool.rewrite import Pass, Stage

SOAK = int(os.environ.get("GRAPHTOOL_SOAK", "0"))
NAMES = exact_and_close()
SHARE = 1 if SOAK else 12  # of the pairs one in so many is tried


def subject(seed: int) -> Subject:
    """Return a random graph with what it computes; the few that onnx or onnxruntime refuses are passed over."""
    for salt in itertools.count():
        model = random_model(seed + salt * 1_000_003, PARTS)
        if not model_fault(model):
            return Subject.of(model)
    raise AssertionError


def test_the_catalogue_is_there() -> None:
    assert len(NAMES) > 60
    assert set(LEFT_OUT) <= set(CATALOG.names)
    broken = [f"{entry.name}: {spec}" for entry, spec in CATALOG.listing() if not isinstance(spec, Pass)]
    assert not broken


def test_the_same_seed_makes_the_same_model() -> None:
    for seed in range(5):
        one, two = (random_model(seed, PARTS).SerializeToString(deterministic=True) for _ in range(2))
        assert one == two


def test_nearly_all_random_models_are_valid() -> None:
    models = [random_model(seed, PARTS) for seed in range(40)]
    assert sum(not model_fault(model) for model in models) >= 37
    assert max(len(model.graph.node) for model in models) > 15
    assert len({model.opset_import[0].version for model in models}) > 5


@pytest.mark.parametrize("seed", sorted({*range(SOAK // 5 or 6), 192}))  # 192: an edit in a body tells of one beside it
def test_each_pass_alone(seed: int) -> None:
    base = subject(seed)
    matched = sum(base.copy().step(stage) > 0 for name in NAMES for stage in stages(name, base.graph))
    assert matched


@pytest.mark.parametrize("seed", range(100_000, 100_000 + (SOAK // 50 or 3)))
def test_pairs(seed: int) -> None:
    base = subject(seed)
    rng = random.Random(seed)
    for first in NAMES:
        for stage in stages(first, base.graph)[:1]:
            once = base.copy()
            if once.step(stage):
                for second in NAMES:
                    settings = stages(second, once.graph)
                    if settings and not rng.randrange(SHARE):
                        once.copy().step(rng.choice(settings))


@pytest.mark.parametrize("seed", range(200_000, 200_000 + (SOAK or 30)))
def test_any_subset_in_any_order(seed: int) -> None:
    now = subject(seed)
    rng = random.Random(seed)
    for name in orders(seed, NAMES):
        settings = stages(name, now.graph)
        if settings:
            now.step(rng.choice(settings))


@pytest.mark.parametrize("seed", range(300_000, 300_000 + (SOAK or 40)))
def test_what_is_inferred_is_what_is_computed(seed: int) -> None:
    assert strays(subject(seed).graph, SIZES) == []


# -- the properties are no empty words

WRONG = {
    "the values": ("y = Relu(x)", "y = x", "differ, at"),
    "the shape": ("y = Relu(x)", "y = Transpose(x)", "unsound|became"),
    "settled": ("y = Neg(x)", "a = Neg(x) b = Neg(a) y = Neg(b)", "refused|second run"),
}


@pytest.mark.parametrize("what", WRONG)
def test_a_wrong_pass_is_caught(what: str) -> None:
    match, replace, told = WRONG[what]
    for parity in ("exact", "close"):
        head = HEAD.replace("exact", parity)
        spec = pass_of(f"[[rewrite]]\nmatch = '{match}'\nreplace = '{replace}'\n", head)
        graph = model_of("g (float[2,3] x) => (float[2,3] z) { a = Relu(x) z = Neg(a) }", 17)
        with pytest.raises(Broken, match=told):
            Subject.of(graph.full_proto()).step(Stage(spec, {}, "x"))


def test_rounding_is_no_fault_of_a_close_pass_and_one_of_an_exact_pass() -> None:
    text = "g (float[8] x) => (float[8] y) <float a = {0.1}, float b = {0.3}> { m = Mul(x, a) y = Mul(m, b) }"
    rule = "[[rewrite]]\nmatch = 'm = Mul(x, a) y = Mul(m, b)'\nreplace = 'n = Mul(x, b) y = Mul(n, a)'\n"
    once = "where = ['near(a, 0.1)']\n"
    graph = model_of(text, 17)
    assert (
        Subject.of(graph.full_proto()).step(Stage(pass_of(rule + once, HEAD.replace("exact", "close")), {}, "x")) == 1
    )
    with pytest.raises(Broken, match="differ, at"):
        Subject.of(graph.full_proto()).step(Stage(pass_of(rule + once), {}, "x"))
