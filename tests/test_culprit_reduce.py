"""reduce: what fails still fails, in the same way, in less; the folder stands by itself."""

from __future__ import annotations

import os
import shlex
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from clirun import Cli, child
from test_culprit_planted import CASES, planted, scaled

from graphtool.cases import model_of
from graphtool.culprit import failure
from graphtool.culprit.cut import Cutter, UncutError
from graphtool.culprit.failure import Failure, Job, Looker
from graphtool.graph import Graph
from graphtool.guard.worker import GuardError, Worker
from graphtool.parity.session import Session

DEEP = """g (float[2,6] x) => (float[2,6] y) <int64[2] s={4,4}> {
  [a] a = Relu(x) [b] b = Sigmoid(a) [r] c = Reshape(b, s) [e] d = Neg(c) [f] y = Abs(d) }"""


def reduced(cli: Cli, *words: str | Path) -> dict[str, Any]:
    ended = cli("reduce", *words, "--json")
    assert (ended.code, ended.err) == (0, ""), ended
    return dict(ended.json())


def again(cli: Cli, found: dict[str, Any]) -> int:
    """Run the command of a folder in it; return how it ends."""
    words = shlex.split(found["command"])
    words[:1] = [sys.executable] if words[0] == "python" else words[:1]
    return child(words, cli.folder / found["folder"]).returncode


@pytest.mark.parametrize(("name", "model", "inner", "node", "count"), [CASES[1], CASES[3], CASES[5]])
def test_a_planted_mistake_is_left_alone_with_its_nodes(
    cli: Cli, name: str, model: str, inner: str, node: str, count: int
) -> None:
    found = reduced(cli, "--passes", name, planted(cli, name, model))
    assert found["after"]["nodes"] == len(found["nodes"]) <= 2 and node in found["nodes"]
    assert found["after"]["inputs"] <= 4 and found["after"]["weights"] <= 8
    assert f"{name} broke its promise" in found["failure"] and not found["spent"]


BAKED = """summary = 's'
why = 'w'
parity = 'exact'
[[rewrite]]
match = 'y = Flatten(x)'
let = { s = "[2, 12]" }
replace = 'y = Reshape(x, s)'
"""


def test_what_fails_on_the_second_feed_of_a_run_only_is_found_there(cli: Cli) -> None:
    cli.write("baked.toml", BAKED)
    cli.save("m.onnx", "g (float[N,3,4] x) => (float[N,12] y) { a = Relu(x) b = Flatten(a) y = Neg(b) }")
    assert "refused on 1 of 2 feeds, worst on drawn with seed 1, N=1" in cli("run", "m.onnx", "-p", "baked.toml").out
    found = reduced(cli, "m.onnx", "--passes", "baked.toml")
    assert "broke its promise" in found["failure"] and found["after"]["nodes"] == 1
    assert again(cli, found) == 1


def test_a_model_that_runs_on_other_sizes_alone_is_reduced_on_those(cli: Cli) -> None:
    cli.write("baked.toml", BAKED)
    text = """g (float[N,3,4] x) => (float[N,12] y)
      <float[1,3,4] k = {1,1,1,1,1,1,1,1,1,1,1,1}, int64[1] s = {0}, int64[1] e = {4}, int64[1] t = {2}>
      { a = Concat<axis = 2>(x, k) i = Slice(a, s, e, t) b = Flatten(i) y = Neg(b) }"""
    cli.save("m.onnx", text)
    assert "broke its promise" in cli("run", "m.onnx", "-p", "baked.toml").err
    assert "broke its promise" in reduced(cli, "m.onnx", "--passes", "baked.toml")["failure"]
    cli.save("fine.onnx", text.replace("Flatten", "Identity").replace("float[N,12] y", "float[N,3,4] y"))
    assert "nothing fails" in cli("reduce", "fine.onnx", "--passes", "baked.toml").err


