"""Passes that write one operator as products, gathers or copies, over random equations, images and grids."""

from __future__ import annotations

import random

import numpy as np
import pytest
from onnx import NodeProto, helper
from rewriting import apply, ops, run

from graphtool.graph import Graph
from graphtool.rewrite import Catalog


def graph_of(node: NodeProto, shapes: dict[str, list[int]], opset: int = 20) -> Graph:
    """Return the graph of one node that reads inputs of ``shapes`` and makes ``y``."""
    inputs = [helper.make_tensor_value_info(name, 1, shape) for name, shape in shapes.items()]
    graph = helper.make_graph([node], "one", inputs, [helper.make_tensor_value_info("y", 1, None)])
    return Graph(helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8))


def rewritten(name: str, graph: Graph, feed: dict[str, np.ndarray]) -> tuple[Graph, np.ndarray, np.ndarray]:
    """Apply a pass once, and see that a second run does nothing; return the graph and ``y`` before and after."""
    before = run(graph, feed)["y"]
    spec = Catalog().get(name)
    graph, _ = apply(spec, graph)
    after = run(graph, feed)["y"]
    assert before.shape == after.shape and not apply(spec, graph)[1].matches
    return graph, before, after


def equation(rng: random.Random) -> tuple[str, dict[str, int]]:
    """Return an equation that is one product, its letters in any order, and the extent of each letter."""
    names = iter(rng.sample("abcdefghijklmnopqrstuvwxyz", 12))
    batches, sums = ([next(names) for _ in range(rng.randint(low, 2))] for low in (0, 1))
    rows = [next(names) for _ in range(rng.randint(0, 2))]
    columns = [next(names) for _ in range(rng.randint(0 if rows else 1, 2))]
    parts = (batches + rows + sums, batches + sums + columns, batches + rows + columns)
    first, second, result = ("".join(rng.sample(part, len(part))) for part in parts)
    return f"{first},{second}->{result}", {letter: rng.randint(1, 4) for letter in {*first, *second}}


@pytest.mark.parametrize("seed", range(60))
def test_every_product_is_a_matmul(seed: int) -> None:
    text, extents = equation(random.Random(seed))
    first, second = text.split("->")[0].split(",")
    shapes = {name: [extents[c] for c in letters] for name, letters in (("a", first), ("b", second))}
    rng = np.random.default_rng(seed)
    feed = {name: rng.standard_normal(shape).astype(np.float32) for name, shape in shapes.items()}
    graph = graph_of(helper.make_node("Einsum", ["a", "b"], ["y"], equation=text), shapes)
    graph, before, after = rewritten("einsum_to_matmul", graph, feed)
    np.testing.assert_allclose(after, before, rtol=0, atol=1e-5)
    assert ops(graph.nodes).count("MatMul") == 1 and "Einsum" not in ops(graph.nodes), text


SAMPLES = [(mode, rank, aligned) for mode in ("linear", "nearest") for rank in (4, 5) for aligned in (0, 1)]


@pytest.mark.parametrize("mode,rank,aligned", SAMPLES)
def test_samples_are_gathered(mode: str, rank: int, aligned: int) -> None:
    rng = np.random.default_rng(rank + aligned)
    shapes = {"x": [2, 3, 5, 6, 4][:rank], "grid": [*[2, 7, 8, 3][: rank - 1], rank - 2]}
    node = helper.make_node("GridSample", ["x", "grid"], ["y"], mode=mode, align_corners=aligned)
    graph = graph_of(node, shapes)
    # a third of the samples lie beyond the image, some on its border, its corners and half-way between pixels
    grid = rng.uniform(-1.6, 1.6, shapes["grid"]).astype(np.float32)
    grid.reshape(-1)[::7] = rng.choice(np.float32([-1, 1, 0, -1.2, 1.2, 0.2]), grid.reshape(-1)[::7].shape)
    feed = {"x": rng.standard_normal(shapes["x"]).astype(np.float32), "grid": grid}
    graph, before, after = rewritten("grid_sample_to_gather", graph, feed)
    np.testing.assert_allclose(after, before, rtol=0, atol=1e-5 if mode == "linear" else 0)
    assert "GridSample" not in ops(graph.nodes)


@pytest.mark.parametrize("mode", ["linear", "nearest"])
def test_coordinates_far_out_or_no_numbers_read_nothing(mode: str) -> None:
    graph = graph_of(
        helper.make_node("GridSample", ["x", "grid"], ["y"], mode=mode), {"x": [1, 1, 4, 4], "grid": [1, 1, 6, 2]}
    )
    graph, _ = apply(Catalog().get("grid_sample_to_gather"), graph)
    grid = np.zeros((1, 1, 6, 2), np.float32)
    grid[0, 0, :, 0] = [1e6, -1e6, 1e30, -1e30, np.nan, np.inf]
    y = run(graph, {"x": np.ones((1, 1, 4, 4), np.float32), "grid": grid})["y"].reshape(-1)
    assert y[:4].tolist() == [0, 0, 0, 0] and all(np.isnan(v) or v == 0 for v in y[4:])


def test_a_mask_picks_bit_for_bit() -> None:
    constants = np.float32([1e-45, -3.4e38, 0.1, 65504, -1e9])
    node = helper.make_node("Where", ["m", "k", "zero"], ["y"])
    graph = helper.make_graph(
        [node],
        "one",
        [helper.make_tensor_value_info("m", 9, [2, 5])],
        [helper.make_tensor_value_info("y", 1, None)],
        [helper.make_tensor("k", 1, [5], constants), helper.make_tensor("zero", 1, [], [0.0])],
    )
    model = Graph(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8))
    feed = {"m": np.array([[True] * 5, [False] * 5])}
    _, before, after = rewritten("where_to_mul_add", model, feed)
    np.testing.assert_array_equal(after, before)
