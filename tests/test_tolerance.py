"""The first rule of ``close``: where its tolerance is taken, and where labels may flip."""

from __future__ import annotations

import weakref
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from graphtool.cases import model_of
from graphtool.parity import tolerance
from graphtool.parity.feed import draw
from graphtool.parity.session import Session
from graphtool.parity.ties import level, loose_labels, ranked
from graphtool.parity.tolerance import close_tolerance, disturbed, least_tolerance, origin

EPS16, EPS32 = 2.0**-10, 2.0**-23


def tolerances(text: str) -> tuple[dict[str, float], dict[str, float], dict[str, float]]:
    graph = model_of(text, 17)
    feed = draw(graph).arrays
    outputs = Session(graph).run(feed)
    least = {name: least_tolerance(graph, name, array) for name, array in outputs.items()}
    top = {name: float(np.abs(array.astype(np.float64)).max()) for name, array in outputs.items()}
    return close_tolerance(graph, feed, outputs), least, top


def test_noise_decides_above_the_floor_and_the_floor_elsewhere() -> None:
    quiet, least, top = tolerances("g (float[64] x) => (float[64] y) { y = Neg(x) }")
    assert quiet["y"] == least["y"] == 128 * EPS32 * top["y"]
    # cancellation: the result is small, and moves with the ulps of what is large
    loud, least, _ = tolerances(
        "g (float[64] x) => (float[64] y) <float k = {1000}> { a = Add(x, k) b = Mul(a, k) c = Mul(x, k) d = Sub(b, c) "
        "kk = Mul(k, k) y = Sub(d, kk) }"
    )
    assert loud["y"] > 10 * least["y"]


def test_a_cast_to_float16_allows_one_ulp_more_than_float32_and_not_an_eighth_of_the_largest_value() -> None:
    text = "g (float[4,64] x) => (float[4,8] y, float16[4,8] h) <float[64,8] w> { y = MatMul(x, w) h = Cast<to=10>(y) }"
    close, least, top = tolerances(text)
    ulp = EPS16 * 2 ** np.floor(np.log2(top["h"]))
    assert close["h"] == pytest.approx(close["y"] + ulp, rel=1e-3)
    assert least["h"] == pytest.approx(128 * EPS32 * top["h"] + ulp, rel=1e-3)
    assert close["h"] < 0.01 * 128 * EPS16 * top["h"]


def test_a_graph_in_float16_has_the_tolerance_of_float16_even_behind_a_cast_to_float32() -> None:
    text = (
        "g (float16[4,64] x) => (float16[4,8] h, float[4,8] y) <float16[64,8] w> { h = MatMul(x, w) y = Cast<to=1>(h) }"
    )
    close, least, top = tolerances(text)
    assert close["h"] == close["y"] >= 128 * EPS16 * top["h"]
    assert least["y"] == 128 * EPS16 * top["y"]


@pytest.mark.parametrize(
    ("text", "name", "cast"),
    [
        ("a = Neg(x) y = Cast<to=10>(a)", "a", "float16"),
        ("a = Neg(x) b = Identity(a) c = Cast<to=10>(b) y = Identity(c)", "b", "float16"),
        ("a = Neg(x) b = Cast<to=10>(a) c = Cast<to=1>(b) y = Identity(c)", "a", "float16"),
        ("a = Neg(x) b = Cast<to=11>(a) y = Identity(b)", "a", None),
        ("a = Neg(x) b = Cast<to=6>(a) y = Cast<to=10>(b)", "y", None),
        ("y = Cast<to=10>(x)", "y", None),
        ("a = Neg(x) y = Identity(a)", "y", None),
    ],
)
def test_the_origin_of_an_output_is_behind_its_casts(text: str, name: str, cast: str | None) -> None:
    last = next((kind for to, kind in (("10", "float16"), ("11", "double")) if f"to={to}" in text), "float")
    last = "float" if "c = Cast<to=1>" in text else last
    graph = model_of(f"g (float[4] x) => ({last}[4] y) {{ {text} }}", 17)
    dtype = next(iter(Session(graph).run(draw(graph).arrays).values())).dtype
    found = origin(graph, "y", dtype)
    assert (found.name, None if found.cast is None else found.cast.name) == (name, cast)


def test_what_is_no_float_has_no_tolerance() -> None:
    close, least, _ = tolerances("g (float[4] x) => (int64[4] y, bool[4] z) { y = Cast<to=7>(x) z = Less(x, x) }")
    assert close == least == {"y": 0.0, "z": 0.0}


