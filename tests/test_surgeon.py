"""Native passes over onnx-graphsurgeon: what comes back unchanged keeps every byte, what changed keeps its notes."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import onnx
import onnx_graphsurgeon as gs
import pytest
from clirun import child
from conftest import graph_of
from onnx import ModelProto, TensorProto, helper, numpy_helper
from rewriting import lines, names, places, run

import graphtool
from graphtool.cases import model_of
from graphtool.errors import GraphtoolError, PassError
from graphtool.graph import Graph, check
from graphtool.rewrite import Applied
from graphtool.rewrite.surgeon import surgeon_pass, wants_surgeon

Fix = Callable[[Any, Any], Any]


def operate(fix: Fix, graph: Graph, **params: object) -> Applied:
    """Run a pass over onnx-graphsurgeon on a graph."""
    return surgeon_pass(fix)(graph, params)


def changed(fix: Fix, text: str, opset: int = 17) -> tuple[list[str], Applied]:
    """Return the nodes after a pass on a graph written as text, which must be sound, and what it reports."""
    graph = model_of(text, opset)
    found = operate(fix, graph)
    assert not check(graph), "the nodes are in topological order"
    return lines(graph), found


def data(model: Graph | ModelProto) -> bytes:
    proto = model.proto if isinstance(model, Graph) else model
    serialised: bytes = proto.SerializeToString(deterministic=True)
    return serialised


def node(graph: Any, name: str) -> Any:
    return next(found for found in graph.nodes if found.name == name)


def nothing(graph: Any, params: Any) -> None:
    pass


def copied(graph: Any, params: Any) -> Any:
    return graph.copy()


def looks(graph: Any, params: Any) -> None:
    """Read every weight, which makes onnx-graphsurgeon hold it as an array."""
    for tensor in graph.tensors().values():
        if isinstance(tensor, gs.Constant):
            try:
                tensor.values  # noqa: B018
            except GraphtoolError:  # text that is not UTF-8
                continue


def sorts(graph: Any, params: Any) -> None:
    graph.toposort()


def reimports(graph: Any, params: Any) -> Any:
    return gs.import_onnx(gs.export_onnx(graph))


# -- what onnx-graphsurgeon cannot hold


def rich_model() -> ModelProto:
    """A model with everything that a round trip through onnx-graphsurgeon loses."""
    model = onnx.parser.parse_model("""
    <ir_version: 10, opset_import: ["": 21, "custom": 3, "local": 1]>
    g (float[N,3] x, bool flag, float[3] bias) => (float[N,3] y, float[N,3] z, int64 sevens)
    <float[3] bias = {1,2,3}, float[3] w = {4,5,6}, float[2] unused = {7,8}, float[N,3] a, float s = {9},
     int64 sevens = {7}, float[M,M] ghost> {
      [first] a = Add(x, bias)
      [second] b = Mul(a, w)
      [called] c = local.twice(b)
      [foreign] d = custom.Thing<text="\xe9", numbers=[1,2]>(c, held)
      [choice] y = If(flag) <then_branch = t () => (float[N,3] u) { [inner] u = Mul(d, w) },
                             else_branch = e () => (float[N,3] v) { v = Add(d, brain) }>
      [last] z = Relu(d)
    }
    <domain: "local", opset_import: ["": 21]> twice (p) => (q) { q = Add(p, p) }
    """)
    graph = model.graph
    graph.sparse_initializer.append(
        helper.make_sparse_tensor(helper.make_tensor("held", 1, [1], [1.0]), helper.make_tensor("i", 7, [1], [1]), [3])
    )
    graph.initializer.append(helper.make_tensor("brain", TensorProto.BFLOAT16, [3], [1.5, -0.0, float("nan")]))
    graph.initializer.append(helper.make_tensor("packed", TensorProto.INT4, [3], [1, -2, 3]))
    graph.initializer.append(numpy_helper.from_array(np.arange(1000, dtype=np.float32), "large"))
    model.doc_string, graph.doc_string, model.producer_name, model.domain = "about it", "of the graph", "me", "here"
    model.model_version = 4
    model.metadata_props.add(key="k", value="v")
    graph.metadata_props.add(key="g", value="w")
    for position, found in enumerate(graph.node):
        found.doc_string = f"node {position}"
        found.metadata_props.add(key="at", value=str(position))
    graph.node[2].overload = ""
    graph.node[3].attribute.append(helper.make_attribute("raw", b"\xff\x00"))
    graph.node[3].attribute.append(helper.make_attribute("many", [helper.make_tensor("t", 1, [1], [0.5])]))
    kind = helper.make_tensor_type_proto(1, [2])
    graph.node[3].attribute.append(helper.make_attribute("kind", kind))
    graph.node[3].attribute[0].doc_string = "of an attribute"
    graph.input[0].doc_string = "an image"
    graph.input[0].type.tensor_type.shape.dim[0].denotation = "DATA_BATCH"
    graph.input[0].type.denotation = "IMAGE"
    graph.output[1].metadata_props.add(key="o", value="p")
    graph.value_info[0].doc_string = "a value"
    note = graph.quantization_annotation.add(tensor_name="b")
    note.quant_parameter_tensor_names.add(key="SCALE_TENSOR", value="s")
    unknown = bytes([0xFA, 0x3E, 2, 65, 66])  # field 999 of a later ONNX
    graph.node[1].MergeFromString(unknown)
    found: ModelProto = ModelProto.FromString(model.SerializeToString())
    return found


@pytest.mark.parametrize("fix", [nothing, copied, looks, sorts], ids=lambda fix: fix.__name__)
def test_what_is_unchanged_keeps_every_byte(fix: Fix) -> None:
    graph = Graph.from_proto(rich_model())
    before = data(graph)
    assert operate(fix, graph) == Applied()
    assert data(graph) == before


def test_one_change_is_the_only_change() -> None:
    """A node gets another type: every other byte of the model stays, and the node's own notes do."""

    def fix(graph: Any, params: Any) -> None:
        node(graph, "last").op = "Sigmoid"

    graph = Graph.from_proto(rich_model())
    wanted = ModelProto()
    wanted.CopyFrom(graph.proto)
    wanted.graph.node[5].op_type = "Sigmoid"
    assert places(operate(fix, graph)) == ["last"]
    assert data(graph) == data(wanted)


