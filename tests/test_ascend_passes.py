"""Passes for the limits of the chip, over random shapes and attributes: they write what onnxruntime computes."""

from __future__ import annotations

import random

import numpy as np
import pytest
from onnx import NodeProto, TensorProto, helper, numpy_helper
from rewriting import apply, ops, reasons, run

from graphtool.graph import Graph
from graphtool.rewrite import Applied, Catalog

SEEDS = range(25)


def one_node(
    node: NodeProto, shape: list[int], weights: dict[str, np.ndarray] | None = None, opset: int = 17, kind: int = 1
) -> Graph:
    """Return the graph of one node that reads ``x`` and makes ``y``."""
    x = helper.make_tensor_value_info("x", kind, shape)
    y = helper.make_tensor_value_info("y", kind, None)
    constants = [numpy_helper.from_array(array, name) for name, array in (weights or {}).items()]
    graph = helper.make_graph([node], "one", [x], [y], constants)
    return Graph(helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8))


def same(name: str, graph: Graph, tolerance: float = 1e-5, **params: object) -> Applied:
    """Apply a pass; the output moves by ``tolerance`` of its largest value at most, and a second run does nothing."""
    spec = Catalog().get(name)
    value = next(iter(graph.inputs))
    rng = np.random.default_rng(3)
    feed = {"x": rng.standard_normal(value.dims).astype(np.float32) * 4}
    before = run(graph, feed)["y"]
    graph, found = apply(spec, graph, **params)
    after = run(graph, feed)["y"]
    assert before.shape == after.shape
    if tolerance:
        np.testing.assert_allclose(after, before, rtol=0, atol=tolerance * np.abs(before).max(initial=1))
    else:
        np.testing.assert_array_equal(after, before)
    assert not apply(spec, graph, **params)[1].matches
    return found


def pool(op: str, rng: random.Random) -> Graph:
    """Return a pool over a plane of a random size, within what onnxruntime accepts."""
    kernel = [rng.randint(2, 7), rng.randint(2, 7)]
    pads = [rng.randint(0, k - 1) for k in kernel] + [rng.randint(0, k - 1) for k in kernel]
    attributes = {"kernel_shape": kernel, "strides": [rng.randint(1, 4), rng.randint(1, 4)], "pads": pads}
    if op == "AveragePool":
        attributes["count_include_pad"] = rng.randint(0, 1)
    if rng.random() < 0.4:
        attributes["ceil_mode"] = 1
    if rng.random() < 0.3:
        del attributes["strides"]
    shape = [rng.randint(1, 2), 2, rng.randint(7, 16), rng.randint(7, 16)]
    return one_node(helper.make_node(op, ["x"], ["y"], name="pool", **attributes), shape)


@pytest.mark.parametrize("seed", SEEDS)
def test_average_pools_as_products(seed: int) -> None:
    found = same("avg_pool_to_matmul", pool("AveragePool", random.Random(seed)), area=3)
    # a window that leaves the padded input has no agreed size, and stays
    leaves = [reason for reason in reasons(found) if "leaves the padded input" in reason or "in the padding" in reason]
    assert len(found.matches) + len(leaves) == 1


@pytest.mark.parametrize("seed", SEEDS)
def test_average_pools_by_rows_and_columns(seed: int) -> None:
    found = same("avg_pool_split", pool("AveragePool", random.Random(seed)), area=7)
    assert len(found.matches) <= 1


@pytest.mark.parametrize("seed", SEEDS)
def test_maximum_pools_by_rows_and_columns(seed: int) -> None:
    same("max_pool_split", pool("MaxPool", random.Random(seed)), tolerance=0, area=7)


@pytest.mark.parametrize("kernel", [[4, 6], [12, 9], [16, 2]])
def test_tiles_of_tiles(kernel: list[int]) -> None:
    node = helper.make_node("AveragePool", ["x"], ["y"], name="pool", kernel_shape=kernel, strides=kernel)
    found = same("avg_pool_split", one_node(node, [1, 2, 2 * kernel[0] + 1, 2 * kernel[1]]), area=255, stride=5)
    assert found.matches


@pytest.mark.parametrize("seed", SEEDS)
def test_mirrors_of_any_width(seed: int) -> None:
    rng = random.Random(seed)
    shape = [rng.randint(1, 4) for _ in range(rng.randint(1, 4))]
    widths = [rng.randint(0, n - 1) for n in shape] + [rng.randint(0, n - 1) for n in shape]
    graph = one_node(
        helper.make_node("Pad", ["x", "p"], ["y"], name="pad", mode="reflect"), shape, {"p": np.array(widths)}
    )
    found = same("reflect_pad_to_slices", graph, tolerance=0)
    assert bool(found.matches) == bool(sum(widths))


