"""What is said of files that are not a model."""

from __future__ import annotations

import gzip
import io
import json
import os
import pickle
import zipfile
from pathlib import Path

import numpy as np
import onnx
import pytest
from conftest import graph_of
from onnx import helper, numpy_helper

from graphtool.errors import ModelError
from graphtool.graph import Graph

LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n"


def zipped() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("archive/data.pkl", b"x")
    return buffer.getvalue()


def npy() -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, np.zeros(3))
    return buffer.getvalue()


MODEL = graph_of("g (float[2] x) => (float[2] y) { y = Relu(x) }").full_proto()
NO_OPSET = onnx.ModelProto.FromString(MODEL.SerializeToString())
del NO_OPSET.opset_import[:]

FILES = {
    "empty": (b"", "is empty$"),
    "text": (b"hello there\n" * 3, "it is text, not ONNX"),
    "long text": ("größe und mehr, ".encode() * 200, "it is text, not ONNX"),
    "JSON": (json.dumps({"graph": {"node": []}}).encode(), "it is JSON text, not ONNX"),
    "JSON list": (b' [1, 2, "x"]', "it is JSON text, not ONNX"),
    "HTML": (b"<!DOCTYPE html>\n<html><body>404</body></html>", "it is an HTML or XML page"),
    "HTML without type": (b"\n  <html><head></head></html>", "it is an HTML or XML page"),
    "XML": (b'<?xml version="1.0"?><Error/>', "it is an HTML or XML page"),
    "LFS pointer": (LFS, "Git LFS pointer, not the model itself; run 'git lfs pull'"),
    "zip": (zipped(), "a zip archive"),
    "gzip": (gzip.compress(MODEL.SerializeToString()), "a gzip archive; unpack it first"),
    "pickle": (pickle.dumps({"a": 1}, protocol=2), "a Python pickle"),
    "npy": (npy(), "a .npy array"),
    "tensor": (numpy_helper.from_array(np.zeros((2, 3), np.float32)).SerializeToString(),
               r"it is a single tensor float32\[2,3\] \(a feed\?\), not a model"),
    "named tensor": (numpy_helper.from_array(np.zeros(9), "x").SerializeToString(), r"a single tensor float64\[9\]"),
    "large tensor": (numpy_helper.from_array(np.ones((64, 64), np.float32)).SerializeToString(), r"float32\[64,64\]"),
    "no graph": (helper.make_model(MODEL.graph).SerializeToString()[:2], "it has no graph"),
    "other protobuf": (onnx.ModelProto(producer_name="x", ir_version=8).SerializeToString(), "it has no graph"),
    "no opset": (NO_OPSET.SerializeToString(), r"it names no opset \(opset_import is empty\)"),
    "truncated": (MODEL.SerializeToString()[:-9], "it is not ONNX, or it is truncated"),
    "noise": (bytes(range(255, 0, -1)), "it is not ONNX, or it is truncated"),
}  # fmt: skip


@pytest.mark.parametrize("case", FILES)
def test_refused_in_one_line(case: str, tmp_path: Path) -> None:
    data, message = FILES[case]
    path = tmp_path / "\x1b[31mred\n.onnx"
    path.write_bytes(data)
    with pytest.raises(ModelError, match=message) as caught:
        Graph.load(path)
    text = str(caught.value)
    assert "\\x1b[31mred\\n.onnx'" in text
    assert "\n" not in text
    assert "\x1b" not in text
    assert caught.value.exit_code == 2


def test_missing(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"^no file '.*/model\.onnx'$"):
        Graph.load(tmp_path / "model.onnx")
    (tmp_path / "ICNet.onnx").touch()
    with pytest.raises(ModelError, match=r"^no file '.*/ICNte\.onnx'; did you mean 'ICNet\.onnx'\?$"):
        Graph.load(tmp_path / "ICNte.onnx")
    with pytest.raises(ModelError, match=r"^no file '.*/no/model\.onnx'$"):
        Graph.load(tmp_path / "no" / "model.onnx")
    (tmp_path / "broken.onnx").symlink_to("nowhere.onnx")
    with pytest.raises(ModelError, match=r"is a link to 'nowhere\.onnx', which is not there$"):
        Graph.load(tmp_path / "broken.onnx")


def test_strange_paths(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"is a folder; name the \.onnx file in it$"):
        Graph.load(tmp_path)
    with pytest.raises(ModelError, match="is a folder"):
        Graph.load("")
    with pytest.raises(ModelError, match=r"^no file"):
        Graph.load("a\0b.onnx")
    with pytest.raises(ModelError, match="cannot be read: File name too long"):
        Graph.load(tmp_path / ("n" * 300))
    (tmp_path / "loop.onnx").symlink_to("loop.onnx")
    with pytest.raises(ModelError):
        Graph.load(tmp_path / "loop.onnx")
    os.mkfifo(tmp_path / "fifo.onnx")
    with pytest.raises(ModelError, match="is not a regular file; a model is mapped"):
        Graph.load(tmp_path / "fifo.onnx")
    with pytest.raises(ModelError, match="is not a regular file; a model is mapped"):
        Graph.load("/dev/zero")


def test_a_model_under_any_name_and_through_a_link(tmp_path: Path) -> None:
    (tmp_path / "model.bin").write_bytes(MODEL.SerializeToString())
    (tmp_path / "link.onnx").symlink_to("model.bin")
    graph = Graph.load(str(tmp_path / "link.onnx"))
    assert graph.path == tmp_path / "link.onnx"
    assert [(v.name, v.type_text()) for v in graph.inputs] == [("x", "float32[2]")]
