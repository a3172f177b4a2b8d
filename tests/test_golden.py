"""Golden records: what is found, what is tolerated, and that no file however broken ends in a traceback."""

from __future__ import annotations

import tomllib
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from graphtool import golden
from graphtool.cases import model_of
from graphtool.errors import FeedError, GoldenError, ModelError
from graphtool.golden import Checked
from graphtool.golden.data_set import check_test_data_set, write_test_data_set
from graphtool.golden.graph import graph_fault, graph_lines
from graphtool.golden.outputs import judge_output, measure, sample_places
from graphtool.golden.read import from_toml
from graphtool.golden.records import to_toml
from graphtool.graph import Graph
from graphtool.parity.containers import ABSENT
from graphtool.parity.feed import Feed, draw
from graphtool.parity.feed_files import feed_from, write_npz
from graphtool.parity.noise import nudge
from graphtool.parity.session import Session
from graphtool.parity.ties import Loose

NET = """g (float[1,3,16,16] x) => (float[1,5,16,16] scores, float[1,4,16,16] features, float16[1,5,16,16] half)
  <float[4,3,3,3] w, float[4] b, float[5,4,1,1] v, float[1] k = {0.5}> {
  c = Conv<pads=[1,1,1,1], kernel_shape=[3,3]>(x, w, b)
  features = Relu(c)
  s = Conv<kernel_shape=[1,1]>(features, v)
  t = Mul(s, k)
  scores = Add(s, t)
  half = Cast<to=10>(scores)
}"""
TINY = """g (float[2,3] x) => (float[2,3] y, int64[2] label) <float[3,3] w> {{
  {first} y = Add(a, x) label = ArgMax<axis=1, keepdims=0>(y) }}"""


def net() -> Graph:
    return model_of(NET, 17)


def tiny(first: str = "a = MatMul(x, w)") -> Graph:
    return model_of(TINY.format(first=first), 17)


def recorded(folder: Path, graph: Graph, name: str = "one", feed: Feed | None = None) -> Path:
    return golden.record(name, graph, None, feed or draw(graph), folder)


def set_weight(graph: Graph, name: str, array: np.ndarray) -> Graph:
    own = graph.full_proto()
    for tensor in own.graph.initializer:
        if tensor.name == name:
            tensor.CopyFrom(numpy_helper.from_array(array, name))
    return Graph(own)


def run_text(graph: Graph) -> list[str]:
    return [line.text for line in graph_lines(graph)]


# -- round trip


def test_a_record_holds_for_its_own_graph(tmp_path: Path) -> None:
    graph = net()
    target = recorded(tmp_path, graph)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["one"], "no temporary folder is left"
    assert sorted(path.name for path in target.iterdir()) == ["outputs.toml", "run.txt"]
    before = {path: path.read_bytes() for path in target.iterdir()}
    checked = golden.check("one", net(), tmp_path)
    assert checked.ok and checked.faults == ()
    assert {name: found.error for name, found in checked.figures.items()} == {"scores": 0, "features": 0, "half": 0}
    assert checked.lines[0] == "run.txt: the same graph, 6 nodes"
    assert before == {path: path.read_bytes() for path in target.iterdir()}, "a check writes nothing"
    assert golden.list_goldens(tmp_path) == ("one",)


def test_the_same_record_is_the_same_bytes(tmp_path: Path) -> None:
    first, second = recorded(tmp_path / "a", net()), recorded(tmp_path / "b", net())
    golden.update("one", net(), None, draw(net()), tmp_path / "b")
    assert [(first / f).read_bytes() for f in ("run.txt", "outputs.toml")] == [
        (second / f).read_bytes() for f in ("run.txt", "outputs.toml")
    ]


def test_the_file_holds_every_value_to_the_last_bit(tmp_path: Path) -> None:
    graph = net()
    text = (recorded(tmp_path, graph) / "outputs.toml").read_text()
    assert to_toml(from_toml(text, "f")) == text
    kept = {output.name: output for output in from_toml(text, "f").outputs}
    found = Session(graph).run(draw(graph).arrays)
    for name, array in found.items():
        places = sample_places(name, array.size)
        assert kept[name].samples == tuple(float(v) for v in array.reshape(-1)[places])
        assert (kept[name].minimum, kept[name].maximum) == (float(array.min()), float(array.max()))
    labels = found["scores"].argmax(1)
    assert kept["scores"].histogram == {int(k): int((labels == k).sum()) for k in np.unique(labels)}
    assert kept["scores"].classes == 5 and len(kept["scores"].samples) == 64


def test_the_model_is_recorded_with_its_external_data(tmp_path: Path) -> None:
    proto = net().full_proto()
    onnx.save(proto, tmp_path / "m.onnx", save_as_external_data=True, location="w.bin", size_threshold=0)
    graph = Graph.load(tmp_path / "m.onnx")
    target = golden.record("one", graph, tmp_path / "m.onnx", draw(graph), tmp_path / "golden")
    table = tomllib.loads((target / "outputs.toml").read_text())["model"]
    assert table["file"] == "m.onnx" and set(table["sha256"]) == {"m.onnx", "w.bin"}
    # where the weights lie is no part of the graph
    assert golden.check("one", net(), tmp_path / "golden").ok