@pytest.mark.parametrize("fix", [nothing, copied, looks], ids=lambda fix: fix.__name__)
def test_the_traps_and_a_sample_of_public_models_keep_every_byte(shared: Path, tmp_path: Path, fix: Fix) -> None:
    subprocess.run([sys.executable, shared / "traps/make_traps.py", tmp_path], check=True)
    paths = [*sorted(tmp_path.glob("*.onnx")), *sorted((shared / "corpus/models").glob("*.onnx"))[::12]]
    count = 0
    for path in paths:
        try:
            graph = Graph.load(path)
            check(graph)
        except GraphtoolError:
            continue
        before = data(graph)
        assert operate(fix, graph) == Applied(), path
        assert data(graph) == before, path
        count += 1
    assert count > 150


def test_what_is_not_handed_over() -> None:
    seen: dict[str, Any] = {}

    def fix(graph: Any, params: Any) -> None:
        seen.update(graph.tensors())
        seen["functions"] = graph.functions
        seen["attributes"] = list(node(graph, "foreign").attrs)
        seen["body"] = node(graph, "choice").attrs["then_branch"]

    operate(fix, Graph.from_proto(rich_model()))
    assert isinstance(seen["bias"], gs.Variable), "a default value can be overridden: no constant"
    assert isinstance(seen["held"], gs.Variable) and "unused" not in seen and seen["functions"] == []
    assert seen["attributes"] == ["text", "numbers"]
    assert isinstance(seen["w"], gs.Constant) and seen["w"] is seen["body"].nodes[0].inputs[1]


def test_types_are_those_that_are_inferred() -> None:
    """What an exporter stored may be wrong, and fold_constants would believe it."""
    graph = graph_of("g (float[2,3] x) => (float[] y) <float[9,9] t> { t = Transpose<perm=[1,0]>(x) y = ReduceMax(t) }")
    seen = {}
    operate(lambda found, _: seen.update(found.tensors()), graph)
    assert seen["t"].shape == [3, 2] and seen["t"].dtype == np.float32 and seen["x"].shape == [2, 3]


# -- nodes


def append(graph: Any, params: Any) -> None:
    """The idiom of most scripts: a new node at the end of the list, its readers rewired."""
    relu = node(graph, "relu")
    made = gs.Variable("made", np.float32)
    graph.nodes.append(gs.Node("Neg", "new", inputs=[relu.inputs[0]], outputs=[made]))
    relu.inputs[0] = made


def layer(graph: Any, params: Any) -> None:
    relu = node(graph, "relu")
    two = gs.Constant("two", np.array(2, np.float32))
    relu.inputs[0] = graph.layer(op="Mul", name="by_two", inputs=[relu.inputs[0], two], outputs=["doubled"])[0]


def bypass(graph: Any, params: Any) -> None:
    relu = node(graph, "relu")
    relu.o().inputs[0] = relu.inputs[0]
    graph.cleanup()


def attribute(graph: Any, params: Any) -> None:
    node(graph, "soft").attrs["axis"] = np.int64(1)


def replaced(graph: Any, params: Any) -> None:
    """Another node of the same name makes the value."""
    old = node(graph, "relu")
    made = gs.Node("Abs", "relu", inputs=list(old.inputs), outputs=list(old.outputs))
    old.outputs.clear()
    graph.nodes.remove(old)
    graph.nodes.append(made)


