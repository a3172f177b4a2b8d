"""bisect, bisect --rank and tune on a command line: what they print, what they refuse, that they write nothing else."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import pytest
from clirun import LIE, Cli

from graphtool.cases import model_of
from graphtool.culprit import tune as tuning

# three class maps that are resized, two times linear: one from an input that is flat, so that nothing changes there
MAPS = """g (float[1,4,6,6] x, float[1,4,1,1] f) => (float[1,4,12,12] y)
<float[4] s = {1,1,2,2}, float[4] t = {1,1,12,12}, float[4] q = {1,1,4,4}, float tenth = {0.2}> {
  [big] a = Resize<mode="linear">(x, , s)
  [flat] b = Resize<mode="linear">(f, , t)
  [h] h = AveragePool<kernel_shape=[2,2], strides=[2,2]>(x)
  [small] c = Resize<mode="linear", coordinate_transformation_mode="align_corners">(h, , q)
  [scaled] d = Mul(c, tenth) [ab] e = Add(a, b) [all] y = Add(e, d) }"""


@pytest.fixture
def maps(cli: Cli) -> Path:
    model_of(MAPS, 17).save(cli.folder / "m.onnx")
    return Path("m.onnx")


def places(units: list[dict[str, Any]]) -> list[str]:
    return [unit["where"] for unit in units]


def test_rank_says_what_each_match_costs(cli: Cli, maps: Path) -> None:
    out = cli.ok("bisect", "--rank", "--passes", "resize_nearest", maps)
    rows = [row.split() for row in out.splitlines() if "alone costs" in row]
    assert [row[2] for row in rows] == ["big", "small", "flat"]
    assert "resize_nearest at flat   alone costs nothing" in out and "points of argmax_agreement" in out
    found = cli("bisect", "--rank", "--passes", "resize_nearest", maps, "--max", "mean_abs=9", "--json").json()
    assert found["metric"] == "mean_abs" and found["runs"] == 1 + 2 * 3


def test_labels_are_ranked_by_how_many_agree(cli: Cli) -> None:
    text = MAPS.replace("float[1,4,12,12] y)", "int64[1,12,12] l)").replace("(e, d) }", "(e, d) ")
    model_of(text + "[argmax] l = ArgMax<axis = 1, keepdims = 0>(y) }", 17).save(cli.folder / "l.onnx")
    out = cli.ok("bisect", "--rank", "--passes", "resize_nearest", "l.onnx")
    assert "all 3 matches: agreement 0." in out and "resize_nearest at flat   alone costs nothing" in out


def test_decibels_are_no_shares(cli: Cli, maps: Path) -> None:
    out = cli.ok("bisect", "--rank", "--passes", "resize_nearest", maps, "--min", "snr=5")
    rows = [row.split("  alone costs ")[1] for row in out.splitlines() if "alone costs" in row]
    assert all(row.startswith("all but snr ") for row in rows[:2]) and rows[2].startswith("nothing;")
    assert float(rows[0].split()[3]) < float(rows[1].split()[3])
    out = cli.ok("tune", "--passes", "resize_nearest", maps, "--min", "snr=20")
    assert "2 of 3 matches: snr" in out


def test_a_budget_of_one_pass(cli: Cli, maps: Path) -> None:
    words = ["--passes", "resize_nearest", "--max", "resize_nearest/max_abs=0.01", maps]
    found = cli("bisect", *words).out
    assert "culprit: resize_nearest at big" in found and "--max resize_nearest/max_abs=0.01" in found
    assert "is for run and bisect" in cli.refused("tune", *words)


def test_tune_takes_what_the_budget_bears(cli: Cli, maps: Path) -> None:
    words = ["--passes", "resize_nearest", "--min", "argmax_agreement=0.9", maps]
    found = cli("tune", *words, "--json").json()
    assert places(found["taken"]) == ["flat", "small"] and places(found["order"]) == ["flat", "small", "big"]
    assert found["pipeline"] == "resize_nearest:skip=big" and [item["ok"] for item in found["held_out"]] == [True, True]
    again = cli("run", "--min", "argmax_agreement=0.9", "--passes", found["pipeline"], maps, "--json").json()
    agreed = [min(heard["figures"]["y"]["argmax_agreement"] for heard in again["steps"][0]["verdict"]["feeds"])]
    assert again["ok"] and agreed == [found["result"]["figures"]["y"]["argmax_agreement"]]
    assert cli("tune", *words, "--json").json() == found, "the same twice"
    assert cli("run", "--no-check", *shlex.split(found["command"])[2:5]).code == 0


def test_tune_writes_a_profile_that_runs(cli: Cli, maps: Path) -> None:
    budget = ["--min", "argmax_agreement=0.9"]
    out = cli.ok("tune", "--passes", "resize_nearest", *budget, maps, "-o", "t.toml")
    assert "wrote t.toml: graphtool run --profile t.toml m.onnx" in out
    text = (cli.folder / "t.toml").read_text()
    assert 'min = ["argmax_agreement=0.9"]' in text and "resize_nearest:skip=big" in text
    assert "2 -> 2" not in cli.ok("run", "--profile", "t.toml", maps)
    cli.ok("tune", "--passes", "resize_nearest", *budget, maps, "-o", "t.toml", "--held-out", "9")
    assert "seed 9" in (cli.folder / "t.toml").read_text(), "its own file may be written anew"


def test_a_match_that_fails_on_a_held_out_feed_is_given_back(cli: Cli, maps: Path) -> None:
    words = ["tune", "--passes", "resize_nearest", maps, "--json", "--feeds", "1"]
    free = cli(*words, "--max", "max_abs=100", "--held-out", "1").json()
    bounds = [free["result"]["figures"]["y"]["max_abs"], free["held_out"][0]["figures"]["y"]["max_abs"]]
    assert len(free["taken"]) == 3 and bounds[0] != bounds[1]
    seeds = ("0", "1") if bounds[0] < bounds[1] else ("1", "0")
    bound = f"max_abs={min(bounds) + 1e-6!r}"
    found = cli(*words, "--max", bound, "--seed", seeds[0], "--held-out", seeds[1]).json()
    assert [item["unit"]["where"] for item in found["given_back"]] == ["big"]
    assert places(found["taken"]) == ["flat", "small"] and found["held_out"][0]["ok"]


def test_greedy_goes_on_until_nothing_can_be_added() -> None:
    """c is refused alone and taken once b is there: damages cancel."""
    taken = tuning._greedy("abc", lambda chosen: "c" not in chosen or "b" in chosen or len(chosen) > 2)
    assert taken == ["a", "b", "c"]
    assert tuning._greedy("cab", lambda chosen: "c" not in chosen or "b" in chosen) == ["a", "b", "c"]


def test_a_plot_needs_matplotlib_or_is_drawn(cli: Cli, maps: Path) -> None:
    pytest.importorskip("matplotlib", reason="pictures are an extra")
    cli.ok("tune", "--passes", "resize_nearest", "--min", "argmax_agreement=0.9", maps, "--plot", "t.svg")
    assert b"matches taken" in (cli.folder / "t.svg").read_bytes()


def test_nothing_broken_is_said(cli: Cli, maps: Path) -> None:
    assert "every promise holds" in cli.ok("bisect", "--passes", "resize_nearest", maps)
    out = cli.ok("bisect", "--passes", "resize_nearest", "--min", "cosine=0.1", maps)
    assert "every promise and budget holds" in out


RELU = "g (float[40] x) => (float[40] y) { [n] h = Neg(x) [r] i = Relu(h) [a] y = Abs(i) }"


def test_a_native_pass_is_a_culprit_as_a_whole(cli: Cli) -> None:
    cli.save("m.onnx", RELU)
    words = ["--passes", "remove_identity,remove_node:node=r", "--max", "max_abs=0.01", "m.onnx"]
    ended = cli("bisect", *words)
    assert ended.code == 1 and "culprit: remove_node (a native pass: it applies as a whole)" in ended.out
    assert "graphtool run --passes remove_identity m.onnx" in ended.out
    ended = cli("tune", *words)
    assert ended.code == 0 and "0 of 1 matches" in ended.out and "pipeline: remove_identity" in ended.out


def test_the_same_feed_is_judged_in_the_commands(cli: Cli, maps: Path) -> None:
    cli.write("lie.toml", LIE.replace("Relu", "Neg"))
    cli.save("n.onnx", "g (float[3] x) => (float[3] y) { [a] h = Abs(x) [b] y = Neg(h) }")
    ended = cli("bisect", "--passes", "./lie.toml", "n.onnx", "--seed", "3")
    assert ended.code == 1 and "run --passes ./lie.toml n.onnx --seed 3" in ended.out.replace("'", "")


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["bisect", "--rank", "--passes", "optimize", "m.onnx"], "no pass of the pipeline is lossy"),
        (["bisect", "--rank", "--passes", "resize_nearest:smallest=99", "m.onnx"], "resize_nearest matched nothing"),
        (["bisect", "m.onnx"], "no pass is named"),
        (["bisect", "--passes", "resize_nearest:skip=bgi", "m.onnx"], "did you mean 'big'"),
        (["tune", "--passes", "resize_nearest", "m.onnx"], "tune needs a budget"),
        (["tune", "--passes", "resize_nearest", "--min", "cosine=0.9", "m.onnx", "-o", "x.txt"], "name a .toml file"),
        (["tune", "--passes", "resize_nearest", "--min", "cosine=0.9", "m.onnx", "--held-out", "no.npz"], "no.npz"),
        (["tune", "--passes", "resize_nearest", "--min", "cosine=0.9", "m.onnx", "-o", "o.toml"], "did not write it"),
        (["tune", "--passes", "resize_nearest", "--min", "y:miou=0.9", "--seed", "1", "q.onnx"], "q.onnx"),
    ],
)
def test_what_does_not_fit_is_one_line(cli: Cli, maps: Path, words: list[str], reason: str) -> None:
    cli.write("o.toml", "[passes]\n")
    assert reason in cli.refused(*words)
