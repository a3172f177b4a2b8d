"""Large weights stay in their file, whatever the bytes of a model are."""

from __future__ import annotations

import contextlib
import os
import random
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper
from work import work

from graphtool.errors import ModelError
from graphtool.graph import Graph, check
from graphtool.graph import save as save_module
from graphtool.graph.sort import remove_unused
from graphtool.graph.weights import is_lazy
from graphtool.graph.wire import WireError, splice

LARGE = np.arange(1000, dtype=np.float32)
SMALL = np.arange(8, dtype=np.float32)


def model_with_weights() -> onnx.ModelProto:
    """A model whose large weights are an initializer, in a Constant, in a body, in a body's Constant, in a function."""
    inner = [
        helper.make_node("Constant", [], ["k"], value=numpy_helper.from_array(LARGE + 3)),
        helper.make_node("Sum", ["c", "k", "v"], ["o"]),
    ]
    result = helper.make_tensor_value_info("o", TensorProto.FLOAT, [1000])
    body = helper.make_graph(inner, "body", [], [result], [numpy_helper.from_array(LARGE + 2, "v")])
    nodes = [
        helper.make_node("Constant", [], ["d"], value=numpy_helper.from_array(LARGE + 1)),
        helper.make_node("Sum", ["x", "w", "d"], ["b"]),
        helper.make_node("F", ["b"], ["c"], domain="local"),
        helper.make_node("If", ["yes"], ["y"], then_branch=body, else_branch=body),
    ]
    opset = helper.make_opsetid("", 17)
    in_function = [
        helper.make_node("Constant", [], ["c"], value=numpy_helper.from_array(LARGE + 4)),
        helper.make_node("Add", ["p", "c"], ["q"]),
    ]
    graph = helper.make_graph(
        nodes,
        "main",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1000])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1000])],
        [numpy_helper.from_array(LARGE, "w"), numpy_helper.from_array(np.array(True), "yes")],
    )
    function = helper.make_function("local", "F", ["p"], ["q"], in_function, [opset])
    opsets = [opset, helper.make_opsetid("local", 1)]
    return helper.make_model(graph, opset_imports=opsets, functions=[function], ir_version=8)


WHOLE = model_with_weights().SerializeToString()


@contextlib.contextmanager
def file_of(data: bytes) -> Iterator[Path]:
    path = Path(f"/dev/shm/graphtool-{os.getpid()}.onnx")
    if not path.parent.is_dir():
        path = Path(f"graphtool-{os.getpid()}.onnx")
    path.write_bytes(data)
    try:
        yield path
    finally:
        path.unlink()


