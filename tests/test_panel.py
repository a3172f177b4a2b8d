"""Several feeds: which ones a run is judged on, and that a change which only one of them shows is found."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from clirun import Cli
from onnx import numpy_helper

from graphtool import api, pipeline
from graphtool.cases import model_of
from graphtool.errors import FeedError, PromiseError, UsageError
from graphtool.graph import Graph
from graphtool.parity.budget import parse_budget
from graphtool.parity.feed import Feed, draw
from graphtool.parity.feed_extremes import extremes
from graphtool.parity.feed_files import write_npz
from graphtool.parity.feed_sets import feeds_from
from graphtool.parity.judge import Closing
from graphtool.parity.panel import Panel
from graphtool.parity.trials import Trial, plan
from graphtool.parity.verdict import Verdict
from graphtool.rewrite import Catalog, parse_pipeline
from graphtool.step import Run

RELU = "g (float[N,40] x) => (float[N,40] y) { y = Relu(x) }"


BAKED = 'let = { s = "[2, 40]", m = "float32(-1)" }'


def judged(graph: Graph, passes: str, trials: list[Trial], keep_going: bool = False) -> Run:
    catalog = Catalog()
    state = pipeline.begin(graph, parse_pipeline(passes, catalog), catalog, trials)
    for _ in pipeline.advance(state, catalog, keep_going):
        pass
    return state


def rule(folder: Path, match: str, replace: str, parity: str = "exact", more: str = "") -> str:
    path = folder / "changed.toml"
    path.write_text(
        f"summary='s'\nwhy='w'\nparity='{parity}'\n[[rewrite]]\nmatch='{match}'\nreplace='{replace}'\n{more}"
    )
    return str(path)


# -- which feeds


def test_a_small_model_is_judged_on_two_feeds_with_two_sizes_for_each_symbol() -> None:
    graph = model_of("g (float[N,3,H,W] x, int64[N,S] i) => (float[N,3,H,W] y) { y = Relu(x) j = Neg(i) }", 17)
    first, second = (trial.feed.recipe["dims"] for trial in plan(graph))
    assert first == {"N": 2, "H": 64, "W": 96, "S": 3} and second == {"N": 1, "H": 96, "W": 128, "S": 5}
    assert [trial.feed.recipe["seed"] for trial in plan(graph, count=4)] == [0, 1, 2, 3]
    assert plan(graph, count=4)[2].feed.recipe["dims"] == first


def test_a_large_model_is_judged_on_one_feed() -> None:
    graph = model_of("g (float[1,3,640,640] x) => (float[1,3,640,640] y) { y = Relu(x) }", 17)
    assert [len(plan(graph)), len(plan(graph, count=2))] == [1, 2]
    with pytest.raises(UsageError, match="at least one feed"):
        plan(graph, count=0)


def test_a_size_that_the_model_does_not_run_at_is_replaced_and_said() -> None:
    text = "g (float[N,6] x) => (float[2,A] y) <int64[2] s = {2, -1}, float[6] w> { a = Reshape(x, s) y = Relu(a) }"
    odd = "g (float[N,S] x) => (float[N,S] y) <float[2,3] w> { y = Add(x, w) }"
    graph = model_of(odd, 17)
    panel = Panel(graph, plan(graph), {})
    assert [seat.name for seat in panel.seats] == ["drawn with seed 0, N=2, S=3", "drawn with seed 1, N=2, S=3"]
    assert panel.notes[0].startswith("not judged on drawn with seed 1, N=1, S=5: the original does not run on it: ")
    fine = model_of(text, 17)
    assert [seat.feed.recipe["dims"] for seat in Panel(fine, plan(fine), {}).seats] == [{"N": 2}, {"N": 1}]


def test_extremes_stay_inside_what_the_operators_demand() -> None:
    text = """g (float[4,8] x, int64[2,3] i, int64[4] size, uint8[2,2] u, float[3] p, bool[2] b) => (float[4,8] y)
      <float[5,7] t> { e = Gather(t, i) y = Neg(x) q = Sqrt(p) k = Not(b) z = Cast<to = 1>(u) w = Abs(size) }"""
    graph = model_of(text, 17)
    base = draw(graph)
    found = {feed.recipe["source"]: feed.arrays for feed in extremes(graph, base)}
    assert list(found) == ["zeros", "large", "negative", "bounds"]
    assert not found["zeros"]["x"].any() and not found["zeros"]["i"].any() and found["zeros"]["p"].all()
    assert np.array_equal(np.abs(found["large"]["x"]), np.abs(base.arrays["x"] * np.float32(1000)))
    assert set(np.sign(found["large"]["x"].flat)) == {-1, 1} and (found["large"]["p"] > 0).all()
    assert (found["negative"]["x"] <= 0).all() and (found["negative"]["p"] > 0).all()
    assert set(found["bounds"]["i"].flat) == {0, 4} and set(found["bounds"]["u"].flat) == {0, 255}
    assert all(np.array_equal(arrays["size"], base.arrays["size"]) for arrays in found.values()), "it may be a size"


def test_numbers_of_the_graph_are_fed_where_a_comparison_turns() -> None:
    text = "{ b = Less(x, k) y = Where(b, p, q) }"
    graph = model_of(f"g (float[40] x, float[40] p, float[40] q) => (float[40] y) <float k = {{0.5}}> {text}", 17)
    fed = {feed.recipe["source"]: feed.arrays for feed in extremes(graph, draw(graph))}["constants"]
    assert 0 < np.count_nonzero(fed["x"] == 0.5) < 40 and np.any(fed["p"][fed["x"] == 0.5] != 0.5)


def test_a_scalar_has_extremes_and_a_model_without_inputs_one_feed() -> None:
    graph = model_of("g (float x) => (float y) { y = Exp(x) }", 17)
    panel = Panel(graph, plan(graph, with_extremes=True), {})
    assert {seat.feed.recipe["source"] for seat in panel.seats} >= {"drawn", "zeros"}
    assert all("makes infinities" in note for note in panel.notes), panel.notes
    assert len(plan(model_of("g () => (float[2] y) <float[2] c> { y = Relu(c) }", 17), count=3)) == 1


def test_integers_are_left_alone_where_the_graph_divides_them() -> None:
    graph = model_of("g (int32[2,2] a, int32[2,2] b) => (int32[2,2] y) { c = Neg(b) y = Div(a, c) }", 17)
    assert extremes(graph, draw(graph)) == []


def test_an_extreme_that_overflows_is_dropped_and_said() -> None:
    graph = model_of("g (float[4,8] x) => (float[4,8] y) { y = Exp(x) }", 17)
    panel = Panel(graph, plan(graph, count=1, with_extremes=True), {})
    assert [seat.feed.recipe["source"] for seat in panel.seats] == ["drawn", "zeros", "negative"]
    assert panel.notes == ["not judged on large: the original makes infinities or NaN of it"]


# -- what they find


def test_a_change_that_one_feed_shows_is_refused_and_named(tmp_path: Path) -> None:
    """Clip at 100 is Relu for drawn numbers; only the large ones tell."""
    clip = rule(tmp_path, "y = Relu(x)", "y = Clip(x, lo, hi)", more='let = { lo = "float32(0)", hi = "float32(100)" }')
    graph = model_of(RELU, 17)
    assert judged(model_of(RELU, 17), clip, plan(graph)).ok
    state = judged(graph, clip, plan(graph, with_extremes=True))
    verdict = state.steps[0].verdict
    assert state.steps[0].status == "broken" and verdict is not None and verdict.feed.startswith("large")
    assert [heard.ok for heard in verdict.feeds] == [True, True, True, False, True]
    assert "refused on 1 of 5 feeds, worst on large, N=2" in verdict.notes
    assert state.judge is not None and state.judge.feed["x"].max() > 100, "what reproduces it is that feed"


def test_a_step_that_one_feed_refuses_is_seen_by_none(tmp_path: Path) -> None:
    clip = rule(tmp_path, "y = Relu(x)", "y = Clip(x, lo, hi)", more='let = { lo = "float32(0)", hi = "float32(100)" }')
    text = "g (float[N,40] x) => (float[N,40] y) { a = Identity(x) y = Relu(a) }"
    graph = model_of(text, 17)
    state = judged(graph, f"{clip},remove_identity", plan(graph, with_extremes=True), keep_going=True)
    assert [step.status for step in state.steps] == ["broken", "applied"]
    assert state.judge is not None and state.judge.feed["x"].max() < 100


def test_a_size_baked_in_is_found_by_the_second_size(tmp_path: Path) -> None:
    fixed = rule(
        tmp_path, "y = Neg(x)", "r = Mul(x, m)  y = Reshape(r, s)", more='let = { s = "[2, 40]", m = "float32(-1)" }'
    )
    graph = model_of(RELU.replace("Relu", "Neg"), 17)
    state = judged(graph, fixed, plan(graph))
    assert not state.ok and state.steps[0].verdict is not None
    assert state.steps[0].verdict.feed == "drawn with seed 1, N=1"


def test_feeds_of_another_size_are_dropped_where_a_pass_fixes_it() -> None:
    graph = model_of("g (float[N,3,H,W] x) => (float[N,3,H,W] y) { i = Identity(x) y = Relu(i) }", 17)
    state = judged(graph, "set_input_shapes:inputs=x:shapes=1x3x32x32,remove_identity", plan(graph))
    assert state.ok, [step.reason for step in state.steps]


def test_budgets_hold_on_every_feed() -> None:
    graph = model_of(
        'g (float[1,3,4,4] x) => (float[1,3,8,8] y) <float[4] s = {1,1,2,2}> { y = Resize<mode="linear">(x, , s) }', 17
    )
    feeds = [{"x": np.zeros((1, 3, 4, 4), np.float32)}, draw(graph).arrays]
    state = api.run(graph, "resize_nearest", feed=feeds)
    assert state.steps[0].verdict is not None and state.steps[0].verdict.figures["y"].max_abs > 0.1, (
        "the worst is shown"
    )

    with pytest.raises(PromiseError, match="max_abs"):
        api.run(graph, "resize_nearest", feed=feeds, budgets=[parse_budget("max_abs=0.01", "max")])


# -- given feeds


def test_folders_of_sets_and_of_npz_are_several_feeds(tmp_path: Path) -> None:
    graph = model_of(RELU, 17)
    for number in (10, 2):
        folder = tmp_path / "sets" / f"test_data_set_{number}"
        folder.mkdir(parents=True)
        x = np.full((1, 40), number, np.float32)
        (folder / "input_0.pb").write_bytes(numpy_helper.from_array(x).SerializeToString())
        write_npz(tmp_path / f"f{number}.npz", Feed({"x": x}))
    for given in (tmp_path / "sets", tmp_path):
        assert [feed.arrays["x"][0, 0] for feed in feeds_from([given], graph)] == [2, 10]
    both = [str(tmp_path / "f2.npz"), f"x={tmp_path / 'sets/test_data_set_10/input_0.pb'}"]
    assert [feed.arrays["x"][0, 0] for feed in feeds_from(both, graph)] == [2, 10]


def test_items_fill_one_feed_until_an_input_comes_again(tmp_path: Path) -> None:
    graph = model_of("g (float[2] a, float[2] b) => (float[2] y) { y = Add(a, b) }", 17)
    np.save(tmp_path / "n.npy", np.ones(2, np.float32))
    item = {name: f"{name}={tmp_path / 'n.npy'}" for name in "ab"}
    assert len(feeds_from([item["a"], item["b"], item["b"], item["a"]], graph)) == 2
    with pytest.raises(FeedError, match="nothing for input 'b'"):
        feeds_from([item["a"], item["a"], item["b"]], graph)


def test_a_given_feed_that_the_original_does_not_run_on_is_an_error(tmp_path: Path, cli: Cli) -> None:
    cli.save("m.onnx", "g (float[N] x) => (float[N] y) <float[3] w = {1,2,3}> { i = Identity(x) y = Add(i, w) }")
    for size in (3, 2):
        write_npz(cli.folder / f"{size}.npz", Feed({"x": np.ones(size, np.float32)}))
    said = cli.refused("run", "m.onnx", "-p", "remove_identity", "--feed", "3.npz", "--feed", "2.npz")
    assert said.startswith("on 2.npz: onnxruntime cannot run")


def test_the_command_line_states_the_feeds(cli: Cli) -> None:
    cli.save("m.onnx", "g (float[N,40] x) => (float[N,40] y) { i = Identity(x) y = Exp(i) }")
    out = cli.ok("run", "m.onnx", "-p", "remove_identity", "--feeds", "1", "--extremes")
    assert "3 feeds: drawn with seed 0, N=2; zeros, N=2; negative, N=2" in out
    assert "note: not judged on large, N=2: the original makes infinities or NaN of it" in out
    report = cli("run", "m.onnx", "-p", "remove_identity", "--json").json()
    assert [feed["dims"] for feed in report["feeds"]] == [{"N": 2}, {"N": 1}]
    assert [heard["ok"] for heard in report["steps"][0]["verdict"]["feeds"]] == [True, True]


def test_a_promise_that_the_closing_run_breaks_names_its_feed(monkeypatch: pytest.MonkeyPatch) -> None:
    graph = model_of("g (float[N,40] x) => (float[N,40] y) { i = Identity(x) y = Relu(i) }", 17)
    catalog = Catalog()
    panel = Panel(graph, plan(graph), catalog.semantics())
    closings = [None, Closing({}, Verdict(False, "equal", "the original", reason="output 'y' differs"), 1)]
    for seat, closing in zip(panel.seats, closings, strict=True):
        monkeypatch.setattr(seat.judge, "close", lambda closing=closing: closing)
    found = panel.close()
    assert found is not None and found.verdict is not None and found.back == 1
    assert found.verdict.feed == "drawn with seed 1, N=1" and "refused on drawn with seed 1" in found.verdict.notes[0]