def same_name(graph: Any, params: Any) -> None:
    append(graph, params)
    graph.nodes[-1].name = "soft"


CHAIN = "g (float[2,3] x) => (float[2,3] y) { [neg] a = Neg(x) [relu] b = Relu(a) [soft] y = Softmax<axis=0>(b) }"


@pytest.mark.parametrize(
    ("fix", "after", "reported"),
    [
        (append, ["a = Neg(x)", "made = Neg(a)", "b = Relu(made)", "y = Softmax<axis=0>(b)"], ["relu", "new"]),
        (
            layer,
            ["a = Neg(x)", "doubled_0 = Mul(a, two)", "b = Relu(doubled_0)", "y = Softmax<axis=0>(b)"],
            ["relu", "by_two", "weight two"],
        ),
        (bypass, ["a = Neg(x)", "y = Softmax<axis=0>(a)"], ["relu", "soft"]),
        (attribute, ["a = Neg(x)", "b = Relu(a)", "y = Softmax<axis=1>(b)"], ["soft"]),
        (replaced, ["a = Neg(x)", "b = Abs(a)", "y = Softmax<axis=0>(b)"], ["relu", "relu"]),
        (sorts, ["a = Neg(x)", "b = Relu(a)", "y = Softmax<axis=0>(b)"], []),
    ],
    ids=lambda item: getattr(item, "__name__", ""),
)
def test_nodes(fix: Fix, after: list[str], reported: list[str]) -> None:
    got, found = changed(fix, CHAIN)
    assert got == after and places(found) == reported


def test_two_nodes_never_share_a_name() -> None:
    graph = model_of(CHAIN, 17)
    operate(same_name, graph)
    assert names(graph) == ["neg", "soft_2", "relu", "soft"]


def test_a_copy_of_the_graph_is_recognised_by_what_its_nodes_make() -> None:
    def fix(graph: Any, params: Any) -> Any:
        own = graph.copy()
        second = node(own, "second")
        second.inputs = [second.inputs[1], second.inputs[0]]
        return own

    graph = Graph.from_proto(rich_model())
    wanted = ModelProto()
    wanted.CopyFrom(graph.proto)
    wanted.graph.node[1].input[:] = ["w", "a"]
    assert places(operate(fix, graph)) == ["second"]
    assert data(graph) == data(wanted)


def test_a_round_trip_through_the_library_itself_changes_nothing_it_can_say() -> None:
    graph = model_of(CHAIN, 17)
    before = data(graph)
    assert operate(reimports, graph) == Applied() and data(graph) == before


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.5, "0.5"), (1, "1.0"), (np.float64(2), "2.0"), (0.10000000149011612, None), (np.float32(0.1), None)],
)
def test_a_float_attribute(value: Any, text: str | None) -> None:
    """None: the very value that is there, at the precision of float32."""

    def fix(graph: Any, params: Any) -> None:
        graph.nodes[0].attrs["alpha"] = value

    got, found = changed(fix, "g (float[2] x) => (float[2] y) { y = LeakyRelu<alpha=0.1>(x) }")
    assert got == [f"y = LeakyRelu<alpha={text or '0.1'}>(x)"] and bool(found.matches) == (text is not None)


def test_element_types_as_attributes() -> None:
    def fix(graph: Any, params: Any) -> None:
        graph.nodes[0].attrs["to"] = np.float16

    assert changed(fix, "g (float[2] x) => (float16[2] y) { y = Cast<to=1>(x) }")[0] == ["y = Cast<to=10>(x)"]


def test_an_attribute_of_a_custom_op_keeps_its_type() -> None:
    def fix(graph: Any, params: Any) -> None:
        graph.nodes[0].attrs.update(scale=2, more=[1, 2])
        del graph.nodes[0].attrs["gone"]

    text = "g (float[2] x) => (float[2] y) { y = my.Op<scale=1.0, gone=3>(x) }"
    assert changed(fix, text)[0] == ["y = my.Op<more=[1, 2], scale=2.0>(x)"]


def test_an_empty_list_as_attribute() -> None:
    def fix(graph: Any, params: Any) -> None:
        graph.nodes[0].attrs["axes"] = []

    text = "g (float[2] x) => (float[2] y) { y = ReduceMax<axes=[0], keepdims=1>(x) }"
    assert changed(fix, text, 13)[0] == ["y = ReduceMax<axes=[], keepdims=1>(x)"]


# -- weights

WEIGHTS = """g (float[2] x) => (float[2] y) <float[2] w = {1,2}, float[2] v = {3,4}> {
  [add] a = Add(x, w) [mul] y = Mul(a, v) }"""


