"""What changed in weights, the interface and around the graph."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from conftest import graph_of as of
from diffing import NET, details, edited, entry, names, only, proto_edited
from onnx import ModelProto, TensorProto, helper, numpy_helper

from graphtool.diff import Detail, Renamed, diff, summary
from graphtool.errors import ModelError
from graphtool.graph import Graph
from graphtool.graph.weights import Weights

# -- weights


def test_weights_are_compared_by_their_bytes() -> None:
    found = edited(NET, ("{1, 2, 3, 4}", "{1, 2, 3, 5}"))
    assert only(found, "weights") and [item.name for item in found.weights.changed] == ["w"]
    (detail,) = found.weights.changed[0].details
    assert detail.what == "values" and detail.before != detail.after and len(detail.before or "") == 64
    assert found.lines()[1] == f"~ weight w: values sha256 {detail.before[:12]} -> sha256 {detail.after[:12]}"
    found = edited(NET, ("float[1,4] w = {1, 2, 3, 4}", "double[1,2] w = {1, 2}"))
    assert found.weights.changed[0].details == (Detail("type", "float32[1,4]", "float64[1,2]"),)


def test_weights_are_added_removed_and_renamed() -> None:
    found = edited(NET, (", float[1,4] unread = {0, 0, 0, 0}", ""), ("w =", "v ="), ("(a, w)", "(a, v)"))
    assert names(found.weights.removed) == ["unread"]
    assert found.weights.renamed == (Renamed("w", "v"),) and only(found, "weights")
    # renamed and changed at once: known by its place at a node
    found = edited(NET, ("w = {1, 2, 3, 4}", "v = {1, 2, 3, 5}"), ("(a, w)", "(a, v)"))
    assert found.weights.renamed == (Renamed("w", "v"),) and [i.after for i in found.weights.changed] == ["v"]
    assert not found.nodes


def test_a_constant_that_goes_and_an_equal_one_that_comes_elsewhere_are_two() -> None:
    net = """agraph (float[1] x) => (float[1] y, float[1] z) <float[1] half = {0.5}>
             { [m] y = Mul (x, half) [n] z = Exp (x) }"""
    found = edited(
        net,
        ("half = ", "eps = "),
        ("[m] y = Mul (x, half)", "[m2] y = Relu (x)"),
        ("[n] z = Exp (x)", "[n2] z = Add (x, eps)"),
    )
    assert names(found.weights.removed) == ["half"] and names(found.weights.added) == ["eps"]

    net = """agraph (float[1] x) => (float[1] y, float[1] z, float[1] v) <float[1] half = {0.5}>
             { [m] y = Mul (x, half) [n] z = Exp (x) [p] v = Abs (z) }"""
    found = edited(
        net,
        ("[m] y = Mul (x, half)", "[m2] y = Relu (x)"),
        ("[p] v = Abs (z)", "[p] v = Abs(q)"),
        ("[n]", "[q] q = Mul (x2, eps) [x2] x2 = Neg (x) [n]"),
        ("half = ", "eps = "),
    )
    assert names(found.nodes.removed) == ["m"] and "q" in names(found.nodes.added)


def test_a_large_weight_stands_for_its_node_wherever_it_is() -> None:
    net = """agraph (float[1,16] x, float[1,16] m) => (float[1,16] y, float[1,16] z)
             <float[1,16] w = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16}>
             { [m] a = Mul (x, w) [n] y = Exp (a) [p] z = Abs (m) }"""
    found = edited(
        net, ("[m] a = Mul (x, w) [n] y = Exp (a)", "[n] y = Exp (x) [q] a2 = Mul (m, w)"), ("Abs (m)", "Abs (a2)")
    )
    assert found.nodes.renamed == (Renamed("m", "q"),) and not found.nodes.added


def test_a_weight_that_a_caller_may_override_is_another_thing() -> None:
    def overridable(proto: ModelProto) -> None:
        proto.graph.input.append(helper.make_tensor_value_info("w", TensorProto.FLOAT, [1, 4]))

    found = proto_edited(overridable)
    assert found.weights.changed[0].details == (Detail("overridable", "no", "yes"),) and only(found, "weights")


def sparse_model(values: list[float], indices: list[int]) -> Graph:
    proto = of(NET).full_proto()
    sparse = helper.make_sparse_tensor(
        helper.make_tensor("s", TensorProto.FLOAT, [len(values)], values),
        helper.make_tensor("i", TensorProto.INT64, [len(indices)], indices),
        [10],
    )
    proto.graph.sparse_initializer.append(sparse)
    return Graph.from_proto(proto)


def test_sparse_weights() -> None:
    before = sparse_model([1, 2], [3, 4])
    assert diff(before, sparse_model([1, 2], [3, 4])).same
    for after in (sparse_model([1, 3], [3, 4]), sparse_model([1, 2], [3, 5])):
        assert [item.name for item in diff(before, after).weights.changed] == ["s"]
    assert names(diff(before, of(NET)).weights.removed) == ["s"]


def large_model(values: np.ndarray, **external: str) -> ModelProto:  # type: ignore[type-arg]
    tensor = numpy_helper.from_array(values, "w")
    graph = helper.make_graph(
        [helper.make_node("Add", ["x", "w"], ["y"], name="add")],
        "main",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [values.size])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [values.size])],
        [tensor],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)


@pytest.mark.parametrize("external", [False, True])
def test_a_weight_at_the_same_place_of_a_file_is_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, external: bool
) -> None:
    path = tmp_path / "model.onnx"
    options = {"save_as_external_data": True, "location": "w.bin", "size_threshold": 0} if external else {}
    onnx.save(large_model(np.arange(5000, dtype=np.float32)), path, **options)
    graph = Graph.load(path)
    after = graph.copy()
    after.proto.graph.initializer[0].name = after.proto.graph.node[0].input[1] = "v"

    def no_reading(*_: object) -> None:
        raise AssertionError("a weight was read")

    other = Graph.load(path)  # the same bytes, mapped a second time
    assert diff(graph, other).same
    monkeypatch.setattr(Weights, "payload", no_reading)
    assert diff(graph, graph.copy()).same
    if external:
        assert diff(graph, other).same
    else:
        with pytest.raises(AssertionError, match="was read"):
            diff(graph, other)


def test_weights_in_files_are_found_equal_and_different(tmp_path: Path) -> None:
    values = np.arange(5000, dtype=np.float32)
    graphs = []
    for number, changed in enumerate((values, values.copy(), values + np.eye(1, 5000, 4999, dtype=np.float32)[0])):
        onnx.save(
            large_model(changed), tmp_path / f"{number}.onnx", save_as_external_data=True, location=f"{number}.bin",
            size_threshold=0,
        )  # fmt: skip
        graphs.append(Graph.load(tmp_path / f"{number}.onnx"))
    inline = Graph.from_proto(large_model(values))
    assert diff(graphs[0], graphs[1]).same and diff(graphs[0], inline).same
    assert [item.name for item in diff(graphs[0], graphs[2]).weights.changed] == ["w"]
    (tmp_path / "1.bin").unlink()
    with pytest.raises(ModelError, match="missing"):
        diff(graphs[0], Graph.load(tmp_path / "1.onnx"))


# -- interface, model, functions


def test_inputs_and_outputs() -> None:
    found = edited(NET, ("float[1,4] mask", "float[1,4] m"), ("(b, mask)", "(b, m)"))
    assert found.inputs.renamed == (Renamed("mask", "m"),) and only(found, "inputs")
    found = edited(NET, ("float[1,4] x", "float16[1,N] x"))
    assert found.inputs.changed[0].details == (Detail("type", "float32[1,4]", "float16[1,N]"),)
    assert only(found, "inputs")
    found = edited(NET, ("float[1,4] x, float[1,4] mask", "float[1,4] mask, float[1,4] x"))
    assert found.inputs.moved == 1 and only(found, "inputs")
    found = edited(NET, (", float[1,4] z", ""))
    assert names(found.outputs.removed) == ["z"] and only(found, "outputs")
    found = edited(NET, ("float[1,4] z)", "float[1,4] out)"), ("z = Neg", "out = Neg"))
    assert found.outputs.renamed == (Renamed("z", "out"),) and only(found, "outputs")
    found = edited(NET, ("(float[1,4] y, float[1,4] z)", "(float[1,4] y, float[1,4] z, float[1,4] c)"))
    assert names(found.outputs.added) == ["c"] and only(found, "outputs")

    found = edited(NET, ("(float[1,4] y, float[1,4] z)", "(float[1,4] out)"), ("z = Neg", "out = Neg"))
    assert found.outputs.renamed == (Renamed("z", "out"),) and names(found.outputs.removed) == ["y"]


def test_an_output_that_an_added_node_makes_is_not_the_old_one_renamed() -> None:
    found = edited(NET, ("float[1,4] z)", "int64[1,4] labels)"), ("[right]", "[top] labels = ArgMax (z) [right]"))
    assert names(found.outputs.removed) == ["z"] and names(found.outputs.added) == ["labels"]


def test_outputs_that_trade_their_makers() -> None:
    found = edited(NET, ("[left] y = Relu (c)", "[left] z = Relu (c)"), ("[right] z = Neg", "[right] y = Neg"))
    assert {i.name: i.details for i in found.outputs.changed} == {
        "y": (Detail("made by", "y of left", "y of right"),),
        "z": (Detail("made by", "z of right", "z of left"),),
    }


def test_an_unknown_dimension_written_as_minus_one_is_a_difference() -> None:
    def unknown(proto: ModelProto) -> None:
        proto.graph.input[0].type.tensor_type.shape.dim[0].dim_value = -1

    before = of(NET).full_proto()
    before.graph.input[0].type.tensor_type.shape.dim[0].Clear()
    after = of(NET).full_proto()
    unknown(after)
    found = diff(Graph.from_proto(before), Graph.from_proto(after))
    assert [item.name for item in found.inputs.changed] == ["x"]


MODEL_EDITS: dict[str, Callable[[ModelProto], object]] = {
    "opset ai.onnx": lambda m: m.opset_import[0].CopyFrom(helper.make_opsetid("", 14)),
    "opset my.ops": lambda m: m.opset_import.append(helper.make_opsetid("my.ops", 1)),
    "ir_version": lambda m: setattr(m, "ir_version", 9),
    "producer_name": lambda m: setattr(m, "producer_name", "a"),
    "producer_version": lambda m: setattr(m, "producer_version", "1"),
    "domain": lambda m: setattr(m, "domain", "a"),
    "model_version": lambda m: setattr(m, "model_version", 3),
    "doc_string": lambda m: setattr(m, "doc_string", "text"),
    "metadata key": lambda m: m.metadata_props.append(entry("key", "value")),
    "graph name": lambda m: setattr(m.graph, "name", "other"),
    "graph doc_string": lambda m: setattr(m.graph, "doc_string", "text"),
    "graph metadata key": lambda m: m.graph.metadata_props.append(entry("key", "value")),
    "quantization of a": lambda m: m.graph.quantization_annotation.add(tensor_name="a"),
    "training_info": lambda m: m.training_info.add(),
}


@pytest.mark.parametrize("what", MODEL_EDITS)
def test_around_the_graph(what: str) -> None:
    found = proto_edited(MODEL_EDITS[what])
    if what == "training_info":  # an empty one has no bytes
        assert found.same
        found = proto_edited(lambda m: m.training_info.add().algorithm.node.add(op_type="Relu"))
    assert [detail.what for detail in found.model] == [what] and only(found, "model")
    assert summary(found) == "1 model property changed"


NODE_EDITS: dict[str, Callable[[ModelProto], object]] = {
    "doc_string": lambda m: setattr(m.graph.node[1], "doc_string", "text"),
    "metadata key": lambda m: m.graph.node[1].metadata_props.append(entry("key", "value")),
    "op type": lambda m: setattr(m.graph.node[1], "overload", "v2"),
    "input 1": lambda m: m.graph.node[1].input.pop(),
    "input 2": lambda m: m.graph.node[1].input.append("x"),
    "output 1": lambda m: m.graph.node[1].output.append("more"),
}


@pytest.mark.parametrize("what", NODE_EDITS)
def test_small_print_of_a_node(what: str) -> None:
    found = proto_edited(NODE_EDITS[what])
    assert list(details(found)) == ["second"] and list(details(found)["second"]) == [what]


VALUE_EDITS: dict[str, Callable[[onnx.ValueInfoProto], object]] = {
    "doc_string": lambda v: setattr(v, "doc_string", "text"),
    "metadata key": lambda v: v.metadata_props.append(entry("key", "value")),
    "type": lambda v: setattr(v.type, "denotation", "IMAGE"),
}


@pytest.mark.parametrize("what", VALUE_EDITS)
def test_small_print_of_the_interface(what: str) -> None:
    found = proto_edited(lambda m: VALUE_EDITS[what](m.graph.output[1]))
    assert [(i.name, [d.what for d in i.details]) for i in found.outputs.changed] == [("z", [what])]
    assert only(found, "outputs")


def test_an_annotation_follows_renamed_tensors() -> None:
    renamed = NET.replace("b = Add", "B = Add").replace("(b,", "(B,").replace("w =", "v =").replace("w)", "v)")
    graphs = []
    for text, tensor, scale in ((NET, "b", "w"), (renamed, "B", "v"), (renamed, "B", "x")):
        proto = of(text).full_proto()
        note = proto.graph.quantization_annotation.add(tensor_name=tensor)
        note.quant_parameter_tensor_names.append(entry("SCALE_TENSOR", scale))
        graphs.append(Graph.from_proto(proto))
    assert only(diff(graphs[0], graphs[1]), "values", "weights")
    assert diff(graphs[0], graphs[2]).model == (Detail("quantization of B", "SCALE_TENSOR v", "SCALE_TENSOR x"),)


FUNCTIONS = """
<ir_version: 8, opset_import: ["": 13, "f": 1]>
agraph (float[1] x) => (float[1] y) { [call] y = f.twice (x) }
<domain: "f", opset_import: ["": 13]> twice (a) => (c) { b = Add (a, a) c = Relu (b) }
<domain: "f", opset_import: ["": 13]> once (a) => (a2) { a2 = Identity (a) }
"""


def test_local_functions() -> None:
    found = edited(FUNCTIONS, ("Relu (b)", "Relu (a)"))
    assert [(i.name, [d.what for d in i.details]) for i in found.functions.changed] == [("f::twice", ["nodes"])]
    assert only(found, "functions")
    assert found.lines()[1] == "~ function f::twice: nodes differs"
    found = edited(FUNCTIONS, ("once", "never"))
    assert names(found.functions.removed) == ["f::once"] and names(found.functions.added) == ["f::never"]
    found = edited(FUNCTIONS, ("b = Add (a, a) c = Relu (b)", "q = Add (a, a) c = Relu (q)"))
    assert found.values.renamed == (Renamed("f::twice/b", "f::twice/q"),) and only(found, "values")


def test_text_that_is_not_utf8_has_an_order_too() -> None:
    """protobuf gives it out as bytes, beside str: names of attributes, keys of metadata, domains of a function."""
    source = """<ir_version: 9, opset_import: ["": 17, "d": 1]> g (float[2] x) => (float[2] y) {
      y = d.F<ATTA=1, ATTB=2>(x) }
    <domain: "d", opset_import: ["": 17, "DOMA": 1]> F <ATTA: int = 1, ATTB: int = 1> (a) => (b) {
      b = Relu(a) }"""
    proto = of(source).full_proto()
    for key in ("KEYA", "KEYB"):
        proto.metadata_props.add(key=key, value="v")
    data = proto.SerializeToString()
    for word in (b"ATTA", b"DOMA", b"KEYA"):
        data = data.replace(word, b"\xff\xfe" + word[2:])
    graph = Graph.from_proto(ModelProto.FromString(data))
    assert diff(graph, graph).same
    assert not diff(graph, of(source)).same