def test_large_weights_stay_in_the_file(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(WHOLE)
    graph = Graph.load(path)
    assert len(WHOLE) > 5 * LARGE.nbytes
    assert len(graph.proto.SerializeToString()) < 1500
    np.testing.assert_array_equal(graph.constant("w"), LARGE)
    np.testing.assert_array_equal(graph.constant("d"), LARGE + 1)
    body = graph.index.by_type("If")[0].attribute[0].g
    np.testing.assert_array_equal(graph.array(body.initializer[0]), LARGE + 2)
    np.testing.assert_array_equal(graph.array(body.node[0].attribute[0].t), LARGE + 3)
    np.testing.assert_array_equal(graph.array(graph.proto.functions[0].node[0].attribute[0].t), LARGE + 4)


@pytest.mark.parametrize(("elements", "lazy"), [(256, False), (257, True)])
def test_the_border_is_one_kib(elements: int, lazy: bool, tmp_path: Path) -> None:
    model = model_with_weights()
    model.graph.initializer.append(numpy_helper.from_array(np.ones(elements, np.float32), "border"))
    onnx.save(model, tmp_path / "model.onnx")
    graph = Graph.load(tmp_path / "model.onnx")
    assert is_lazy(graph.initializers["border"]) is lazy
    np.testing.assert_array_equal(graph.constant("border"), np.ones(elements, np.float32))


def test_a_weight_is_a_view_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(WHOLE)
    weight = Graph.load(tmp_path / "model.onnx").constant("w")
    assert weight is not None
    assert not weight.flags.owndata
    with pytest.raises(ValueError, match="read-only"):
        weight[0] = 1


def test_weights_outlive_their_graph_and_their_path(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(WHOLE)
    graph = Graph.load(path)
    other = graph.copy()
    del graph
    path.unlink()
    path.write_bytes(b"something else")
    np.testing.assert_array_equal(other.constant("w"), LARGE)
    other.save(path)
    assert path.read_bytes() == WHOLE


def test_a_skeleton_without_its_graph_is_an_error_and_not_wrong_bytes(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(WHOLE)
    proto = Graph.load(tmp_path / "model.onnx").proto
    with pytest.raises(ModelError, match="keep that graph"):
        Graph.from_proto(proto)


def test_a_marker_where_none_can_be_is_an_error_and_not_wrong_bytes(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(WHOLE)
    graph = Graph.load(tmp_path / "model.onnx")
    graph.proto.graph.sparse_initializer.add().values.CopyFrom(graph.initializers["w"])
    with pytest.raises(ModelError, match="sparse tensor"):
        graph.save(tmp_path / "out.onnx")
    assert [p.name for p in tmp_path.iterdir()] == ["model.onnx"]


def test_added_weights_are_outside_the_skeleton(tmp_path: Path) -> None:
    graph = Graph.from_proto(onnx.ModelProto.FromString(WHOLE))
    name = graph.add_initializer("w", LARGE[::-1].reshape(10, 100))
    assert name == "w_2"
    assert len(graph.snapshot().skeleton) < 1500
    graph.save(tmp_path / "out.onnx")
    saved = {tensor.name: tensor for tensor in onnx.load(tmp_path / "out.onnx").graph.initializer}
    np.testing.assert_array_equal(numpy_helper.to_array(saved["w_2"]), LARGE[::-1].reshape(10, 100))


# -- numbers in fields of their type


def loaded(*weights: TensorProto) -> Graph:
    info = [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)]
    nodes = [helper.make_node("Identity", ["w"], ["y"])]
    return Graph.from_proto(helper.make_model(helper.make_graph(nodes, "g", [], info, list(weights))))


@pytest.mark.parametrize(("kind", "least", "most"), [
    ("FLOAT", -9, 9), ("DOUBLE", -9, 9), ("COMPLEX64", -9, 9), ("FLOAT16", -9, 9), ("BOOL", 0, 1),
    ("INT64", -(2**63), 2**63 - 1), ("INT32", -(2**31), 2**31 - 1), ("INT16", -(2**15), 2**15 - 1),
    ("INT8", -128, 127), ("UINT64", 0, 2**64 - 1), ("UINT32", 0, 2**32 - 1), ("UINT16", 0, 65535), ("UINT8", 0, 255),
])  # fmt: skip
def test_numbers_in_a_field_of_their_type_are_read_without_python_numbers(kind: str, least: int, most: int) -> None:
    rng = random.Random(3)
    values = [least, most, 0] + [rng.randint(least, most) >> rng.randrange(64) for _ in range(3000)]
    tensor = helper.make_tensor("w", getattr(TensorProto, kind), [1, 3003], values)
    assert not tensor.HasField("raw_data")
    graph = loaded(tensor)
    weight = graph.proto.graph.initializer[0]
    assert is_lazy(weight)
    found, expected = graph.array(weight), numpy_helper.to_array(tensor)
    assert found.dtype == expected.dtype
    assert np.array_equal(found, expected)
    assert onnx.numpy_helper.to_array(graph.full_proto().graph.initializer[0]).tolist() == expected.tolist()


def test_numbers_that_raw_data_cannot_hold_unchanged_are_left() -> None:
    ones = [1] * 3000
    wrong = [
        TensorProto(name="w", data_type=TensorProto.INT8, dims=[3000], int32_data=[*ones[1:], 300]),
        TensorProto(name="w", data_type=TensorProto.BOOL, dims=[3000], int32_data=[*ones[1:], 2]),
        TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[3001], float_data=ones),
        TensorProto(name="w", data_type=TensorProto.INT64, dims=[3001], int64_data=ones),
        TensorProto(name="w", data_type=TensorProto.FLOAT16, dims=[3000], float_data=ones),
        TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[3000], float_data=ones, raw_data=b"1" * 12000),
        TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[-1], float_data=ones),
    ]
    for tensor in wrong:
        assert {field.name for field, _ in loaded(tensor).proto.graph.initializer[0].ListFields()} == {
            field.name for field, _ in tensor.ListFields()
        }


# -- hostile bytes


@given(st.binary(max_size=300))
def test_splice_of_any_bytes(data: bytes) -> None:
    with contextlib.suppress(WireError):
        chunks, size = splice(memoryview(data), lambda start, end: None, 0)
        assert b"".join(chunks) == data
        assert size == len(data)