def test_open_dimensions_are_drawn_again_in_the_recorded_size(tmp_path: Path) -> None:
    text = "g (float[N,3] x, int64[N,?] i) => (float[N,3] y) <float[3,3] w> { y = MatMul(x, w) }".replace("?", "M")
    graph = model_of(text, 17)
    target = recorded(tmp_path, graph, feed=draw(graph, seed=7, shapes={"x": [4, 3]}))
    assert golden.check("one", graph, tmp_path).ok
    feed = tomllib.loads((target / "outputs.toml").read_text())["feed"]
    assert feed["seed"] == 7 and feed["dims"]["N"] == 4 and feed["input"][0]["shape"] == [4, 3]


# -- what is found


def edited(change: str) -> Graph:
    return model_of(NET.replace(*change.split(" -> ")), 17)


@pytest.mark.parametrize(
    ("change", "where"),
    [
        ("pads=[1,1,1,1], kernel -> pads=[1,1,1,1], group=1, kernel", "Conv_0"),
        ("Relu(c) -> LeakyRelu(c)", "LeakyRelu_1"),
        ("Add(s, t) -> Add(s, s)", "Add_4"),
        ("Mul(s, k) -> Div(s, k)", "Div_3"),
        ("t = Mul -> i = Identity(s) t = Mul", "Identity_3"),
        ("{0.5} -> {0.25}", "Mul_3"),
    ],
)
def test_a_changed_graph_is_found_and_the_node_named(tmp_path: Path, change: str, where: str) -> None:
    recorded(tmp_path, net())
    checked = golden.check("one", edited(change), tmp_path)
    assert not checked.ok
    assert checked.faults[0].startswith("run.txt: ") and f"node '{where}'" in checked.faults[0].splitlines()[0]
    shown = [line.strip()[0] for line in checked.faults[0].splitlines()[1:]]
    assert "+" in shown and len(shown) <= 8, "only what changed is shown"


def test_a_weight_one_ulp_off_agrees_in_numbers_and_the_fault_says_so(tmp_path: Path) -> None:
    graph = net()
    recorded(tmp_path, graph)
    weight = graph.constant("w")
    assert weight is not None
    checked = golden.check("one", set_weight(graph, "w", nudge(weight, 3, 1)), tmp_path)
    assert len(checked.faults) == 1
    head = checked.faults[0].splitlines()[0]
    what = "the same nodes and wiring, but constants have other values in 1 line"
    assert head == f"run.txt: {what}, first at line 6, node 'Conv_0'"
    assert 0 < max(found.error for found in checked.figures.values()) <= 1
    assert any("the numbers agree" in line for line in checked.lines)


@pytest.mark.parametrize("factor", [1.0001, 0.999])
def test_a_weight_off_by_more_than_noise_is_a_fault_of_every_output(tmp_path: Path, factor: float) -> None:
    graph = net()
    recorded(tmp_path, graph)
    weight = graph.constant("v")
    assert weight is not None
    checked = golden.check("one", set_weight(graph, "v", weight * np.float32(factor)), tmp_path)
    assert any("output 'scores': " in fault and "times what is allowed" in fault for fault in checked.faults)
    assert checked.figures["features"].error == 0 and checked.figures["scores"].error > 1


def test_float16_is_judged_as_finely_as_the_float32_behind_it(tmp_path: Path) -> None:
    recorded(tmp_path, net())
    weight = net().constant("v")
    assert weight is not None
    checked = golden.check("one", set_weight(net(), "v", weight * np.float32(1.01)), tmp_path)
    assert any("'half'" in fault for fault in checked.faults), (
        "1 % is within 16 eps of float16 times 8, but no rounding"
    )


def test_inputs_swapped_between_equal_nodes_are_found() -> None:
    text = "g (float[4] x, float[4] y) => (float[4] z) { a = Relu(x) b = Relu(y) c = Neg(a) z = Sub(a, b) }"
    before = run_text(model_of(text, 17))
    for change in ("Sub(b, a)", "Sub(b, b)", "Sub(a, c)"):
        fault = graph_fault(before, graph_lines(model_of(text.replace("Sub(a, b)", change), 17)))
        assert fault is not None and "'Sub_3'" in fault and len(fault.splitlines()) <= 5


def test_a_node_taken_out_does_not_show_every_line_behind_it() -> None:
    chain = "".join(f"v{n + 1} = {'Relu' if n % 3 else 'Neg'}(v{n}) " for n in range(60))
    text = f"g (float[4] v0) => (float[4] y) {{ {chain} y = Abs(v60) }}"
    shorter = text.replace("v31 = Neg(v30) ", "").replace("Relu(v31)", "Relu(v30)")
    before = run_text(model_of(text, 17))
    fault = graph_fault(before, graph_lines(model_of(shorter, 17)))
    assert fault is not None and len(fault.splitlines()) <= 8 and " -%30- = Neg(%29)" in fault.replace("   ", "")


