"""A model against the model of the Ascend 310: the plugins' semantics, float16, and what the command says of both."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from clirun import Cli

from graphtool.atc.ascend_model import RULES, chip_model, compare_ascend, unmodelled, with_semantics
from graphtool.cases import model_of
from graphtool.comparator.half import half_model, rounded
from graphtool.graph import Graph
from graphtool.parity.feed import draw
from graphtool.parity.session import Session


def model(text: str, opset: int = 13) -> Graph:
    return model_of(text, opset)


def resize(attributes: str, more: str = "") -> str:
    return f"""g (float[1,2,5,7] x) => (float[1,2,8,11] y) <float[4] s = {{1, 1, 1.6, 1.6}}> {{
      [up] y = Resize<{attributes}>(x, , s) {more}
    }}"""


# as the model has it, as the plugin computes it, which rules say so
RESIZES: list[tuple[str, str, list[str]]] = [
    ('mode = "linear"', 'mode = "linear", coordinate_transformation_mode = "asymmetric"', ["RSZ2"]),
    (
        'mode = "nearest"',
        'mode = "nearest", coordinate_transformation_mode = "asymmetric", nearest_mode = "floor"',
        ["RSZ2", "RSZ3"],
    ),
    (
        'mode = "nearest", coordinate_transformation_mode = "asymmetric", nearest_mode = "ceil"',
        'mode = "nearest", coordinate_transformation_mode = "asymmetric", nearest_mode = "floor"',
        ["RSZ3"],
    ),
    (
        'mode = "nearest", coordinate_transformation_mode = "align_corners", nearest_mode = "floor"',
        'mode = "nearest", coordinate_transformation_mode = "align_corners", nearest_mode = "round_prefer_ceil"',
        ["RSZ3"],
    ),
    ('mode = "linear", coordinate_transformation_mode = "align_corners"', "", []),
    ('mode = "linear", coordinate_transformation_mode = "pytorch_half_pixel"', "", []),
    ('mode = "nearest", coordinate_transformation_mode = "asymmetric", nearest_mode = "floor"', "", []),
]


@pytest.mark.parametrize(("written", "computed", "rules"), RESIZES)
def test_resize_as_the_plugin_computes_it(written: str, computed: str, rules: list[str]) -> None:
    graph = model(resize(written))
    other, changes = with_semantics(graph)
    assert [change.rule.id for change in changes] == rules and {change.node for change in changes} <= {"up"}
    feed = draw(graph).arrays
    wanted = Session(model(resize(computed or written))).run(feed)["y"]
    assert np.array_equal(Session(other).run(feed)["y"], wanted)
    assert np.array_equal(Session(graph).run(feed)["y"], wanted) == (not rules), "the graph itself is left alone"


def pool(attributes: str, sizes: str) -> str:
    return f"g (float[1,1,40,40] x) => (float[1,1,{sizes}] y) {{ [p] y = AveragePool<{attributes}>(x) }}"


def test_padding_counts_in_a_pool_that_is_too_large() -> None:
    graph = model(pool("kernel_shape = [16, 17], strides = [8, 8], pads = [8, 8, 8, 8]", "6,5"))
    other, changes = with_semantics(graph)
    assert [(change.rule.id, change.onnx) for change in changes] == [("AVG2", "count_include_pad=0")]
    x = np.ones((1, 1, 40, 40), np.float32)
    assert np.all(Session(graph).run({"x": x})["y"] == 1)
    corner = Session(other).run({"x": x})["y"][0, 0, 0, 0]
    assert corner == pytest.approx(8 * 9 / (16 * 17)), "64 of the window are data, the rest zeros that count"


@pytest.mark.parametrize(
    "attributes",
    ["kernel_shape = [15, 17], strides = [8, 8], pads = [7, 8, 7, 8]", "kernel_shape = [16, 17], strides = [8, 8]"],
    ids=["255 is legal", "nothing is padded"],
)
def test_pools_that_are_computed_as_onnx_says(attributes: str) -> None:
    graph = model(pool(attributes, "5,5" if "pads" in attributes else "4,3"))
    assert with_semantics(graph)[1] == []


def test_ceil_mode_is_dropped_and_sizes_are_others() -> None:
    graph = model(pool("kernel_shape = [16, 17], strides = [15, 15], ceil_mode = 1", "3,3"))
    found = compare_ascend(graph, draw(graph).arrays)
    assert found.shapes == {"y": ((1, 1, 3, 3), (1, 1, 2, 2))} and found.both == {} and not found.fault
    assert found.changes[0].ascend == "sizes are rounded down"


def test_a_graph_that_does_not_run_with_the_plugins_semantics() -> None:
    text = """g (float[1,1,40,40] x, float[1,1,3,3] u) => (float[1,1,3,3] y) {
      [p] a = AveragePool<kernel_shape = [16, 17], strides = [15, 15], ceil_mode = 1>(x)
      [plus] y = Add(a, u)
    }"""
    graph = model(text)
    found = compare_ascend(graph, draw(graph).arrays)
    assert "'plus' (Add)" in found.fault and found.semantics == {} and found.half["y"].changed > 0


def test_every_rule_has_a_source_and_a_date() -> None:
    assert all(rule.source and len(rule.date) == 10 for rule in RULES.values())


# -- float16


def test_the_difference_is_split() -> None:
    graph = model(resize('mode = "linear"'))
    found = compare_ascend(graph, draw(graph).arrays)
    assert found.semantics["y"].max_abs > 0.1 and 0 < found.half["y"].max_abs < 0.01
    assert found.both["y"].max_abs == pytest.approx(found.semantics["y"].max_abs, abs=0.01)


def test_a_linear_resize_makes_float32_and_its_readers_round() -> None:
    text = """g (float[1,1,3,3] x) => (float[1,1,6,6] y, float[1,1,6,6] z) <float[4] s = {1, 1, 2, 2}> {
      y = Resize<mode = "linear", coordinate_transformation_mode = "align_corners">(x, , s)
      z = Neg(y)
    }"""
    graph = model(text)
    feed = {"x": rounded(np.random.default_rng(0).normal(size=(1, 1, 3, 3)).astype(np.float32))}
    ran = Session(chip_model(graph).graph).run(feed)
    assert np.array_equal(ran["y"], Session(graph).run(feed)["y"])
    assert np.array_equal(ran["z"], -rounded(ran["y"])) and not np.array_equal(ran["z"], -ran["y"])


def test_the_first_overflow_is_named_with_its_node() -> None:
    text = """g (float[4] x) => (float[4] y) <float big = {1000.0}> {
      [first] a = Mul(x, big)
      [second] b = Mul(a, big)
      [third] y = Sub(b, big)
    }"""
    found = compare_ascend(model(text), {"x": np.array([1, -3, 60, 2], np.float32)})
    assert [(over.node, over.tensor, over.value) for over in found.overflows] == [
        ("second", "b", 6e7),
        ("third", "y", -66504.0),
    ]
    assert compare_ascend(model(text), {"x": np.full(4, 0.05, np.float32)}).overflows == ()


def test_the_model_of_float16_rounds_weights_results_and_inputs() -> None:
    graph = model("g (float[2,3] x) => (float[2,4] y) <float[3,4] w> { y = MatMul(x, w) }")
    x = np.random.default_rng(1).normal(size=(2, 3)).astype(np.float32)
    w = np.array(graph.constant("w"))
    found = Session(half_model(graph).graph).run({"x": x})["y"]
    assert np.array_equal(found, rounded((rounded(x) @ rounded(w)).astype(np.float32)))
    assert not np.array_equal(found, x @ w)


def test_sums_are_kept_in_float32() -> None:
    graph = model("g (float[1,4096] x) => (float[1,1] y) { y = ReduceSum<keepdims = 1>(x) }")
    found = Session(half_model(graph).graph).run({"x": np.ones((1, 4096), np.float32)})["y"]
    assert found.item() == 4096, "a float16 sum would end at 2048"


def test_a_number_beyond_float16_becomes_its_largest() -> None:
    graph = model(
        "g (float[2] x) => (float[2] y) <float[2] w = {1e9, 1e-9}> { a = Mul(x, x) b = Neg(a) y = Add(b, w) }"
    )
    made = half_model(graph)
    found = Session(made.graph).run({"x": np.array([300, 1], np.float32)})["y"]
    assert found.tolist() == [0.0, -1.0]
    assert [(weight.name, weight.over, weight.lost) for weight in made.weights] == [("w", 1, 1)]


def test_what_only_moves_numbers_is_left_alone() -> None:
    graph = model("g (float[2,3] x) => (float[3,2] y) { a = Relu(x) b = Transpose<perm = [1, 0]>(a) y = Neg(b) }")
    made = half_model(graph)
    assert sum(node.op_type == "Cast" for node in made.graph.nodes) == 2, "one pair, behind the input"
    whole = model("g (int64[2] x) => (int64[2] y) { y = Add(x, x) }")
    assert [node.op_type for node in half_model(whole).graph.nodes] == ["Add"]


@pytest.mark.parametrize("opset", [13, 18])
def test_sizes_and_scales_are_not_rounded(opset: int) -> None:
    graph = model(resize('mode = "nearest"').replace("1.6, 1.6", "1.60003, 1.6"), opset)
    assert Session(half_model(graph).graph).run(draw(graph).arrays)["y"].shape == (1, 2, 8, 11)


def test_what_the_model_leaves_out_is_said() -> None:
    text = "g (float[2,3] x, float[2,3] u) => (float[2,3] y) { [m] y = Mod<fmod = 1>(x, u) }"
    assert unmodelled(model(text)) == ["m: fmod is ignored with a warning; computed as ONNX says (tables of 2022-06)"]
    cubic = unmodelled(model(resize('mode = "cubic"')))
    assert len(cubic) == 1 and cubic[0].startswith("up: the plugin refuses mode cubic")


# -- the command


@pytest.fixture
def net(cli: Cli) -> Cli:
    model(resize('mode = "linear"')).save(cli.folder / "m.onnx")
    return cli


def test_the_command(net: Cli) -> None:
    out = net.ok("compare", "m.onnx", "--as-ascend").splitlines()
    assert out[0].startswith(
        "a model of the Ascend 310 from public sources as of 2022-06, run in onnxruntime; nothing was"
    )
    assert out[1] == ("semantics: up: half_pixel -> asymmetric (RSZ2, operator library, resize_plugin.cc, 2022-03-26)")
    assert [text.split(":")[0] for text in out[3:]] == ["y", "  by semantics", "  by float16"]
    data: Any = net("compare", "m.onnx", "--as-ascend", "--json").json()
    assert data["changes"][0]["id"] == "RSZ2" and data["outputs"]["y"]["semantics"]["max_abs"] > 0.1
    ended = net("compare", "m.onnx", "--as-ascend", "--max", "max_abs=0.01")
    assert ended.code == 1 and ended.err.startswith("graphtool: over the budget: output 'y': max_abs ")


def test_overflow_in_words(cli: Cli) -> None:
    model("g (float[2] x) => (float[2] y) <float[2] w = {1e9, 2}> { [m] y = Mul(x, w) }").save(cli.folder / "m.onnx")
    np.save(cli.folder / "x.npy", np.array([3, 4e4], np.float32))
    out = cli.ok("compare", "m.onnx", "--as-ascend", "--feed", "x.npy")
    assert (
        "first overflow: node 'm', tensor 'y': 196512 is beyond float16's largest number 65504 and becomes that\n"
        in out
    )
    assert "weight 'w' of node 'm': 1 numbers beyond 65504\n" in out


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["m.onnx"], "compare a model with what: another model, a board's folder with --inputs DIR, or --as-ascend"),
        (["m.onnx", "m.onnx", "--as-ascend"], "a second model: --as-ascend takes one model and a feed"),
        (["m.onnx", "--as-ascend", "--map", "y=y"], "--map: --as-ascend takes one model and a feed"),
        (["m.onnx", "--as-ascend", "--max", "z:max_abs=1"], "no output named 'z'"),
    ],
)
def test_bad_words(net: Cli, words: list[str], says: str) -> None:
    assert says in net.refused("compare", *words)


def test_a_boards_files_are_explained_by_the_plugins_semantics(net: Cli) -> None:
    """What the chip makes of half_pixel differs from ONNX, and not from the model of the chip."""
    graph = model(resize('mode = "linear"'))
    chip = Session(half_model(with_semantics(graph)[0]).graph)
    for folder in ("in", "out"):
        (net.folder / folder).mkdir()
    for k in range(2):
        x = np.random.default_rng(k).normal(size=(1, 2, 5, 7)).astype(np.float32)
        x.tofile(net.folder / f"in/s{k}.bin")
        chip.run({"x": x})["y"].astype(np.float16).tofile(net.folder / f"out/s{k}_1.bin")
    words = ["compare", "m.onnx", "out", "--inputs", "in", "--as-ascend"]
    ended = net(*words)
    assert ended.code == 1 and ended.err == "graphtool: the conversion is at fault\n"
    assert ended.out.splitlines()[-1] == (
        "held against that: neither is at fault: files agree with the model of the chip as closely as float16 allows"
    )
    data: Any = net(*words, "--json").json()
    assert (data["at_fault"], data["as_ascend"]["at_fault"]) == ("conversion", "neither")
    assert data["as_ascend"]["changes"][0]["node"] == "up"


def test_layer_by_layer(cli: Cli) -> None:
    text = """g (float[2,8] x) => (float[2,8] y) <float[8,8] w> {
      [pick] a = Relu(x)
      [mix] b = MatMul(a, w)
      [end] y = Tanh(b)
    }"""
    model(text).save(cli.folder / "m.onnx")
    data: Any = cli("compare", "m.onnx", "--as-ascend", "--layers", "--json").json()
    assert [(row["tensor"], row["node"], row["op"]) for row in data["layers"]] == [
        ("a", "pick", "Relu"), ("b", "mix", "MatMul"), ("y", "end", "Tanh"),
    ]  # fmt: skip
    assert all(0 < row["figures"]["max_abs"] < 0.02 for row in data["layers"])
    assert cli.ok("compare", "m.onnx", "--as-ascend", "--layers").splitlines()[-3].split()[:3] == ["a", "pick", "Relu"]