def weights(graph: Graph) -> dict[str, list[float]]:
    return {name: graph.array(tensor).tolist() for name, tensor in graph.initializers.items()}


def test_new_values_of_a_weight_keep_its_notes() -> None:
    def fix(graph: Any, params: Any) -> None:
        graph.tensors()["w"].values *= 2

    graph = model_of(WEIGHTS, 17)
    graph.initializers["w"].doc_string = "about w"
    assert places(operate(fix, graph)) == ["weight w"]
    assert weights(graph) == {"w": [2, 4], "v": [3, 4]} and graph.initializers["w"].doc_string == "about w"


def test_a_weight_under_another_name() -> None:
    def fix(graph: Any, params: Any) -> None:
        graph.tensors()["w"].name = "weight"

    graph = model_of(WEIGHTS, 17)
    graph.initializers["w"].doc_string = "about w"
    assert places(operate(fix, graph)) == ["add", "weight weight", "weight w"]
    assert lines(graph)[0] == "a = Add(x, weight)" and weights(graph) == {"v": [3, 4], "weight": [1, 2]}
    assert graph.initializers["weight"].doc_string == "about w"


def test_weights_that_nothing_reads_any_more_go_and_others_stay() -> None:
    def fix(graph: Any, params: Any) -> None:
        mul = node(graph, "mul")
        mul.inputs[1] = mul.inputs[0]

    graph = model_of(WEIGHTS, 17)
    graph.put_initializer("never_read", np.zeros(2, np.float32))
    assert places(operate(fix, graph)) == ["mul", "weight v"]
    assert set(weights(graph)) == {"w", "never_read"}


def test_a_large_weight_stays_in_its_file_and_a_new_one_out_of_snapshots(tmp_path: Path) -> None:
    graph = model_of("g (float[2048] x) => (float[2048] y) <float[2048] w> { y = Add(x, w) }", 17)
    graph.save(tmp_path / "m.onnx")
    graph = Graph.load(tmp_path / "m.onnx")
    before = graph.constant("w")

    def fix(found: Any, params: Any) -> None:
        tensor = found.tensors()["w"]
        made = gs.Constant("u", np.full(2048, 3, np.float32))
        found.nodes[0].outputs[0].inputs.clear()
        inner = gs.Variable("i", np.float32)
        found.nodes.append(gs.Node("Mul", "mul", inputs=[inner, made], outputs=[found.outputs[0]]))
        found.nodes[0].outputs.append(inner)
        assert tensor.shape == [2048]

    operate(fix, graph)
    assert len(data(graph)) < 2000
    assert np.array_equal(graph.constant("w"), before) and np.array_equal(graph.constant("u"), np.full(2048, 3))
    graph.save(tmp_path / "n.onnx")
    assert np.array_equal(Graph.load(tmp_path / "n.onnx").constant("u"), np.full(2048, 3))


@pytest.mark.parametrize("where", ["inline", "external"])
def test_folding_reads_weights_wherever_they_lie(tmp_path: Path, where: str) -> None:
    """fold_constants exports parts of the graph and runs them: the bytes must be the weight's, not its place."""
    graph = model_of(
        "g (float[2048] x) => (float[2048] y) <float[2048] w, float[2048] v> { a = Add(w, v) y = Mul(x, a) }", 17
    )
    sum_ = graph.constant("w") + graph.constant("v")
    model = graph.full_proto()
    onnx.save(model, tmp_path / "m.onnx", save_as_external_data=where == "external", size_threshold=0)
    graph = Graph.load(tmp_path / "m.onnx")

    def fix(found: Any, params: Any) -> None:
        found.fold_constants().cleanup()

    operate(fix, graph)
    assert lines(graph) == ["y = Mul(x, a)"] and np.array_equal(graph.constant("a"), sum_)
    assert set(graph.initializers) == {"a"}


@pytest.mark.parametrize(
    ("array", "code"),
    [
        (np.array([1, -2], ml_dtypes.int4), TensorProto.INT4),
        (np.array([1.5, -0.0], ml_dtypes.bfloat16), TensorProto.BFLOAT16),
        (np.array([1.5, 2], ml_dtypes.float8_e4m3fnuz), TensorProto.FLOAT8E4M3FNUZ),
        (np.array(["a", "ü"]), TensorProto.STRING),
        (np.zeros((0, 2), bool), TensorProto.BOOL),
    ],
    ids=lambda item: str(getattr(item, "dtype", "")),
)
def test_element_types_of_new_weights(array: Any, code: int) -> None:
    def fix(graph: Any, params: Any) -> None:
        graph.nodes[0].inputs[0] = gs.Constant("new", array)

    graph = model_of("g (float[2] x) => (float[2] y) { y = my.Op(x) }", 17)
    operate(fix, graph)
    found = graph.constant("new")
    assert graph.initializers["new"].data_type == code and found is not None and found.tolist() == array.tolist()