def test_outputs_gone_new_or_of_another_type_are_faults(tmp_path: Path) -> None:
    recorded(tmp_path, net())
    graph = net()
    proto = graph.full_proto()
    del proto.graph.output[1]
    proto.graph.output.add().CopyFrom(helper.make_tensor_value_info("t", TensorProto.FLOAT, [1, 5, 16, 16]))
    node = next(node for node in proto.graph.node if node.op_type == "Cast")
    node.attribute[0].i = proto.graph.output[1].type.tensor_type.elem_type = TensorProto.DOUBLE
    checked = golden.check("one", Graph(proto), tmp_path)
    assert checked.faults[0].splitlines()[0] == "run.txt: another graph, first at line 4"
    assert "output 'half' is of type float64, recorded float16" in checked.lines
    assert checked.faults[1:] == (
        "output 'features' is gone",
        "output 't' is new",
        "output 'half' is of type float64, recorded float16",
    )


def test_another_shape_is_a_fault(tmp_path: Path) -> None:
    recorded(tmp_path, net())
    smaller = model_of(
        NET.replace("pads=[1,1,1,1], ", "").replace("16,16] ", "14,14] ").replace("14,14] x", "16,16] x"), 17
    )
    faults = golden.check("one", smaller, tmp_path).faults
    assert "output 'scores' has the shape [1, 5, 14, 14], recorded [1, 5, 16, 16]" in faults


def test_a_graph_that_cannot_run_or_takes_another_feed_is_a_fault(tmp_path: Path) -> None:
    recorded(tmp_path, tiny())
    broken = tiny("a = MatMul(x, w)").full_proto()
    broken.graph.node[0].op_type = "Gemmy"
    other = TINY.replace("[2,3]", "[4,3]").replace("[2]", "[4]").format(first="a = MatMul(x, w)")
    renamed = TINY.replace("x", "z").replace("Argmaz", "ArgMax").replace("azis", "axis").replace("Maz", "Max")
    for graph in (Graph(broken), model_of(other, 17), model_of(renamed.format(first="a = MatMul(z, w)"), 17)):
        faults = golden.check("one", graph, tmp_path).faults
        assert len(faults) == 2 and faults[1].startswith("the outputs cannot be judged: "), faults


def test_nan_and_infinities_are_recorded_and_held(tmp_path: Path) -> None:
    graph = model_of("g (float[100] x) => (float[100] y) { z = Log(x) y = Sqrt(z) }", 17)
    x = np.linspace(-1, 8, 100, dtype=np.float32)
    x[50] = 0
    recorded(tmp_path, graph, feed=Feed({"x": x}))
    assert golden.check("one", graph, tmp_path, feed=Feed({"x": x})).ok
    kept = from_toml((tmp_path / "one" / "outputs.toml").read_text(), "f").outputs[0]
    y = Session(graph).run({"x": x})["y"]
    assert kept.nonfinite == np.isnan(y).sum() > 0 and kept.minimum == float(np.nanmin(y))
    fixed = np.nan_to_num(y)
    assert any("NaN or infinite" in fault for fault in judge_output(kept, fixed).faults)


# -- what makes no difference


def test_names_inside_and_the_form_of_storage_do_not_matter() -> None:
    graph = net()
    proto = graph.full_proto()
    for node in proto.graph.node:
        node.name = f"other/{node.name}"
        node.input[:] = [{"c": "%3", "s": "a\nb", "w": "weight", "t": "T"}.get(n, n) for n in node.input]
        node.output[:] = [{"c": "%3", "s": "a\nb", "t": "T"}.get(n, n) for n in node.output]
    for tensor in proto.graph.initializer:
        array = numpy_helper.to_array(tensor)
        name = {"w": "weight"}.get(tensor.name, tensor.name)
        tensor.CopyFrom(helper.make_tensor(name, TensorProto.FLOAT, array.shape, array.reshape(-1).tolist()))
    assert run_text(Graph(proto)) == run_text(graph)


def test_a_name_of_the_interface_cannot_pass_for_a_number_or_end_a_line() -> None:
    text = "g (float[1] x) => (float[1] y) { a = Neg(x) y = Abs(a) }"
    proto = model_of(text, 17).full_proto()
    proto.graph.input[0].name = proto.graph.node[0].input[0] = "%0"
    proto.graph.output[0].name = proto.graph.node[1].output[0] = "y\n\x1b[31m\x7f\u202e"
    lines = run_text(Graph(proto))
    assert lines[-2] == '%0 = Neg("%0")'
    assert all(line.isprintable() for line in lines) and len(lines) == 5


IF = """g (float[2] x, bool c) => (float[2] y) <float[2] w> {{
  z = Neg(x)
  y = If<then_branch = t () => (float[2] {a}) {{ {m} = Mul(z, w) {a} = Abs({m}) }},
         else_branch = e () => (float[2] {b}) <float[2] k = {{{k}, 2}}> {{ {n} = Add(z, k) {b} = Abs({n}) }}>(c) }}"""