def test_the_folder_stands_by_itself(cli: Cli) -> None:
    """With the pass files of the project, inner ones too; no temporary path and no user's path in it."""
    found = reduced(cli, "--passes", "team", planted(cli, "team", scaled(1, 2)))
    folder = cli.folder / found["folder"]
    names = sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())
    passes = ["passes/scale_on_the_wrong_axis.toml", "passes/team.toml"]
    assert names == ["README.md", "feed.npz", "model.onnx", *passes]
    text = (folder / "README.md").read_text()
    assert found["command"] in text and "onnxruntime" in text and str(cli.folder) not in text and "/tmp" not in text
    assert not list(cli.folder.glob(".*")), "nothing is left beside it"
    assert again(cli, found) == 1


def test_it_is_the_same_twice_and_never_overwrites(cli: Cli) -> None:
    path = planted(cli, "team", scaled(1, 2))
    for folder in ("one", "two"):
        reduced(cli, "--passes", "team", path, "-o", folder)
    for file in ("model.onnx", "feed.npz", "README.md"):
        assert (cli.folder / "one" / file).read_bytes() == (cli.folder / "two" / file).read_bytes()
    assert "'one' exists" in cli.refused("reduce", "--passes", "team", path, "-o", "one")


def test_an_error_of_onnxruntime_is_left_with_a_script(cli: Cli) -> None:
    model_of(DEEP, 17).save(cli.folder / "m.onnx")
    found = reduced(cli, "m.onnx", "--level", "off")
    assert found["nodes"] == ["r"] and "'r' (Reshape)" in found["failure"] and "/tmp" not in found["failure"]
    ended = child([sys.executable, "reproduce.py"], cli.folder / "m.reduced")
    assert ended.returncode == 1 and "cannot be reshaped" in ended.stderr


def test_a_budget_of_one_output(cli: Cli) -> None:
    text = """g (float[1,2,4,4] x) => (float[1,2,8,8] y, float[1,2,4,4] z) <float[4] s = {1,1,2,2}> {
      [n] n = Neg(x) [up] u = Resize<mode="linear">(n, , s) [r] y = Relu(u) [z] z = Sigmoid(x) }"""
    model_of(text, 17).save(cli.folder / "m.onnx")
    found = reduced(cli, "m.onnx", "--passes", "resize_nearest", "--max", "y:max_abs=0.05")
    assert found["nodes"][0] == "up" and again(cli, found) == 1


def test_two_models_that_differ(cli: Cli) -> None:
    text = """g (float[2,6] x) => (float[2,6] y) {
      [a] a = Relu(x) [b] b = Sigmoid(a) [c] c = LeakyRelu<alpha=0.1>(x) [e] d = Sub(b, c) [f] y = Abs(d) }"""
    model_of(text, 17).save(cli.folder / "a.onnx")
    other = (
        text.replace("alpha=0.1", "alpha=0.2")
        .replace("d = Sub(b, c)", "d = Add(b, n)")
        .replace("[e]", "[n] n = Neg(c) [e]")
    )
    model_of(other, 17).save(cli.folder / "b.onnx")
    found = reduced(cli, "a.onnx", "--against", "b.onnx")
    assert found["nodes"] == ["c"]
    assert [node.name for node in onnx.load(cli.folder / "a.reduced/other.onnx").graph.node] == ["c"]


def test_a_command_of_ones_own(cli: Cli) -> None:
    """As with ATC: whatever ends with another code than 0, and prints what is asked for."""
    model_of(DEEP, 17).save(cli.folder / "m.onnx")
    script = "import onnx, sys; print('E19010'); sys.exit('Neg' in str(onnx.load(sys.argv[1])))"
    check = shlex.join([sys.executable, "-c", script, "{}"])
    found = reduced(cli, "m.onnx", "--check", check, "--fail-regex", "E19010")
    assert found["nodes"] == ["e"] and "E19010" in found["failure"]
    ended = cli("reduce", "m.onnx", "--check", check, "--fail-regex", "E19999", "-o", "n")
    assert ended.code == 1 and "nothing fails" in ended.err