@pytest.mark.parametrize("seed", SEEDS)
def test_kernels_in_parts(seed: int) -> None:
    rng = random.Random(seed)
    rank = rng.randint(1, 3)
    kernel = [rng.randint(1, 6) for _ in range(rank)]
    group = rng.choice([1, 2])
    weights = {"w": np.random.default_rng(seed).standard_normal([4, 4 // group, *kernel]).astype(np.float32)}
    inputs = ["x", "w"]
    if rng.random() < 0.5:
        weights["b"] = np.arange(4, dtype=np.float32)
        inputs.append("b")
    attributes = {"group": group, "strides": [rng.randint(1, 3) for _ in kernel]}
    attributes["dilations"] = [rng.randint(1, 2) for _ in kernel]
    if rng.random() < 0.7:
        attributes["pads"] = [rng.randint(0, 2) for _ in range(2 * rank)]
    node = helper.make_node("Conv", inputs, ["y"], name="conv", **attributes)
    found = same(
        "split_large_kernels", one_node(node, [1, 4, *[rng.randint(12, 16) for _ in kernel]], weights), longest=2
    )
    assert bool(found.matches) == (max(kernel) > 2)


@pytest.mark.parametrize("seed", SEEDS)
def test_volumes_by_planes(seed: int) -> None:
    rng = random.Random(seed)
    shape = [1, 2, *[rng.randint(2, 5) for _ in range(3)]]
    mode = rng.choice(["linear", "nearest"])
    coordinates = rng.choice(["half_pixel", "asymmetric", "align_corners", "pytorch_half_pixel"])
    attributes = {"mode": mode, "coordinate_transformation_mode": coordinates}
    if mode == "nearest":
        attributes["nearest_mode"] = rng.choice(["floor", "ceil", "round_prefer_floor", "round_prefer_ceil"])
    if rng.random() < 0.5:
        inputs, weights = (
            ["x", "", "s"],
            {"s": np.array([1, 1, *[rng.choice([0.5, 1, 1.5, 2]) for _ in range(3)]], np.float32)},
        )
    else:
        inputs, weights = ["x", "", "", "n"], {"n": np.array([*shape[:2], *[rng.randint(1, 9) for _ in range(3)]])}
    graph = one_node(helper.make_node("Resize", inputs, ["y"], name="resize", **attributes), shape, weights)
    assert same("resize_5d_to_4d", graph, tolerance=0 if mode == "nearest" else 1e-5).matches


@pytest.mark.parametrize(
    "equation,shapes",
    [
        ("ij,jk->ik", [[2, 3], [3, 4]]),
        ("bij,bkj->bik", [[2, 3, 4], [2, 5, 4]]),
        ("bij,kj->bik", [[2, 3, 4], [5, 4]]),
        ("bhij,bhjk->bhik", [[2, 2, 3, 4], [2, 2, 4, 5]]),
        ("bhik,bhij->bhkj", [[2, 2, 3, 4], [2, 2, 3, 5]]),
        ("jk,ij->ik", [[3, 4], [2, 3]]),
        ("bjk,bij->bik", [[2, 3, 4], [2, 5, 3]]),
        ("bqhd,bkhd->bhqk", [[2, 5, 3, 4], [2, 6, 3, 4]]),
        ("bhqk,bkhd->bqhd", [[2, 3, 5, 6], [2, 6, 3, 4]]),
        ("bsm,mhd->bshd", [[2, 5, 6], [6, 3, 4]]),
        ("bshd,hdm->bsm", [[2, 5, 3, 4], [3, 4, 6]]),
        ("i,j->ij", [[3], [4]]),
        ("bhsd,de->bhse", [[2, 2, 3, 4], [4, 5]]),
    ],
)
def test_equations(equation: str, shapes: list[list[int]]) -> None:
    weight = np.random.default_rng(1).standard_normal(shapes[1]).astype(np.float32)
    node = helper.make_node("Einsum", ["x", "w"], ["y"], name="einsum", equation=equation)
    found = same("einsum_to_matmul", one_node(node, shapes[0], {"w": weight}))
    assert len(found.matches) == 1 and ops(found.matches[0].new)[-1] in ("MatMul", "Transpose", "Reshape", "Mul")


def test_clamped_constants_keep_their_old_value_at_an_output() -> None:
    graph = one_node(helper.make_node("Add", ["x", "k"], ["y"]), [2], {"k": np.array([1e9, 1], np.float32)})
    graph.header.output.append(helper.make_tensor_value_info("k", TensorProto.FLOAT, [2]))
    graph.reindex()
    graph, found = apply(Catalog().get("clamp_float16_constants"), graph)
    assert [match.where for match in found.matches] == ["k"]
    outputs = run(graph, {"x": np.zeros(2, np.float32)})
    assert outputs["y"].tolist() == [65504, 1] and outputs["k"].tolist() == [1e9, 1]
    assert not apply(Catalog().get("clamp_float16_constants"), graph)[1].matches


def test_clamping_needs_a_limit_that_float32_can_hold() -> None:
    graph = one_node(helper.make_node("Add", ["x", "k"], ["y"]), [2], {"k": np.array([1e9, np.nan], np.float32)})
    graph, _ = apply(Catalog().get("clamp_float16_constants"), graph, limit=0.1)
    (clamped,) = (value for name in graph.initializers if (value := graph.constant(name)) is not None)
    assert float(clamped[0]) <= 0.1 and np.isnan(clamped[1])