def branches(a: str = "a", b: str = "b", m: str = "m", n: str = "n", k: str = "1") -> list[str]:
    graph = onnx.parser.parse_graph(IF.format(a=a, b=b, m=m, n=n, k=k))
    weight = numpy_helper.from_array(np.array([3, 4], np.float32), "w")
    del graph.value_info[:]
    graph.initializer.append(weight)
    return run_text(Graph(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)))


def test_names_in_bodies_have_their_own_scope_and_their_weights_are_seen() -> None:
    plain = branches()
    assert plain == branches(b="a", n="m"), "two branches may use one name for different values"
    assert plain == branches(a="q", m="r")
    assert plain != branches(k="1.5")
    assert "float32[2] {1.0, 2.0}" in plain[-1] and "float32[2] {3.0, 4.0}" in plain[-1]


def test_a_large_constant_is_told_by_its_content_wherever_it_lies(tmp_path: Path) -> None:
    texts = []
    for value in (1.0, 1.0, 2.0):
        array = np.full([40, 40], value, np.float32)
        node = helper.make_node("Constant", [], ["k"], value=numpy_helper.from_array(array))
        graph = helper.make_graph(
            [node, helper.make_node("Add", ["x", "k"], ["y"])],
            "g",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, [40, 40])],
            [helper.make_tensor_value_info("y", TensorProto.FLOAT, [40, 40])],
        )
        path = tmp_path / f"{len(texts)}.onnx"
        onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
        texts.append(run_text(Graph.load(path)))
    assert texts[0] == texts[1] != texts[2]


def test_overridable_initializers_and_functions_are_part_of_the_graph() -> None:
    proto = net().full_proto()
    proto.graph.input.add().CopyFrom(helper.make_tensor_value_info("k", TensorProto.FLOAT, [1]))
    lines = run_text(Graph(proto))
    assert "default k: float32[1] = float32[1] {0.5}" in lines and any("Mul(%1, k)" in line for line in lines)
    texts = []
    for scale in (1.0, 2.0):
        inner = helper.make_node("Elu", ["a"], ["b"], alpha=scale)
        function = helper.make_function("own", "Double", ["a"], ["b"], [inner], [helper.make_opsetid("", 17)])
        with_function = net().full_proto()
        with_function.functions.append(function)
        texts.append(run_text(Graph(with_function)))
    assert texts[0] != texts[1] and "function own.Double<> [ai.onnx 17]" in "\n".join(texts[0])


def test_absent_inputs_and_long_attributes_read_the_same_and_are_told_apart() -> None:
    def lines(inputs: list[str], **attributes: object) -> list[str]:
        node = helper.make_node("Own", inputs, ["y"], "n", domain="own", **attributes)
        x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in "xy")
        return run_text(Graph(helper.make_model(helper.make_graph([node], "g", [x], [y]))))

    assert lines(["x"]) == lines(["x", "", ""]) != lines(["", "x"])
    for one, two in (("a" * 999 + "b", "a" * 1000), ([b"a" * 500], [b"a" * 499]), ([1] * 500, [1] * 499 + [2])):
        assert lines(["x"], v=one) != lines(["x"], v=two)
        assert lines(["x"], v=one) == lines(["x"], v=one) and len(lines(["x"], v=one)[-1]) < 150
    assert lines(["x"], v=[0.5] * 500) != lines(["x"], v=[0.25] * 500)
    escaped = lines(["x"], **{"v\n\x1b[31m": 1})
    assert len(escaped) == 4 and escaped[-1].isprintable()


def test_a_long_diff_is_cut() -> None:
    nodes = " ".join(f"v{n + 1} = Neg(v{n})" for n in range(60))
    text = f"g (float[4] v0) => (float[4] y) {{ {nodes} y = Abs(v60) }}"
    before = run_text(model_of(text, 17))
    fault = graph_fault(before, graph_lines(model_of(text.replace("Neg", "Exp"), 17)))
    assert fault is not None and len(fault.splitlines()) == 22
    assert fault.splitlines()[-1].strip() == "... and 103 more lines"


def test_strings_are_written_so_that_toml_reads_them_back(tmp_path: Path) -> None:
    awkward = 'q" \\ \n \x7f \u202e é \U0001f600'
    proto = tiny().full_proto()
    for node in proto.graph.node:
        node.input[:] = [awkward if name == "x" else name for name in node.input]
        node.output[:] = [name + awkward if name == "y" else name for name in node.output]
    proto.graph.node[-1].input[0] += awkward
    proto.graph.input[0].name, proto.graph.output[0].name = awkward, "y" + awkward
    graph = Graph(proto)
    target = recorded(tmp_path, graph)
    data = (target / "outputs.toml").read_bytes()
    table = tomllib.loads(data.decode())
    assert table["feed"]["input"][0]["name"] == awkward and table["output"][0]["name"] == "y" + awkward
    assert all(line.isprintable() for line in data.decode().split("\n"))
    assert golden.check("one", graph, tmp_path).ok


# -- labels


LABELS = "g (float[1,4,8,8] x) => (int64[1,8,8] label) { s = Neg(x) label = ArgMax<axis=1, keepdims=0>(s) }"