@given(st.data())
def test_splice_replaces_every_raw_data(data: st.DataObject) -> None:
    payload = data.draw(st.binary(min_size=1, max_size=400))
    chunks, size = splice(memoryview(WHOLE), lambda start, end: payload if end - start == LARGE.nbytes else None, 1024)
    assert size == sum(map(len, chunks))
    model = onnx.ModelProto.FromString(b"".join(chunks))
    assert model.graph.initializer[0].raw_data == payload
    assert model.functions[0].node[0].attribute[0].t.raw_data == payload
    assert model.graph.node[3].attribute[1].g.initializer[0].raw_data == payload


def use(path: Path) -> None:
    """What graphtool does with a model before it trusts it, and after."""
    graph = Graph.load(path)
    check(graph)
    for name in [*graph.initializers, *graph.index.producers]:
        graph.value(name)
        with contextlib.suppress(ModelError):
            graph.constant(name)
    remove_unused(graph)
    graph.names.fresh_value("x")
    graph.full_proto()


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.binary(max_size=400))
@example(b"\x3a\x00")
@example(b"\x3a\x80")
@example(b"\xff" * 40)
@example(b"\x08" * 40)
def test_load_of_any_bytes(data: bytes) -> None:
    with file_of(data) as path, contextlib.suppress(ModelError):
        use(path)


@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(st.tuples(st.integers(0, len(WHOLE)), st.integers(0, 6), st.binary(max_size=4)), max_size=4))
def test_load_of_a_damaged_model(damages: list[tuple[int, int, bytes]]) -> None:
    data = bytearray(WHOLE)
    for place, length, new in damages:
        data[place : place + length] = new
    with file_of(bytes(data)) as path, contextlib.suppress(ModelError):
        use(path)


def test_load_of_a_truncated_model() -> None:
    places = [*range(0, 400), *range(400, len(WHOLE) - 400, 211), *range(len(WHOLE) - 400, len(WHOLE))]
    loaded = 0
    for place in places:
        with file_of(WHOLE[:place]) as path:
            try:
                use(path)
                loaded += 1
            except ModelError as error:
                assert "\n" not in str(error)
    assert loaded <= 10  # where the cut lies between two fields at the end of the file


def test_a_file_of_zeros_is_refused_at_once(tmp_path: Path) -> None:
    path = tmp_path / "zeros.onnx"
    with path.open("wb") as file:
        file.truncate(2**32)

    def load() -> None:
        with pytest.raises(ModelError, match="it is not ONNX, or it is truncated"):
            Graph.load(path)

    assert work(load) < 1000


# -- above protobuf's 2 GiB


def field(number: int, payload: bytes) -> bytes:
    return varint(number << 3 | 2) + varint(len(payload)) + payload


def varint(value: int) -> bytes:
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])


def write_huge(path: Path, size: int) -> None:
    """Write a model with two uint8 weights of ``size`` bytes inline, each a hole in the file but for its last byte."""
    graph = onnx.GraphProto(name="huge")
    graph.node.add(op_type="Concat", input=["a", "b", "x"], output=["y"]).attribute.add(name="axis", type=2, i=0)
    graph.input.append(helper.make_tensor_value_info("x", TensorProto.UINT8, [1]))
    graph.output.append(helper.make_tensor_value_info("y", TensorProto.UINT8, [2 * size + 1]))
    heads = []
    for name in "ab":
        tensor = TensorProto(name=name, data_type=TensorProto.UINT8, dims=[size]).SerializeToString()
        raw = varint(9 << 3 | 2) + varint(size)
        heads.append(varint(5 << 3 | 2) + varint(len(tensor) + len(raw) + size) + tensor + raw)
    rest = graph.SerializeToString()
    total = len(rest) + sum(len(head) + size for head in heads)
    opset = helper.make_opsetid("", 17)
    with path.open("wb") as file:
        file.write(b"\x08\x08" + varint(7 << 3 | 2) + varint(total) + rest)
        for last, head in enumerate(heads, 1):
            file.write(head)
            file.seek(size - 1, os.SEEK_CUR)
            file.write(bytes([last]))
        file.write(field(8, opset.SerializeToString()))


CHILD = """
import sys
from graphtool.graph import Graph, check
graph = Graph.load(sys.argv[1])
check(graph)
a, b = graph.constant("a"), graph.constant("b")
print(a.shape[0], a[0], a[-1], b[-1], graph.value("y").shape[0])
print(next(line for line in open("/proc/self/status") if line.startswith("VmHWM")).split()[1])
"""


