"""Wrong rewrites, planted: bisect finds each and names pass, match and node."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import pytest
from clirun import Cli

from graphtool.cases import model_of

PLANTED = Path(__file__).parent / "planted"


def leaky() -> str:
    nodes = " ".join(f"[n{k}] v{k + 1} = LeakyRelu<alpha={0.5 if k == 6 else 0.9}>(v{k})" for k in range(10))
    return f"g (float[2,8] v0) => (float[2,8] v10) {{ {nodes} }}"


SWAPPED = """g (float[2,4] x, float[2,4] z) => (float[2,4] y) {
  [i] a = Identity(x) [r] b = Relu(a) [minus] c = Sub(b, z) [s] d = Sigmoid(c) [p] y = Identity(d) }"""
PADDED = """g (float[1,2,9,9] x) => (float[1,2,9,9] y) <float[2,2,3,3] v, float[2,2,5,5] w> {
  [c1] a = Conv<pads=[1,1,1,1]>(x, v) [c2] b = Conv<pads=[2,2,2,2]>(a, w) [c3] y = Conv<pads=[1,1,1,1]>(b, v) }"""
FLAT = """g (float[N,2,3] x) => (float[N,6] y, float[M,K] z) <float[1,4] o> {
  [f] f = Flatten(x) [r] y = Relu(f) [one] z = Flatten(o) }"""
HOT = """g (float[9,4] x) => (float[4,9] y) <float big = {1e6}, float small = {1e-6}> {
  [t0] a = Transpose(x) [r] b = Relu(a) [t1] c = Transpose(b) [up] d = Mul(c, big) [t2] e = Transpose(d)
  [down] f = Mul(e, small) [t3] h = Transpose(f) [s] i = Neg(h) [t4] u = Transpose(i) [t5] y = Transpose(u) }"""


def scaled(bad: int = 7, count: int = 10) -> str:
    """Return convolutions, each followed by a scale: one number, but for one that is a number a channel."""
    sizes = {k: "float[3,1,1]" if k == bad else "float" for k in range(count)}
    weights = ", ".join(f"float[3,3,1,1] w{k}, {size} s{k}" for k, size in sizes.items())
    nodes = " ".join(f"[c{k}] c{k} = Conv(v{k}, w{k}) [m{k}] v{k + 1} = Mul(c{k}, s{k})" for k in range(count))
    return f"g (float[1,3,4,4] v0) => (float[1,3,4,4] v{count}) <{weights}> {{ {nodes} }}"


CASES = [
    ("wrong_attribute", leaky(), "wrong_attribute", "n6", 10),
    ("swapped_inputs", SWAPPED, "swapped_inputs", "minus", 1),
    ("pad_off_by_one", PADDED, "pad_off_by_one", "c2", 3),
    ("lost_batch", FLAT, "lost_batch", "f", 2),
    ("float16_overflow", HOT, "float16_overflow", "t2", 6),
    ("scale_on_the_wrong_axis", scaled(), "scale_on_the_wrong_axis", "m7", 10),
    ("team", scaled(), "scale_on_the_wrong_axis", "m7", 10),
]


def planted(cli: Cli, name: str, model: str) -> Path:
    """Write a model with random weights; return its path."""
    model_of(model, 17).save(cli.folder / "m.onnx")
    (cli.folder / "passes").mkdir()
    for file in PLANTED.glob("*.toml"):
        cli.write(f"passes/{file.name}", file.read_bytes())
    return Path("m.onnx")


def bisected(cli: Cli, *words: str | Path) -> dict[str, Any]:
    ended = cli("bisect", *words, "--json")
    assert ended.err == "" and ended.code == 1, ended
    return dict(ended.json())


@pytest.mark.parametrize(("name", "model", "inner", "node", "count"), CASES)
def test_a_planted_mistake_is_found_and_named(
    cli: Cli, name: str, model: str, inner: str, node: str, count: int
) -> None:
    path = planted(cli, name, model)
    budget = ["--min", "cosine=0.99"] if name == "float16_overflow" else []
    found = bisected(cli, "--passes", f"remove_dropout,{name},merge_equal_nodes", path, *budget)
    assert found["broken"] == name and found["complete"] and found["searched"] == count
    (culprit,) = found["culprits"]
    assert [(unit["pass"], unit["where"]) for unit in culprit["units"]] == [(inner, node)]
    assert not culprit["alone"]["ok"] and culprit["without"]["ok"]
    assert found["runs"] <= 1 + 4 + 1 + 1 + 1, "a logarithm of ten, the match alone, all but it"
    assert_reproduces(cli, culprit)


def assert_reproduces(cli: Cli, culprit: dict[str, Any]) -> None:
    """Both commands do what they are said to: one breaks, the other holds."""
    assert cli(*shlex.split(culprit["reproduce"])[1:]).code == 1
    assert cli(*shlex.split(culprit["leave_out"])[1:]).code == 0


def test_two_mistakes_are_both_found(cli: Cli) -> None:
    model = scaled(3).replace("float s8", "float[3,1,1] s8")
    found = bisected(cli, "--passes", "team", planted(cli, "team", model))
    assert [[unit["where"] for unit in culprit["units"]] for culprit in found["culprits"]] == [["m3"], ["m8"]]
    assert found["complete"] and "skip=" in found["culprits"][0]["leave_out"]
    assert_reproduces(cli, found["culprits"][0])


def test_the_text_names_them_and_nothing_is_written(cli: Cli) -> None:
    path = planted(cli, "team", scaled())
    before = cli.listing()
    ended = cli("bisect", "--passes", "team", path)
    assert ended.code == 1 and cli.listing() == before
    assert "culprit: scale_on_the_wrong_axis of team at m7" in ended.out
    assert "show it: graphtool run --passes team:only=scale_on_the_wrong_axis@m7 m.onnx" in ended.out
    assert "go on without: graphtool run --passes team:skip=scale_on_the_wrong_axis@m7 m.onnx" in ended.out
