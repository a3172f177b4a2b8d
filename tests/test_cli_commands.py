"""The commands beside ``run``: inspect, diff, compare, atc emit, passes, golden."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import numpy as np
import onnx
import pytest
from clirun import LIE, NET, RELU, Cli

from graphtool.rewrite import Catalog

CASE = """
[[case]]
name = "negative numbers"
before = "g (float[2] x) => (float[2] y) { y = Relu(x) }"
after = "g (float[2] x) => (float[2] y) { y = Abs(x) }"
[[case]]
name = "no Relu"
before = "g (float[2] x) => (float[2] y) { y = Neg(x) }"
after = "unchanged"
"""
# Relu(Relu(x)) is Relu(x); the condition is one that no case of it needs
TRUE = """summary = "Relu twice is Relu once"
why = "a test"
parity = "exact"
[[rewrite]]
match = '''
a = Relu(x)
y = Relu(a)
'''
where = ["rank(x) < 9"]
replace = "y = Relu(x)"
[[case]]
name = "twice"
before = "g (float[2] x) => (float[2] y) { a = Relu(x) y = Relu(a) }"
after = "g (float[2] x) => (float[2] y) { y = Relu(x) }"
[[case]]
name = "once"
before = "g (float[2] x) => (float[2] y) { y = Relu(x) }"
after = "unchanged"
"""


@pytest.fixture
def net(cli: Cli) -> Cli:
    """The command line beside ``net.onnx`` and ``near.onnx``, the same with a nearest Resize and one output."""
    cli.save("net.onnx")
    cli.ok("run", "net.onnx", "-p", "resize_nearest,prune_outputs", "-o", "near.onnx")
    return cli


# -- inspect


def test_inspect(net: Cli) -> None:
    assert net.ok("inspect", "net.onnx").splitlines() == [
        "net.onnx: 2 nodes, 2 weights; opset ai.onnx 13",
        "  input x: float32[1,3,8,16]",
        "  output y: float32[1,4,16,32]  out_nodes up:0",
        "  output z: float32[1,4,8,16]  out_nodes conv:0",
        "ops: Conv 1, Resize 1",
        "parameters 16, 64 B",
        "multiply-adds 1536; read 3.584 kB, written 10.24 kB",
        "peak of activations 11.78 kB at up",
    ]


def test_inspect_json(net: Cli) -> None:
    ended = net("inspect", "net.onnx", "--json")
    assert (ended.code, ended.err) == (0, "")
    data = ended.json()
    costs = data.pop("costs")
    assert (costs["parameters"], costs["total"]["madds"], costs["by"], costs["bounds"]) == (16, 1536, "op", None)
    assert data == {
        "schema": "graphtool/inspect/1",
        "model": "net.onnx",
        "nodes": 2,
        "opsets": {"ai.onnx": 13},
        "inputs": [{"name": "x", "type": "float32", "shape": [1, 3, 8, 16]}],
        "outputs": [
            {"name": "y", "type": "float32", "shape": [1, 4, 16, 32], "out_nodes": "up:0"},
            {"name": "z", "type": "float32", "shape": [1, 4, 8, 16], "out_nodes": "conv:0"},
        ],
        "ops": {"Conv": 1, "Resize": 1},
    }


def test_inspect_what_is_not_known(cli: Cli) -> None:
    """Open dimensions, an output that no node makes, a node without a name."""
    cli.save("m.onnx", "g (float[N,?] x, float[2] c) => (float[N,?] y, float[2] c) { y = Relu(x) }")
    out = cli.ok("inspect", "m.onnx")
    assert "  input x: float32[N,?]\n" in out
    assert "  output y: float32[N,?]\n" in out, "a node without a name has no word for out_nodes"
    data = cli("inspect", "m.onnx", "--json").json()
    assert [(v["shape"], v["out_nodes"]) for v in data["outputs"]] == [(["N", None], None), ([2], None)]


# -- diff


def test_diff_exit_codes(net: Cli) -> None:
    same = net("diff", "net.onnx", "net.onnx")
    assert (same.code, same.out, same.err) == (0, "no difference\n", "")
    other = net("diff", "net.onnx", "near.onnx")
    assert (other.code, other.err) == (1, "")
    lines = other.out.splitlines()
    assert lines[0] == "1 node changed, 1 output removed"
    assert "- output z float32[1,4,8,16]" in lines
    assert any(line.startswith("~ Resize up: ") and "mode 'linear' -> 'nearest'" in line for line in lines)


def test_diff_json(net: Cli) -> None:
    same, other = net("diff", "net.onnx", "net.onnx", "--json"), net("diff", "net.onnx", "near.onnx", "--json")
    assert (same.code, other.code, same.err, other.err) == (0, 1, "", "")
    assert same.json()["same"] is True
    found = other.json()
    assert found["same"] is False
    assert found["outputs"]["removed"] == [{"name": "z", "kind": "float32[1,4,8,16]"}]
    assert {"nodes", "values", "weights", "inputs", "outputs", "functions", "model", "ops", "summary"} < set(found)


def test_diff_sees_a_rename_as_a_rename(net: Cli) -> None:
    net.ok("run", "net.onnx", "-p", "rename:from=up:to=down", "-o", "renamed.onnx")
    ended = net("diff", "net.onnx", "renamed.onnx")
    assert (ended.code, ended.out.splitlines()[1:]) == (1, ["> 1 node renamed: up -> down"])


# -- compare


def test_compare(net: Cli) -> None:
    assert net.ok("compare", "net.onnx", "net.onnx") == "y: equal\nz: equal\n"
    out = net.apart("compare", "net.onnx", "near.onnx")
    assert out.startswith("y: max ") and "argmax " in out and "z:" not in out
    assert net.apart("compare", "net.onnx", "near.onnx") == out, "the feed is the same each time"
    assert net.apart("compare", "net.onnx", "near.onnx", "--seed", "5") != out


def test_compare_with_budgets_and_json(net: Cli) -> None:
    net.ok("compare", "net.onnx", "near.onnx", "--max", "max_abs=1e9")
    ended = net("compare", "net.onnx", "near.onnx", "--max", "max_abs=1e-3")
    assert ended.code == 1
    assert ended.err.startswith("graphtool: over the budget: output 'y': max_abs ")
    ended = net("compare", "net.onnx", "near.onnx", "--min", "y:argmax_agreement=1", "--json")
    assert ended.code == 1 and "argmax_agreement" in ended.err
    outputs = ended.json()["outputs"]
    assert set(outputs) == {"y"} and outputs["y"]["argmax_agreement"] < 1


def test_compare_on_a_feed_of_ones(net: Cli) -> None:
    """Of a constant image nearest and linear make the same, but for rounding: the feed is really taken."""
    np.savez(net.folder / "f.npz", x=np.ones((1, 3, 8, 16), np.float32))
    assert net("compare", "net.onnx", "near.onnx", "--feed", "f.npz", "--json").json()["outputs"]["y"]["max_abs"] < 1e-4


# -- atc emit


def test_atc_emit(net: Cli) -> None:
    assert net.ok("atc", "emit", "net.onnx").splitlines() == [
        "atc --framework=5 --model=net.onnx --output=net_bs1 --input_format=NCHW "
        '--input_shape="x:1,3,8,16" --log=error --soc_version=Ascend310'
    ]
    out = net.ok("atc", "emit", "net.onnx", "--soc", "Ascend310P3", "--batch", "1,4", "--atc", "output_type=FP16")
    lines = out.splitlines()
    assert lines[0] == "# batch 4: 4 different items come out as each does alone"
    assert [line.split("x:")[1][0] for line in lines[1:]] == ["1", "4"]
    assert all("--output_type=FP16" in line and "--soc_version=Ascend310P3" in line for line in lines[1:])
    found = net("atc", "emit", "net.onnx", "--batch", "1,4", "--json").json()["commands"]
    assert [command["batch"] for command in found] == [1, 4]
    assert found[0]["argv"][0] == "atc" and "--input_shape=x:4,3,8,16" in found[1]["argv"]


def test_a_batch_that_the_graph_does_not_bear_gets_no_command(cli: Cli) -> None:
    cli.save("m.onnx", "g (float[1,3,4] x) => (float[1,12] y) <int64[2] s = {1,12}> { [flat] y = Reshape(x, s) }")
    reason = "batch 2: Reshape 'flat' holds another batch in 's'; the pass set_batch:batch=2 frees it ("
    ended = cli("atc", "emit", "m.onnx", "--batch", "1,2")
    assert ended.code == 1 and f"no ATC command for {reason}" in ended.err
    assert ended.out.count("\natc ") == 1 and f"# no ATC command for {reason}" in ended.out
    out = cli.ok("atc", "emit", "m.onnx", "--batch", "1,2", "--no-check")
    assert out.count("\natc ") == 2 and "# batch 2: not run (--no-check)" in out
    ended = cli("run", "m.onnx", "-p", "remove_identity", "--batch", "1,2", "--json")
    assert ended.code == 1 and ended.json()["batches"][0]["constant"] == "s" and len(ended.json()["atc"]) == 1
    assert (cli.folder / "m.graphtool.onnx").exists(), "the model itself is sound"
    github = cli("run", "m.onnx", "-p", "remove_identity", "--batch", "1,2", "--report", "github:-").out
    assert "holds another batch" in github and "not written" not in github
    assert cli.ok("run", "m.onnx", "-p", "set_batch:batch=2", "--batch", "2").count("\natc ") == 1
    cli.save(
        "swap.onnx",
        """g (float[N,6] x) => (float[N,6] y) <int64[1] b = {-9}, int64[1] m = {-1}, int64[1] a = {0}> {
      y = Slice(x, m, b, a, m) }""",
    )
    out = cli("run", "swap.onnx", "-p", "remove_identity", "--batch", "3").out
    assert "permuted, they come out as 2, 1, 0" in out and "#     ..=\n#     .=.\n#     =.." in out


def test_the_lines_are_safe_in_a_shell(cli: Cli) -> None:
    """What is printed is read back by bash as the same words, whatever the nodes and files are called."""
    model = onnx.parser.parse_model('<ir_version: 8, opset_import: ["": 13]>' + NET)
    model.graph.node[1].name = "$(touch pwned) `touch pwned`; touch pwned & '\"!"
    name = "$(touch pwned) it's.onnx"
    cli.write(name, model.SerializeToString())
    out_nodes = f"out_nodes={model.graph.node[1].name.replace(';', '')}:0"
    assert "nearest" in cli.refused("atc", "emit", name, "--atc", out_nodes)
    found = cli("atc", "emit", name, "--json").json()["commands"][0]
    assert found["text"] in cli.ok("atc", "emit", name)
    script = f"atc() {{ printf '%s\\n' \"$@\"; }}\n{found['text']}\n"
    said = subprocess.run(["bash", "-c", script], cwd=cli.folder, capture_output=True, text=True, check=True)
    assert said.stdout.splitlines() == found["argv"][1:]
    assert not (cli.folder / "pwned").exists()


def test_the_script_runs(net: Cli, tmp_path: Path) -> None:
    """With a stand-in for atc on the PATH: each command once, its log written, a failing batch told at the end."""
    assert net.ok("atc", "emit", "net.onnx", "--batch", "1,4", "-o", "atc.sh").splitlines()[-1] == "wrote atc.sh"
    script = net.folder / "atc.sh"
    assert os.access(script, os.X_OK)
    subprocess.run(["bash", "-n", script], check=True)
    fake = tmp_path / "bin"
    fake.mkdir()
    (fake / "atc").write_text('#!/bin/bash\necho "$@"\n[[ "$*" != *bs4* ]]\n')
    (fake / "atc").chmod(0o755)
    env = {**os.environ, "PATH": f"{fake}:{os.environ['PATH']}"}
    ended = subprocess.run([script], cwd=net.folder, env=env, capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stdout) == (1, "net_bs1: done\n")
    assert ended.stderr == "net_bs4: atc failed with 1, see net_bs4.atc.log\n"
    assert "--input_shape=x:4,3,8,16" in (net.folder / "net_bs4.atc.log").read_text()
    missing = subprocess.run(
        ["bash", "./atc.sh"], cwd=net.folder, env={"PATH": "/usr/bin:/bin"}, capture_output=True, text=True, check=False
    )
    assert missing.returncode == 127 and "atc not found" in missing.stderr


# -- passes


def test_passes_list(cli: Cli) -> None:
    lines = cli.ok("passes", "list").splitlines()
    names = Catalog().names
    assert lines[0].split() == ["pass", "promise", "summary"]
    assert [line.split()[0] for line in lines[1:]] == names and "prune_outputs" in names
    found = cli("passes", "list", "--json").json()["passes"]
    assert [item["name"] for item in found] == names
    assert {"summary", "why", "parity", "interface", "requires", "exact_form", "sequence", "params", "cases"} < set(
        found[0]
    )


def test_every_pass_can_be_shown(cli: Cli) -> None:
    for name in Catalog().names:
        spec = Catalog().get(name)
        out = cli.ok("passes", "show", name)
        assert out.startswith(f"{name}: {spec.summary}\n") and f"promise: {spec.parity}" in out
        assert all(f"--set {name}.{param.name}=" in out for param in spec.params)
        assert out.count("\ncase: ") == len(spec.cases)


def test_a_case_is_shown_with_its_parameters(cli: Cli) -> None:
    out = cli.ok("passes", "show", "resize_nearest")
    assert "case: opset 10 cannot round (opset 10, nearest_mode='round_prefer_floor')\n" in out
    found = cli("passes", "show", "resize_nearest", "--json").json()
    assert found["params"][0]["choices"] and found["exact_form"] == "resize_linear_to_matmul"


def test_passes_test_of_a_folder(cli: Cli) -> None:
    (cli.folder / "rules").mkdir()
    cli.write("rules/relu_once.toml", TRUE)
    assert cli.ok("passes", "test", "rules") == "2 passed, 0 failed\n"
    ended = cli("passes", "test", "rules", "--strict")
    assert (ended.code, ended.err) == (1, "")
    assert "FAILED relu_once: " in ended.out and "no case fails without this condition" in ended.out
    assert ended.out.endswith("2 passed, 1 failed\n")


def test_passes_test_finds_a_lie(cli: Cli) -> None:
    (cli.folder / "rules").mkdir()
    cli.write("rules/lie.toml", LIE + CASE)
    ended = cli("passes", "test", "rules", "--json")
    assert ended.code == 1
    lie, unchanged = ended.json()["cases"]
    assert lie["ok"] is False and lie["fault"].startswith("the promise 'exact' is broken: output 'y': ")
    assert unchanged["ok"] is True
    assert "FAILED lie: negative numbers: the promise 'exact' is broken" in cli("passes", "test", "rules").out


def test_passes_test_wants_cases(cli: Cli) -> None:
    (cli.folder / "rules").mkdir()
    cli.write("rules/lie.toml", LIE)
    ended = cli("passes", "test", "rules")
    assert ended.code == 1
    assert "FAILED lie: -: no case: show what it does" in ended.out
    cli.write("rules/true.toml", TRUE.rpartition("[[case]]")[0])
    assert cli("passes", "test", "rules/true.toml").code == 0
    ended = cli("passes", "test", "rules/true.toml", "--strict")
    assert ended.code == 1 and "no negative case: show a graph that it leaves unchanged" in ended.out


# -- golden


def test_golden(net: Cli) -> None:
    assert net.ok("golden", "list") == "no records in golden\n"
    assert net.ok("golden", "record", "net", "net.onnx") == "wrote golden/net\n"
    assert {"golden/net/run.txt", "golden/net/outputs.toml"} <= net.listing().keys()
    assert "net.onnx" in net.ok("golden", "list")
    assert [record["name"] for record in net("golden", "list", "--json").json()["records"]] == ["net"]
    assert net.ok("golden", "check", "net", "net.onnx").endswith("golden net holds\n")
    ended = net("golden", "check", "net", "near.onnx")
    assert (ended.code, ended.err) == (1, "")
    assert ended.out.endswith("golden net does not hold\n")
    assert "run.txt: another graph" in ended.out and "output 'z' is gone" in ended.out
    found = net("golden", "check", "net", "near.onnx", "--json")
    assert found.code == 1 and found.json()["ok"] is False and found.json()["records"][0]["faults"]
    before = net.listing()
    assert "exists in 'golden'" in net.refused("golden", "record", "net", "near.onnx")
    assert net.listing() == before, "only update replaces a record"
    net.ok("golden", "update", "net", "near.onnx", "--yes")
    assert net.ok("golden", "check", "net", "near.onnx").endswith("golden net holds\n")
    assert net("golden", "check", "net", "net.onnx").code == 1


def test_golden_in_another_folder_with_a_feed(net: Cli) -> None:
    np.savez(net.folder / "f.npz", x=np.ones((1, 3, 8, 16), np.float32))
    np.savez(net.folder / "g.npz", x=np.zeros((1, 3, 8, 16), np.float32))
    net.ok("golden", "record", "net", "net.onnx", "--feed", "f.npz", "--dir", "records")
    assert net.ok("golden", "list", "--dir", "records").splitlines()[1].startswith("net ")
    net.ok("golden", "check", "net", "net.onnx", "--feed", "f.npz", "--dir", "records")
    assert "recorded on the feed 'f.npz'; give it with --feed" in net.refused(
        "golden", "check", "net", "net.onnx", "--dir", "records"
    )
    assert "recorded on another feed" in net.refused(
        "golden", "check", "net", "net.onnx", "--feed", "g.npz", "--dir", "records"
    )


def test_golden_records_a_shape(cli: Cli) -> None:
    cli.save("m.onnx", RELU.replace("[1,3]", "[N,3]"))
    cli.ok("golden", "record", "m", "m.onnx", "--shape", "x:5,3", "--seed", "3")
    assert "shape = [5, 3]" in (cli.folder / "golden/m/outputs.toml").read_text()
    cli.ok("golden", "check", "m", "m.onnx")