def test_a_label_may_flip_at_a_tie_and_nowhere_else(tmp_path: Path) -> None:
    graph = model_of(LABELS, 17)
    feed = draw(graph)
    x = feed.arrays["x"].copy()
    x[0, 2, 3, 4] = x[0, 1, 3, 4] = np.float32(-9)  # level, and the largest after Neg
    tied = Feed({"x": x})
    recorded(tmp_path, graph, feed=tied)
    kept = from_toml((tmp_path / "one" / "outputs.toml").read_text(), "f").outputs[0]
    assert kept.type == "int64" and kept.may_flip == 1 and kept.samples.count(None) == 1
    label = Session(graph).run(tied.arrays)["label"]
    assert judge_output(kept, label).faults == ()
    assert label[0, 3, 4] == 1
    flipped = label.copy()
    flipped[0, 3, 4] = 2
    found = judge_output(kept, flipped)
    assert found.faults == () and found.flips == 1
    wrong = label.copy()
    wrong[0, 0, 0] = (wrong[0, 0, 0] + 1) % 4
    assert any("the value at [0, 0, 0]" in fault for fault in judge_output(kept, wrong).faults)


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**32 - 1), st.floats(0.001, 0.5), st.integers(2, 6))
def test_scores_within_the_tolerance_never_fail_the_class_histogram(seed: int, tolerance: float, classes: int) -> None:
    """The slack is sound: no disturbance within the tolerance, however malicious, is refused."""
    draws = np.random.default_rng(seed)
    scores = draws.normal(size=(1, classes, 6, 7)).astype(np.float32)
    kept = measure("y", scores, tolerance, None)
    sign = np.where(np.arange(classes) == draws.integers(classes), 1, -1).reshape(1, -1, 1, 1)
    moved = (scores + sign * tolerance * 0.999).astype(np.float32)
    assert judge_output(kept, moved).faults == ()
    # many more labels moved than can be near a tie
    rolled = judge_output(measure("y", scores, 1e-6, None), np.where(sign > 0, scores + 9, scores).astype(np.float32))
    assert any("labels changed" in fault for fault in rolled.faults)


def test_integers_that_no_float_decides_are_held_exactly() -> None:
    array = np.array([[5, -3], [2**62, 7]], np.int64)
    kept = measure("y", array, 0.0, Loose(np.zeros((2, 2), np.bool_), 0))
    assert kept.samples == (5, -3, 2**62, 7) and kept.maximum == 2**62
    assert judge_output(kept, array).faults == ()
    off = array.copy()
    off[1, 0] += 1
    assert judge_output(kept, off).faults
    mask = np.array([True, False, True])
    assert judge_output(measure("m", mask, 0.0, Loose(mask & False, 0)), ~mask).faults


def test_extremes_and_mean_are_held_beside_the_samples() -> None:
    array = np.zeros(10_000, np.float32)
    kept = measure("y", array, 1e-3, None)
    seen = set(sample_places("y", array.size).tolist())
    unseen = [place for place in range(array.size) if place not in seen]
    for value, what in ((-1, "the minimum is -1, recorded 0: 1e+03 times what is allowed"), (1, "the maximum is 1")):
        off = array.copy()
        off[unseen[0]] = value
        (fault,) = judge_output(kept, off).faults
        assert what in fault
    off = array.copy()
    off[unseen] = 9e-4
    assert judge_output(kept, off).faults == () and judge_output(kept, off).error == pytest.approx(0.9, rel=0.01)
    labels = np.arange(10_000, dtype=np.int32)
    kept = measure("n", labels, 0.0, Loose(np.zeros(labels.shape, np.bool_), 3))
    assert kept.histogram is None, "too many values to count"
    seen = set(sample_places("n", labels.size).tolist())
    unseen = [place for place in range(labels.size) if place not in seen]
    few, many = labels.copy(), labels.copy()
    few[9999], many[unseen[:100]] = 0, 9999
    assert 9999 in unseen and judge_output(kept, few).faults == (), "an extreme may flip where labels may"
    assert "the mean" in judge_output(kept, many).faults[0]


# -- refusals


@pytest.mark.parametrize("name", ["", "a/b", "..", "a b", "../one", "a.b", "ä", "x" * 101, "a\n", "\0"])
def test_a_name_cannot_be_a_path(tmp_path: Path, name: str) -> None:
    for call in (
        lambda: golden.record(name, tiny(), None, draw(tiny()), tmp_path),
        lambda: golden.update(name, tiny(), None, draw(tiny()), tmp_path),
        lambda: golden.check(name, tiny(), tmp_path),
    ):
        with pytest.raises(GoldenError, match="is no name for a golden"):
            call()
    assert list(tmp_path.iterdir()) == []