def test_a_weight_that_was_read_only_keeps_its_bytes_in_an_attribute_too() -> None:
    graph = model_of("g () => (float[2] y) { c = Constant<value = float[2] {1,2}>() y = Neg(c) }", 17)
    before = data(graph)
    assert operate(lambda found, _: found.nodes[0].attrs["value"].values.sum() and None, graph) == Applied()
    assert data(graph) == before

    def fix(found: Any, params: Any) -> None:
        found.nodes[0].attrs["value"].values[0] = 5

    operate(fix, graph)
    assert graph.constant("c").tolist() == [5, 2]


def test_before_ir_4_a_new_weight_is_an_input_too() -> None:
    graph = graph_of("""<ir_version: 3, opset_import: ["": 8]>
    g (float[2] x, float[2] w) => (float[2] y) <float[2] w = {1,2}> { [add] y = Add(x, w) }""")
    before = data(graph)
    assert operate(nothing, graph) == Applied() and data(graph) == before

    def fix(found: Any, params: Any) -> None:
        assert [tensor.name for tensor in found.inputs] == ["x"]
        found.nodes[0].inputs[1] = gs.Constant("v", np.ones(2, np.float32))

    operate(fix, graph)
    assert [info.name for info in graph.header.input] == ["x", "v"] and set(graph.initializers) == {"v"}
    onnx.checker.check_model(graph.full_proto())


# -- inputs and outputs


def test_names_of_inputs_and_outputs() -> None:
    def fix(graph: Any, params: Any) -> None:
        graph.inputs[0].name, graph.outputs[0].name = "image", "scores"

    graph = Graph.from_proto(rich_model())
    found = operate(fix, graph)
    assert found.renamed == {"image": "x", "scores": "y"}
    assert graph.header.input[0].doc_string == "an image" and graph.header.input[0].type.denotation == "IMAGE"
    assert graph.header.input[0].type.tensor_type.shape.dim[0].denotation == "DATA_BATCH"
    assert [info.name for info in graph.header.output] == ["scores", "z", "sevens"]
    assert lines(graph)[0] == "a = Add(image, bias)"


def test_a_fixed_batch_keeps_what_is_said_of_the_other_dimensions() -> None:
    def fix(graph: Any, params: Any) -> None:
        graph.inputs[0].shape[0] = 4

    graph = Graph.from_proto(rich_model())
    graph.header.input[0].type.tensor_type.shape.dim[1].denotation = "DATA_FEATURE"
    assert places(operate(fix, graph)) == ["input x"]
    shape = graph.header.input[0].type.tensor_type.shape
    assert [(dim.dim_value, dim.dim_param, dim.denotation) for dim in shape.dim] == [
        (4, "", "DATA_BATCH"),
        (3, "", "DATA_FEATURE"),
    ]
    assert [info.name for info in graph.header.value_info] == ["ghost"], "the type of 'a' is not known to hold now"


def test_another_output() -> None:
    def fix(graph: Any, params: Any) -> None:
        graph.outputs = [node(graph, "relu").outputs[0]]
        graph.outputs[0].dtype = np.float32
        graph.cleanup()

    graph = model_of(CHAIN, 17)
    assert places(operate(fix, graph)) == ["output y", "output b", "soft"]
    assert [(v.name, v.shape) for v in graph.outputs] == [("b", (2, 3))]


def test_an_output_listed_twice_and_one_that_is_an_input() -> None:
    graph = model_of("g (float[2] x) => (float[2] y, float[2] y, float[2] x) { [relu] y = Relu(x) }", 17)
    before = data(graph)
    assert operate(nothing, graph) == Applied() and data(graph) == before

    def fix(found: Any, params: Any) -> None:
        found.nodes[0].op = "Neg"

    operate(fix, graph)
    assert [value.name for value in graph.outputs] == ["y", "y", "x"]


def test_the_order_of_outputs() -> None:
    graph = model_of("g (float[2] x) => (float[2] y, float[2] z) { y = Relu(x) z = Neg(x) }", 17)
    assert places(operate(lambda found, _: found.outputs.reverse(), graph)) == ["the order of outputs"]
    assert [value.name for value in graph.outputs] == ["z", "y"]


# -- bodies

BRANCHES = """g (bool c, float[2] x) => (float[2] y) <float[2] w = {1,2}> {
  [pre] p = Relu(x)
  [if] y = If(c) <then_branch = t () => (float[2] a) { [plus] a = Add(p, w) },
                  else_branch = e () => (float[2] b) { [neg] n = Neg(p) [minus] b = Sub(n, w) }> }"""


