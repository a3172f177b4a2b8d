"""Types without a numpy form, strings, sequences, optionals, empty tensors: judged rightly, good and bad."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx.parser
import pytest
from clirun import Cli

from graphtool import api
from graphtool.cases import model_of
from graphtool.errors import PromiseError
from graphtool.graph import Graph
from graphtool.parity.session import Session

# a good pass leaves y as it is, and a bad one changes it: (graph, opset, the node to replace, its wrong replacement)
TYPES = {
    "bfloat16": ("g (bfloat16[2,3] x) => (bfloat16[2,3] y) { i = Identity(x) y = Neg(i) }", 17, "Neg", "Abs"),
    "float8e4m3fn": ("g (float[2,3] x) => (float8e4m3fn[2,3] y) { i = Identity(x) n = Neg(i) y = Cast<to=17>(n) }", 19,
                     "Neg", "Abs"),
    "float8e5m2": ("g (float[2,3] x) => (float8e5m2[2,3] y) { i = Identity(x) n = Neg(i) y = Cast<to=19>(n) }", 19,
                   "Neg", "Abs"),
    "float8 in": ("g (float8e5m2[2,3] x) => (float[2,3] y) { i = Identity(x) c = Cast<to=1>(i) y = Neg(c) }", 19,
                  "Neg", "Abs"),
    "int4": ("g (float[2,3] x) => (int4[2,3] y) { i = Identity(x) n = Neg(i) y = Cast<to=22>(n) }", 21, "Neg", "Abs"),
    "uint4 in": ("g (uint4[2,8] x) => (float[2,8] y) { i = Identity(x) c = Cast<to=1>(i) y = Neg(c) }", 21,
                 "Neg", "Abs"),
    "string": ("g (string[8] x) => (string[8] y) { i = Identity(x) y = StringConcat(i, x) }", 20, None, None),
    "sequence": ("g (float[4] x) => (seq(float[2]) y) <int64 s = {2}> { i = Identity(x) n = Neg(i)"
                 " y = SplitToSequence<axis=0>(n, s) }", 17, "Neg", "Abs"),
    "optional": ("g (float[4] x) => (optional(float[4]) y) { i = Identity(x) n = Neg(i) y = Optional(n) }", 18,
                 "Neg", "Abs"),
    "complex64": ("g (complex64[3] x) => (complex64[3] y) { i = Identity(x) y = Reshape(i, s) }".replace(
        "{ i", "<int64[1] s = {3}> { i"), 17, None, None),
    "int16": ("g (int16[3,2] x) => (int16[3,2] y) { i = Identity(x) y = Neg(i) }", 17, "Neg", "Abs"),
    "bool": ("g (bool[9] x) => (bool[9] y) { i = Identity(x) y = Not(i) }", 17, "Not", "Identity"),
    "empty": ("g (float[0,3] x) => (float[0,3] y) { i = Identity(x) y = Neg(i) }", 17, None, None),
    "nan": ("g (float[9] x) => (float[9] y) { i = Identity(x) y = Sqrt(i) }", 17, "Sqrt", "Abs"),
    "inf": ("g (float[9] x) => (float[9] y) <float z = {0}> { i = Identity(x) n = Neg(i) y = Div(n, z) }", 17,
            "Neg", "Abs"),
}  # fmt: skip


@pytest.mark.parametrize("name", TYPES)
def test_a_type_is_judged(name: str, tmp_path: Path) -> None:
    text, opset, op, wrong = TYPES[name]
    state = api.run(model_of(text, opset), "remove_identity")
    verdict = state.steps[0].verdict
    assert verdict is not None and verdict.rule == "equal", state.notes
    if op is None:
        return
    lie = tmp_path / "lie.toml"
    lie.write_text(
        f'summary="s"\nwhy="w"\nparity="exact"\n[[rewrite]]\nmatch="y = {op}(x)"\nreplace="y = {wrong}(x)"\n'
    )
    with pytest.raises(PromiseError, match="output 'y'"):
        api.run(model_of(text, opset), str(lie))


def test_the_reference_evaluator_stands_in_and_is_named() -> None:
    state = api.run(model_of(TYPES["bfloat16"][0].replace("Neg", "Relu"), 17), "remove_identity")
    assert any("no operator 'Relu' for these element types" in note for note in state.notes)
    assert any("ONNX's reference evaluator ran it" in note for note in state.notes)
    assert not any("reference" in note for note in api.run(model_of(TYPES["int16"][0], 17), "remove_identity").notes)


@pytest.mark.parametrize(
    ("text", "opset", "says"),
    [
        ("g (float[1,2,3,3,3,3] x) => (float[1,2,2,2,2,2] y) "
         "{ i = Identity(x) y = MaxPool<kernel_shape=[2,2,2,2]>(i) }",
         17, "(MaxPool): Unsupported pooling size: ONNX"),
        ("g (float[1,1,3,3,3] x, float[1,2,2,2,3] g) => (float[1,1,2,2,2] y) "
         '{ i = Identity(x) y = GridSample<mode="cubic">(i, g) }', 20, "Only support GridSample Cubic mode in 4-D"),
        ("g (float[1,2,4] x) => (float[1,2,1,3] y) <float[1,9,4] w, float[1,9,3] r> "
         "{ i = Identity(x) y = GRU<hidden_size=3, layout=1>(i, w, r) }", 17, "Batchwise recurrent operations"),
    ],
)  # fmt: skip
def test_it_stands_in_where_an_operator_is_there_in_other_forms_only(text: str, opset: int, says: str) -> None:
    state = api.run(model_of(text, opset), "remove_identity")
    assert state.steps[0].verdict is not None and state.steps[0].verdict.rule == "equal"
    assert any(says in note and "ONNX's reference evaluator ran it" in note for note in state.notes), state.notes


def test_it_gives_inner_tensors_and_takes_other_weights() -> None:
    graph = model_of("g (bfloat16[2] x) => (bfloat16[2] y) <bfloat16[2] w> { a = Mul(x, w) y = Relu(a) }", 17)
    x = np.ones(2, graph.array(graph.initializers["w"]).dtype)
    three = np.full(2, 3, x.dtype)
    assert Session(graph, outputs=["a"], weights={"w": three}).run({"x": x})["a"].tolist() == [3, 3]


# -- what cannot be run at all

CUSTOM = """<ir_version: 8, opset_import: ["": 17, "my": 1]>
g (float[1,3,8,8] x) => (float[1,4,8,8] y) <float[4,3,1,1] w = {1,2,3,4,5,6,7,8,9,10,11,12}> {
  [conv] c = Conv(x, w) [relu] r = Relu(c) [i] j = Identity(r) [own] y = my.Op(j) }"""


def test_matches_are_run_alone_where_the_model_cannot_be(cli: Cli) -> None:
    cli.save("m.onnx", CUSTOM)
    out = cli.ok("run", "m.onnx", "-p", "remove_identity")
    assert "the numbers of the whole model are NOT checked: onnxruntime has no operator 'my.Op'" in out
    assert "matches run alone" in out and "NOT CHECKED in numbers" not in out
    lie = 'summary="s"\nwhy="w"\nparity="{}"\n[[rewrite]]\nmatch="y = Relu(x)"\nreplace="y = Abs(x)"\n'
    for parity in ("exact", "close"):
        cli.write("lie.toml", lie.format(parity))
        ended = cli("run", "m.onnx", "-p", "./lie.toml")
        assert ended.code == 1 and "match 'relu', run alone on drawn tensors, is" in ended.err


def test_a_form_that_nothing_can_run_is_no_fault_of_the_inputs(cli: Cli) -> None:
    cli.save(  # the reference evaluator has no MoE
        "m.onnx",
        """<ir_version: 8, opset_import: ["": 17, "com.microsoft": 1]>
        g (float[4,6] x, float[4,2] p, float[2,6,8] a, float[2,8,6] b, float[2,6,8] c) => (float[4,6] y)
        { i = Identity(x) y = com.microsoft.MoE<k = 1, activation_type = "silu">(i, p, a, , b, , c) }""",
    )
    out = cli.ok("run", "m.onnx", "-p", "remove_identity")
    assert "are NOT checked: onnxruntime cannot run" in out and "not implemented" in out
    assert "input" not in cli.refused("run", "m.onnx", "-p", "remove_identity", "--max", "max_abs=1")


def test_what_is_only_looked_at_by_structure_is_said_to_be(cli: Cli) -> None:
    cli.save("m.onnx", CUSTOM)
    out = cli.ok("run", "m.onnx", "-p", "output_fp16")
    assert "structure only" in out and "NOT CHECKED in numbers: output_fp16; only structure" in out
    junit = cli("run", "m.onnx", "-p", "output_fp16", "--report", "junit:-").out
    assert 'skipped="1"' in junit and "its numbers were not checked" in junit
    report = cli("run", "m.onnx", "-p", "output_fp16", "--json").json()
    assert report["steps"][0]["verdict"]["rule"] == "structure"
    assert "--no-check" in cli.refused("run", "m.onnx", "-p", "output_fp16", "--max", "max_abs=1"), "a budget is held"


def test_from_python_it_is_no_error_either_and_a_note_says_so() -> None:
    graph = Graph(onnx.parser.parse_model(CUSTOM))
    run = api.run(graph, "remove_identity")
    assert run.ok and "NOT checked: onnxruntime has no operator 'my.Op'" in run.notes[0]
