"""An unedited model is saved byte for byte; an edit changes the nodes and nothing else."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from graphtool.graph import Graph
from graphtool.graph.weights import LAZY_BYTES

LARGE = np.arange(1000, dtype=np.float32)
UNKNOWN = b"\xc2\x3e\x05hello"  # field 1000, five bytes: a field of some later onnx.proto


def base() -> onnx.ModelProto:
    nodes = [
        helper.make_node("Add", ["x", "w"], ["a"], name="add"),
        helper.make_node("Relu", ["a"], ["b"], name="relu"),
        helper.make_node("Neg", ["b"], ["y"], name="neg"),
    ]
    graph = helper.make_graph(
        nodes,
        "main",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["-1", 1000])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["-1", 1000])],
        [numpy_helper.from_array(LARGE, "w")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)


def metadata(model: onnx.ModelProto) -> None:
    for place in (model, model.graph, model.graph.node[1], model.graph.input[0], model.graph.initializer[0]):
        place.metadata_props.add(key="origin", value="a test")


def docs(model: onnx.ModelProto) -> None:
    for place in (model, model.graph, model.graph.node[1], model.graph.input[0], model.graph.initializer[0]):
        place.doc_string = "what it is\nfor"
    model.producer_name, model.producer_version, model.domain, model.model_version = "test", "1", "org.test", 7


def not_utf8(model: onnx.ModelProto) -> None:
    model.graph.node[1].MergeFromString(b"\x32\x02\xff\xfe")  # doc_string, a path in another encoding
    model.graph.initializer.append(helper.make_tensor("s", TensorProto.STRING, [2], [b"a", b"\xff\x00"]))


def quantization(model: onnx.ModelProto) -> None:
    model.graph.initializer.append(numpy_helper.from_array(np.float32(0.5), "scale"))
    note = model.graph.quantization_annotation.add(tensor_name="a")
    note.quant_parameter_tensor_names.add(key="SCALE_TENSOR", value="scale")


def function(model: onnx.ModelProto) -> None:
    opsets = [helper.make_opsetid("", 21)]
    constant = helper.make_node("Constant", [], ["c"], value=numpy_helper.from_array(LARGE))
    add = helper.make_node("Add", ["p", "c"], ["q"])
    model.functions.append(helper.make_function("local", "F", ["p"], ["q"], [constant, add], opsets))
    model.opset_import.append(helper.make_opsetid("local", 1))
    model.graph.node.append(helper.make_node("F", ["b"], ["unused"], domain="local", name="call"))


def sparse(model: onnx.ModelProto) -> None:
    values = numpy_helper.from_array(LARGE, "sp")
    indices = numpy_helper.from_array(np.arange(1000, dtype=np.int64), "sp_indices")
    model.graph.sparse_initializer.append(helper.make_sparse_tensor(values, indices, [2000]))


def bodies(model: onnx.ModelProto) -> None:
    branches = {}
    for name in ("then_branch", "else_branch"):
        inner = [
            helper.make_node("Constant", [], ["k"], value=numpy_helper.from_array(LARGE)),
            helper.make_node("Sum", ["b", "k", "v"], ["o"]),
        ]
        weight = numpy_helper.from_array(LARGE, "v")
        branches[name] = helper.make_graph(inner, name, [], [helper.make_empty_tensor_value_info("o")], [weight])
    model.graph.initializer.append(numpy_helper.from_array(np.array(True), "yes"))
    model.graph.node.append(helper.make_node("If", ["yes"], ["z"], name="if", **branches))


def constant_node(model: onnx.ModelProto) -> None:
    model.graph.node.insert(0, helper.make_node("Constant", [], ["k"], value=numpy_helper.from_array(LARGE)))


def unknown_fields(model: onnx.ModelProto) -> None:
    graph = model.graph
    places = (model, graph, graph.node[1], graph.initializer[0], graph.input[0], graph.input[0].type)
    for place in places:
        place.MergeFromString(UNKNOWN)


def training(model: onnx.ModelProto) -> None:
    info = model.training_info.add()
    info.algorithm.node.append(helper.make_node("Sub", ["w", "v"], ["w_new"]))
    info.algorithm.initializer.append(numpy_helper.from_array(LARGE, "v"))
    info.update_binding.add(key="w", value="w_new")


def value_info(model: onnx.ModelProto) -> None:
    model.graph.value_info.append(
        helper.make_tensor_value_info("a", TensorProto.FLOAT, [9, 9])
    )  # wrong, as exporters do
    model.graph.value_info.append(helper.make_tensor_value_info("ghost", TensorProto.FLOAT, ["N"]))
    model.graph.input[0].type.denotation = "IMAGE"
    model.graph.input[0].type.tensor_type.shape.dim[0].denotation = "DATA_BATCH"


def odd_types(model: onnx.ModelProto) -> None:
    for code in (TensorProto.BFLOAT16, TensorProto.FLOAT8E4M3FN, TensorProto.FLOAT8E5M2, TensorProto.INT4):
        per_byte = 2 if code == TensorProto.INT4 else 1
        size = 2 if code == TensorProto.BFLOAT16 else 1
        raw = bytes(range(256)) * 8
        dims = [len(raw) * per_byte // size]
        model.graph.initializer.append(TensorProto(name=f"t{code}", data_type=code, dims=dims, raw_data=raw))
    model.graph.initializer.append(helper.make_tensor("typed", TensorProto.BFLOAT16, [2], [1.5, 2.5]))


def old_ir(model: onnx.ModelProto) -> None:
    model.ir_version = 3
    model.graph.input.append(helper.make_tensor_value_info("w", TensorProto.FLOAT, [1000]))


def overridable(model: onnx.ModelProto) -> None:
    model.graph.input.append(helper.make_tensor_value_info("w", TensorProto.FLOAT, [1000]))


def external(model: onnx.ModelProto) -> None:
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in (("location", "w.bin"), ("offset", "4096"), ("length", "4000")):
        tensor.external_data.add(key=key, value=value)


FEATURES: list[Callable[[onnx.ModelProto], None]] = [
    metadata, docs, not_utf8, quantization, function, sparse, bodies, constant_node, unknown_fields, training,
    value_info, odd_types, old_ir, overridable, external,
]  # fmt: skip


def written(folder: Path, *features: Callable[[onnx.ModelProto], None]) -> Path:
    model = base()
    for feature in features:
        feature(model)
    (folder / "w.bin").write_bytes(bytes(4096) + LARGE.tobytes())
    path = folder / "model.onnx"
    path.write_bytes(model.SerializeToString())
    return path


@pytest.mark.parametrize("feature", FEATURES, ids=lambda feature: feature.__name__)
def test_unedited_is_the_same_bytes(feature: Callable[[onnx.ModelProto], None], tmp_path: Path) -> None:
    path = written(tmp_path, feature)
    Graph.load(path).save(tmp_path / "again.onnx")
    assert (tmp_path / "again.onnx").read_bytes() == path.read_bytes()


def test_all_at_once_is_the_same_bytes(tmp_path: Path) -> None:
    path = written(tmp_path, *FEATURES)
    graph = Graph.load(path)
    graph.copy().save(tmp_path / "copy.onnx")
    graph.at(graph.snapshot()).save(tmp_path / "snapshot.onnx")
    assert (tmp_path / "copy.onnx").read_bytes() == path.read_bytes()
    assert (tmp_path / "snapshot.onnx").read_bytes() == path.read_bytes()


@pytest.mark.parametrize("feature", FEATURES, ids=lambda feature: feature.__name__)
def test_an_edit_changes_the_nodes_and_nothing_else(feature: Callable[[onnx.ModelProto], None], tmp_path: Path) -> None:
    path = written(tmp_path, feature)
    graph = Graph.load(path)
    (slot,) = graph.index.slots_of_type("Relu")
    graph.remove_node(slot)
    for step, (source, made) in enumerate((("a", "mid"), ("mid", "b"))):
        graph.add_node(helper.make_node("Abs", [source], [made], name=f"abs{step}"), slot, step)
    graph.save(tmp_path / "edited.onnx")

    before, after = (onnx.load(p, load_external_data=False) for p in (path, tmp_path / "edited.onnx"))
    types = [node.op_type for node in before.graph.node]
    position = types.index("Relu")
    assert [node.op_type for node in after.graph.node] == [*types[:position], "Abs", "Abs", *types[position + 1 :]]
    del before.graph.node[position]
    del after.graph.node[position : position + 2]
    assert after.SerializeToString() == before.SerializeToString()


def test_restore_takes_an_edit_back(tmp_path: Path) -> None:
    path = written(tmp_path, *FEATURES)
    graph = Graph.load(path)
    moment = graph.snapshot()
    graph.remove_node(graph.index.slots_of_type("Relu")[0])
    graph.add_initializer("more", LARGE)
    graph.restore(moment)
    assert [node.op_type for node in graph.index.by_type("Relu")] == ["Relu"]
    graph.save(tmp_path / "again.onnx")
    assert (tmp_path / "again.onnx").read_bytes() == path.read_bytes()


def test_full_proto_has_every_weight_inline(tmp_path: Path) -> None:
    path = written(tmp_path, function, bodies, constant_node, external)
    full = Graph.load(path).full_proto()
    expected = onnx.load(path)
    expected.graph.initializer[0].ClearField("data_location")
    assert full.SerializeToString() == expected.SerializeToString()


def test_from_proto_takes_a_full_model_and_a_skeleton(tmp_path: Path) -> None:
    path = written(tmp_path, function, bodies, constant_node)
    whole = onnx.load(path)
    graph = Graph.from_proto(whole)
    assert len(graph.proto.SerializeToString()) < 2500  # the weights are outside of it
    second = Graph.from_proto(graph.proto)
    del graph
    assert second.full_proto().SerializeToString() == whole.SerializeToString()
    assert whole.graph.initializer[0].raw_data == LARGE.tobytes()


def test_reference_models_are_the_same_bytes(shared: Path, tmp_path: Path) -> None:
    found = [*sorted((shared / "icnet").glob("*.onnx")), *sorted((shared / "corpus" / "models").glob("*.onnx"))[::8]]
    different = []
    for path in found:
        graph = Graph.load(path)
        if b"location" in path.read_bytes():
            continue  # external data that the collection does not have
        graph.save(tmp_path / "again.onnx")
        if (tmp_path / "again.onnx").read_bytes() != path.read_bytes() and not _large_typed(path):
            different.append(path.name)
    assert len(found) > 100
    assert different == []


def _large_typed(path: Path) -> bool:
    """Whether a weight's numbers lie in float_data and such: they come back as raw_data."""
    return any(w.ByteSize() > LAZY_BYTES and not w.HasField("raw_data") for w in onnx.load(path).graph.initializer)
