"""External data: read only where it may be, mapped, never copied without need."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from graphtool.errors import ModelError
from graphtool.graph import Graph, check

WEIGHT = np.arange(1000, dtype=np.float32)


def model_of(tensor: TensorProto) -> onnx.ModelProto:
    value = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1000]) for name in "xy"]
    graph = helper.make_graph([helper.make_node("Add", ["x", "w"], ["y"])], "g", value[:1], value[1:], [tensor])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def outside(location: str | bytes = "w.bin", **entries: object) -> TensorProto:
    tensor = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[1000], data_location=TensorProto.EXTERNAL)
    if isinstance(location, bytes):
        entry = onnx.StringStringEntryProto(key="location")
        entry.MergeFromString(b"\x12" + bytes([len(location)]) + location)
        tensor.external_data.append(entry)
    else:
        tensor.external_data.add(key="location", value=location)
    for key, value in entries.items():
        tensor.external_data.add(key=key, value=str(value))
    return tensor


def written(folder: Path, tensor: TensorProto, data: bytes | None = WEIGHT.tobytes()) -> Path:
    folder.mkdir(exist_ok=True)
    path = folder / "model.onnx"
    path.write_bytes(model_of(tensor).SerializeToString())
    if data is not None:
        (folder / "w.bin").write_bytes(data)
    return path


# -- where it may be


@pytest.mark.parametrize(
    ("tensor", "data"),
    [
        (outside(), WEIGHT.tobytes()),
        (outside(offset=0, length=4000, checksum="abc"), WEIGHT.tobytes()),
        (outside(offset=7, length=4000), bytes(7) + WEIGHT.tobytes() + b"more"),
        (outside(offset=4096), bytes(4096) + WEIGHT.tobytes()),
        (outside("./w.bin"), WEIGHT.tobytes()),
    ],
)
def test_value(tensor: TensorProto, data: bytes, tmp_path: Path) -> None:
    graph = Graph.load(written(tmp_path, tensor, data))
    assert not check(graph)
    weight = graph.constant("w")
    assert weight is not None
    assert not weight.flags.writeable
    np.testing.assert_array_equal(weight, WEIGHT)


def test_value_in_a_folder_below(tmp_path: Path) -> None:
    path = written(tmp_path, outside("data/w.bin"), None)
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "w.bin").write_bytes(WEIGHT.tobytes())
    np.testing.assert_array_equal(Graph.load(path).constant("w"), WEIGHT)


def test_packed_and_odd_types(tmp_path: Path) -> None:
    tensor = outside()
    tensor.data_type, tensor.dims[0] = TensorProto.INT4, 3
    path = written(tmp_path, tensor, bytes([0x21, 0x0F]))
    assert Graph.load(path).constant("w").astype(int).tolist() == [1, 2, -1]
    tensor.data_type, tensor.dims[0] = TensorProto.BFLOAT16, 2
    path = written(tmp_path, tensor, bytes([0x80, 0x3F, 0x00, 0xC0]))
    assert Graph.load(path).constant("w").astype(float).tolist() == [1.0, -2.0]


def test_an_empty_tensor_needs_no_bytes(tmp_path: Path) -> None:
    tensor = outside()
    tensor.dims[0] = 0
    graph = Graph.load(written(tmp_path, tensor, b""))
    assert not check(graph)
    assert graph.constant("w").shape == (0,)


# -- where it may not be


def symlink(folder: Path) -> None:
    (folder / "real.bin").write_bytes(WEIGHT.tobytes())
    (folder / "w.bin").symlink_to("real.bin")


def symlinked_folder(folder: Path) -> None:
    (folder / "real").mkdir()
    (folder / "real" / "w.bin").write_bytes(WEIGHT.tobytes())
    (folder / "data").symlink_to("real")


BAD: dict[str, tuple[TensorProto, Callable[[Path], object], str]] = {
    "missing": (outside(), lambda f: None, r"'w': file '.*w\.bin' is missing"),
    "no location": (outside(""), lambda f: None, "'w' names no file"),
    "absolute": (outside("/etc/passwd"), lambda f: None, "'/etc/passwd' is outside the model's folder"),
    "parent": (outside("../w.bin"), lambda f: (f.parent / "w.bin").write_bytes(bytes(4000)), "'../w.bin' is outside"),
    "parent inside": (outside("a/../../w.bin"), lambda f: None, "is outside the model's folder"),
    "windows": (outside("C:w.bin"), lambda f: None, "is outside the model's folder"),
    "backslash": (outside("\\\\server\\w.bin"), lambda f: None, "is outside the model's folder"),
    "zero byte": (outside("w\0.bin"), lambda f: None, "is outside the model's folder"),
    "not UTF-8": (outside(b"w\xff.bin"), lambda f: None, "is missing"),
    "symbolic link": (outside(), symlink, "'w.bin' goes through a symbolic link"),
    "linked folder": (outside("data/w.bin"), symlinked_folder, "goes through a symbolic link"),
    "folder": (outside(), lambda f: (f / "w.bin").mkdir(), r"w\.bin' is not a regular file"),
    "this folder": (outside("."), lambda f: None, "is not a regular file"),
    "FIFO": (outside(), lambda f: os.mkfifo(f / "w.bin"), r"w\.bin' is not a regular file"),
    "too short": (outside(), lambda f: (f / "w.bin").write_bytes(bytes(3999)), "needs 4000 bytes .* holds 3999"),
    "offset behind": (outside(offset=1), lambda f: (f / "w.bin").write_bytes(bytes(4000)), "4000 bytes at offset 1"),
    "offset negative": (outside(offset=-1), lambda f: (f / "w.bin").write_bytes(bytes(4001)), "at offset -1"),
    "offset no number": (outside(offset="x"), lambda f: (f / "w.bin").write_bytes(b""), "is not a number"),
    "length wrong": (outside(length=3996), lambda f: (f / "w.bin").write_bytes(bytes(4000)), "the entry has 3996"),
    "escape": (outside("\x1b[2J/w.bin"), lambda f: None, r"\\x1b\[2J"),
}


@pytest.mark.parametrize("case", BAD)
def test_refused(case: str, tmp_path: Path) -> None:
    tensor, prepare, message = BAD[case]
    path = written(tmp_path / "in", tensor, None)
    prepare(path.parent)
    graph = Graph.load(path)  # nothing is read yet
    for use in (check, lambda g: g.constant("w"), Graph.full_proto, lambda g: g.save(tmp_path / "out.onnx")):
        with pytest.raises(ModelError, match=message) as caught:
            use(graph)
        assert "\n" not in str(caught.value)
        assert "\x1b" not in str(caught.value)
    assert [p.name for p in tmp_path.iterdir() if p.name.startswith(("out", ".g"))] == []


@pytest.mark.parametrize("dims", [[-1], [-1, -4], [2**40, 2**40]])
def test_a_shape_that_cannot_be(dims: list[int], tmp_path: Path) -> None:
    tensor = outside()
    del tensor.dims[:]
    tensor.dims.extend(dims)
    graph = Graph.load(written(tmp_path, tensor))
    for use in (check, lambda g: g.constant("w")):
        with pytest.raises(ModelError, match="external data of 'w'"):
            use(graph)


def test_a_model_from_memory_has_no_folder() -> None:
    graph = Graph.from_proto(model_of(outside()))
    for use in (check, lambda g: g.constant("w")):
        with pytest.raises(ModelError, match=r"load it from a file|load the model from a file"):
            use(graph)


def test_full_proto_takes_it_in(tmp_path: Path) -> None:
    model = model_of(outside())
    model.graph.node.append(helper.make_node("Constant", [], ["k"], value=outside()))
    path = written(tmp_path, outside())
    path.write_bytes(model.SerializeToString())
    full = Graph.load(path).full_proto()
    for tensor in (full.graph.initializer[0], full.graph.node[1].attribute[0].t):
        np.testing.assert_array_equal(numpy_helper.to_array(tensor), WEIGHT)
        assert not tensor.external_data


def test_in_a_body_and_a_constant(tmp_path: Path) -> None:
    """The rules hold for every tensor, not for initializers alone."""
    for place in ("body", "constant"):
        model = model_of(numpy_helper.from_array(WEIGHT, "w"))
        node = helper.make_node("Constant", [], ["k"], value=outside("../w.bin"))
        if place == "body":
            result = helper.make_tensor_value_info("k", TensorProto.FLOAT, [1000])
            body = helper.make_graph([node], "b", [], [result])
            model.graph.initializer.append(numpy_helper.from_array(np.array(True), "yes"))
            node = helper.make_node("If", ["yes"], ["z"], then_branch=body, else_branch=body)
        model.graph.node.append(node)
        (tmp_path / "model.onnx").write_bytes(model.SerializeToString())
        with pytest.raises(ModelError, match=r"'../w.bin' is outside"):
            check(Graph.load(tmp_path / "model.onnx"))


# -- saving


def test_in_the_same_folder_nothing_is_copied(tmp_path: Path) -> None:
    path = written(tmp_path, outside(offset=0, length=4000))
    before = (tmp_path / "w.bin").stat()
    Graph.load(path).save(tmp_path / "other.onnx")
    Graph.load(path).save(path)
    after = (tmp_path / "w.bin").stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["model.onnx", "other.onnx", "w.bin"]
    assert (tmp_path / "other.onnx").read_bytes() == path.read_bytes()


def test_elsewhere_it_is_copied_once(tmp_path: Path) -> None:
    path = written(tmp_path / "in", outside(offset=0, length=4000))
    target = tmp_path / "out" / "new.onnx"
    target.parent.mkdir()
    Graph.load(path).save(target)
    assert sorted(p.name for p in target.parent.iterdir()) == ["new.onnx", "new.onnx.data"]
    assert (target.parent / "new.onnx.data").read_bytes() == WEIGHT.tobytes()
    assert [p.name for p in sorted(path.parent.iterdir())] == ["model.onnx", "w.bin"]
    np.testing.assert_array_equal(numpy_helper.to_array(onnx.load(target).graph.initializer[0]), WEIGHT)
    np.testing.assert_array_equal(Graph.load(target).constant("w"), WEIGHT)


def test_the_same_folder_by_another_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = written(tmp_path / "in", outside())
    (tmp_path / "link").symlink_to("in")
    Graph.load(path).save(tmp_path / "link" / "other.onnx")
    monkeypatch.chdir(tmp_path / "in")
    Graph.load("model.onnx").save("third.onnx")
    assert sorted(p.name for p in path.parent.iterdir()) == ["model.onnx", "other.onnx", "third.onnx", "w.bin"]


def test_elsewhere_from_bodies_and_constants(tmp_path: Path) -> None:
    path = written(tmp_path / "in", outside())
    model = onnx.load(path, load_external_data=False)
    model.graph.node.append(helper.make_node("Constant", [], ["k"], value=outside()))
    path.write_bytes(model.SerializeToString())
    Graph.load(path).save(tmp_path / "new.onnx")
    again = Graph.load(tmp_path / "new.onnx")
    np.testing.assert_array_equal(again.constant("w"), WEIGHT)
    np.testing.assert_array_equal(again.constant("k"), WEIGHT)


def test_saved_over_itself_and_read_again(tmp_path: Path) -> None:
    """Save elsewhere, load that, save it over itself while its weights are mapped, twice."""
    path = written(tmp_path / "in", outside())
    target = tmp_path / "new.onnx"
    Graph.load(path).save(target)
    for _ in range(2):
        graph = Graph.load(target)
        weight = graph.constant("w")
        graph.proto.doc_string += "saved;"
        graph.save(target)
        np.testing.assert_array_equal(weight, WEIGHT)
        np.testing.assert_array_equal(graph.constant("w"), WEIGHT)
    np.testing.assert_array_equal(Graph.load(target).constant("w"), WEIGHT)
    assert Graph.load(target).proto.doc_string == "saved;saved;"


def test_a_data_file_replaced_while_it_is_mapped(tmp_path: Path) -> None:
    path = written(tmp_path, outside())
    graph = Graph.load(path)
    weight = graph.constant("w")
    (tmp_path / "new").write_bytes(bytes(4000))
    (tmp_path / "new").replace(tmp_path / "w.bin")
    np.testing.assert_array_equal(weight, WEIGHT)
    np.testing.assert_array_equal(graph.constant("w"), WEIGHT)