def test_a_change_in_a_body() -> None:
    def fix(graph: Any, params: Any) -> None:
        node(node(graph, "if").attrs["else_branch"], "neg").op = "Abs"

    graph = model_of(BRANCHES, 17)
    graph.proto.graph.node[1].attribute[1].g.node[1].doc_string = "kept"
    wanted = ModelProto()
    wanted.CopyFrom(graph.proto)
    wanted.graph.node[1].attribute[1].g.node[0].op_type = "Abs"
    assert places(operate(fix, graph)) == ["neg"]
    assert data(graph) == data(wanted)


def test_a_weight_of_the_outer_graph_is_not_copied_into_bodies() -> None:
    def fix(graph: Any, params: Any) -> None:
        node(node(graph, "if").attrs["then_branch"], "plus").inputs[1].values += 1

    graph = model_of(BRANCHES, 17)
    assert places(operate(fix, graph)) == ["weight w"]
    assert weights(graph) == {"w": [2, 3]}
    assert all(not attribute.g.initializer for attribute in graph.proto.graph.node[1].attribute)


def test_branches_change_places() -> None:
    def fix(graph: Any, params: Any) -> None:
        attributes = node(graph, "if").attrs
        attributes["then_branch"], attributes["else_branch"] = attributes["else_branch"], attributes["then_branch"]

    graph = model_of(BRANCHES, 17)
    graph.proto.graph.node[1].attribute[1].g.node[1].doc_string = "kept"
    before = {a.name: a.g.SerializeToString() for a in graph.proto.graph.node[1].attribute}
    assert places(operate(fix, graph)) == ["if"]
    after = {a.name: a.g.SerializeToString() for a in graph.proto.graph.node[1].attribute}
    assert after == {"then_branch": before["else_branch"], "else_branch": before["then_branch"]}
    assert not check(graph)


def test_a_body_in_a_new_node_keeps_its_notes() -> None:
    def fix(graph: Any, params: Any) -> None:
        old = node(graph, "if")
        made = gs.Node("If", "other", dict(old.attrs), list(old.inputs), list(old.outputs))
        node(made.attrs["else_branch"], "neg").op = "Abs"
        old.outputs.clear()
        graph.nodes.remove(old)
        graph.nodes.append(made)

    graph = model_of(BRANCHES, 17)
    graph.proto.graph.node[1].attribute[1].g.node[1].doc_string = "kept"
    operate(fix, graph)
    assert not check(graph) and names(graph) == ["pre", "other"]
    body = graph.proto.graph.node[1].attribute[1].g
    assert [found.op_type for found in body.node] == ["Abs", "Sub"] and body.node[1].doc_string == "kept"


def test_a_body_made_anew() -> None:
    def fix(graph: Any, params: Any) -> None:
        inner = gs.Variable("inner", np.float32, [2])
        scale = gs.Constant("scale", np.full(2, 3, np.float32))
        body = gs.Graph(
            [gs.Node("Mul", "mul", inputs=[node(graph, "pre").outputs[0], scale], outputs=[inner])], [], [inner]
        )
        node(graph, "if").attrs["then_branch"] = body

    graph = model_of(BRANCHES, 17)
    operate(fix, graph)
    assert not check(graph)
    onnx.checker.check_model(graph.full_proto(), full_check=True)
    out = run(graph, {"c": np.array(True), "x": np.array([-1, 2], np.float32)})
    assert out["y"].tolist() == [0, 6] and set(graph.initializers) == {"w"}


# -- what is said of values, and the model itself


def test_stored_types_behind_a_change_are_dropped_and_given_ones_written() -> None:
    text = """g (float[2] x) => (float[2] y) <float[2] a, float[2] b, float[2] c> {
      [one] a = Neg(x) [two] b = Relu(a) [three] c = Abs(b) y = Neg(c) }"""
    graph = graph_of(text)

    def fix(found: Any, params: Any) -> None:
        node(found, "two").op = "Identity"
        node(found, "three").outputs[0].shape = ["K"]

    operate(fix, graph)
    stored = {info.name: [d.dim_param for d in info.type.tensor_type.shape.dim] for info in graph.header.value_info}
    assert stored == {"a": [""], "c": ["K"]}


def test_a_renamed_value_takes_its_notes_along() -> None:
    def fix(graph: Any, params: Any) -> None:
        graph.tensors()["b"].name = "product"

    graph = Graph.from_proto(rich_model())
    operate(fix, graph)
    assert [note.tensor_name for note in graph.header.quantization_annotation] == ["product"]
    assert lines(graph)[1:3] == ["product = Mul(a, w)", "c = local.twice(product)"]


def test_opsets() -> None:
    def fix(graph: Any, params: Any) -> None:
        graph.opset = 18
        graph.nodes[0].domain = "com.example"

    graph = model_of("g (float[2] x) => (float[2] y) { [n] y = Neg(x) }", 17)
    assert places(operate(fix, graph)) == ["n", "opset", "opset of com.example"]
    assert {entry.domain: entry.version for entry in graph.proto.opset_import} == {"": 18, "com.example": 1}