def test_infinities_and_sizes_that_depend_on_the_data_do_not_make_a_tolerance_infinite() -> None:
    graph = model_of(
        "g (float[8] x) => (float[8] y, float[N] z) { y = Log(x) b = Greater(x, y) z = Compress(x, b) }", 17
    )
    x = np.array([0, 1, 2, 3, 4, 5, 6, np.inf], np.float32)
    outputs = Session(graph).run({"x": x})
    close = close_tolerance(graph, {"x": x}, outputs)
    assert np.isinf(outputs["y"]).any() and 0 < close["y"] < 1e-3 and 0 < close["z"] < 1e-3
    # one ulp decides how many there are
    graph = model_of("g (float[8] x) => (int64[1,N] z, float[N] v) { a = Neg(x) b = Floor(a) c = Less(b, a) "
                     "z = NonZero(c) v = Compress(a, c) }", 17)  # fmt: skip
    x = np.arange(1, 9).astype(np.float32)
    outputs = Session(graph).run({"x": x})
    assert outputs["v"].shape == (0,) and close_tolerance(graph, {"x": x}, outputs) == {"z": 0.0, "v": 0.0}


def test_one_disturbed_copy_of_the_weights_is_held_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[weakref.ref[Session]] = []

    class Watched(Session):
        def __init__(self, *arguments: Any, **options: Any) -> None:
            assert all(session() is None for session in made)
            made.append(weakref.ref(self))
            super().__init__(*arguments, **options)

    monkeypatch.setattr(tolerance, "Session", Watched)
    graph = model_of("g (float[64] x) => (float[64] y) { y = Neg(x) }", 17)
    assert len(list(disturbed(graph, draw(graph).arrays, ["y"]))) == 2
    assert len(made) == 2


def test_the_disturbed_runs_lie_on_both_sides() -> None:
    graph = model_of("g (float[256] x) => (float[256] y) { y = Neg(x) }", 17)
    feed = draw(graph).arrays
    up, down = (run["y"] for run in disturbed(graph, feed, ["y"]))
    y = -feed["x"]
    assert np.array_equal(np.sign(up - y), -np.sign(down - y)) and (up != y).all()


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 2**32 - 1), st.floats(1e-6, 1.0), st.sampled_from([0, 1, -1]))
def test_a_disturbance_within_the_tolerance_flips_labels_at_ties_only(seed: int, tolerance: float, axis: int) -> None:
    draws = np.random.default_rng(seed)
    scores = draws.normal(size=(3, 4, 5)).astype(np.float32)
    labels, margin = ranked(scores, axis)
    assert np.array_equal(labels, scores.argmax(axis))
    ordered = np.sort(scores, axis)
    assert np.array_equal(margin, np.take(ordered, -1, axis) - np.take(ordered, -2, axis))
    # the worst there is: the winner down, all others up
    winner = np.expand_dims(labels, axis) == np.arange(scores.shape[axis]).reshape(
        [-1 if d == axis % 3 else 1 for d in range(3)]
    )
    moved = scores + np.where(winner, -1, 1) * tolerance * 0.999
    flipped = moved.argmax(axis) != labels
    assert not (flipped & ~level(margin, tolerance)).any()
    # the bound is not idle: what lies well within it does flip
    assert (flipped >= (margin < 1.99 * tolerance)).all()


def test_nan_and_equal_infinities_are_ties() -> None:
    scores = np.array([[np.inf, np.nan, 1, 5], [np.inf, 2, -np.inf, 1]], np.float32)
    assert level(ranked(scores, 0)[1], 1.0).tolist() == [True, True, False, False]


@pytest.mark.parametrize("op", ["ArgMax", "ArgMin"])
@pytest.mark.parametrize("after", ["label = Identity(a)", "label = Cast<to=2>(a)", "label = Unsqueeze(a, one)"])
def test_loose_labels_are_the_ties_of_the_scores(op: str, after: str) -> None:
    kind = "uint8" if "Cast" in after else "int64"
    shape = "[1,1,6,6]" if "Unsq" in after else "[1,6,6]"
    graph = model_of(
        f"g (float[1,4,6,6] x) => ({kind}{shape} label) <int64[1] one = {{1}}> "
        f"{{ s = Neg(x) a = {op}<axis=1, keepdims=0>(s) {after} }}",
        17,
    )
    x = draw(graph).arrays["x"].copy()
    x[0, :2, 2, 3] = -9 if op == "ArgMax" else 9
    outputs = Session(graph).run({"x": x})
    loose = loose_labels(graph, {"x": x}, outputs)["label"]
    assert loose.count == 1 and loose.at.shape == outputs["label"].shape
    assert loose.at.reshape(6, 6)[2, 3]


def test_other_integers_are_loose_where_noise_moves_them() -> None:
    graph = model_of("g (float[100] x) => (int64[100] y, int64[1] n) { z = Neg(x) y = Cast<to=7>(z) n = Shape(x) }", 17)
    x = np.arange(-50, 50).astype(np.float32) + np.float32(0.5)
    x[:10] = np.arange(10) + 1  # an ulp less and the cast gives the integer below
    outputs = Session(graph).run({"x": x})
    loose = loose_labels(graph, {"x": x}, outputs)
    assert 1 <= loose["y"].at.sum() <= 10 and not loose["y"].at[10:].any()
    assert loose["y"].count == min(8 * loose["y"].at.sum(), 100)
    assert loose["n"].count == 0
