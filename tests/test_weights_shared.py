"""Equal weights become one, in whatever form they are stored; what others may change or name stays."""

from __future__ import annotations

from pathlib import Path

import ml_dtypes
import numpy as np
import onnx
import pytest
from conftest import graph_of
from onnx import TensorProto, helper, numpy_helper
from rewriting import lines, run
from work import work

from graphtool.errors import ModelError
from graphtool.graph import Graph, check
from graphtool.natives.share_equal_weights import apply


def shared(graph: Graph) -> list[str]:
    """Apply the pass and return what went; a second run finds nothing."""
    check(graph)
    gone = [match.where.removeprefix("weight ") for match in apply(graph, {}).matches]
    assert not check(graph)
    assert apply(graph, {}).matches == []
    return gone


def summing(tensors: list[TensorProto], ir: int = 8, inputs: tuple[str, ...] = ()) -> Graph:
    """A graph in which an Identity reads each of the tensors."""
    nodes = [helper.make_node("Identity", [t.name], [f"{t.name}_y"], f"{t.name}_n") for t in tensors]
    info = {t.name: helper.make_tensor_value_info(t.name, t.data_type, list(t.dims)) for t in tensors}
    outputs = [helper.make_tensor_value_info(f"{t.name}_y", t.data_type, list(t.dims)) for t in tensors]
    given = [info[name] for name in (info if ir < 4 else inputs)]
    graph = helper.make_graph(nodes, "g", given, outputs, tensors)
    return Graph.from_proto(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=ir))


def named(array: object, *names: str) -> list[TensorProto]:
    return [numpy_helper.from_array(np.asarray(array), name) for name in names]


BIG = np.arange(600, dtype=np.float32)


@pytest.mark.parametrize(
    "tensors",
    [
        named(np.float32(1), "a", "b"),
        named(BIG, "a", "b"),
        named(np.zeros((0, 3), np.float32), "a", "b"),
        named(np.array(1, ml_dtypes.bfloat16), "a", "b"),
        named(np.array([np.nan], np.float16), "a", "b"),
        [*named(np.float32([1, 2]), "a"), helper.make_tensor("b", TensorProto.FLOAT, [2], [1.0, 2.0])],
        [*named(np.int64([7]), "a"), helper.make_tensor("b", TensorProto.INT64, [1], [7])],
        [*named(BIG, "a"), helper.make_tensor("b", TensorProto.FLOAT, [600], BIG.tolist())],
        [helper.make_tensor(name, TensorProto.INT4, [3], [1, -2, 3]) for name in "ab"],
        [helper.make_tensor(name, TensorProto.FLOAT8E4M3FN, [2], [1.0, 2.0]) for name in "ab"],
        [helper.make_tensor(name, TensorProto.STRING, [2], [b"\xff", b"b"]) for name in "ab"],
    ],
    ids=lambda tensors: "{}-{}".format(*("raw" if t.raw_data else "typed" for t in tensors)),
)
def test_equal_weights(tensors: list[TensorProto]) -> None:
    graph = summing(tensors)
    assert shared(graph) == ["b"]
    assert list(graph.initializers) == ["a"] and lines(graph) == ["a_y = Identity(a)", "b_y = Identity(a)"]


@pytest.mark.parametrize(
    "tensors",
    [
        [*named(np.float32(0), "a"), *named(np.float32(-0.0), "b")],
        [*named(np.float32(1), "a"), *named(np.float32([1]), "b")],
        [*named(np.float32(1), "a"), *named(np.float64(1), "b")],
        [*named(np.int32(0), "a"), *named(np.float32(0), "b")],
        [*named(BIG, "a"), *named(BIG * (BIG != 300), "b")],  # the ends are equal
        [helper.make_tensor(n, TensorProto.STRING, [2], v) for n, v in (("a", [b"ab", b"c"]), ("b", [b"a", b"bc"]))],
        [helper.make_tensor("a", TensorProto.INT4, [1], [1]), helper.make_tensor("b", TensorProto.UINT4, [1], [1])],
    ],
)  # fmt: skip
def test_weights_that_differ(tensors: list[TensorProto]) -> None:
    graph = summing(tensors)
    before = graph.full_proto().SerializeToString(deterministic=True)
    assert shared(graph) == []
    assert graph.full_proto().SerializeToString(deterministic=True) == before


def test_a_weight_that_callers_may_override_is_only_a_default() -> None:
    graph = summing(named(np.float32(1), "a", "b", "c"), inputs=("a",))
    assert shared(graph) == ["c"]
    assert lines(graph) == ["a_y = Identity(a)", "b_y = Identity(b)", "c_y = Identity(b)"]
    old = summing(named(np.float32(1), "a", "b", "c"), ir=3)  # there every initializer is an input too
    assert shared(old) == ["b", "c"] and [info.name for info in old.header.input] == ["a"]


def test_variables_of_a_training_stay_apart() -> None:
    graph = summing(named(np.float32(0), "a", "b"))
    graph.proto.training_info.add().update_binding.add(key="a", value="a_next")
    assert shared(graph) == []


def test_graph_outputs_keep_their_names() -> None:
    graph = graph_of("""
        g (float[2] x) => (float[2] y, float[2] b, float[2] d)
        <float[2] a = {1, 2}, float[2] b = {1, 2}> {
            c = Constant<value = float[2] {3, 4}>()
            s = Sum(x, a, b, c)
            d = Constant<value = float[2] {3, 4}>()
            y = Add(s, d)
        }""")
    assert shared(graph) == ["a", "d"]
    assert lines(graph)[1:] == ["s = Sum(x, b, b, d)", "y = Add(s, d)"]
    assert lines(graph)[0].startswith("d = Constant")


