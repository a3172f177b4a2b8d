"""The reference network: the guide's graph, the same bytes everywhere, and numbers worth testing with."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest

from graphtool.errors import UsageError
from graphtool.graph import Graph, check
from graphtool.parity.feed import draw
from graphtool.parity.session import Session
from graphtool.zoo.icnet import build_icnet, write_icnet

RESIZES = [7, 67, 212, 229, 246, 263, 283, 307, 314, 317]
SHA256 = "e26968721b296c4872bf3ded693a39d48fa157851d8d0bd788f3b6045a53d60a"


@pytest.fixture(scope="module")
def full() -> onnx.ModelProto:
    return build_icnet()


@pytest.fixture(scope="module")
def small() -> Graph:
    return Graph(build_icnet(256, 512))


def test_it_is_the_graph_of_the_guide(full: onnx.ModelProto) -> None:
    nodes = full.graph.node
    assert len(nodes) == 318
    assert [n for n, node in enumerate(nodes) if node.op_type == "Resize"] == RESIZES
    assert all(node.name == f"{node.op_type}_{n}" for n, node in enumerate(nodes))
    graph = Graph(full)
    assert [(v.name, v.dims) for v in graph.inputs] == [("actual_input_1", (1, 3, 1024, 2048))]
    assert [(v.name, v.dims) for v in graph.outputs] == [
        ("794", (1, 19, 1024, 2048)),
        ("788", (1, 19, 256, 512)),
        ("782", (1, 19, 128, 256)),
        ("756", (1, 19, 64, 128)),
    ]
    assert graph.opset() == 11
    pools = [tuple(tuple(a.ints) for a in node.attribute) for node in graph.index.by_type("AveragePool")]
    assert pools == [((32, 64), (32, 64)), ((16, 32), (16, 32)), ((12, 22), (10, 21)), ((7, 14), (5, 10))]


def test_it_is_the_graph_of_the_reconstruction(full: onnx.ModelProto, shared: Path, tmp_path: Path) -> None:
    path = tmp_path / "ICNet.onnx"
    onnx.save(full, path)
    script = [sys.executable, str(shared / "icnet" / "same_graph.py"), str(path)]
    same = subprocess.run(
        [*script, str(shared / "icnet" / "guide_layout.skeleton.onnx")], capture_output=True, text=True, check=False
    )
    assert same.stdout.strip() == "same graph 318", same.stderr


def test_the_weights_are_the_same_bytes_on_every_machine(small: Graph) -> None:
    found = hashlib.sha256(small.proto.SerializeToString(deterministic=True)).hexdigest()
    assert found == SHA256


def test_weights_do_not_depend_on_the_size(full: onnx.ModelProto, small: Graph) -> None:
    assert [t.raw_data for t in full.graph.initializer] == [t.raw_data for t in small.proto.graph.initializer]


def test_it_computes_a_segmentation_of_several_classes(small: Graph) -> None:
    assert check(small) is False
    outputs = Session(small).run(draw(small).arrays)
    assert [array.shape for array in outputs.values()] == [
        (1, 19, 256, 512), (1, 19, 64, 128), (1, 19, 32, 64), (1, 19, 16, 32),
    ]  # fmt: skip
    for name, array in outputs.items():
        assert np.isfinite(array).all(), name
        assert 0.1 < array.std() < 1000, name
    labels = outputs["794"].argmax(1)
    assert len(np.unique(labels)) >= 5
    changes = np.mean(labels[:, 1:] != labels[:, :-1])
    assert 0 < changes < 0.2, "regions, not one class and not noise"


@pytest.mark.parametrize(("height", "width", "batch"), [(168, 176, 1), (256, 200, 2)])
def test_other_sizes_run(height: int, width: int, batch: int) -> None:
    graph = Graph(build_icnet(height, width, batch))
    output = Session(graph, outputs=["794"]).run(draw(graph).arrays)["794"]
    assert output.shape == (batch, 19, height, width) and np.isfinite(output).all()


def test_exact_pooling_is_adaptive_average_pooling() -> None:
    graph = Graph(build_icnet(200, 328, pool="exact"))
    first = graph.index.by_type("MatMul")[::2]
    source = first[0].input[0]
    pooled = [graph.index.consumers(node.output[0])[0].output[0] for node in first]
    found = Session(graph, outputs=[source, *pooled]).run(draw(graph).arrays)
    x = found[source].astype(np.float64)
    _, _, height, width = x.shape
    for bins, name in zip((1, 2, 3, 6), pooled, strict=True):
        expected = np.empty((*x.shape[:2], bins, bins))
        for i in range(bins):
            for j in range(bins):
                rows = slice(i * height // bins, -(-(i + 1) * height // bins))
                columns = slice(j * width // bins, -(-(j + 1) * width // bins))
                expected[:, :, i, j] = x[:, :, rows, columns].mean((2, 3))
        np.testing.assert_allclose(found[name], expected, rtol=1e-4, atol=1e-5 * np.abs(x).max())


def test_adaptive_pooling_is_the_custom_op() -> None:
    graph = Graph(build_icnet(64, 64, pool="adaptive"))
    pools = graph.index.by_type("AdaptiveAvgPool2d")
    assert [list(node.attribute[0].ints) for node in pools] == [[1, 1], [2, 2], [3, 3], [6, 6]]
    assert all(node.domain == "" and node.attribute[0].name == "output_size" for node in pools)
    assert len(graph.nodes) == 310


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"height": 100}, "height 100: ICNet with pool avg takes multiples of 8 from 168 on"),
        ({"width": -8}, "width -8"),
        ({"height": 160}, "from 168"),
        ({"height": 24, "pool": "exact"}, "from 32"),
        ({"batch": 0}, "batch 0"),
        ({"pool": "adaptve"}, "did you mean 'adaptive'"),
    ],
)
def test_arguments_that_do_not_fit(arguments: dict[str, int], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        build_icnet(**arguments)  # type: ignore[arg-type]


def test_the_file_is_written_whole_and_always_the_same(tmp_path: Path) -> None:
    for name in ("a.onnx", "b.onnx"):
        write_icnet(tmp_path / name, 64, 64, pool="exact")
    assert (tmp_path / "a.onnx").read_bytes() == (tmp_path / "b.onnx").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.onnx", "b.onnx"]
