"""Sequences and optionals as inputs: drawn, read from files, run, judged, and kept in what reproduces a failure."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import onnx
import pytest
from clirun import Cli, child
from onnx import OptionalProto, SequenceProto, TensorProto, numpy_helper
from onnx.backend.test.case.node import collect_testcases

from graphtool import api
from graphtool.cases import model_of
from graphtool.errors import FeedError, GraphtoolError, PromiseError
from graphtool.golden.data_set import check_test_data_set, write_test_data_set
from graphtool.graph import Graph
from graphtool.parity.budget import parse_budget
from graphtool.parity.containers import ABSENT, boxed, inputs_of, is_absent, is_sequence
from graphtool.parity.feed import Feed, draw
from graphtool.parity.feed_extremes import extremes
from graphtool.parity.feed_files import feed_from, write_npz
from graphtool.parity.metrics import equal
from graphtool.parity.noise import nudged_feed
from graphtool.parity.saved import read_outputs, write_outputs
from graphtool.parity.session import Session
from graphtool.parity.trials import plan

JOIN = "g (seq(float[N,2]) s) => (float[M,2] y) { c = ConcatFromSequence<axis=0>(s) i = Identity(c) y = Relu(i) }"
LAST = "g (seq(float[2]) s) => (seq(float[2]) t, int64 n) { i = Identity(s) t = Identity(i) n = SequenceLength(i) }"
MAYBE = """g (optional(float[N,2]) o, float[N,2] x) => (float[N,2] y) {
  h = OptionalHasElement(o) i = Identity(h)
  y = If(i) <then_branch = t () => (float[N,2] a) { e = OptionalGetElement(o) a = Add(e, x) },
             else_branch = f () => (float[N,2] b) { b = Neg(x) }> }"""
EITHER = """g (optional(seq(int64[3])) o) => (bool h, int64 m) { h = OptionalHasElement(o)
  m = If(h) <then_branch = t () => (int64 a) { e = OptionalGetElement(o) a = SequenceLength(e) },
             else_branch = f () => (int64 b) { b = Constant<value_int=-1>() }> }"""
LIE = 'summary="s"\nwhy="w"\nparity="{}"\n[[rewrite]]\nmatch="y = {}(x)"\nreplace="y = {}(x)"\n'


def shapes(array: Any) -> Any:
    """Return what an array of a feed is: its shape, None where absent, a list for a sequence."""
    return None if is_absent(array) else [item.shape for item in array] if is_sequence(array) else array.shape


# -- drawn


@pytest.mark.parametrize(
    ("text", "usual", "other"),
    [(JOIN, {"s": [(2, 2)] * 3}, {"s": [(1, 2)]}),
     (MAYBE, {"o": (2, 2), "x": (2, 2)}, {"o": None, "x": (1, 2)}),
     (EITHER, {"o": [(3,)] * 3}, {"o": None})],
)  # fmt: skip
def test_a_drawn_feed_has_both_forms_and_runs(text: str, usual: Any, other: Any) -> None:
    graph = model_of(text, 18)
    found = [draw(graph), draw(graph, 1, variant=1)]
    assert [{name: shapes(array) for name, array in feed.arrays.items()} for feed in found] == [usual, other]
    for feed in found:
        Session(graph).run(feed.arrays)
    assert equal(found[0].arrays[next(iter(usual))], draw(graph).arrays[next(iter(usual))])


def test_the_tensors_of_a_sequence_differ_and_have_the_shape_that_is_asked_for() -> None:
    graph = model_of(JOIN, 18)
    one, two, three = draw(graph, shapes={"s": (4, 2)}, ranges={"s": (1, 2)}).arrays["s"]
    assert one.shape == (4, 2) and not equal(one, two) and not equal(two, three) and one.min() >= 1
    with pytest.raises(FeedError, match=r"--shape s:4,3: dimension 1 is fixed to 2"):
        draw(graph, shapes={"s": (4, 3)})


def test_a_sequence_of_tensors_of_any_rank() -> None:
    model = model_of(LAST, 18).full_proto()
    model.graph.input[0].type.sequence_type.elem_type.tensor_type.ClearField("shape")
    assert shapes(draw(Graph.from_proto(model)).arrays["s"]) == [(2, 3)] * 3


def test_indices_in_a_sequence_lie_in_their_table() -> None:
    graph = model_of("g (seq(int64[9]) s, float[4,2] t) => (float[9,2] y) <int64 k = {1}> "
                     "{ e = SequenceAt(s, k) y = Gather(t, e) }", 18)  # fmt: skip
    assert max(item.max() for item in draw(graph).arrays["s"]) < 4
    Session(graph).run(draw(graph).arrays)


def test_a_feed_says_how_many_and_what_is_absent() -> None:
    texts = [trial.feed.text() for trial in plan(model_of(MAYBE, 18))]
    assert texts == ["drawn with seed 0, N=2", "drawn with seed 1, N=1, o absent"]
    assert draw(model_of(EITHER, 18)).text() == "drawn with seed 0, o of 3"


def test_extremes_reach_into_sequences_and_one_is_empty() -> None:
    graph = model_of(JOIN, 18)
    found = {feed.recipe["source"]: feed for feed in extremes(graph, draw(graph))}
    assert list(found) == ["zeros", "large", "negative", "empty"]
    assert all(not item.any() for item in found["zeros"].arrays["s"])
    assert all(item.max() < 0 for item in found["negative"].arrays["s"])
    assert shapes(found["empty"].arrays["s"]) == [] and found["empty"].text().endswith("s of 0")
    absent = draw(model_of(EITHER, 18), variant=1)
    assert extremes(model_of(EITHER, 18), absent) == []


def test_noise_reaches_into_sequences() -> None:
    arrays = draw(model_of(JOIN, 18)).arrays
    nudged = nudged_feed({**arrays, "o": ABSENT}, 0, 1)
    assert is_absent(nudged["o"])
    assert all(0 < np.abs(a - b).max() < 1e-6 for a, b in zip(arrays["s"], nudged["s"], strict=True))


# -- judged


@pytest.mark.parametrize(
    ("text", "op", "wrong"),
    [(JOIN, "Relu", "Abs"), (MAYBE, "OptionalGetElement", None), (MAYBE, "Neg", "Exp")],
    ids=["sequence", "present", "absent"],
)
def test_a_wrong_rewrite_is_caught(text: str, op: str, wrong: str | None, tmp_path: Path) -> None:
    state = api.run(model_of(text, 18), "remove_identity")
    verdict = state.steps[0].verdict
    assert verdict is not None and verdict.rule == "equal" and state.notes == []
    lie = tmp_path / "lie.toml"
    lie.write_text(
        LIE.format("exact", op, wrong) if wrong else LIE.format("exact", "Add", "Sub").replace("(x)", "(x, w)")
    )
    with pytest.raises(PromiseError, match="output 'y'"):
        api.run(model_of(text, 18), str(lie))


def test_rounding_in_a_sequence_is_held_to_noise(tmp_path: Path) -> None:
    text = ("g (float[1,64] x) => (seq(float[1,4]) y) <float[64,8] w, int64 k = {4}> "
            "{ m = MatMul(x, w) r = Relu(m) y = SplitToSequence<axis=1>(r, k) }")  # fmt: skip
    graph = model_of(text, 17)
    w = np.random.default_rng(0).normal(size=(64, 8)).astype(np.float32)
    graph = api.load(_saved(graph, {"w": w}, tmp_path))
    apart = 'm = MatMul(x, w) y = Relu(m)"\nreplace="a = MatMul(x, h) b = MatMul(x, l) c = Add(a, b) y = Max(c, z)"\n'
    good, bad = tmp_path / "good.toml", tmp_path / "bad.toml"
    head = 'summary="s"\nwhy="w"\nparity="close"\n[[rewrite]]\nmatch="'
    good.write_text(f'{head}{apart}let={{ z="float32(0)", h="w * float32(0.3)", l="w - w * float32(0.3)" }}\n')
    bad.write_text(f'{head}{apart}let={{ z="float32(0)", h="w * float32(0.3)", l="w * float32(0.7001)" }}\n')
    verdict = api.run(graph, str(good)).steps[0].verdict
    assert (
        verdict is not None and verdict.rule == "noise" and 0 < verdict.figures["y"].max_abs <= verdict.tolerance["y"]
    )
    with pytest.raises(PromiseError, match=r"output 'y': error .* times what noise explains"):
        api.run(graph, str(bad))


def test_labels_in_a_sequence_are_no_ties(tmp_path: Path) -> None:
    text = "g (float[1,9] x) => (seq(int64[1]) y) { a = ArgMax<axis=1>(x) y = SequenceConstruct(a, a) }"
    lie = tmp_path / "lie.toml"
    lie.write_text(
        'summary="s"\nwhy="w"\nparity="close"\n[[rewrite]]\nmatch="y = ArgMax(x)"\nreplace="y = ArgMin(x)"\n'
    )
    with pytest.raises(PromiseError, match="output 'y': 2 of 2 values changed"):
        api.run(model_of(text, 17), str(lie))


def _saved(graph: Graph, weights: dict[str, Any], folder: Path) -> Path:
    model = graph.full_proto()
    for tensor in model.graph.initializer:
        if tensor.name in weights:
            tensor.CopyFrom(numpy_helper.from_array(weights[tensor.name], tensor.name))
    onnx.save(model, folder / "m.onnx")
    return folder / "m.onnx"


def test_from_python_a_list_is_a_sequence_and_none_is_absent() -> None:
    two = [np.ones((1, 2), np.float32), np.zeros((3, 2), np.float32)]
    assert api.run(model_of(JOIN, 18), "remove_identity", feed={"s": two}).steps[0].status == "applied"
    x = np.ones((1, 2), np.float32)
    assert api.run(model_of(MAYBE, 18), "remove_identity", feed={"o": None, "x": x}).steps[0].status == "applied"
    for feed, message in (
        ({"s": [x.astype(np.int64)]}, r"input 's' is sequence\(float32\[N,2\]\), not int64\[1, 2\]"),
        ({"s": None}, "what the feed has for input 's' is no sequence of arrays"),
        ({}, r"the feed has nothing for input 's', sequence\(float32\[N,2\]\)"),
    ):
        with pytest.raises(FeedError, match=message):
            api.run(model_of(JOIN, 18), "remove_identity", feed=feed)


def test_with_types_that_python_hands_over_one_by_one_the_evaluator_stands_in() -> None:
    graph = model_of("g (seq(float[2]) s, bfloat16[3] b) => (seq(float[2]) t, bfloat16[3] c) "
                     "{ t = Identity(s) c = Identity(b) }", 17)  # fmt: skip
    state = api.run(graph, "remove_identity")
    assert any("makes no value of its own of a sequence: ONNX's reference evaluator ran it" in n for n in state.notes)


# -- files


def filled(folder: Path, feed: dict[str, Any]) -> Path:
    write_npz(folder / "f.npz", feed)
    return folder / "f.npz"


@pytest.mark.parametrize(
    ("text", "feed"),
    [(JOIN, {"s": boxed([np.ones((1, 2), np.float32), np.zeros((4, 2), np.float32)])}),
     (JOIN, {"s": boxed([])}),
     (MAYBE, {"o": ABSENT, "x": np.ones((2, 2), np.float32)}),
     (MAYBE, {"o": np.ones((2, 2), np.float32), "x": np.ones((2, 2), np.float32)}),
     (EITHER, {"o": ABSENT}), (EITHER, {"o": boxed([])}), (EITHER, {"o": boxed([np.arange(3)])}),
     ("g (seq(string[2]) s) => (int64 n) { n = SequenceLength(s) }", {"s": boxed([np.array(["a", "é"], object)])}),
     ("g (string[N] s) => (string[N] n) { n = Identity(s) }", {"s": boxed([])}),
     ("g (bfloat16 s) => (bfloat16 n) { n = Identity(s) }", {"s": np.array(3, ml_dtypes.bfloat16)}),
     ("g (int4[3] s) => (int4[3] n) { n = Identity(s) }", {"s": np.array([-8, 7, 1], ml_dtypes.int4)}),
     ("g (uint4[N] s) => (uint4[N] n) { n = Identity(s) }", {"s": np.array([15, 0, 9], ml_dtypes.uint4)})],
)  # fmt: skip
def test_a_feed_comes_back_from_files(text: str, feed: dict[str, Any], tmp_path: Path) -> None:
    graph = model_of(text, 21)
    for path in (filled(tmp_path, feed), _data_set(tmp_path / "test_data_set_0", graph, feed)):
        back = feed_from(path, graph).arrays
        assert back.keys() == feed.keys()
        for name, array in feed.items():
            assert is_absent(back[name]) == is_absent(array) and shapes(back[name]) == shapes(array)
            assert equal(back[name], array)


def _data_set(folder: Path, graph: Graph, feed: dict[str, Any]) -> Path:
    outputs = {value.name: np.zeros(1, np.float32) for value in graph.outputs}
    write_test_data_set(folder, graph, Feed(feed), outputs)
    return folder


def entry(name: str, array: Any) -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        np.savez(folder / "f.npz", **{name: array})
        return folder / "f.npz"

    return write


def proto(message: Any) -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        (folder / "s.pb").write_bytes(message.SerializeToString())
        return folder / "s.pb"

    return write


FAR = numpy_helper.from_array(np.ones((1, 2), np.float32))
FAR.data_location = TensorProto.EXTERNAL
ONES = np.ones((1, 2), np.float32)


@pytest.mark.parametrize(
    ("text", "write", "message"),
    [(JOIN, entry("s", ONES), "input 's' is sequence(float32[N,2]), which needs an .npz with 's[0]', 's[1]' ..."),
     (JOIN, entry("s[1]", ONES), "it has items of input 's', and no 's[0]'"),
     (JOIN, entry("s[0]", np.ones((1, 3), np.float32)), "input 's[0]' is float32[N,2], found float32[1,3]"),
     (JOIN, entry("s[]", np.array("absent")), "'s[]' of input 's', sequence(float32[N,2]), must be the text 'empty'"),
     (JOIN, entry("t[0]", ONES), "the model has no input 't[0]'"),
     (JOIN, entry("s[999999999]", ONES), "it has items of input 's', and no 's[0]'"),
     (EITHER, entry("o[]", np.array([1])), "must be the text 'absent' or 'empty'"),
     (MAYBE, entry("o[0]", ONES), "the model has no input 'o[0]'; it has 'o', 'x'"),
     (JOIN, proto(numpy_helper.from_list([[ONES]])), "not a sound SequenceProto file: it is no sequence of tensors"),
     (JOIN, proto(SequenceProto(elem_type=1, tensor_values=[FAR])), "its data lies in another file, which is not read"),
     (JOIN, proto(numpy_helper.from_list([ONES, ONES.astype(np.float64)])), "input 's[1]' is float32[N,2], found"),
     (EITHER, proto(numpy_helper.from_optional(ONES)), "not a sound OptionalProto file: it holds no sequence"),
     (EITHER, proto(OptionalProto(elem_type=9999)), "not a sound OptionalProto file: it holds no sequence"),
     ("g (map(int64, float) s) => (float y) { y = Identity(s) }", proto(FAR),
      "input 's' is of type map; only tensors, and sequences and optionals of them, can be read")],
)  # fmt: skip
def test_files_that_do_not_fit(text: str, write: Callable[[Path], Path], message: str, tmp_path: Path) -> None:
    with pytest.raises(FeedError) as caught:
        feed_from(write(tmp_path), model_of(text, 18))
    assert message in str(caught.value) and "\n" not in str(caught.value)


def test_what_an_optional_is_must_be_said(tmp_path: Path) -> None:
    with pytest.raises(FeedError, match=r"nothing for input 'o' \(optional\(float32\[N,2\]\)\)"):
        feed_from(filled(tmp_path, {"x": ONES}), model_of(MAYBE, 18))


# ONNX's own cases: sequences, optionals, and tensors of types that numpy lacks, as their test data sets have them
def _cases() -> dict[str, Any]:
    with np.errstate(all="ignore"):
        return {case.name: case for case in collect_testcases(None) if _odd(case.model)}


SMALL = {TensorProto.UINT2, TensorProto.INT2, TensorProto.UINT4, TensorProto.INT4, TensorProto.FLOAT4E2M1}


def _odd(model: onnx.ModelProto) -> bool:
    types = [info.type for info in (*model.graph.input, *model.graph.output)]
    kinds = {kind.WhichOneof("value") for kind in types}
    return kinds != {"tensor_type"} or any(kind.tensor_type.elem_type in SMALL for kind in types)


def test_the_data_sets_of_onnx_are_read_run_and_hold(tmp_path: Path) -> None:
    cases = _cases()
    assert len(cases) > 30
    for name, case in cases.items():
        graph = Graph.from_proto(case.model)
        holds = [*inputs_of(graph).values()]
        inputs, outputs = case.data_sets[0]
        feed = {held.item.name: _array(value) for held, value in zip(holds, inputs, strict=True)}
        made = {info.name: _array(value) for info, value in zip(graph.proto.graph.output, outputs, strict=True)}
        folder = tmp_path / name
        write_test_data_set(folder, graph, Feed(feed), made)
        checked = check_test_data_set(graph, folder)
        assert checked.ok, (name, checked.faults)
        step = api.run(graph, "optimize").steps[0]
        assert step.status == "unmatched" or (step.verdict is not None and step.verdict.rule == "equal"), name


def _array(value: Any) -> Any:
    if isinstance(value, TensorProto):
        return numpy_helper.to_array(value)
    return ABSENT if value is None else boxed(value) if isinstance(value, list) else np.asarray(value)


@pytest.mark.parametrize("text", [LAST, EITHER])
def test_a_data_set_of_sequences_is_held(text: str, tmp_path: Path) -> None:
    graph = model_of(text, 18)
    for number, variant in enumerate((0, 1)):
        feed = draw(graph, variant=variant)
        outputs = Session(graph).run(feed.arrays)
        folder = tmp_path / f"test_data_set_{number}"
        write_test_data_set(folder, graph, feed, outputs)
        assert check_test_data_set(graph, folder).ok
    other = {
        name: boxed([*array[:-1], array[-1] + 1]) if is_sequence(array) else array + 1
        for name, array in outputs.items()
    }
    write_test_data_set(tmp_path / "off", graph, feed, other if text is LAST else {**outputs, "m": outputs["m"] + 1})
    assert not check_test_data_set(graph, tmp_path / "off").ok


def test_a_sequence_of_another_length_in_a_data_set(tmp_path: Path) -> None:
    graph = model_of(LAST, 18)
    feed = draw(graph)
    outputs = Session(graph).run(feed.arrays)
    write_test_data_set(tmp_path / "set", graph, feed, {**outputs, "t": outputs["t"][:2]})
    (fault,) = check_test_data_set(graph, tmp_path / "set").faults
    assert fault.startswith(
        "output 't' is a sequence of float32[2], float32[2], float32[2], in the data set a sequence of"
    )


# -- what reproduces a failure, and other commands


def test_a_broken_promise_is_reproduced_with_its_sequence(cli: Cli) -> None:
    cli.save("m.onnx", JOIN, '<ir_version: 8, opset_import: ["": 18]>\n')
    cli.write("lie.toml", LIE.format("exact", "Relu", "Abs"))
    ended = cli("run", "m.onnx", "-p", "./lie.toml")
    assert ended.code == 1 and "lie broke its promise 'exact'" in ended.err
    with np.load(cli.folder / "m.repro/feed.npz") as kept:
        assert kept.files == ["s[0]", "s[1]", "s[2]"]
    again = cli("run", "m.repro/before.onnx", "-p", "./lie.toml", "--feed", "m.repro/feed.npz", "-o", "n.onnx")
    assert again.code == 1 and "lie broke its promise 'exact'" in again.err


def test_a_model_with_sequences_is_compared_recorded_and_saved(cli: Cli) -> None:
    header = '<ir_version: 8, opset_import: ["": 18]>\n'
    cli.save("m.onnx", MAYBE, header)
    cli.save("n.onnx", MAYBE.replace("Neg(x)", "Abs(x)"), header)
    assert "equal" in cli.ok("compare", "m.onnx", "n.onnx"), "the optional is there"
    write_npz(cli.folder / "absent.npz", {"o": ABSENT, "x": ONES})
    assert "more than rounding explains" in cli.apart("compare", "m.onnx", "n.onnx", "--feed", "absent.npz")
    cli.ok("golden", "record", "drawn", "m.onnx")
    cli.ok("golden", "record", "given", "m.onnx", "--feed", "absent.npz", "--data-set")
    cli.save("s.onnx", JOIN, header)
    cli.ok("golden", "record", "seq", "s.onnx")
    assert "3 held, 0 failed" in cli.ok("golden", "check")
    assert 'type = "absent"' in (cli.folder / "golden/given/outputs.toml").read_text()
    moved = model_of(JOIN.replace("y = Relu(i)", "y = Abs(i)"), 18)
    moved.save(cli.folder / "s.onnx")
    assert cli("golden", "check", "seq").code == 1


def test_outputs_of_sequences_are_saved(tmp_path: Path) -> None:
    graph = model_of(LAST, 18)
    outputs = Session(graph).run(draw(graph).arrays)
    write_outputs(tmp_path / "kept", [("f", outputs)])
    ((_, back),) = read_outputs(tmp_path / "kept")
    assert all(equal(back[name], array) for name, array in outputs.items())


def test_reduce_keeps_a_sequence_and_its_script_runs(cli: Cli) -> None:
    text = """g (seq(float[2,2]) s, float[2,2] x) => (float[2,2] y) <int64 k = {0}, int64 far = {7}> {
      a = Relu(x) [bad] e = SequenceAt(s, far) b = Add(a, e) y = Neg(b) }"""
    cli.save("m.onnx", text, '<ir_version: 8, opset_import: ["": 18]>\n')
    ended = cli("reduce", "m.onnx", "--level", "off")
    assert ended.code == 0, ended
    left = onnx.load(cli.folder / "m.reduced/model.onnx")
    assert [node.op_type for node in left.graph.node] == ["SequenceAt"]
    assert left.graph.input[0].type.WhichOneof("value") == "sequence_type"
    again = child([sys.executable, "reproduce.py"], cli.folder / "m.reduced")
    assert again.returncode == 1 and "SequenceAt" in again.stderr


def test_what_cannot_be_run_without_a_sequence_says_so() -> None:
    graph = model_of(JOIN, 18)
    with pytest.raises(GraphtoolError, match="the feed has nothing for input 's'"):
        Session(graph).run({})


def test_the_maps_of_a_classifier_are_judged_as_the_scores_that_they_are() -> None:
    weights = ", ".join(f"{number / 7 - 0.8}" for number in range(12))
    graph = model_of(
        f"""g (float[N,4] x) => (seq(map(int64, float)) p)
        <float[4,3] w = {{{weights}}}, float[3] b = {{0.3, 0.7, 0.11}}, float[3] c = {{0.123, 0.7, 0.9}}>
        {{ h = MatMul(x, w) k = Mul(h, b) l = Mul(k, c) p = ai.onnx.ml.ZipMap<classlabels_int64s = [0, 1, 2]>(l) }}""",
        17,
    )
    for passes, rule in (("optimize", "noise"), ("float16_model", "measured")):
        verdict = api.run(graph, passes, budgets=[parse_budget("p:argmax_agreement=1", "min")]).steps[0].verdict
        assert verdict is not None and verdict.rule == rule
        found = verdict.figures["p"]
        assert 0 < found.max_abs < 0.01 and found.cosine > 0.999 and found.count in (3, 6)
    assert verdict.notes == ()
