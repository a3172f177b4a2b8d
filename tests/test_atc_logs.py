"""Logs of ATC, answered with cause, pass and node; and the vendor's white list, patched and put back."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from clirun import Cli

from graphtool.atc import logs
from graphtool.atc.patch import shapes_of
from graphtool.atc.suspects import suspects
from graphtool.data import data_dir
from graphtool.graph import Graph

GUIDE = """ATC start working now, please wait for a moment.
=================================
ntc dst shape: [1, 19, 64, 128]
=================================
ntc dst shape: [1, 19, 64, 128]
ATC run success, welcome to the next use.
W11001: High-priority service of op[PartitionedCall_AvgPool_45_2] is invalid, low-priority service is used. It can \
work normally but may affect performance.
W11001: High-priority service of op[PartitionedCall_AvgPool_52_6] is invalid, low-priority service is used.
"""
POOLS = """<ir_version: 8, opset_import: ["": 11]>
g (float[1,19,64,128] x) => (float[1,19,64,128] y, float[1,19,1,1] a, float[1,19,2,2] b, float[1,19,3,3] c,
  float[1,19,6,6] d, float[1,32,1,1] e, float[1,19] f) <float[32,19,1,1] w, int64[2] s = {1,19}> {
 [AveragePool_199] a = AveragePool<kernel_shape=[64,128], strides=[64,128]>(x)
 [AveragePool_216] b = AveragePool<kernel_shape=[16,32], strides=[48,63]>(x)
 [AveragePool_233] c = AveragePool<kernel_shape=[12,22], strides=[10,21]>(x)
 [AveragePool_250] d = AveragePool<kernel_shape=[7,14], strides=[5,10]>(x)
 [Conv_12] t = Conv(a, w)  [Relu_13] e = Relu(t)  [Reshape_14] f = Reshape(a, s)  [Mul_105] y = Mul(x, x)
}"""
VENDOR = """def five_2_four(src, dst, src_format, dst_format, kernel_name):
    if dst_format.lower() == "nhwc" and dst_shape in [[100, 28, 28, 91]]:
        pass
    elif dst_format.lower() == "nchw" and dst_shape in [[2560, 512, 4, 26],
                                                        [16, 120, 14, 14]]:
        trans_data_negative_target_ntc.trans_data_negative_target_ntc(src, dst)