def test_ai_onnx_stays_as_it_is_spelled() -> None:
    graph = graph_of("""<ir_version: 8, opset_import: ["ai.onnx": 13]>
    g (float[2] x) => (float[2] y) { [n] y = ai.onnx.Neg(x) }""")

    def fix(found: Any, params: Any) -> None:
        gs.export_onnx(found)  # adds a version 1 of the domain to the library's own list
        found.nodes[0].op = "Abs"

    operate(fix, graph)
    assert [(entry.domain, entry.version) for entry in graph.proto.opset_import] == [("ai.onnx", 13)]
    assert graph.nodes[0].domain == "ai.onnx"


def test_a_function_that_is_added() -> None:
    def fix(graph: Any, params: Any) -> None:
        p, q = gs.Variable("p"), gs.Variable("q")
        body = [gs.Node("Neg", inputs=[p], outputs=[q])]
        graph.functions.append(gs.Function("minus", "mine", nodes=body, inputs=[p], outputs=[q], opset=17))
        graph.nodes[0].op, graph.nodes[0].domain = "minus", "mine"

    graph = model_of("g (float[2] x) => (float[2] y) { [n] y = Abs(x) }", 17)
    operate(fix, graph)
    assert [function.name for function in graph.proto.functions] == ["minus"]
    assert run(graph, {"x": np.array([1, -2], np.float32)})["y"].tolist() == [-1, 2]


# -- whatever goes wrong


def raises(graph: Any, params: Any) -> None:
    raise KeyError("no\x1b[31m such")


def loops(graph: Any, params: Any) -> None:
    first, second = graph.nodes[0], graph.nodes[1]
    first.inputs[0] = second.outputs[0]


def wrong_type(graph: Any, params: Any) -> None:
    graph.outputs[0].dtype = "no type"


@pytest.mark.parametrize(
    ("fix", "reason"),
    [
        (lambda graph, params: 3, "it returned int, not a graph of onnx-graphsurgeon or None"),
        (raises, r"KeyError: 'no\\x1b[31m such' (test_surgeon.py:"),
        (loops, "the graph has a cycle through node"),
        (wrong_type, "ONNX has no element type 'no type'"),
        (lambda graph, params: graph.nodes[2].attrs.update(axis="x"), "attribute 'axis' of Softmax"),
        (lambda graph, params: graph.nodes[2].attrs.update(axis=gs.Variable("v")), "which is no value"),
        (lambda graph, params: setattr(graph.nodes[0].outputs[0], "name", None), "the name of a tensor of node"),
        (
            lambda graph, params: graph.nodes[0].inputs.__setitem__(0, gs.Constant("k", np.zeros(2, np.complex256))),
            "constant 'k' cannot be written",
        ),
    ],
    ids=["returned", "raised", "cycle", "type", "attribute", "variable", "name", "constant"],
)  # fmt: skip
def test_errors_are_one_line(fix: Fix, reason: str) -> None:
    with pytest.raises(PassError) as error:
        operate(fix, model_of(CHAIN, 17))
    assert reason.replace("\\\\", "\\") in str(error.value) and "\n" not in str(error.value)


def test_two_weights_of_one_name() -> None:
    def fix(graph: Any, params: Any) -> None:
        node(graph, "mul").inputs[1] = gs.Constant("w", np.zeros(2, np.float32))

    with pytest.raises(PassError, match="two constants are named 'w'"):
        operate(fix, model_of(WEIGHTS, 17))


def test_what_a_pass_prints_is_not_a_result(capsys: pytest.CaptureFixture[str]) -> None:
    operate(lambda graph, params: print("hello"), model_of(CHAIN, 17))
    assert capsys.readouterr() == ("", "hello\n")


def test_parameters_reach_the_pass() -> None:
    seen = {}
    operate(lambda graph, params: seen.update(params), model_of(CHAIN, 17), keep=["y"])
    assert seen == {"keep": ["y"]}


# -- how such a pass is told


def by_text(graph: "gs.Graph", params: object) -> None: ...  # noqa: UP037


def by_full_name(graph: onnx.GraphProto, params: object) -> None: ...


def unannotated(graph, params): ...  # type: ignore[no-untyped-def]


def of_graphtool(graph: Graph, params: object) -> None: ...


@pytest.mark.parametrize(
    ("function", "wanted"),
    [(by_text, True), (by_full_name, False), (unannotated, False), (of_graphtool, False), (print, False), (max, False)],
    ids=lambda item: getattr(item, "__name__", ""),
)
def test_the_annotation_tells(function: Callable[..., object], wanted: bool) -> None:
    assert wants_surgeon(function) == wanted


