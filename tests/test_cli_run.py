"""``graphtool run`` and ``optimize``: what a person does with them, and what they leave behind."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from clirun import LIE, RELU, Cli
from onnx import TensorProto, helper, numpy_helper

from graphtool.graph import Graph

RESULT_KEYS = {
    "schema",
    "model", "result", "ok", "fault", "feed", "notes", "steps", "classes", "atc", "atc_fault", "reproduce", "hints",
    "feeds", "closed", "batches",
}  # fmt: skip
STEP_KEYS = {
    "pass", "text", "parity", "status", "reason", "matches", "misses", "nodes", "seconds", "cost", "diff", "verdict",
}  # fmt: skip
VERDICT_KEYS = {
    "ok", "rule", "against", "reason", "figures", "since_step_before", "tolerance", "truth", "notes",
    "feed", "feeds", "judged", "least_tolerance",
}  # fmt: skip
FIGURE_KEYS = {
    "max_abs", "mean_abs", "max_rel", "cosine", "argmax_agreement", "miou", "worst_index", "count", "changed",
}  # fmt: skip

TWO_RELU = """g (float[1,3,8,8] x) => (float[1,3,16,16] y, float[1,3,8,8] z) <float[4] s = {1,1,2,2}> {
  [relu] z = Relu(x)
  [up] y = Resize<mode="linear">(z, , s)
}"""


@pytest.fixture
def net(cli: Cli) -> Cli:
    """The command line beside ``net.onnx``, and a pass that lies."""
    cli.save("net.onnx")
    cli.write("lie.toml", LIE)
    return cli


def attributes(path: Path, node: str) -> dict[str, Any]:
    found = next(n for n in onnx.load(path).graph.node if n.name == node)
    return {a.name: helper.get_attribute_value(a) for a in found.attribute}


def without_seconds(data: Any) -> Any:
    """Return a report without the one thing in it that may differ between two runs."""
    if isinstance(data, dict):
        return {key: without_seconds(value) for key, value in data.items() if key != "seconds"}
    return [without_seconds(item) for item in data] if isinstance(data, list) else data


# -- a run that goes well


def test_the_main_job(net: Cli) -> None:
    out = net.ok("run", "--passes", "resize_nearest,prune_outputs", "net.onnx")
    lines = out.splitlines()
    assert lines[0] == "net.onnx: 2 nodes, opset 13; 2 feeds: drawn with seed 0; drawn with seed 1"
    assert [line.split()[0] for line in lines[1:4]] == ["pass", "resize_nearest", "prune_outputs"]
    assert "lossy    measured" in out and "exact    equal" in out
    assert "wrote net.graphtool.onnx: 2 -> 2 nodes" in lines
    assert (
        "atc --framework=5 --model=net.graphtool.onnx --output=net.graphtool_bs1 --input_format=NCHW "
        '--input_shape="x:1,3,8,16" --log=error --soc_version=Ascend310'
    ) in lines
    assert any(line.startswith("classes in output y: ") and " of 4 before, " in line for line in lines)
    assert (
        lines[-1]
        == "resize_nearest changes the numbers; resize_linear_to_matmul does the same job without changing them"
    )
    model = onnx.load(net.folder / "net.graphtool.onnx")
    onnx.checker.check_model(model, full_check=True)
    assert [output.name for output in model.graph.output] == ["y"]
    assert attributes(net.folder / "net.graphtool.onnx", "up")["mode"] == b"nearest"
    assert net.listing().keys() == {"lie.toml", "net.onnx", "net.graphtool.onnx"}


def test_the_default_name_is_in_the_current_folder(net: Cli) -> None:
    (net.folder / "models").mkdir()
    net.save("models/big.onnx")
    assert "wrote big.graphtool.onnx" in net.ok("run", "-p", "resize_nearest", "models/big.onnx")
    assert "models/big.graphtool.onnx" not in net.listing()
    net.ok("run", "-p", "resize_nearest", "models/big.onnx", "-o", "models/out.model")
    assert (net.folder / "models/out.model").read_bytes() == (net.folder / "big.graphtool.onnx").read_bytes()


def test_parameters_by_text_by_set_and_by_profile(net: Cli) -> None:
    net.write(
        "p.toml", "extends = 'ascend310'\n[passes]\npipeline = 'resize_nearest'\nresize_nearest.nearest_mode = 'ceil'\n"
    )

    def mode(*words: str) -> object:
        net.ok("run", "net.onnx", "-o", "r.onnx", *words)
        return attributes(net.folder / "r.onnx", "up")["nearest_mode"]

    assert mode("-p", "resize_nearest") == b"floor"
    assert mode("--profile", "p.toml") == b"ceil"
    assert mode("--profile", "p.toml", "-p", "resize_nearest:nearest_mode=round_prefer_ceil") == b"round_prefer_ceil"
    assert mode(
        "-p", "resize_nearest:nearest_mode=ceil", "--set", "resize_nearest.nearest_mode=round_prefer_floor"
    ) == (b"round_prefer_floor")


def test_several_names_and_names_with_separators(cli: Cli) -> None:
    text = "g (float[2] x) => (float[2] y, float[2] z, float[2] u) { y = Relu(x) z = Neg(x) u = Abs(x) }"
    model = onnx.parser.parse_model('<ir_version: 8, opset_import: ["": 13]>' + text)
    model.graph.node[2].name = "a:b,c+d=e"
    onnx.save(model, cli.folder / "m.onnx")
    out = cli.ok("run", "m.onnx", "-p", r"prune_outputs:keep=y+a\:b\,c\+d\=e", "-o", "r.onnx")
    assert r"prune_outputs:keep=y+a\:b\,c\+d\=e" in out.splitlines()
    assert [output.name for output in onnx.load(cli.folder / "r.onnx").graph.output] == ["y", "u"]
    cli.ok("run", "m.onnx", "-p", "prune_outputs", "--set", r"prune_outputs.keep=a:b,c\+d=e", "-o", "s.onnx")
    assert [output.name for output in onnx.load(cli.folder / "s.onnx").graph.output] == ["u"]


def test_a_pass_that_matches_nothing_says_why_and_is_no_error(net: Cli) -> None:
    assert "nothing to do: the model has no node that it is for" in net.ok("run", "-p", "remove_identity", "net.onnx")
    net.save("old.onnx", RELU, '<ir_version: 4, opset_import: ["": 8]>\n')
    out = net.ok("run", "-p", "fuse_gelu,resize_linear_to_matmul", "old.onnx")
    assert "nothing to do" in out and "the model has 8" in out


def test_outputs_that_are_no_class_maps(cli: Cli) -> None:
    """Vectors, matrices, sequences of dimensions and integers have no classes to count."""
    cli.save(
        "m.onnx",
        "g (float[N,3] x) => (float[N,3] y, float s, int64[N] a, float[N,1,3,1] q) <int64[4] k = {-1,1,3,1}> "
        "{ i = Identity(x) y = Relu(i) s = ReduceSum<keepdims=0>(x) a = ArgMax<axis=1,keepdims=0>(x) "
        "q = Reshape(x, k) }",
    )
    assert "classes in" not in cli.ok("run", "-p", "remove_identity", "m.onnx")


def test_optimize_has_no_target(net: Cli) -> None:
    net.save("m.onnx", "g (float[N,2] x) => (float[N,2] y) { a = Identity(x) b = Relu(a) y = Identity(b) }")
    out = net.ok("optimize", "m.onnx")
    assert "wrote m.graphtool.onnx: 3 -> 1 nodes" in out
    assert "atc " not in out and "ATC" not in out
    assert [node.op_type for node in Graph.load("m.graphtool.onnx").nodes] == ["Relu"]


def test_unsorted_nodes_are_sorted_and_it_says_so(cli: Cli) -> None:
    cli.save("m.onnx", "g (float[2] x) => (float[2] y) { y = Identity(a) a = Relu(x) }")
    assert "note: the nodes were not in topological order; they are now" in cli.ok("run", "-p", "optimize", "m.onnx")


def test_external_data_beside_the_model_is_kept_there(cli: Cli) -> None:
    (cli.folder / "a").mkdir()
    weight = numpy_helper.from_array(np.arange(4096, dtype=np.float32), "w")
    graph = helper.make_graph(
        [helper.make_node("Identity", ["x"], ["i"]), helper.make_node("Add", ["i", "w"], ["y"])],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [4096])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [4096])],
        [weight],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.save(model, cli.folder / "a/m.onnx", save_as_external_data=True, location="m.data", size_threshold=0)
    cli.ok("run", "-p", "remove_identity", "a/m.onnx", "-o", "a/r.onnx")
    assert set(cli.listing()) == {"a", "a/m.onnx", "a/m.data", "a/r.onnx"}
    cli.ok("run", "-p", "remove_identity", "a/m.onnx")
    assert {"m.graphtool.onnx", "m.graphtool.onnx.data"} <= set(cli.listing())
    for path in ("a/r.onnx", "m.graphtool.onnx"):
        assert cli.ok("compare", "a/m.onnx", path) == "y: equal\n"


# -- feeds and shapes


def test_a_feed_from_files(net: Cli) -> None:
    np.savez(net.folder / "f.npz", x=np.ones((1, 3, 8, 16), np.float32))
    np.save(net.folder / "f.npy", np.ones((1, 3, 8, 16), np.float32))
    reports = []
    for word in ("f.npz", "f.npy", "x=f.npy"):
        ended = net("run", "net.onnx", "-p", "resize_nearest", "--feed", word, "--json", "-o", "r.onnx")
        assert ended.code == 0
        report = ended.json()
        assert report["feed"] == {"source": word.removeprefix("x=")}
        reports.append(report["steps"][0]["verdict"]["figures"])
    assert reports[0] == reports[1] == reports[2]
    out = net.ok("run", "net.onnx", "-p", "resize_nearest", "--feed", "f.npz", "-o", "r.onnx")
    assert "feed f.npz" in out
    assert "drawn at random" not in out, "the figures are about the user's own data"


def test_a_shape_fills_open_dimensions(cli: Cli) -> None:
    cli.save("m.onnx", "g (float[N,3,H,W] x) => (float[N,3,H,W] y) { i = Identity(x) y = Relu(i) }")
    out = cli.ok("run", "m.onnx", "-p", "remove_identity", "--shape", "x:5,3,20,30")
    assert "2 feeds: drawn with seed 0, N=5, H=20, W=30; drawn with seed 1, N=5, H=20, W=30" in out
    assert '--input_shape="x:5,3,20,30"' in out
    out = cli.ok("run", "m.onnx", "-p", "remove_identity", "--seed", "7")
    assert "2 feeds: drawn with seed 7, N=2, H=64, W=96; drawn with seed 8, N=1, H=96, W=128" in out
    assert "# no ATC command: input 'x': dimension 2 is 'H'; give --shape x:DIMS" in out


def test_the_seed_draws_another_feed(net: Cli) -> None:
    def worst(seed: str) -> float:
        ended = net("run", "net.onnx", "-p", "resize_nearest", "--seed", seed, "--json", "-o", "r.onnx")
        return float(ended.json()["steps"][0]["verdict"]["figures"]["y"]["max_abs"])

    assert worst("0") == worst("0") != worst("1")


# -- dry runs


def test_a_dry_run_shows_matches_and_misses_and_writes_nothing(net: Cli, tmp_path: Path) -> None:
    before = net.listing()
    out = net.ok("run", "net.onnx", "-p", "resize_nearest,resize_linear_to_matmul,prune_outputs", "--dry-run")
    assert net.listing() == before and not (tmp_path / "state").exists()
    lines = out.splitlines()
    assert lines[:2] == ["resize_nearest: 1 match, 0 misses", "  + up"]
    at = lines.index("resize_linear_to_matmul: 0 matches, 1 miss")
    assert lines[at + 1].startswith("  - up: "), "the second pass sees what the first one made"
    assert "prune_outputs: 1 match, 0 misses" in lines
    assert lines[-1] == "nothing was written (--dry-run)"
    data = net("run", "net.onnx", "-p", "resize_nearest", "--dry-run", "--json").json()
    assert data["dry_run"] is True
    assert [(step["pass"], step["matches"]) for step in data["steps"]] == [("resize_nearest", ["up"])]
    assert net.listing() == before


def test_a_dry_run_does_not_need_a_model_that_runs(cli: Cli) -> None:
    cli.save("m.onnx", "g (float[2] x) => (float[2] y) { i = Identity(x) y = Odd(i) }")
    assert "remove_identity: 1 match" in cli.ok("run", "m.onnx", "-p", "remove_identity", "--dry-run")


# -- promises


def test_a_broken_promise_writes_no_model_but_what_reproduces_it(net: Cli) -> None:
    net.save("two.onnx", TWO_RELU)
    ended = net("run", "two.onnx", "-p", "resize_nearest,./lie.toml,prune_outputs")
    assert ended.code == 1
    assert ended.err.startswith("graphtool: lie broke its promise 'exact': output 'y': ")
    assert ended.err.count("\n") == 1
    lines = ended.out.splitlines()
    assert "no model was written" in lines
    command = "graphtool run --passes ./lie.toml two.repro/before.onnx --feed two.repro/feed.npz"
    assert f"reproduce: {command}" in lines
    assert not any(line.startswith(("wrote", "atc ", "prune_outputs")) for line in lines), "it stopped there"
    assert {str(p.name) for p in (net.folder / "two.repro").iterdir()} == {"before.onnx", "feed.npz", "command.txt"}
    assert (net.folder / "two.repro/command.txt").read_text().splitlines()[0] == command
    assert not (net.folder / "two.graphtool.onnx").exists()
    assert attributes(net.folder / "two.repro/before.onnx", "up")["mode"] == b"nearest", "the graph before the lie"


def test_keep_going_rolls_back_and_goes_on(net: Cli) -> None:
    net.save("two.onnx", TWO_RELU)
    ended = net("run", "two.onnx", "-p", "./lie.toml,resize_nearest,prune_outputs", "--keep-going", "--json")
    assert ended.code == 1 and "lie broke its promise" in ended.err
    report = ended.json()
    assert [step["status"] for step in report["steps"]] == ["broken", "applied", "applied"]
    assert report["result"] == "two.graphtool.onnx" and report["ok"] is False
    graph = Graph.load("two.graphtool.onnx")
    assert [node.op_type for node in graph.nodes] == ["Relu", "Resize"], "Abs was undone"
    assert [value.name for value in graph.outputs] == ["y"]
    out = net("run", "two.onnx", "-p", "./lie.toml,resize_nearest", "--keep-going").out
    assert "; it is undone" in out and "wrote two.graphtool.onnx" in out


def test_no_check_runs_nothing(cli: Cli) -> None:
    cli.save("m.onnx", "g (float[2] x) => (float[2] y) { i = Identity(x) y = Odd(i) }")
    out = cli.ok("run", "m.onnx", "-p", "remove_identity", "--no-check")
    assert "not checked (--no-check)" in out and "unchecked" in out
    assert [node.op_type for node in Graph.load("m.graphtool.onnx").nodes] == ["Odd"]


def test_require_match(net: Cli) -> None:
    before = net.listing()
    ended = net("run", "net.onnx", "-p", "resize_nearest,remove_identity", "--require-match")
    assert ended.code == 1
    assert ended.err == (
        "graphtool: remove_identity matched nothing, and --require-match was given: "
        "the model has no node that it is for\n"
    )
    assert "no model was written" in ended.out
    assert net.listing() == before
    assert net("run", "net.onnx", "-p", "remove_identity", "--require-match", "--dry-run").code == 1
    net.ok("run", "net.onnx", "-p", "resize_nearest", "--require-match")


# -- budgets


@pytest.mark.parametrize("budget", [("--max", "max_abs=1e9"), ("--min", "y:cosine=0.1"), ("--max", "z:max_abs=0")])
def test_a_budget_that_holds(net: Cli, budget: tuple[str, str]) -> None:
    net.ok("run", "net.onnx", "-p", "resize_nearest", *budget)


@pytest.mark.parametrize(
    ("budget", "reason"),
    [
        (("--max", "max_abs=1e-3"), "max_abs "),
        (("--min", "cosine=0.99999999"), "cosine "),
        (("--min", "y:argmax_agreement=1"), "argmax_agreement "),
        (("--min", "y:miou=1"), "miou "),
    ],
)
def test_a_budget_that_a_lossy_pass_does_not_hold(net: Cli, budget: tuple[str, str], reason: str) -> None:
    ended = net("run", "net.onnx", "-p", "resize_nearest", *budget)
    assert ended.code == 1
    assert ended.err.startswith(f"graphtool: resize_nearest is over its budget: output 'y': {reason}")
    assert not (net.folder / "net.graphtool.onnx").exists()
    command = (net.folder / "net.repro/command.txt").read_text().splitlines()[0]
    flag, _, bound = command.rpartition(" --")[2].partition(" ")
    assert (f"--{flag}", float(bound.rpartition("=")[2])) == (budget[0], float(budget[1].rpartition("=")[2]))


def test_a_budget_holds_the_whole_pipeline_too(net: Cli) -> None:
    """A pass that is within noise may still be over a bound that the user set."""
    ended = net("run", "net.onnx", "-p", "resize_linear_to_matmul", "--max", "max_abs=0", "--json")
    assert ended.code == 1
    assert ended.err.startswith("graphtool: the pipeline is over its budget: output 'y': max_abs ")
    report = ended.json()
    assert report["ok"] is False and report["result"] is None and report["steps"][0]["status"] == "applied"
    assert report["fault"] in ended.err
    assert net.listing().keys() == {"lie.toml", "net.onnx"}


def test_a_profile_brings_its_budgets(net: Cli) -> None:
    net.write(
        "p.toml",
        "extends = 'ascend310'\n[passes]\npipeline = 'resize_nearest'\n[budgets]\nmin = ['y:cosine=0.999']\n",
    )
    ended = net("run", "net.onnx", "--profile", "p.toml")
    assert ended.code == 1 and "below the budget 0.999" in ended.err
    assert "--min y:cosine=0.999" in (net.folder / "net.repro/command.txt").read_text()
    assert net("run", "net.onnx", "--profile", "p.toml", "--min", "y:cosine=0.1").code == 0, "the command line wins"


# -- the target


def test_a_target_that_is_asked_for_must_fit(net: Cli) -> None:
    net.save("n.onnx", "g (float[N,3,8,W] x) => (float[N,3,8,W] y) { i = Identity(x) y = Relu(i) }")
    assert "# no ATC command: input 'x': dimension 3 is 'W'; give --shape x:DIMS" in net.ok(
        "run", "n.onnx", "-p", "remove_identity"
    )
    assert "input 'x': dimension 3 is 'W'" in net.refused(
        "run", "n.onnx", "-p", "remove_identity", "--batch", "1", "-o", "r"
    )
    out = net.ok(
        "run", "n.onnx", "-p", "remove_identity", "--batch", "1,4", "--shape", "x:1,3,8,16", "--atc", "log=info"
    )
    assert out.count("\natc --framework=5") == 2
    assert '--input_shape="x:4,3,8,16" --log=info' in out


def test_the_output_of_a_run_is_a_shell_script_from_its_first_atc_line(net: Cli) -> None:
    """Notes stand as comments, so that lines can be copied or piped together."""
    lines = net.ok("run", "net.onnx", "-p", "resize_nearest", "--batch", "1,2").splitlines()
    first = next(n for n, line in enumerate(lines) if line.startswith("# batch 2: 2 different items"))
    assert [line.split()[0] for line in lines[first + 1 : first + 3]] == ["atc", "atc"]


# -- JSON and determinism


def test_json_is_pure_and_has_its_keys(net: Cli) -> None:
    ended = net("run", "net.onnx", "-p", "resize_nearest,resize_linear_to_matmul,prune_outputs:keep=up", "--json")
    assert (ended.code, ended.err) == (0, "")
    report = ended.json()
    assert set(report) == RESULT_KEYS
    assert report["ok"] is True and report["fault"] == "" and report["result"] == "net.graphtool.onnx"
    assert report["feed"]["source"] == "drawn" and report["feed"]["seed"] == 0
    assert set(report["classes"]["y"]) == {"before", "after", "of"}
    assert set(report["atc"][0]) == {"batch", "argv", "text", "notes", "files"}
    for step in report["steps"]:
        assert set(step) == STEP_KEYS
        assert set(step["seconds"]) == {"apply", "judge"}
    applied, unmatched, pruned = report["steps"]
    assert set(applied["verdict"]) == VERDICT_KEYS
    spread = {f"{share}_{kind}" for kind in ("abs", "rel") for share in ("mean", "median", "q90", "q99", "q999")}
    more = {"snr", "psnr", "agreement", "top5_agreement", "worst_pair"}
    assert set(applied["verdict"]["figures"]["y"]) == FIGURE_KEYS | spread | more
    assert unmatched["status"] == "unmatched" and unmatched["verdict"] is None and unmatched["reason"]
    assert unmatched["misses"][0]["where"] == "up"
    assert pruned["text"] == "prune_outputs:keep=up" and pruned["diff"]["outputs"]["removed"][0]["name"] == "z"


def test_json_has_no_nan_or_infinity(cli: Cli) -> None:
    """JSON lacks them, and many parsers refuse what Python writes for them."""
    cli.save("m.onnx", RELU)
    lossy = LIE.replace('"exact"', '"lossy"')
    cli.write("lossy.toml", lossy.replace('"y = Abs(x)"', '"""a = Sub(x, x)\ny = Div(x, a)"""'))
    ended = cli("run", "m.onnx", "-p", "./lossy.toml", "--json")
    report = json.loads(ended.out, parse_constant=lambda word: pytest.fail(f"{word} in JSON"))
    assert report["steps"][0]["verdict"]["figures"]["y"]["max_abs"] == "inf"


def test_two_runs_are_byte_equal(net: Cli) -> None:
    words = ["run", "net.onnx", "-p", "resize_linear_to_matmul,output_fp16,prune_outputs", "--json"]
    first = net(*words)
    model = (net.folder / "net.graphtool.onnx").read_bytes()
    second = net(*words)
    assert first.code == second.code == 0
    assert (net.folder / "net.graphtool.onnx").read_bytes() == model
    assert without_seconds(first.json()) == without_seconds(second.json())


def test_two_reproducers_are_byte_equal(net: Cli) -> None:
    net.save("two.onnx", TWO_RELU)
    net("run", "two.onnx", "-p", "./lie.toml")
    first = net.listing()
    net("run", "two.onnx", "-p", "./lie.toml")
    assert net.listing() == first


def test_passes_may_be_given_again(net: Cli) -> None:
    """Only the last of them was run, and nothing said so."""
    steps = net("run", "net.onnx", "-p", "resize_nearest", "-p", "prune_outputs:keep=up", "--json").json()["steps"]
    assert [step["pass"] for step in steps] == ["resize_nearest", "prune_outputs"]


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("extract", "no tensor is named; give from=TENSOR, to=TENSOR or both"),
        ("rename", "nothing is named; give from=OLD and to=NEW"),
        ("reorder_interface", "nothing is named; give inputs=A+B, outputs=A+B or both"),
        ("set_input_shapes", "nothing is named; give inputs=NAME and shapes=1x3x224x224, or symbols=N and sizes=1"),
        ("remove_node", "no node is named; give node=NAME"),
    ],
)
def test_a_pass_that_was_told_nothing_says_what_it_needs(net: Cli, name: str, says: str) -> None:
    assert f"  nothing to do: {says}\n" in net.ok("run", "net.onnx", "-p", name)
    assert net.ok("run", "net.onnx", "-p", name, "--dry-run").splitlines()[:2] == [
        f"{name}: 0 matches, 0 misses",
        f"  nothing to do: {says}",
    ]


# -- interruptions


def test_an_interrupt_while_writing_leaves_no_partial_file(net: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    before = net.listing()
    monkeypatch.setattr("graphtool.graph.save.os.urandom", bytes)
    monkeypatch.setattr(Path, "replace", interrupted)
    ended = net("run", "net.onnx", "-p", "resize_nearest")
    assert (ended.code, ended.err) == (130, "graphtool: interrupted\n")
    assert net.listing() == before


def test_an_interrupted_import_is_an_interrupt(net: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """Native code makes an error of its own of the KeyboardInterrupt, and it was reported as a bug of graphtool."""

    def imported(*_: object) -> None:
        monkeypatch.setattr("graphtool.guard.phases.interrupted", True)
        raise ImportError("initialization failed")

    monkeypatch.setattr("graphtool.graph.Graph.load", imported)
    ended = net("run", "net.onnx", "-p", "resize_nearest")
    assert (ended.code, ended.out, ended.err) == (130, "", "graphtool: interrupted\n")


def test_a_full_disk_is_one_line(net: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    assert net.refused("run", "net.onnx", "-p", "resize_nearest") == (
        "cannot write 'net.graphtool.onnx': No space left on device"
    )