"""


@pytest.fixture
def cli(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cli:
    monkeypatch.chdir(tmp_path)
    return Cli(tmp_path)


@pytest.fixture
def graph(cli: Cli) -> Graph:
    return Graph.load(cli.save("pools.onnx", POOLS))


def nodes(text: str, graph: Graph) -> list[tuple[str, str]]:
    (seen,) = logs.read(text).seen
    return [(one.node, one.certainty) for one in suspects(seen, graph)]


def test_every_code_has_fix_and_source() -> None:
    assert len(logs.codes()) >= 50
    shipped = {path.stem for path in data_dir("passes").glob("*.toml")}
    for one in logs.codes().values():
        assert one.title and one.fix and one.source and set(one.passes) <= shipped, one.code
    assert {"E10001", "E10016", "EZ9010", "EZ3003", "W11001", "E19025", "E90003"} <= logs.codes().keys()


def test_the_guides_log(graph: Graph) -> None:
    log = logs.read(GUIDE)
    assert (log.ended, log.shapes) == ("success", {(1, 19, 64, 128): 2})
    assert [(one.code, one.op) for one in log.seen] == [
        ("W11001", "PartitionedCall_AvgPool_45_2"), ("W11001", "PartitionedCall_AvgPool_52_6")
    ]  # fmt: skip
    found = suspects(log.seen[0], graph)
    assert [(one.node, one.certainty) for one in found] == [
        ("AveragePool_216", "likely"), ("AveragePool_233", "likely"), ("AveragePool_199", "possible"),
        ("AveragePool_250", "possible"),
    ]  # fmt: skip
    assert "carries no ONNX name" in found[0].reason and "window 16x32" in found[0].reason
    assert "global, which the AI Core takes" in found[2].reason and "within the limits" in found[3].reason
    assert "avg_pool_to_matmul" in found[0].passes


@pytest.mark.parametrize(
    "text",
    [
        "not support ksize[2] 12 * ksize[3] *ksize 22 > 255 or strides[2] 10 > 63 strides[3] 21 > 63",
        "[ERROR] not support ksize[2] 12 * ksize[3] 22 > 255 or strides[2] 10 > 63 strides[3] 21 > 63, x",
    ],
)
def test_the_pool_message_in_both_spellings(text: str, graph: Graph) -> None:
    assert nodes(text, graph) == [
        ("AveragePool_233", "certain"), ("AveragePool_199", "possible"), ("AveragePool_216", "possible")
    ]  # fmt: skip


def test_names_are_followed(graph: Graph) -> None:
    assert nodes("W11001: service of op[AveragePool_250] is invalid", graph) == [("AveragePool_250", "certain")]
    assert nodes("W11001: service of op[Conv_12Relu_13] is invalid", graph) == [
        ("Conv_12", "likely"), ("Relu_13", "likely")
    ]  # fmt: skip
    assert nodes("EZ3003: No supported Ops kernel and engine are found for [Node][Mul_105/Gelu]", graph) == []
    assert nodes("EZ3002: Op [Mul_105/Gelu] Optype [Gelu] of Ops kernel [AICORE] is unsupported", graph) == [
        ("Mul_105", "likely")
    ]
    assert nodes("E10016: Opname [AveragePool_251] specified in --out_nodes is not found", graph)[0][1] == "possible"
    assert nodes("E90003: Compile op[Conv_1] failed", graph) == [("Conv_12", "possible")]  # not 'Conv_1' in 'Conv_12'


def test_unregistered_operators_name_their_pass() -> None:
    (seen,) = logs.read("E19010: No parser is registered for Op [lp, optype [ai.onnx::11::Loop]].").seen
    assert (seen.op, seen.op_type, seen.passes[0]) == ("lp", "ai.onnx::11::Loop", "unroll_loops")
    (seen,) = logs.read("[ERROR] EZ9010: x\r\n[ERROR] EZ9010: x\r\n").seen
    assert (seen.count, seen.line) == (2, 1)


def test_codes_in_words_are_no_codes() -> None:
    for text in ("", "AE10001", "E1000", "E100011", "sha1 E1_0001", "deadE10001f"):
        assert logs.read(text).seen == [], text
    (seen,) = logs.read("W19999: who knows").seen
    assert seen.known is None


def test_the_command(cli: Cli, graph: Graph) -> None:
    cli.write("atc.log", GUIDE)
    out = cli.ok("atc", "diagnose", "atc.log", "pools.onnx", "--batch", "1,4")
    assert "likely: AveragePool_216 (AveragePool)" in out and "ATC run success" in out
    assert "five_2_four: [1, 19, 64, 128] took the patched way 2 times" in out
    assert "five_2_four: no line for [4, 19, 64, 128]" in out and "source: GE engine_manager" in out
    data = cli("atc", "diagnose", "atc.log", "--json").json()
    assert data["ended"] == "success" and data["messages"][0]["known"] and data["messages"][0]["nodes"] == []
    cli.write("empty.log", "all is well")
    assert "nothing in it that is known" in cli.ok("atc", "diagnose", "empty.log")
    assert "No such file" in cli.refused("atc", "diagnose", "none.log")


# -- five_2_four.py


def test_shapes_of_outputs(graph: Graph) -> None:
    shapes, notes = shapes_of(graph, (1, 4), ["Mul_105"])
    assert shapes == [(1, 19, 64, 128), (4, 19, 64, 128)] and notes == []
    every, notes = shapes_of(graph, ())
    assert (1, 19, 1, 1) in every and (1, 32, 1, 1) not in every
    assert any("another kernel" in note for note in notes) and any("no four dimensions" in note for note in notes)


def test_a_patch_is_a_diff_written_and_put_back(cli: Cli, graph: Graph, tmp_path: Path) -> None:
    cli.write("p.toml", 'extends="ascend310"\ncann="5.0.2.alpha003"\nbatches=[1,4]\n[options]\nout_nodes="Mul_105:0"')
    for end in ("\n", "\r\n"):
        text = VENDOR.replace("\n", end)
        cli.write("five_2_four.py", text)
        words = ("atc", "patch", "five_2_four", "pools.onnx", "five_2_four.py", "--profile", "p.toml")
        diff = cli(
            "atc", "patch", "five_2_four", "pools.onnx", "five_2_four.py", "--profile", "p.toml", "--json"
        ).json()["diff"]
        assert Path("five_2_four.py").read_bytes().decode() == text
        assert "wrote five_2_four.py" in cli.ok(*words, "--write")
        after = Path("five_2_four.py").read_bytes().decode()
        assert after == text.replace("14, 14]]:", "14, 14], [1, 19, 64, 128], [4, 19, 64, 128]]:")
        assert "[1, 19, 64, 128] is in the list already" in cli.ok(*words, "--write")  # a second time: nothing
        assert Path("five_2_four.py").read_bytes().decode() == after
        cli.ok(*words, "--revert")
        assert Path("five_2_four.py").read_bytes().decode() == text
        assert "was not patched by graphtool" in cli.refused(*words, "--revert")
        if end == "\n":
            cli.write("p.diff", cli.ok(*words))
            done = subprocess.run(
                ["patch", "-p1", "-i", "p.diff"], cwd=tmp_path, capture_output=True, text=True, check=False
            )
            assert done.returncode == 0 and Path("five_2_four.py").read_text() == after, (done, diff)
    cli.write("five_2_four.py", VENDOR)
    cli.ok(*words, "--write", "--print")
    cli.ok(*words, "--write", "--print")
    assert Path("five_2_four.py").read_text().count('        print("ntc dst shape:", dst_shape)\n') == 1


def test_where_it_is_not_applicable(cli: Cli, graph: Graph) -> None:
    cli.write("five_2_four.py", VENDOR)
    words = ("atc", "patch", "five_2_four", "pools.onnx", "five_2_four.py", "--batch", "1")
    for cann in ("5.0.3", "6.0.1", "8.0.RC1"):
        assert f"not applicable: CANN {cann} does not call five_2_four" in cli.refused(*words, "--cann", cann)
    assert "is consulted in 5.0.1 and 5.0.2 only" in cli.ok(*words)
    cli.write("trans_data.py", "def trans_data():\n    trans_data_negative_target_ntc()\n")
    assert "'trans_data.py' does not call five_2_four" in cli.refused(*words)
    cli.write("trans_data.py", "five_2_four.five_2_four(src, dst)\n")
    assert "is not known" not in cli.ok(*words)
    for text in ("", VENDOR.replace("nchw", "nc1hwc0"), VENDOR.replace("[2560, 512, 4, 26]", "shape()")):
        cli.write("five_2_four.py", text)
        assert "five_2_four.py'" in cli.refused(*words)
    cli.write("five_2_four.py", VENDOR.replace("[2560, 512, 4, 26]", "[x, 512]"))
    assert "not one of numbers" in cli.refused(*words)
    assert "No such file" in cli.refused("atc", "patch", "five_2_four", "pools.onnx", "none.py")
    message = cli.refused("atc", "patch", "five_2_four", "pools.onnx", cli.write("five.py", b"\x96\xff"))
    assert message == "'five.py': not a text; give the vendor's five_2_four.py"