def test_a_constant_in_another_form_and_one_that_is_sparse() -> None:
    graph = graph_of("""
        g (float[3] x) => (float[3] y) {
            a = Constant<value_floats = [1.0, 0.0, 0.0]>()
            b = Constant<value = float[3] {1, 0, 0}>()
            y = Sum(x, a, b, c, d)
        }""")
    sparse = onnx.SparseTensorProto(dims=[3])
    sparse.values.CopyFrom(numpy_helper.from_array(np.float32([1])))
    sparse.indices.CopyFrom(numpy_helper.from_array(np.int64([0])))
    for name in "dc":
        graph.prepend_node(helper.make_node("Constant", [], [name], name, sparse_value=sparse))
    assert shared(graph) == ["b"]
    assert lines(graph)[-1] == "y = Sum(x, a, a, c, d)"


@pytest.mark.parametrize("notes,gone", [({"b": "s"}, []), ({"a": "s", "b": "s"}, ["b"]), ({"a": "s", "b": "t"}, [])])
def test_annotations(notes: dict[str, str], gone: list[str]) -> None:
    """A weight with another scale is another weight, of the same number too: a scale that is named keeps its name."""
    graph = summing([*named(np.uint8([1]), "a", "b"), *named(np.float32(0.5), "s", "t")])
    for name, scale in notes.items():
        note = graph.header.quantization_annotation.add(tensor_name=name)
        note.quant_parameter_tensor_names.add(key="SCALE_TENSOR", value=scale)
    check(graph)
    found = [m.where.removeprefix("weight ") for _ in range(2) for m in apply(graph, {}).matches]
    assert [name for name in found if name in ("b", *gone)] == gone
    assert all(
        entry.value == notes[note.tensor_name]
        for note in graph.header.quantization_annotation
        for entry in note.quant_parameter_tensor_names
    )


def test_external_data(tmp_path: Path) -> None:
    tensors = [*named(BIG, "a", "b"), *named(BIG + 1, "c"), *named(BIG, "d")]
    model = summing(tensors).full_proto()
    onnx.save_model(model, tmp_path / "m.onnx", save_as_external_data=True, location="w.bin", size_threshold=0)
    graph = Graph.load(tmp_path / "m.onnx")
    # d lies where a does
    del graph.initializers["d"].external_data[:]
    graph.initializers["d"].external_data.extend(graph.initializers["a"].external_data)
    assert shared(graph) == ["b", "d"]
    (tmp_path / "w.bin").unlink()
    with pytest.raises(ModelError, match=r"w\.bin' is missing"):
        apply(Graph.load(tmp_path / "m.onnx"), {})


# -- bodies

BODIES = """
g (float[2] x, bool c) => (float[2] y) <float[2] w = {1, 2}, float[2] v = {1, 2}> {
  a = Add(x, v)
  y = If(c) <
    then_branch = t () => (float[2] o) <float[2] p = {1, 2}, float[2] q = {1, 2}> { n = Add(v, p) o = Sub(n, q) },
    else_branch = e () => (float[2] r) <float[2] w = {3, 4}> { s = Mul(v, w) r = Add(s, w) }
  >
}
"""


def test_small_weights_in_bodies_are_shared_where_they_are() -> None:
    graph = graph_of(BODIES)
    assert shared(graph) == ["q"]  # v cannot become w, which is another value in the else branch
    free = graph_of(
        BODIES.replace("float[2] w = {3, 4}", "float[2] u = {3, 4}")
        .replace("(v, w)", "(v, u)")
        .replace("(s, w)", "(s, u)")
    )
    before = {flag: run(free, {"x": np.float32([1, 2]), "c": np.array(flag)})["y"].tolist() for flag in (True, False)}
    assert shared(free) == ["v", "q"]
    assert before == {f: run(free, {"x": np.float32([1, 2]), "c": np.array(f)})["y"].tolist() for f in (True, False)}


@pytest.mark.parametrize("hidden", [False, True])
def test_large_weights_in_bodies_are_those_around_them(hidden: bool) -> None:
    name = "w" if hidden else "u"
    graph = graph_of(f"""
        g (float[600] x, bool c) => (float[600] y) {{
          y = If(c) <
            then_branch = t () => (float[600] o) {{ o = Add(x, v) }},
            else_branch = e () => (float[600] r) {{ {name} = Neg(x) r = Add({name}, v) }}
          >
          z = Add(x, w)
        }}""")  # fmt: skip
    graph.put_initializer("w", BIG)
    for body in graph.bodies():
        body.put_initializer("v", BIG)
    assert shared(graph) == (["v"] if hidden else ["v", "v"])
    assert [len(body.initializers) for body in graph.bodies()] == ([0, 1] if hidden else [0, 0])
    for flag in () if hidden else (True, False):  # onnxruntime takes no graph with hidden names
        got = run(graph, {"x": BIG, "c": np.array(flag)})["y"]
        assert got.tolist() == (2 * BIG if flag else 0 * BIG).tolist()


# -- at large


def test_the_cost_is_linear() -> None:
    def steps(count: int) -> int:
        tensors = [t for k in range(count) for t in named(np.float32(k % 100), f"a{k}")]
        graph = summing(tensors)

        def share() -> None:
            assert len(apply(graph, {}).matches) == count - 100

        return work(share)

    assert steps(2000) < 14 * steps(200)
