"""Types and shapes of inner tensors, where exporters leave none or wrong ones."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from conftest import graph_of
from onnx import TensorProto, helper, numpy_helper
from work import little_memory

from graphtool import api
from graphtool.graph import Graph, Value
from graphtool.graph.shapes import weightless

RESIZE_CHAIN = """
    <ir_version: 8, opset_import: ["": {opset}]>
    g (float[{batch},3,32,64] x) => (y)
    <int64[1] zero = {{0}}, int64[1] two = {{2}}, int64[1] four = {{4}}, int64 one = {{1}},
     int64[1] three = {{3}}, float[0] none = {{}}> {{
        small = AveragePool <kernel_shape = [4, 4], strides = [4, 4]> (x)
        shape = Shape(x)
        batch = Slice(shape, zero, two)
        size = Slice(shape, two, four)
        height = Gather <axis = 0> (size, zero)
        width = Gather <axis = 0> (size, one)
        width_1 = Unsqueeze {axes}
        both = Concat <axis = 0> (height, width_1)
        doubled = Mul(both, two)
        floats = Cast <to = 1> (doubled)
        floored = Floor(floats)
        back = Cast <to = 7> (floored)
        sizes = Concat <axis = 0> (batch, back)
        y = Resize <mode = "linear"> (small, none, none, sizes)
    }}
