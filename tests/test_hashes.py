"""Numbers of what tensors compute, tensors that are recorded, and graphs that run in pieces."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import helper, numpy_helper
from test_passes_random import subject

from graphtool.cases import model_of
from graphtool.graph import Graph
from graphtool.parity import record as recording
from graphtool.parity.cone import Cones
from graphtool.parity.hashes import Against, Numbers
from graphtool.parity.metrics import equal
from graphtool.parity.parts import View, part, run_part
from graphtool.parity.record import record
from graphtool.parity.session import Session
from graphtool.parity.tape import Tape

NUMBERS = Numbers()


def number(text: str, name: str = "y", opset: int = 17) -> int | None:
    """Return the number of a tensor; one universe for all tests."""
    graph = model_of(text, opset)
    return NUMBERS.of(graph, {value.name: value.name for value in graph.inputs}, {}).number(name)


ONE = "g (float[4,8] x) => (float[4,8] y) <float[8] w = {1,2,3,4,5,6,7,8}> { a = Add(x, w) y = Softmax<axis=1>(a) }"


@pytest.mark.parametrize(
    "same",
    [
        ONE.replace("a =", "other =").replace("(a)", "(other)"),
        ONE.replace("y = Softmax", "[called] y = Softmax"),
        ONE.replace("w", "v"),
        ONE.replace("a = Add(x, w)", "i = Identity(x) a = Add(i, w)"),
        ONE.replace("y = Softmax<axis=1>(a)", "y = Softmax<axis=1>(a) z = Neg(a)"),
        ONE.replace("a =", f"{'long' * 40} =").replace("(a)", f"({'long' * 40})"),
    ],
)
def test_names_and_what_is_elsewhere_do_not_count(same: str) -> None:
    assert number(same) == number(ONE)


@pytest.mark.parametrize(
    "other",
    [
        ONE.replace("axis=1", "axis=0"),
        ONE.replace("Softmax", "LogSoftmax"),
        ONE.replace("Add(x, w)", "Add(w, x)"),
        ONE.replace("6,7,8", "6,7,9"),
        ONE.replace("a = Add(x, w)", "n = Neg(x) a = Add(n, w)"),
        ONE.replace("float[4,8] x", "float[4,8] z").replace("Add(x", "Add(z"),
    ],
)
def test_what_a_tensor_is_computed_from_and_how_counts(other: str) -> None:
    assert number(other) != number(ONE)


def test_the_operator_set_counts() -> None:
    assert number(ONE, opset=17) != number(ONE, opset=18)


def test_outputs_of_one_node_are_told_apart_and_an_absent_input_is_none() -> None:
    text = "g (float[4,8] x) => (float[4,4] y, float[4,4] z) {{ y, z = Split<axis=1, num_outputs=2>({}) }}"
    assert number(text.format("x"), opset=18) != number(text.format("x"), "z", opset=18)
    clip = "g (float[4] x) => (float[4] y) <float k = {1}> { y = Clip(x, %s) }"
    assert number(clip % "k") != number(clip % ", k")


def test_what_a_body_captures_counts() -> None:
    text = """g (float[4] x, bool c) => (float[4] y) { a = OP(x) y = If(c) <
      then_branch = t () => (float[4] p) { p = Neg(a) }, else_branch = e () => (float[4] q) { q = Identity(a) }> }"""
    assert number(text.replace("OP", "Abs")) == number(text.replace("OP", "Abs"))
    assert number(text.replace("OP", "Abs")) != number(text.replace("OP", "Exp"))


def test_a_large_weight_is_known_by_its_place_and_one_in_memory_by_its_bytes(tmp_path: Path) -> None:
    text = "g (float[4,600] x) => (float[4,600] y) <float[600] w> { y = Add(x, w) }"
    model_of(text, 17).save(tmp_path / "a.onnx")
    graph = Graph.load(tmp_path / "a.onnx")
    inputs = {"x": "x"}
    first = NUMBERS.of(graph, inputs, {}).number("y")
    assert NUMBERS.of(graph.copy(), inputs, {}).number("y") == first
    assert number(text) == number(text), "the same seeded numbers"
    other = graph.copy()
    other.node(0).input[1] = other.add_initializer("w", graph.array(graph.initializers["w"]) + 1)
    assert NUMBERS.of(other, inputs, {}).number("y") != first


def test_a_change_ends_where_a_name_is_met_again() -> None:
    text = "g (float[4] x) => (float[4] y) { a = Neg(x) b = Exp(a) c = Tanh(b) y = Abs(c) }"
    before, after = model_of(text, 17), model_of(text.replace("b = Exp(a)", "s = Sqrt(a) b = Exp(s)"), 17)
    known = NUMBERS.of(before, {"x": "x"}, {})
    found = NUMBERS.of(after, {"x": "x"}, {}, Against(known))
    assert found.changed == [1, 2] and found.seen("y") == known.seen("y")
    assert found.number("b") != known.number("b") and found.seen("b") == known.seen("b")
    gone_on = NUMBERS.of(after, {"x": "x"}, {}, Against(known, refuted=frozenset({"b"})))
    assert gone_on.changed == [1, 2, 3] and gone_on.seen("y") == known.seen("y")


def test_equal_numbers_mean_equal_values() -> None:
    """On random graphs: wherever two tensors have one number, they hold the same."""
    for seed in range(12):
        graph, (feed, _) = subject(seed).graph, subject(seed).runs[0]
        numbered = Numbers().of(graph, {name: name for name in feed}, {})
        names = [name for node in graph.nodes for name in node.output if name]
        ran = Session(graph, outputs=names).run(feed)
        known: dict[int, str] = {}
        for name in names:
            other = known.setdefault(numbered.number(name) or 0, name)
            assert equal(ran[name], ran[other]), (seed, name, other)


# -- tensors that are recorded


@settings(max_examples=40, deadline=None, derandomize=True)
@given(st.lists(st.sampled_from([(3,), (0, 2), (), (5, 4), (1, 7, 2)]), min_size=1, max_size=12), st.integers(0, 200))
def test_what_is_recorded_comes_back(shapes: list[tuple[int, ...]], memory: int) -> None:
    tape = Tape(memory, 1 << 20)
    arrays = [np.random.default_rng(n).normal(size=shape).astype("f4") for n, shape in enumerate(shapes)]
    assert all(tape.put(n, array) for n, array in enumerate(arrays))
    for n, array in enumerate(arrays):
        back = tape.get(n)
        assert back is not None and back.dtype == array.dtype and np.array_equal(back, array)
    assert sum(array.nbytes for array in arrays) - tape.spilled <= memory and tape.get(99) is None


def test_spilled_tensors_leave_no_name_in_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    tape = Tape(memory=0)
    assert tape.put(1, np.ones(1000)) and tape.spilled == 8000
    assert list(tmp_path.iterdir()) == []


def test_what_does_not_fit_and_what_is_no_number_is_not_recorded() -> None:
    tape = Tape(memory=8, disk=16)
    assert not tape.put(1, np.array(["a"], object)) and not tape.put(2, np.ones(3))
    assert tape.put(3, np.ones(2)) and not tape.put(4, np.ones(2)) and tape.put(5, np.ones(1))
    assert not tape.put(6, np.ones(1), spill=False)


def test_a_full_disk_ends_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(**_: object) -> None:
        raise OSError(28, "no space left")

    monkeypatch.setattr(tempfile, "TemporaryFile", full)
    assert not Tape(memory=0).put(1, np.ones(3))


# -- graphs that run in pieces


@pytest.mark.parametrize("held", [0, 1 << 20])
def test_pieces_compute_what_the_whole_computes(monkeypatch: pytest.MonkeyPatch, held: int) -> None:
    monkeypatch.setattr(recording, "_PIECE", 0.1)
    monkeypatch.setattr(recording, "HELD", held)
    pieces = 0
    for seed in range(20):
        graph, (feed, outputs) = subject(seed).graph, subject(seed).runs[0]
        cones = Cones(graph, feed)
        if not cones.on:
            continue
        before = Session.work.runs
        found = record(cones.before, feed, cones.tape, list(outputs))
        pieces = max(pieces, Session.work.runs - before)
        assert list(found) == list(outputs)
        assert all(equal(found[name], outputs[name]) for name in outputs), seed
    assert pieces > 3


def test_a_part_runs_on_what_it_is_given() -> None:
    graph = model_of(
        "g (float[2] x) => (float[2] y) { a = Neg(x) b = Exp(a) c = Constant<value_float=2.0>() y = Mul(b, c) }", 17
    )
    view = View(graph, NUMBERS.of(graph, {"x": "x"}, {}))
    found = run_part(view, [3], {"b": np.array([1, 2], np.float32)}, ["y"])
    assert found["y"].tolist() == [2, 4]


def test_weights_of_a_part_stay_where_they_are() -> None:
    weight = numpy_helper.from_array(np.ones(1000, np.float32), "w")
    node = helper.make_node("Add", ["x", "w"], ["y"])
    info = [helper.make_tensor_value_info(name, 1, [1000]) for name in "xy"]
    graph = Graph.from_proto(helper.make_model(helper.make_graph([node], "g", info[:1], info[1:], [weight])))
    view = View(graph, NUMBERS.of(graph, {"x": "x"}, {}))
    own = part(view, [0], {"x": np.ones(1000, np.float32)}, ["y"])
    assert len(own.proto.SerializeToString()) < 500, "a marker, and no number"