def test_a_hang_is_a_failure_and_the_next_model_is_looked_at(tmp_path: Path) -> None:
    text = """g (float[2] x) => (float[2] y) <int64 n = {9223372036854775807}, bool c = {1}> {
      y = Loop <body = b (int64 i, bool k, float[2] v) => (bool k2, float[2] w) { k2 = Identity(k) w = Neg(v) }>
        (n, c, x) }"""
    for name, content in (("hang", text), ("fine", "g (float[2] x) => (float[2] y) { y = Neg(x) }")):
        model_of(content, 17).save(tmp_path / f"{name}.onnx")
    feed = {"x": np.zeros(2, np.float32)}
    with Looker(Job(), 1.0) as looker:
        found = looker.look((tmp_path / "hang.onnx",), feed)
        assert (found.sign, found.text) == ("hang", "it did not end within 1 seconds")
        assert looker.look((tmp_path / "fine.onnx",), feed) == Failure()


def test_a_crash_is_known_by_its_signal() -> None:
    with Worker() as worker, pytest.raises(GuardError) as died:
        worker.call(os.abort)
    found = failure._died(str(died.value), 1)
    assert found.sign == "death (SIGABRT)" and "crashed (SIGABRT)" in found.text


def test_it_stops_when_it_has_tried_enough(cli: Cli) -> None:
    model_of(DEEP, 17).save(cli.folder / "m.onnx")
    found = reduced(cli, "m.onnx", "--attempts", "1")
    assert found["spent"] and found["attempts"] == 1 and found["nodes"] == ["r"], "the node that was named comes first"


def test_a_part_computes_what_it_did_in_the_whole() -> None:
    text = """g (float[2,3] x) => (float[2,3] y) <float k = {2}> {
      [a] a = Relu(x) [b] b = Mul(a, k) [c] c = Sub(b, a) [d] y = Exp(c) }"""
    graph = model_of(text, 17)
    cutter = Cutter(graph)
    feed = {"x": np.arange(6, dtype=np.float32).reshape(2, 3) / 4}
    whole = Session(graph, outputs=["a", "b", "c", "y"]).run(feed)
    for places in ([1], [1, 2], [2, 3], [0, 3], [0, 1, 2, 3]):
        part = cutter.part(places)
        found = Session(cutter.model(part, whole)).run({name: {**whole, **feed}[name] for name in part.reads})
        assert found and all(np.array_equal(found[name], whole[name]) for name in part.makes), places
    assert cutter.part([1]).reads == ("a",) and cutter.above(["b"], range(4), ["a"]).places == (1,)
    with pytest.raises(UncutError, match="makes nothing"):
        cutter.model(cutter.part([]), whole)
    with pytest.raises(UncutError, match="value of a"):
        cutter.model(cutter.part([1]), {})


def test_bodies_are_cut_with_what_they_capture() -> None:
    text = """<ir_version: 8, opset_import: ["": 17]> g (bool c, float[2] x) => (float[2] y) {
      [a] a = Neg(x) [b] b = Exp(a) [i] i = If <
        then_branch = t () => (float[2] u) { u = Relu(b) }, else_branch = e () => (float[2] v) { v = Abs(a) }> (c)
      [d] y = Neg(i) }"""
    cutter = Cutter(Graph.from_proto(onnx.parser.parse_model(text)))
    assert set(cutter.part([2]).reads) == {"c", "a", "b"}


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["m.onnx", "--passes", "optimize", "--against", "m.onnx"], "one failure at a time"),
        (["m.onnx", "--check", "true"], "must have {}"),
        (["m.onnx", "--check", "no-such-program {}"], "no-such-program"),
        (["m.onnx", "--check", "true {}", "--fail-regex", "("], "--fail-regex ("),
        (["m.onnx", "--fail-regex", "x"], "--check"),
        (["m.onnx", "--min", "cosine=0.9"], "a budget is for"),
        (["m.onnx", "--against", "no.onnx"], "no.onnx"),
        (["m.onnx", "-o", "no/where"], "there is no folder 'no'"),
    ],
)
def test_what_does_not_fit_is_one_line(cli: Cli, words: list[str], reason: str) -> None:
    model_of(DEEP, 17).save(cli.folder / "m.onnx")
    assert reason in cli.refused("reduce", *words)


def test_nothing_fails(cli: Cli) -> None:
    cli.save("m.onnx", "g (float[2] x) => (float[2] y) { y = Relu(x) }")
    before = cli.listing()
    ended = cli("reduce", "m.onnx", "--passes", "optimize")
    assert ended.code == 1 and "nothing fails" in ended.err and cli.listing() == before