"""


def chain(opset: int, batch: str) -> Graph:
    return graph_of(
        RESIZE_CHAIN.format(opset=opset, batch=batch, axes="(width, zero)" if opset > 12 else "<axes = [0]> (width)")
    )


@pytest.mark.parametrize("opset", [11, 13, 17])
def test_an_exporters_shape_arithmetic(opset: int) -> None:
    graph = chain(opset, "1")
    assert graph.value("small") == Value("small", TensorProto.FLOAT, (1, 3, 8, 16))
    assert graph.value("sizes") == Value("sizes", TensorProto.INT64, (4,))
    assert graph.value("y") == Value("y", TensorProto.FLOAT, (1, 3, 64, 128))


def test_a_chain_of_resizes_each_sized_by_the_one_before() -> None:
    nodes = []
    for number in range(20):
        nodes += [
            helper.make_node("Shape", [f"x{number}"], [f"s{number}"]),
            helper.make_node("Add", [f"s{number}", "more"], [f"t{number}"]),
            helper.make_node(
                "Resize", [f"x{number}", "none", "none", f"t{number}"], [f"x{number + 1}"], mode="nearest"
            ),
        ]
    more = numpy_helper.from_array(np.array([0, 0, 1, 2]), "more")
    none = numpy_helper.from_array(np.zeros(0, np.float32), "none")
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x0", TensorProto.FLOAT, [1, 3, 8, 8])],
        [helper.make_tensor_value_info("x20", TensorProto.FLOAT, None)],
        [more, none],
    )
    own = Graph.from_proto(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 11)], ir_version=8))
    assert own.value("x20") == Value("x20", TensorProto.FLOAT, (1, 3, 28, 48))


def test_what_depends_on_a_symbol_stays_unknown_and_the_rest_does_not() -> None:
    graph = chain(13, "N")
    assert graph.value("x").shape == ("N", 3, 32, 64)
    assert graph.value("small").shape == ("N", 3, 8, 16)
    value = graph.value("y")
    assert value is not None
    assert value.rank == 4
    assert all(dim is None or dim == "N" or isinstance(dim, int) for dim in value.shape)


def test_symbols_of_the_model_are_kept_and_none_invented() -> None:
    graph = graph_of(
        """
        g (float[N,C,"-1"] x, float[M] z, bool[K] b) => (float["N","out"] y, nz) <int64[2] to = {0, -1}> {
            a = Relu(x)
            y = Reshape(a, to)
            nz = NonZero(b)
            c = Concat <axis = 0> (z, z)
        }
    """.replace('"-1"', "D").replace('"N","out"', "N,out")
    )
    graph.proto.graph.input[0].type.tensor_type.shape.dim[2].dim_param = "-1"
    assert graph.value("a").shape == ("N", "C", "-1")
    assert graph.value("y").shape == ("N", "out")
    assert graph.value("nz").shape == (1, None)
    assert graph.value("c").shape == (None,)
    assert graph.value("a").type_text() == "float32[N,C,-1]"


def test_a_symbol_that_looks_invented_is_kept_where_it_is_the_models() -> None:
    graph = graph_of("g (float[unk__0] x) => (y) { y = Relu(x) z = NonZero(y) }")
    assert graph.value("y").shape == ("unk__0",)
    assert graph.value("z").shape == (1, None)


def test_wrong_stored_types_are_not_believed() -> None:
    graph = graph_of("g (float[2,3] x) => (float[9,9] y) { a = Relu(x) b = Transpose(a) y = Neg(b) }")
    graph.proto.graph.value_info.append(helper.make_tensor_value_info("a", TensorProto.INT64, [9, 9]))
    graph.proto.graph.value_info.append(helper.make_tensor_value_info("b", TensorProto.FLOAT, ["N", "N"]))
    assert graph.value("a") == Value("a", TensorProto.FLOAT, (2, 3))
    assert graph.value("b") == Value("b", TensorProto.FLOAT, (3, 2))
    assert graph.value("y") == Value("y", TensorProto.FLOAT, (3, 2))
    assert graph.outputs == (Value("y", TensorProto.FLOAT, (9, 9)),)  # what the model declares


def test_a_custom_op_hides_its_own_result_only() -> None:
    graph = graph_of("""
        g (float[1,8,6,6] x) => (float[1,8,A,B] y, z) {
            a = Relu(x)
            p = AdaptiveAvgPool2d <output_size = [2, 2]> (a)
            q = Relu(p)
            y = Neg(q)
            z = Transpose(a)
        }
    """)
    assert graph.value("a").shape == (1, 8, 6, 6)
    assert graph.value("z").shape == (6, 6, 8, 1)
    assert graph.value("y") == Value("y", TensorProto.FLOAT, (1, 8, "A", "B"))
    assert graph.value("p") is None or graph.value("p").shape is None


def test_through_functions_and_bodies() -> None:
    graph = graph_of("""
        <ir_version: 8, opset_import: ["": 17, "d": 1]>
        g (float[2,3] x, bool c) => (y) {
            a = d.F(x)
            y = If(c) <
                then_branch = t () => (o) { o = Transpose(a) },
                else_branch = e () => (o) { o = Transpose(x) }
            >
        }
        <domain: "d", opset_import: ["": 17]>
        F (p) => (q) { q = Concat <axis = 1> (p, p) }
    """)
    assert graph.value("a").shape == (2, 6)
    assert graph.value("y").dtype == TensorProto.FLOAT
    assert graph.value("y").shape == (None, 2)


def test_sequences_and_absent_names() -> None:
    graph = graph_of(
        "g (float[2] x) => (y) { s = SequenceConstruct(x, x) i = Constant <value_int = 0> () y = SequenceAt(s, i) }"
    )
    assert graph.value("s") == Value("s", kind="sequence")
    assert graph.value("y") == Value("y", TensorProto.FLOAT, (2,))
    assert graph.value("nowhere") is None
    assert graph.value("") is None


def test_an_overridable_weight_is_no_constant() -> None:
    text = "g (float[4] x, int64[2] to) => (y) { y = Reshape(x, to) }"
    graph = graph_of(text)
    graph.proto.graph.initializer.append(numpy_helper.from_array(np.array([2, 2]), "to"))
    assert graph.constant("to") is None
    assert graph.value("y") == Value("y", TensorProto.FLOAT, (None, None))
    fixed = graph_of("g (float[4] x) => (y) <int64[2] to = {2, 2}> { y = Reshape(x, to) }")
    assert fixed.value("y").shape == (2, 2)


def test_large_and_external_weights_have_shapes(tmp_path: Path) -> None:
    graph = graph_of("""
        g (float[1,300] x) => (y, z, u) {
            k = Constant <value = float[2] {1, 2}> ()
            y = MatMul(x, w)
            z = Add(y, k)
            u = MatMul(x, e)
        }
    """)
    graph.proto.graph.node[0].attribute[0].t.CopyFrom(numpy_helper.from_array(np.ones((3, 300), np.float32)))
    graph.proto.graph.initializer.append(numpy_helper.from_array(np.ones((300, 300), np.float32), "w"))
    graph.proto.graph.initializer.add(
        name="e", data_type=TensorProto.FLOAT, dims=[300, 7], data_location=TensorProto.EXTERNAL
    ).external_data.add(key="location", value="not_read.bin")
    graph.save(tmp_path / "model.onnx")
    loaded = Graph.load(tmp_path / "model.onnx")
    assert loaded.value("w") == Value("w", TensorProto.FLOAT, (300, 300))
    assert loaded.value("k") == Value("k", TensorProto.FLOAT, (3, 300))
    assert loaded.value("z").shape == (3, 300)
    assert loaded.value("u").shape == (1, 7)


def test_weightless_is_what_the_checker_accepts(tmp_path: Path) -> None:
    graph = graph_of("""
        g (float[300] x, bool c) => (float[300] y) {
            k = Constant <value = float[1] {1}> ()
            a = Sum(x, k, w)
            y = If(c) <
                then_branch = t () => (float[300] o) { v = Constant <value = float[1] {1}> () o = Add(a, v) },
                else_branch = e () => (float[300] o) { o = Identity(a) }
            >
        }
    """)
    array = np.arange(300, dtype=np.float32)
    graph.proto.graph.node[0].attribute[0].t.CopyFrom(numpy_helper.from_array(array))
    then = next(a.g for a in graph.proto.graph.node[2].attribute if a.name == "then_branch")
    then.node[0].attribute[0].t.CopyFrom(numpy_helper.from_array(array))
    graph.proto.graph.initializer.append(numpy_helper.from_array(array, "w"))
    graph.save(tmp_path / "model.onnx")
    loaded = Graph.load(tmp_path / "model.onnx")
    model = weightless(loaded.proto)
    onnx.checker.check_model(model, full_check=True)
    assert [info.name for info in model.graph.input] == ["x", "c", "w", "k"]
    assert list(loaded.initializers) == ["w"]  # the graph itself is as it was


def test_facts_stay_until_they_are_forgotten() -> None:
    graph = graph_of("g (float[2,3] x) => (y) { y = Transpose(x) }")
    assert graph.value("y").shape == (3, 2)
    graph.append_node(helper.make_node("Neg", ["y"], ["z"]))
    assert graph.value("z").shape == (3, 2)  # made since: looked at when it is asked for
    graph.proto.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 7
    assert graph.value("y").shape == (3, 2)
    graph.forget_shapes()
    assert graph.value("z").shape == (3, 7)


# -- hostile models


def test_arithmetic_that_would_grow_is_not_done() -> None:
    """Four vectors of 256 numbers, each along its own axis, make 4 G numbers."""
    rows = [
        numpy_helper.from_array(np.ones([256 if i == axis else 1 for i in range(4)], np.int64), f"r{axis}")
        for axis in range(4)
    ]
    nodes = [
        helper.make_node("Max", ["r0", "r1", "r2", "r3"], ["huge"]),
        helper.make_node("Expand", ["one", "far"], ["huge2"]),
        helper.make_node("Add", ["r0", "r1"], ["a"]),
        helper.make_node("Add", ["r2", "r3"], ["b"]),
        helper.make_node("Add", ["a", "b"], ["huge3"]),
        helper.make_node("Neg", ["huge3"], ["y"]),
    ]
    one = numpy_helper.from_array(np.array([1]), "one")
    far = numpy_helper.from_array(np.array([2**31, 2**31]), "far")
    made = helper.make_graph(
        nodes, "g", [], [helper.make_tensor_value_info("y", TensorProto.INT64, None)], [*rows, one, far]
    )
    graph = Graph.from_proto(helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)], ir_version=8))
    with little_memory(2**30):
        assert graph.value("y").shape == (256, 256, 256, 256)
        assert [graph.content(name) for name in ("huge", "huge2", "huge3", "y")] == [None] * 4


def test_long_vectors_are_not_written_out() -> None:
    """onnx's data propagation would take 125 bytes for each of 2 G elements."""
    graph = graph_of(
        "g (int64[1000000000] a, int64[1000000000] b) => (y) { y = Concat <axis = 0> (a, b) z = NonZero(y) }"
    )
    with little_memory(2**30):
        assert graph.value("y").shape == (2_000_000_000,)
        assert graph.content("y") is None


