"""Rewrites that would put new constants beside those that other nodes read: what ``growth`` of a sequence bounds."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from rewriting import apply, rule_of

from graphtool import api
from graphtool.cases import model_of
from graphtool.errors import PassError
from graphtool.graph import Graph
from graphtool.graph.growth import SLACK, Bound, file_bytes
from graphtool.graph.index import Index
from graphtool.rewrite import Catalog, Outcome, apply_stage
from graphtool.rewrite.passfile import parse_pass
from graphtool.rewrite.stages import parse_pipeline


def _optimized(graph: Graph) -> Graph:
    return api.run(graph.copy(), "optimize", checked=False).graph


def _apply(graph: Graph, name: str) -> Outcome:
    catalog = Catalog()
    return apply_stage(graph, parse_pipeline(name, catalog)[0], catalog)


def _heads(levels: int, channels: int, *, norms: int | None = None, beside: int = 0) -> Graph:
    """Return ``levels`` convolutions that share a weight, each with a BatchNormalization, of which ``norms`` differ.

    ``beside`` more bytes are a constant that has nothing to do with them.
    """
    draw = np.random.default_rng(7)
    weights = {"w": draw.standard_normal((channels, channels, 3, 3)), "b": draw.standard_normal(channels)}
    nodes, inputs, outputs = [], [], []
    for level in range(levels):
        norm = level % (norms or levels)
        for kind in "stmv":
            weights.setdefault(f"{kind}{norm}", draw.uniform(0.5, 2, channels))
        vectors = [f"{kind}{norm}" for kind in "stmv"]
        nodes.append(helper.make_node("Conv", [f"x{level}", "w", "b"], [f"c{level}"], pads=[1, 1, 1, 1]))
        nodes.append(helper.make_node("BatchNormalization", [f"c{level}", *vectors], [f"y{level}"]))
        shape = [1, channels, 4, 4]
        inputs.append(helper.make_tensor_value_info(f"x{level}", TensorProto.FLOAT, shape))
        outputs.append(helper.make_tensor_value_info(f"y{level}", TensorProto.FLOAT, shape))
    if beside:
        weights["large"] = draw.standard_normal(beside // 4)
        nodes.append(helper.make_node("Add", ["z", "large"], ["o"]))
        inputs.append(helper.make_tensor_value_info("z", TensorProto.FLOAT, [beside // 4]))
        outputs.append(helper.make_tensor_value_info("o", TensorProto.FLOAT, [beside // 4]))
    tensors = [numpy_helper.from_array(value.astype(np.float32), name) for name, value in weights.items()]
    graph = helper.make_graph(nodes, "g", inputs, outputs, tensors)
    return Graph.from_proto(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8))


@pytest.mark.parametrize(
    ("graph", "norms"),
    [
        (_heads(5, 64), 5),  # 148 KB, which would be 738
        (_heads(5, 64, norms=1), 0),  # the new weights are equal: one takes the place of the old one
        (_heads(5, 64, norms=2), 5),
        (_heads(5, 8), 0),  # 2 KB five times is within what any model may grow by
        (_heads(5, 64, beside=8 << 20), 0),  # and here 590 KB are within a tenth
        (_heads(1, 64), 0),  # nobody else reads the weight
    ],
)
def test_what_shares_a_weight_is_rewritten_where_all_of_it_fits(graph: Graph, norms: int) -> None:
    before = file_bytes(graph)
    after = _optimized(graph)
    assert len(after.index.by_type("BatchNormalization")) == norms
    assert file_bytes(after) <= 1.1 * before + SLACK
    again = _optimized(after)
    assert again.full_proto().SerializeToString() == after.full_proto().SerializeToString()


def test_a_large_weight_does_not_keep_small_ones_from_growing() -> None:
    small, large = _heads(3, 16), _heads(3, 64)
    graph = Graph.from_proto(onnx.compose.merge_models(small.full_proto(), large.full_proto(), [], prefix1="a/"))
    after = _optimized(graph)
    norms = after.index.by_type("BatchNormalization")
    assert [node.output[0] for node in norms] == ["y0", "y1", "y2"]
    assert _optimized(after).node_count == after.node_count


@pytest.mark.parametrize(("other", "matches"), [("Relu(m)", 0), ("Relu(x)", 1)])
def test_a_node_that_stays_keeps_its_constants(other: str, matches: int) -> None:
    """A product that is read elsewhere too stays, and so does its factor, of 80 KB."""
    spec = rule_of(
        "m = Mul(x, k)  y = Neg(m)", "y = Mul(x, n)", 'shared = "m"\nwhere = ["finite(k)"]\nlet = { n = "0 - k" }'
    )
    nodes = f"{{ m = Mul(x, k) y = Neg(m) z = {other} }}"
    graph = model_of(f"g (float[20000] x) => (float[20000] y, float[20000] z) <float[20000] k> {nodes}", 17)
    with graph.budget.bounding(Bound(0, SLACK)):
        _, applied = apply(spec, graph)
    assert len(applied.matches) == matches


def test_a_pass_that_is_asked_for_by_its_name_copies_what_it_needs() -> None:
    graph = _heads(5, 64)
    _apply(graph, "fuse_conv_bn")
    assert "BatchNormalization" not in {node.op_type for node in graph.proto.graph.node}


def test_the_reason_is_told() -> None:
    graph = _heads(5, 64)
    with graph.budget.bounding(Bound(0.1, SLACK)):
        outcome = _apply(graph, "fuse_conv_bn")
    assert not outcome.applied.matches
    assert sum("others read its constants" in miss.reason for miss in outcome.applied.misses) == 5


def test_functions_that_compute_on_a_large_constant_of_theirs() -> None:
    """Each call has its own once it is inlined; computed with before they are merged, there would be many others."""
    draw = np.random.default_rng(7)
    large = numpy_helper.from_array(draw.standard_normal((128, 128)).astype(np.float32), "")
    body = [
        helper.make_node("Constant", [], ["w"], value=large),
        helper.make_node("Mul", ["w", "s"], ["v"]),
        helper.make_node("MatMul", ["x", "v"], ["y"]),
    ]
    function = helper.make_function("local", "Scaled", ["x", "s"], ["y"], body, [helper.make_opsetid("", 17)])
    nodes = [helper.make_node("Scaled", [f"x{n}", f"s{n}"], [f"y{n}"], domain="local") for n in range(8)]
    values = [
        [helper.make_tensor_value_info(f"{kind}{n}", TensorProto.FLOAT, [2, 128]) for n in range(8)] for kind in "xy"
    ]
    scales = [numpy_helper.from_array(np.float32([n + 2]), f"s{n}") for n in range(8)]
    graph = Graph.from_proto(
        helper.make_model(
            helper.make_graph(nodes, "g", *values, scales),
            opset_imports=[helper.make_opsetid("", 17), helper.make_opsetid("local", 1)],
            functions=[function],
            ir_version=8,
        )
    )
    before = file_bytes(graph)
    assert file_bytes(_optimized(graph)) <= 1.1 * before + SLACK


def test_bounds_of_sequences_lie_inside_one_another() -> None:
    graph = _heads(1, 4)
    inner, outer = Bound(1, 0), Bound(0.5, 0)
    with graph.budget.bounding(outer), graph.budget.bounding(inner):
        assert graph.budget.copies == outer
    with graph.budget.bounding(None), graph.budget.bounding(inner):
        assert graph.budget.copies == inner
    assert graph.budget.copies is None


@pytest.mark.parametrize(
    ("table", "reason"),
    [
        ({"sequence": ["remove_identity"], "growth": "much"}, "growth: must be a number, at least 0"),
        ({"sequence": ["remove_identity"], "growth": -0.1}, "growth: must be a number, at least 0"),
        ({"sequence": ["remove_identity"], "growth": float("nan")}, "growth: must be a number, at least 0"),
        ({"sequence": ["remove_identity"], "growth": True}, "growth: must be a number, at least 0"),
        ({"native": "remove_unused", "growth": 0.1}, "growth: only a sequence bounds it"),
    ],
)
def test_a_bound_that_makes_no_sense(table: dict[str, object], reason: str) -> None:
    with pytest.raises(PassError, match=f"mine.toml: {reason}"):
        parse_pass({"summary": "s", "why": "w", "parity": "exact", **table}, Path("mine.toml"), "mine.toml")


def test_vectors_that_thousands_read_are_not_listed_for_each_match(monkeypatch: pytest.MonkeyPatch) -> None:
    """Networks begin with equal BatchNormalizations: the vectors of all of them are one, once equal weights are."""
    listed: list[int] = []
    reader_slots = Index.reader_slots

    def counted(index: Index, value: str) -> list[int]:
        found = reader_slots(index, value)
        listed.append(len(found))
        return found

    monkeypatch.setattr(Index, "reader_slots", counted)
    graph = _heads(300, 2, norms=1)
    for level, slot in enumerate(graph.index.slots_of_type("Conv")):  # weights of their own
        graph.put_initializer(f"w{level}", np.full((2, 2, 3, 3), level, np.float32))
        graph.set_input(slot, 1, f"w{level}")
    with graph.budget.bounding(Bound(0.1, SLACK)):
        assert len(_apply(graph, "fuse_conv_bn").applied.matches) == 300
    assert sum(listed) < 300 * 20