def test_record_refuses_what_exists_and_update_what_does_not(tmp_path: Path) -> None:
    recorded(tmp_path, tiny(), "icnet")
    with pytest.raises(GoldenError, match="golden 'icnet' exists"):
        recorded(tmp_path, tiny(), "icnet")
    with pytest.raises(GoldenError, match="did you mean 'icnet'"):
        golden.update("icnett", tiny(), None, draw(tiny()), tmp_path)
    with pytest.raises(GoldenError, match=r"no golden 'zzz' in .*; there are icnet"):
        golden.check("zzz", tiny(), tmp_path)
    with pytest.raises(GoldenError, match="there is none"):
        golden.check("zzz", tiny(), tmp_path / "nowhere")
    assert golden.list_goldens(tmp_path / "nowhere") == ()


def test_update_replaces_the_record(tmp_path: Path) -> None:
    recorded(tmp_path, tiny())
    (tmp_path / "one" / "notes.md").write_text("mine")
    other = tiny("h = Neg(x) a = MatMul(h, w)")
    assert not golden.check("one", other, tmp_path).ok
    golden.update("one", other, None, draw(other), tmp_path)
    assert golden.check("one", other, tmp_path).ok and (tmp_path / "one" / "notes.md").read_text() == "mine"


def test_nothing_is_left_half_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recorded(tmp_path, tiny(), "old")
    before = {path.name: path.read_bytes() for path in (tmp_path / "old").iterdir()}

    def fails(text: object) -> str:
        raise ModelError("the disk is full")

    other = tiny("h = Neg(x) a = MatMul(h, w)")
    written: list[Path] = []

    def first_only(path: Path, text: str) -> None:
        if written:
            raise ModelError("the disk is full")
        written.append(path)
        path.write_text(text)

    with monkeypatch.context() as patch:
        patch.setattr(golden.store, "write_text", first_only)
        with pytest.raises(ModelError, match="full"):
            recorded(tmp_path, other, "new")
    with monkeypatch.context() as patch:
        patch.setattr(golden.make, "to_toml", fails)
        with pytest.raises(ModelError, match="full"):
            golden.update("old", other, None, draw(other), tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["old"]
    assert before == {path.name: path.read_bytes() for path in (tmp_path / "old").iterdir()}


def test_given_outputs_must_be_those_of_the_graph(tmp_path: Path) -> None:
    graph = tiny()
    feed = draw(graph)
    outputs = Session(graph).run(feed.arrays)
    golden.record("good", graph, None, feed, tmp_path, outputs)
    wrong = outputs | {"y": outputs["y"] + 1}
    with pytest.raises(GoldenError, match="output 'y' is not what was given"):
        golden.record("bad", graph, None, feed, tmp_path, wrong)
    random = tiny("a = RandomNormalLike(x)")
    with pytest.raises(GoldenError, match="differs between two runs"):
        recorded(tmp_path, random, "bad")
    assert golden.list_goldens(tmp_path) == ("good",)


def test_what_is_no_number_is_refused(tmp_path: Path) -> None:
    graph = model_of("g (string[2] x) => (string[2] y) { y = Identity(x) }", 17)
    with pytest.raises(GoldenError, match="output 'y' holds strings"):
        recorded(tmp_path, graph)


def test_an_output_that_is_not_made_is_said_to_hold_nothing() -> None:
    """As onnxruntime 1.20 leaves out the mean and deviation of SkipLayerNormalization."""
    kept = measure("y", np.ones(2, np.float32), 1e-6, None)
    assert judge_output(kept, ABSENT).faults == ("output 'y' holds nothing, recorded float32",)


# -- feeds


def test_a_feed_from_a_file_is_asked_for_and_told_from_another(tmp_path: Path) -> None:
    graph = tiny()
    write_npz(tmp_path / "f.npz", draw(graph, seed=3))
    feed = feed_from(tmp_path / "f.npz", graph)
    recorded(tmp_path, graph, feed=feed)
    with pytest.raises(GoldenError, match=r"was recorded on the feed 'f\.npz'; give it with --feed"):
        golden.check("one", graph, tmp_path)
    assert golden.check("one", graph, tmp_path, feed=feed).ok
    for other, reason in (
        (draw(graph), "input 'x' holds other numbers"),
        (Feed({"x": feed.arrays["x"].astype(np.float64)}), "float64"),
        (Feed({"z": feed.arrays["x"]}), "'x' is missing"),
    ):
        with pytest.raises(GoldenError, match=reason):
            golden.check("one", graph, tmp_path, feed=other)


def test_a_drawn_feed_that_cannot_be_drawn_again_is_refused(tmp_path: Path) -> None:
    graph = tiny()
    with pytest.raises(FeedError, match="the feed is not the recorded one: input 'x' holds other numbers"):
        recorded(tmp_path, graph, feed=draw(graph, ranges={"x": (0.0, 1.0)}))


# -- broken files


@pytest.fixture(scope="module")
def broken(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("broken")
    recorded(folder, tiny())
    return folder


def checked_or_refused(folder: Path, file: str, data: bytes) -> Checked | str:
    """Check against a record with one file changed: a result, or the text of a GoldenError; anything else escapes."""
    path = folder / "one" / file
    kept = path.read_bytes()
    path.write_bytes(data)
    try:
        return golden.check("one", tiny(), folder)
    except GoldenError as error:
        text = str(error)
        assert str(path.parent) in text and "\n" not in text
        return text
    finally:
        path.write_bytes(kept)


def test_every_missing_key_is_named(broken: Path) -> None:
    lines = (broken / "one" / "outputs.toml").read_text().splitlines(keepends=True)
    optional = {"seed", "histogram", "classes", "file", "graphtool", "onnx", "onnxruntime", "numpy"}
    seen = set()
    for number, line in enumerate(lines):
        key = line.partition(" = ")[0]
        if " = " not in line or key in optional or line.startswith(("#", " ")) or line.endswith("[\n"):
            continue
        found = checked_or_refused(broken, "outputs.toml", "".join(lines[:number] + lines[number + 1 :]).encode())
        assert isinstance(found, str) and f"{key}: is missing" in found, (line, found)
        seen.add(key)
    assert {"format", "outputs", "nodes", "sha256", "dims", "name", "shape", "tolerance", "samples", "mean"} <= seen


def test_every_value_of_a_wrong_type_is_named(broken: Path) -> None:
    lines = (broken / "one" / "outputs.toml").read_text().splitlines(keepends=True)
    for number, line in enumerate(lines):
        key = line.partition(" = ")[0]
        if " = " not in line or line.startswith(("#", " ")) or line.endswith("[\n"):
            continue
        for value in ("true", "1979-05-27", "[[]]", "{a = 1.5}", "2.5", "[1.5]"):
            changed = "".join([*lines[:number], f"{key} = {value}\n", *lines[number + 1 :]])
            found = checked_or_refused(broken, "outputs.toml", changed.encode())
            assert isinstance(found, str) and key in found, (line, value, found)


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("format = 2", "format = 3", "format: 3 is not known"),
        ('type = "float32"', 'type = "float33"', "type: 'float33' is no element type"),
        ('mean = "', 'mean = "zz', "is no hexadecimal float"),
        ("may_flip = 0", "may_flip = -1", "may_flip: must be at least 0"),
        ("may_flip = 0", "maybe_flip = 0", "maybe_flip: unknown key; did you mean 'may_flip'"),
        ("shape = [2, 3]", "shape = [3, 3]", "output[0].samples: must be 9, found 6"),
        ("shape = [2, 3]", "shape = [2, 4]", "output[0].classes: must be the size of axis 1"),
        ('outputs = ["y", "label"]', 'outputs = ["y"]', "outputs: names 1, and there are 2"),
        ("[versions]", "[versions", "not TOML"),
        ('tolerance = "0x', 'tolerance = "-0x', "tolerance: must be finite and not negative"),
        ('tolerance = "0x', 'tolerance = "inf" # "', "tolerance: must be finite and not negative"),
        ('max = "2"', 'max = "18446744073709551616"', "max: '18446744073709551616' is no whole number of 64 bits"),
        ("[[0, 1], [2, 1]]", "[[0, 1], [0, 1], [2, 1]]", "histogram[1]: must be [class, members], each class once"),
        ("[[0, 1], [2, 1]]", "[[0, 3], [2, -1]]", "histogram[1]: must be [class, members], each class once"),
        ("histogram = [[0, 1]", "histogram = [[0, 2]", "histogram: must add up to 2"),
    ],
)
def test_an_edited_file_is_refused_with_the_reason(broken: Path, old: str, new: str, reason: str) -> None:
    text = (broken / "one" / "outputs.toml").read_text()
    at = text.rindex(old) if reason.startswith("output[0]") else text.index(old)
    found = checked_or_refused(broken, "outputs.toml", (text[:at] + new + text[at + len(old) :]).encode())
    assert isinstance(found, str) and reason in found