@pytest.mark.parametrize(
    "nodes",
    [
        "s = Shape(x) y = Div(s, zero)",
        "s = Shape(x) y = Gather(s, far)",
        "s = Shape(x) y = Reshape(s, far)",
        "s = Shape() y = Neg(s)",
        "y = Concat(zero, zero)",
        "y = Slice(zero)",
        "s = Cast <to = 8> (zero) y = Identity(s)",
        "s = Cast <to = 99> (zero) y = Identity(s)",
        "s, t = Split <axis = 0> (pair) y = Add(s, t)",
        "y = Neg(y)",
    ],
)
def test_arithmetic_that_fails_leaves_the_value_unknown(nodes: str) -> None:
    weights = "int64[1] zero = {0}, int64[1] far = {9}, int64[2] pair = {1, 2}"
    graph = graph_of(f"g (float[2] x) => (y, float[2] z) <{weights}> {{ {nodes} z = Relu(x) w = Neg(z) }}")
    graph.value("y")
    assert graph.value("w").shape == (2,)


def test_reference_models(shared: Path) -> None:
    """Each Resize of the real exports has a static result, although some are sized by shape arithmetic."""
    for name, done in (("guide_layout", 10), ("torch2_legacy", 10), ("torch2_dynamo_opset18", 10), ("custom_op", 2)):
        graph = Graph.load(shared / "icnet" / f"{name}.skeleton.onnx")
        results = [graph.value(node.output[0]) for node in graph.index.by_type("Resize")]
        assert sum(value is not None and value.static for value in results) == done, name


@pytest.mark.parametrize("opset", [7, 10, 11])
def test_axes_counted_from_the_back_count_in_old_opsets_too(opset: int) -> None:
    graph = graph_of(
        f"""<ir_version: 4, opset_import: ["": {opset}]> g (float[2,1,4] x) => (float[2,1,4,1] y, float[2,4] z)
        {{ r = Relu(x) y = Unsqueeze<axes = [-1]>(r) z = Squeeze<axes = [-2]>(r) }}"""
    )
    shapes = [value.shape for name in ("y", "z") if (value := graph.value(name)) is not None]
    assert shapes == [(2, 1, 4, 1), (2, 4)]
    small = api.run(graph, "optimize").graph
    assert [node.op_type for node in small.nodes] == ["Relu", "Unsqueeze", "Squeeze"]