def test_a_model_above_2_gib_loads_in_little_memory(tmp_path: Path) -> None:
    path = tmp_path / "huge.onnx"
    size = 3 * 2**29
    write_huge(path, size)
    assert path.stat().st_size > 2**31
    run = subprocess.run([sys.executable, "-c", CHILD, path], capture_output=True, text=True, check=True)
    values, peak = run.stdout.splitlines()
    assert values == f"{size} 0 1 2 {2 * size + 1}"
    assert int(peak) < 200 * 1024  # KiB


def edited_and_saved(path: Path, target: Path) -> Graph:
    graph = Graph.load(path)
    (slot,) = graph.index.slots_of_type("Concat")
    graph.rename_output(slot, 0, "joined")
    graph.append_node(helper.make_node("Identity", ["joined"], ["y"], name="end"))
    graph.save(target)
    return graph


def test_a_model_above_the_limit_gets_a_data_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = tmp_path / "in" / "model.onnx"
    source.parent.mkdir()
    source.write_bytes(WHOLE)
    target = tmp_path / "out.onnx"
    monkeypatch.setattr(save_module, "PROTOBUF_LIMIT", 5000)
    Graph.load(source).save(target)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["in", "out.onnx", "out.onnx.data"]
    assert target.stat().st_size < 5000
    feed = {"x": LARGE}
    before, after = (
        ort.InferenceSession(p, providers=["CPUExecutionProvider"]).run(None, feed)[0] for p in (source, target)
    )
    np.testing.assert_array_equal(after, before)
    again = Graph.load(target)
    assert not check(again)
    np.testing.assert_array_equal(again.constant("w"), LARGE)
    np.testing.assert_array_equal(again.constant("d"), LARGE + 1)
    monkeypatch.undo()
    assert again.full_proto().graph.initializer[0].raw_data == LARGE.tobytes()


def test_a_model_too_large_without_its_weights_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "model.onnx").write_bytes(WHOLE)
    monkeypatch.setattr(save_module, "PROTOBUF_LIMIT", 100)
    with pytest.raises(ModelError, match="that are no weights"):
        Graph.load(tmp_path / "model.onnx").save(tmp_path / "out.onnx")
    assert [p.name for p in tmp_path.iterdir()] == ["model.onnx"]


def test_full_proto_ends_at_the_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "model.onnx").write_bytes(WHOLE)
    graph = Graph.load(tmp_path / "model.onnx")
    monkeypatch.setattr(save_module, "PROTOBUF_LIMIT", len(WHOLE) - 1)
    with pytest.raises(ModelError, match=f"the model has {len(WHOLE)} bytes; protobuf holds at most 2 GiB"):
        graph.full_proto()


def test_too_large_over_itself_moves_its_external_data_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The new data file takes the place of the old one, so nothing may stay in the old one."""
    model = onnx.ModelProto.FromString(WHOLE)
    model.graph.initializer.append(numpy_helper.from_array(LARGE * 2, "outside"))
    model.graph.node[1].input.append("outside")
    onnx.external_data_helper.set_external_data(model.graph.initializer[2], "model.onnx.data", 0, LARGE.nbytes)
    model.graph.initializer[2].ClearField("raw_data")
    (tmp_path / "model.onnx.data").write_bytes((LARGE * 2).tobytes())
    path = tmp_path / "model.onnx"
    path.write_bytes(model.SerializeToString())
    monkeypatch.setattr(save_module, "PROTOBUF_LIMIT", 5000)
    Graph.load(path).save(path)
    again = Graph.load(path)
    np.testing.assert_array_equal(again.constant("outside"), LARGE * 2)
    np.testing.assert_array_equal(again.constant("w"), LARGE)


@pytest.mark.skipif("GRAPHTOOL_LARGE_TESTS" not in os.environ, reason="writes 3 GB; set GRAPHTOOL_LARGE_TESTS=1")
def test_a_model_above_2_gib_is_edited_and_saved(tmp_path: Path) -> None:
    size = 3 * 2**29
    write_huge(tmp_path / "huge.onnx", size)
    edited_and_saved(tmp_path / "huge.onnx", tmp_path / "out.onnx")
    again = Graph.load(tmp_path / "out.onnx")
    assert [node.op_type for node in again.nodes] == ["Concat", "Identity"]
    weights = again.constant("a"), again.constant("b")
    assert [(w.shape, w[0], w[-1]) for w in weights if w is not None] == [((size,), 0, 1), ((size,), 0, 2)]
    (tmp_path / "out.onnx.data").unlink()