def test_run_txt_is_held_to_its_hash_but_not_to_its_line_ends(broken: Path) -> None:
    data = (broken / "one" / "run.txt").read_bytes()
    for bad in (data[:-5], data.replace(b"MatMul", b"Matmul"), b"", b"\xff\xfe", data + b"\n"):
        found = checked_or_refused(broken, "run.txt", bad)
        assert isinstance(found, str) and "run.txt: " in found
    for crlf in ("run.txt", "outputs.toml"):
        text = (broken / "one" / crlf).read_bytes().replace(b"\n", b"\r\n")
        found = checked_or_refused(broken, crlf, text)
        assert isinstance(found, Checked) and found.ok


def test_an_output_that_is_there_twice_is_refused(broken: Path) -> None:
    text = (broken / "one" / "outputs.toml").read_text().replace('"label"', '"y"')
    assert "output: 'y' is there twice" in str(checked_or_refused(broken, "outputs.toml", text.encode()))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    for file in ("run.txt", "outputs.toml"):
        target = recorded(tmp_path, tiny(), file.partition(".")[0])
        (target / file).unlink()
        with pytest.raises(GoldenError, match=f"{file}: cannot be read"):
            golden.check(target.name, tiny(), tmp_path)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_no_bytes_end_in_a_traceback(broken: Path, data: st.DataObject) -> None:
    file = data.draw(st.sampled_from(["outputs.toml", "outputs.toml", "outputs.toml", "run.txt"]))
    whole = (broken / "one" / file).read_bytes()
    start = data.draw(st.integers(0, len(whole)))
    stop = min(len(whole), start + data.draw(st.integers(0, 40)))
    piece = data.draw(
        st.binary(max_size=6)
        | st.sampled_from([b"0", b"99999999999999999999", b'"', b"nan", b"-", b"0x1p+1000", b"inf", b"[", b"]]", b"\n"])
    )
    checked_or_refused(broken, file, whole[:start] + piece + whole[stop:])


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_no_number_changed_by_hand_ends_in_a_traceback(broken: Path, data: st.DataObject) -> None:
    lines = (broken / "one" / "outputs.toml").read_text().splitlines(keepends=True)
    number = data.draw(st.sampled_from([n for n, line in enumerate(lines) if " = " in line and line[0] not in "# "]))
    value = data.draw(
        st.integers().map(str)
        | st.integers().map(lambda n: f'"{n}"')
        | st.floats().map(lambda x: f'"{x.hex()}"')
        | st.lists(st.integers(-2, 4), max_size=3).map(str)
        | st.lists(st.lists(st.integers(-2, 4), max_size=3), max_size=3).map(str)
    )
    lines[number] = f"{lines[number].partition(' = ')[0]} = {value}\n"
    checked_or_refused(broken, "outputs.toml", "".join(lines).encode())