def test_an_annotation_that_cannot_be_evaluated() -> None:
    scope: dict[str, Any] = {}
    code = "def a(graph: gs.Graph, p: Nowhere): ...\ndef b(graph: other.Graph, p): ..."
    exec(f"from __future__ import annotations\n{code}", scope)
    assert wants_surgeon(scope["a"]) and not wants_surgeon(scope["b"])


def test_a_marked_pass_is_one_over_our_graph() -> None:
    marked = graphtool.surgeon_pass(nothing)
    assert not wants_surgeon(marked) and marked.__name__ == "nothing"
    assert marked(model_of(CHAIN, 17), {}) == Applied()


# -- an installed distribution

PROJECT = """
[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"
[project]
name = "head-cutter"
version = "1.0"
[project.entry-points."graphtool.natives"]
cut_head = "head_cutter:cut_head"
plain = "head_cutter:plain"
broken = "head_cutter:broken"
absent = "head_cutter:absent"
dies = "head_cutter:dies"
[tool.hatch.build.targets.wheel]
include = ["head_cutter.py"]
"""
MODULE = """
from __future__ import annotations
import onnx_graphsurgeon as gs
from graphtool.rewrite import Applied, Match

def cut_head(graph: gs.Graph, params):
    print("cutting", params["kind"])
    for node in list(graph.nodes):
        if node.op == params["kind"]:
            node.o().inputs[0] = node.inputs[0]
    graph.cleanup()

def plain(graph, params):
    slots = graph.index.slots_of_type("Identity")
    return Applied([], [])

def broken(graph, params):
    return 1 / 0

def dies(graph, params):
    import os, signal
    os.kill(os.getpid(), signal.SIGSEGV)
"""
PASS = """
summary = "Leave out nodes of a kind"
why = "a test"
parity = "lossy"
native = "{native}"
[params.kind]
type = "string"
default = "Identity"
help = "which op"
[[case]]
name = "an Identity"
before = 'g (float[2] x) => (float[2] y) {{ i = Identity(x) y = Relu(i) }}'
after = 'g (float[2] x) => (float[2] y) {{ y = Relu(x) }}'
[[case]]
name = "none"
before = 'g (float[2] x) => (float[2] y) {{ y = Relu(x) }}'
after = "unchanged"
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which a distribution with natives is installed."""
    source, target = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("site")
    (source / "pyproject.toml").write_text(PROJECT)
    (source / "head_cutter.py").write_text(MODULE)
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    command += ["--disable-pip-version-check", "--target", target, source]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return target


def test_natives_of_an_installed_distribution(site: Path, tmp_path: Path) -> None:
    onnx.save(
        onnx.parser.parse_model("""<ir_version: 8, opset_import: ["": 13]>
        g (float[2] x) => (float[2] y) { [a] i = Identity(x) [b] y = Relu(i) }"""),
        tmp_path / "m.onnx",
    )
    for native in ("cut_head", "plain", "broken", "absent", "dies"):
        (tmp_path / f"{native}_it.toml").write_text(PASS.format(native=native))

    def call(*words: str) -> subprocess.CompletedProcess[str]:
        return child(["graphtool", *words], tmp_path, PYTHONPATH=str(site))

    ended = call("run", "-p", "./cut_head_it.toml", "m.onnx", "-o", "n.onnx", "--json")
    assert ended.returncode == 0 and ended.stderr == "cutting Identity\n", ended
    assert ended.stdout.startswith("{") and '"matches": [\n        "a",\n        "b"\n      ]' in ended.stdout
    assert lines(Graph.load(tmp_path / "n.onnx")) == ["y = Relu(x)"]
    ended = call("passes", "test", ".")
    assert "FAILED cut_head_it" not in ended.stdout and "FAILED broken_it: an Identity" in ended.stdout
    assert "FAILED dies_it: an Identity: the process that ran it crashed (SIGSEGV)\n" in ended.stdout
    assert "FAILED plain_it" in ended.stdout, "the files behind it are tested too"
    ended = call("run", "-p", "./plain_it.toml", "m.onnx", "--no-check", "-o", "o.onnx")
    assert ended.returncode == 0 and "nothing to do" in ended.stdout
    ended = call("run", "-p", "./broken_it.toml", "m.onnx")
    reason = "broken_it: native pass 'broken' of head-cutter: ZeroDivisionError: division by zero (head_cutter.py:18)"
    assert (ended.returncode, ended.stderr) == (2, f"graphtool: {reason}\n")
    ended = call("run", "-p", "./absent_it.toml", "m.onnx")
    assert (
        ended.returncode == 2 and "native pass 'absent' of head-cutter cannot be loaded: AttributeError" in ended.stderr
    )
    assert child(["graphtool", "passes", "show", "./cut_head_it.toml"], tmp_path).returncode == 2, "not installed here"
