"""The Python door: graphtool.load, run, diff, compare; what they return, raise and leave alone."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from clirun import LIE, Cli, child
from conftest import graph_of

import graphtool
from graphtool import GraphtoolError
from graphtool.errors import FeedError, ModelError, PassError, PromiseError, UsageError
from graphtool.parity.budget import parse_budget

X = np.linspace(-1, 1, 3 * 8 * 16, dtype=np.float32).reshape(1, 3, 8, 16)


@pytest.fixture
def net(cli: Cli) -> graphtool.Graph:
    cli.save("net.onnx")
    cli.write("lie.toml", LIE)
    return graphtool.load("net.onnx")


def test_the_readme_of_the_door(net: graphtool.Graph, tmp_path: Path) -> None:
    run = graphtool.run(net, "resize_nearest,prune_outputs:keep=up")
    assert [(step.name, step.status, len(step.matches)) for step in run.steps] == [
        ("resize_nearest", "applied", 1),
        ("prune_outputs", "applied", 1),
    ]
    assert run.ok and run.steps[0].verdict is not None and run.steps[0].verdict.figures["y"].changed
    path = tmp_path / "result.onnx"
    run.graph.save(path)
    onnx.checker.check_model(path, full_check=True)
    changes = graphtool.diff(net, graphtool.load(path))
    assert not changes.same and changes.lines()[0] == "1 node changed, 1 output removed"
    assert graphtool.diff(net, net.copy()).same
    figures = graphtool.compare(net, run.graph)
    assert set(figures) == {"y"} and figures["y"].max_abs == run.steps[0].verdict.figures["y"].max_abs


def test_a_path_and_a_proto_are_models_too(net: graphtool.Graph) -> None:
    proto = onnx.load("net.onnx")
    before = proto.SerializeToString()
    for model in ("net.onnx", Path("net.onnx"), proto):
        run = graphtool.run(model, ["resize_nearest", "prune_outputs:keep=up"])
        assert [step.status for step in run.steps] == ["applied", "applied"]
        assert graphtool.diff(model, net).same and graphtool.compare(model, run.graph).keys() == {"y"}
    assert proto.SerializeToString() == before
    with pytest.raises(ModelError, match=r"no file 'gone\.onnx'"):
        graphtool.run("gone.onnx", "optimize")
    with pytest.raises(TypeError, match=r"a model is a graphtool.Graph, an onnx.ModelProto or a path, not int"):
        graphtool.run(7, "optimize")  # type: ignore[arg-type]  # what somebody without types may pass


def test_the_given_graph_is_left_untouched(net: graphtool.Graph) -> None:
    before, file = net.full_proto().SerializeToString(), Path("net.onnx").read_bytes()
    nodes = [id(node) for node in net.nodes]
    for passes in ("resize_linear_to_matmul,prune_outputs,output_fp16", "rename:from=up+y:to=a+b", "onnxsim"):
        graphtool.run(net, passes)
        graphtool.run(net, passes, checked=False)
    with pytest.raises(GraphtoolError):
        graphtool.run(net, "resize_nearest,prune_outputs:keep=nobody")
    graphtool.compare(net, net)
    assert net.full_proto().SerializeToString() == before
    assert len(nodes) == len(net.nodes) and Path("net.onnx").read_bytes() == file


def test_an_unsorted_graph_is_sorted_in_the_result_only() -> None:
    graph = graph_of("g (float[2] x) => (float[2] y) { y = Neg(a) a = Relu(x) }")
    run = graphtool.run(graph, "remove_identity")
    assert [node.op_type for node in run.graph.nodes] == ["Relu", "Neg"]
    assert [node.op_type for node in graph.nodes] == ["Neg", "Relu"]
    assert run.notes == ["the nodes were not in topological order; they are now"]


def test_parameters_are_values(net: graphtool.Graph) -> None:
    run = graphtool.run(
        net,
        "resize_nearest,prune_outputs",
        params={"resize_nearest": {"smallest": 99}, "prune_outputs": {"keep": ["z"]}},
    )
    assert [step.status for step in run.steps] == ["unmatched", "applied"]
    assert [value.name for value in run.graph.outputs] == ["z"]


def test_feeds_seeds_and_shapes(net: graphtool.Graph) -> None:
    def worst(**options: object) -> float:
        return graphtool.run(net, "resize_nearest", **options).figures["y"].max_abs  # type: ignore[arg-type]

    assert worst() == worst(seed=0) != worst(seed=1)
    assert worst(feed={"x": X}) == worst(feed={"x": X}) != worst()
    open_ended = graph_of("g (float[N,M] x) => (float[N,M] y) { i = Identity(x) y = Relu(i) }")
    run = graphtool.run(open_ended, "remove_identity", shapes={"x": (4, 5)})
    assert run.feed is not None and run.feed.arrays["x"].shape == (4, 5)
    assert graphtool.run(open_ended, "remove_identity", checked=False).feed is None


@pytest.mark.parametrize(
    ("feed", "says"),
    [
        ({}, "the feed has nothing for input 'x', float32[1,3,8,16]"),
        ({"X": X}, "the feed has nothing for input 'x'"),
        ({"x": X, "q": X}, "the model has no input 'q'"),
        ({"x": X.astype(np.float64)}, "input 'x' is float32[1,3,8,16], not float64[1, 3, 8, 16]"),
        ({"x": X[:, :2]}, "input 'x' is float32[1,3,8,16], not float32[1, 2, 8, 16]"),
        ({"x": X[0]}, "input 'x' is float32[1,3,8,16], not float32[3, 8, 16]"),
        ({"x": "text"}, "input 'x' is float32[1,3,8,16], not str"),
        ({"x": [[1, 2], [3]]}, "what the feed has for input 'x' is no array"),
    ],
    ids=["nothing", "wrong name", "one too many", "wrong type", "wrong shape", "wrong rank", "text", "ragged"],
)
def test_a_feed_that_does_not_fit(net: graphtool.Graph, feed: dict[str, np.ndarray], says: str) -> None:
    with pytest.raises(FeedError) as caught:
        graphtool.run(net, "resize_nearest", feed=feed)
    assert says in str(caught.value)
    with pytest.raises(FeedError):
        graphtool.compare(net, net, feed=feed)


def test_a_broken_promise_raises_or_is_rolled_back(net: graphtool.Graph) -> None:
    graph = graph_of("g (float[4] x) => (float[4] y) { i = Identity(x) y = Relu(i) }")
    with pytest.raises(PromiseError, match="lie broke its promise 'exact': output 'y': "):
        graphtool.run(graph, "./lie.toml,remove_identity")
    run = graphtool.run(graph, "./lie.toml,remove_identity", keep_going=True)
    assert not run.ok and [step.status for step in run.steps] == ["broken", "applied"]
    assert [node.op_type for node in run.graph.nodes] == ["Relu"]
    assert not list(Path().glob("*.repro")), "Python gets an exception, not a folder"


def test_budgets(net: graphtool.Graph) -> None:
    loose, tight = parse_budget("max_abs=1e9", "max"), parse_budget("max_abs=0", "max")
    graphtool.run(net, "resize_nearest", budgets=[loose])
    with pytest.raises(PromiseError, match=r"output 'y': max_abs .* is above the budget 0"):
        graphtool.run(net, "resize_nearest", budgets=[tight])
    with pytest.raises(PromiseError, match="the pipeline is over its budget: output 'y': max_abs "):
        graphtool.run(net, "resize_linear_to_matmul", budgets=[tight])
    with pytest.raises(UsageError, match="no output named 'v'"):
        graphtool.run(net, "resize_nearest", budgets=[parse_budget("v:max_abs=1", "max")])
    with pytest.raises(UsageError, match="a budget cannot be held with checked=False"):
        graphtool.run(net, "resize_nearest", budgets=[loose], checked=False)


def test_an_operator_that_nothing_can_run_is_no_error_here_either(cli: Cli) -> None:
    cli.save("m.onnx", "g (float[N,4] x) => (float[N,4] y) { a = Thing(x) b = Identity(a) y = Neg(b) }")
    assert "NOT CHECKED in numbers: remove_identity" in cli.ok("run", "-p", "remove_identity", "m.onnx", "-o", "o.onnx")
    run = graphtool.run("m.onnx", "remove_identity")
    assert [step.status for step in run.steps] == ["applied"] and run.steps[0].verdict is not None
    assert run.steps[0].verdict.rule == "structure"
    assert run.notes[0].startswith("the numbers of the whole model are NOT checked: onnxruntime has no operator")
    assert graphtool.diff(run.graph, "o.onnx").same
    with pytest.raises(GraphtoolError, match="onnxruntime has no operator"):
        graphtool.run("m.onnx", "remove_identity", budgets=[parse_budget("cosine=0.9", "min")])


def test_a_model_that_wants_other_sizes_gets_them_here_too(cli: Cli) -> None:
    cli.save("m.onnx", "g (float[A,4] a, float[M,4] b) => (float[K,4] y) { c = Identity(a) y = Add(c, b) }")
    run = graphtool.run("m.onnx", "remove_identity")
    assert run.notes[-1].startswith("judged on other sizes than usual, on which the original does not run: ")
    with pytest.raises(GraphtoolError, match="onnxruntime cannot run"):
        graphtool.run("m.onnx", "remove_identity", shapes={"a": (2, 4), "b": (3, 4)})


def test_compare_pairs_by_name_else_by_position() -> None:
    one = graph_of("g (float[2] x) => (float[2] y, float[2] z) { y = Relu(x) z = Neg(x) }")
    other = graph_of("g (float[2] x) => (float[2] z, float[2] q) { z = Neg(x) q = Relu(x) }")
    assert {name: found.changed for name, found in graphtool.compare(one, other).items()} == {"z": 0, "q": 0}
    renamed = graph_of("g (float[2] x) => (float[2] p, float[2] q) { p = Relu(x) q = Neg(x) }")
    assert {name: found.changed for name, found in graphtool.compare(one, renamed).items()} == {"p": 0, "q": 0}
    permuted = graph_of("g (float[2] x) => (float[2] p, float[2] q) { p = Neg(x) q = Relu(x) }")
    assert {name: found.changed for name, found in graphtool.compare(one, permuted).items()} == {"p": 0, "q": 0}
    single = graph_of("g (float[2] x) => (float[2] p) { p = Exp(x) }")
    with pytest.raises(UsageError, match="2 outputs cannot be paired with 1"):
        graphtool.compare(one, single)
    wider = graph_of("g (float[2] x) => (float[1,2] y) <int64[1] a = {0}> { y = Unsqueeze(x, a) }")
    with pytest.raises(UsageError, match=r"output 'y' has two shapes, \[2\] and \[1, 2\]"):
        graphtool.compare(one, wider)


@pytest.mark.parametrize(
    ("call", "kind", "says"),
    [
        (lambda net: graphtool.load("no.onnx"), ModelError, "no file 'no.onnx'"),
        (lambda net: graphtool.load(Path("lie.toml")), ModelError, "it is text, not ONNX"),
        (lambda net: graphtool.run(net, "nope"), PassError, "unknown pass 'nope'"),
        (lambda net: graphtool.run(net, ""), UsageError, "no pass is named"),
        (lambda net: graphtool.run(net, "optimize", params={"x": {"y": 1}}), UsageError, "'x' is not in the pipeline"),
        (lambda net: graphtool.run(net, "prune_outputs:keep=upp"), PassError, "did you mean 'up'?"),
        (lambda net: graphtool.run(net, "optimize", shapes={"q": (1,)}), FeedError, "the model has no input 'q'"),
        (lambda net: net.save("no/folder.onnx"), ModelError, "cannot write 'no/folder.onnx'"),
        (
            lambda net: graphtool.run(graph_of("g (float[2] x) => (float[3] y) { y = Reshape(x, x) }"), "optimize"),
            GraphtoolError,
            "onnxruntime cannot run",
        ),
        (
            lambda net: graphtool.run(graph_of("g (float[2] x) => (float[2] y) { y = Relu(gone) }"), "optimize"),
            ModelError,
            "reads 'gone', which nothing defines",
        ),
    ],
)
def test_every_error_is_a_graphtool_error(net: graphtool.Graph, call: object, kind: type, says: str) -> None:
    assert callable(call)
    with pytest.raises(GraphtoolError) as caught:
        call(net)
    assert isinstance(caught.value, kind) and says in str(caught.value)
    assert "\n" not in str(caught.value)


def test_load_takes_any_path(net: graphtool.Graph) -> None:
    class Name(os.PathLike[str]):
        def __fspath__(self) -> str:
            return "net.onnx"

    for path in ("net.onnx", Path("net.onnx"), Name()):
        assert graphtool.diff(net, graphtool.load(path)).same


def test_what_the_package_shows() -> None:
    wanted = {"load", "run", "diff", "compare", "Graph", "GraphtoolError", "__version__", "surgeon_pass"}
    assert wanted == set(graphtool.__all__)
    assert all(getattr(graphtool, name) for name in graphtool.__all__)
    with pytest.raises(AttributeError, match="module 'graphtool' has no attribute 'optimise'"):
        _ = graphtool.optimise  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "first", ["graphtool", "graphtool.diff", "graphtool.api", "graphtool.job", "graphtool.pipeline"]
)
def test_diff_is_the_function_whatever_was_imported_first(first: str, tmp_path: Path) -> None:
    code = f"import {first}, graphtool; from graphtool.diff import Diff; print(graphtool.diff.__name__)"
    ended = child([sys.executable, "-c", code], tmp_path)
    assert (ended.stdout, ended.stderr) == ("diff\n", "")


def test_a_model_saved_over_itself_keeps_its_weights(cli: Cli) -> None:
    """The weights are read from the file that is being replaced."""
    weight = " ".join(["1.5,"] * 999 + ["2.5"])
    text = "g (float[1000] x) => (float[1000] y) <float[1000] w = {WEIGHT}> { i = Identity(x) y = Add(i, w) }"
    cli.save("m.onnx", text.replace("WEIGHT", weight))
    graph = graphtool.load("m.onnx")
    run = graphtool.run(graph, "remove_identity")
    run.graph.save("m.onnx")
    assert graphtool.compare(graph, graphtool.load("m.onnx"))["y"].changed == 0