# -- test_data_set


def test_a_test_data_set_is_written_and_checked(tmp_path: Path) -> None:
    graph = tiny()
    feed = draw(graph)
    folder = tmp_path / "test_data_set_0"
    outputs = Session(graph).run(feed.arrays)
    write_test_data_set(folder, graph, feed, outputs)
    assert sorted(path.name for path in tmp_path.rglob("*")) == [
        "input_0.pb", "output_0.pb", "output_1.pb", "test_data_set_0",
    ]  # fmt: skip
    tensor = TensorProto.FromString((folder / "output_0.pb").read_bytes())
    assert tensor.name == "y" and np.array_equal(numpy_helper.to_array(tensor), outputs["y"])
    assert check_test_data_set(graph, folder).ok
    with pytest.raises(GoldenError, match="exists"):
        write_test_data_set(folder, graph, feed, outputs)
    with pytest.raises(GoldenError, match="nothing is given for output 'label'"):
        write_test_data_set(tmp_path / "other", graph, feed, {"y": outputs["y"]})
    off = check_test_data_set(tiny("h = Relu(x) a = MatMul(h, w)"), folder)
    assert any(fault.startswith("output 'y': the value at [") for fault in off.faults)
    label = np.asarray((outputs["label"] + 1) % 3)
    (folder / "output_1.pb").write_bytes(numpy_helper.from_array(label, "label").SerializeToString())
    assert check_test_data_set(graph, folder).faults == ("output 'label': 2 values differ that are not near a tie",)
    (folder / "output_1.pb").write_bytes(numpy_helper.from_array(label[:1], "label").SerializeToString())
    assert check_test_data_set(graph, folder).faults == ("output 'label' is int64[2], in the data set int64[1]",)


def test_a_tie_in_a_test_data_set_may_fall_to_either_side(tmp_path: Path) -> None:
    graph = model_of(LABELS, 17)
    x = draw(graph).arrays["x"].copy()
    x[0, 2, 3, 4] = x[0, 1, 3, 4] = np.float32(-9)
    label = Session(graph).run({"x": x})["label"].copy()
    assert label[0, 3, 4] == 1
    label[0, 3, 4] = 2
    write_test_data_set(tmp_path / "set", graph, Feed({"x": x}), {"label": label})
    checked = check_test_data_set(graph, tmp_path / "set")
    assert checked.ok and checked.figures["label"].flips == 1


def test_a_broken_test_data_set_is_refused(tmp_path: Path) -> None:
    graph = tiny()
    feed = draw(graph)
    outputs = Session(graph).run(feed.arrays)
    write_test_data_set(tmp_path / "set", graph, feed, outputs)
    good = (tmp_path / "set" / "output_0.pb").read_bytes()
    (tmp_path / "set" / "output_5.pb").write_bytes(good)
    with pytest.raises(GoldenError, match=r"output_5\.pb: the model has only 2 outputs"):
        check_test_data_set(graph, tmp_path / "set")
    (tmp_path / "set" / "output_5.pb").unlink()
    for bad in (good[:-3], b"\xff\xff", b"hello", b"", good[:4]):
        (tmp_path / "set" / "output_0.pb").write_bytes(bad)
        with pytest.raises(GoldenError, match=r"output_0\.pb: not a sound TensorProto"):
            check_test_data_set(graph, tmp_path / "set")
    for path in (tmp_path / "set").glob("output_*"):
        path.unlink()
    with pytest.raises(GoldenError, match=r"holds no output_0\.pb"):
        check_test_data_set(graph, tmp_path / "set")
    with pytest.raises(FeedError):
        check_test_data_set(graph, tmp_path / "nowhere")
