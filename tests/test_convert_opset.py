"""Conversion between opsets: the same numbers, every redefinition known, and refusals that name node and reason."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import onnx
import pytest
from conftest import graph_of
from numpy.typing import NDArray
from onnx import defs
from rewriting import lines, run

from graphtool.cases import model_of
from graphtool.errors import GraphtoolError, PassError
from graphtool.graph import Graph, check
from graphtool.natives.convert_opset import DOWN, UP, apply
from graphtool.parity.feed import draw
from graphtool.parity.session import Session
from graphtool.rewrite import Catalog

# opset: opsets to convert to, and a graph whose numbers must stay, bit for bit
SAME = """
6: 7 13
    g (float[2,3] x) => (float[2,3] y) <float[3] b> { y = Add<broadcast = 1, axis = 1>(x, b) }
6: 7 17
    g (float[2,3,4] x) => (float[2,3,4] y) <float[3] b> { y = Mul<broadcast = 1, axis = 1>(x, b) }
8: 11 13 17
    g (float[2,3,4,5] x) => (float[2,3,4,5] y) { y = Softmax<axis = 2>(x) }
11: 8 13 17
    g (float[2,3,4] x) => (float[2,3,4] y) { y = LogSoftmax<axis = -2>(x) }
11: 13
    g (float[N,3,1,1] x) => (float[N,3,1,1] y) { y = Softmax(x) }
11: 13 14
    g (float[N,3,4] x) => (float[N,3,4] y) { y = Hardmax(x) }
13: 11 9
    g (float[N,3,4] x) => (float[N,3,4] y) { y = Softmax<axis = 1>(x) }
13: 11 9
    g (float[N,3,1] x) => (float[N,3,1] y) { y = Hardmax<axis = 1>(x) }
13: 11 9
    g (float[N,3] x) => (float[N,3] y) { y = Softmax(x) }
7: 9 10 11 17
    g (float[1,2,5,7] x) => (float[a,b,c,d] y) { y = Upsample<scales = [1.0,1.0,1.5,2.0], mode = "linear">(x) }
17: 7 9 10 11 21
    g (float[1,2,5,7] x) => (float[a,b,c,d] y) <float[4] s = {1,1,2,1.5}> { y =
        Resize<coordinate_transformation_mode = "asymmetric", nearest_mode = "floor">(x, , s) }
18: 13 11
    g (float[1,2,5,7] x) => (float[a,b,c,d] y) <float[2] s = {2,1.5}> { y = Resize<mode = "cubic", axes =
        [2,3]>(x, , s) }
18: 17 11
    g (float[1,2,5,7] x) => (float[a,b,c,d] y) <int64[2] s = {9,6}> { y = Resize<mode = "linear", axes =
        [-2,-1]>(x, , , s) }
10: 11 13 19
    g (float[1,2,5,7] x) => (float[a,b,c,d] y) <float[4] s = {1,1,0.5,0.25}> { y = Resize(x, s) }
10: 7 11 13
    g (float[2,3,4] x) => (float[a,b,c] y) <int64[2] s = {1,0}, int64[2] e = {9,-1}, int64[2] d = {2,1}> { y =
        Slice(x, s, e, d) }
7: 10 13
    g (float[2,3,4] x) => (float[a,b,c] y) { y = Slice<starts = [1], ends = [3], axes = [2]>(x) }
9: 10 11 13
    g (float[3,9] x) => (float[3,2] y, int64[3,2] i) { y, i = TopK<k = 2>(x) }
11: 9 10
    g (float[3,9] x) => (float[3,2] y, int64[3,2] i) <int64[1] k = {2}> { y, i = TopK(x, k) }
10: 11 13 18 21
    g (float[2,3] x) => (float[a,b] y) { y = Pad<pads = [1,0,0,2], value = 1.5>(x) }
10: 11 21
    g (double[2,3] x) => (double[a,b] y) { y = Pad<pads = [1,0,0,2], value = 1.5>(x) }
18: 17 11 10
    g (float[2,3] x) => (float[a,b] y) <int64[2] p = {1,2}, float v = {2.5}, int64[1] d = {-1}> { y = Pad(x, p,
        v, d) }
12: 10 7
    g (float[2,3] x) => (float[2,3] y) <float a = {-0.5}> { y = Clip(x, a) }
6: 11 13
    g (float[2,3] x) => (float[2,3] y) { y = Clip<min = -0.5>(x) }
11: 9 13 18
    g (float[2,9] x) => (float[2,4] y, float[2,5] z) { y, z = Split<axis = -1, split = [4,5]>(x) }
13: 11 18 21
    g (float[2,8] x) => (float[2,4] y, float[2,4] z) { y, z = Split<axis = 1>(x) }
18: 13 9
    g (float[2,9] x) => (float[2,5] y, float[2,4] z) { y, z = Split<axis = 1, num_outputs = 2>(x) }
13: 11 9 18
    g (float[2,3,4] x) => (float[a,b,c] y) <int64[1] d = {-1}> { r = ReduceMean<keepdims = 0>(x) s =
        ReduceSum<keepdims = 1>(x, d) y = Add(r, s) }
11: 7 13
    g (float[2,1,4] x) => (float[a,b,c] y) { s = Squeeze<axes = [-2]>(x) y = Unsqueeze<axes = [-1,0]>(s) }
15: 14 9
    g (float[2,3,4] x) => (int64[2] y) { y = Shape<start = -2>(x) }
13: 14 21 7
    g (float[2,3] x) => (float[3,2] y) <int64[2] s = {3,-1}> { y = Reshape(x, s) }
14: 13
    g (float[2,3] x) => (float[3,2] y) <int64[2] s = {3,-1}> { y = Reshape<allowzero = 1>(x, s) }
13: 9 7
    g (float[2,3] x, float[3,4] w) => (float[2,4] y) { y = Gemm(x, w) }
7: 9 14 15 17
    g (float[2,3,4] x) => (float[2,3,4] y) <float[3] s, float[3] b, float[3] m, float[3] v = {1,2,3}> { y =
        BatchNormalization(x, s, b, m, v) }
15: 9 7
    g (float[2,3,4] x) => (float[2,3,4] y) <float[3] s, float[3] b, float[3] m, float[3] v = {1,2,3}> { y =
        BatchNormalization<training_mode = 0>(x, s, b, m, v) }
10: 7 12 17
    g (float[2,3] x) => (float[2,3] y) { y, m = Dropout<ratio = 0.3>(x) }
13: 12 10 7
    g (float[2,3] x, float r) => (float[2,3] y) { y = Dropout(x, r) }
12: 22
    g (float[1,2,5,7] x) => (float[a,b,c,d] y) { y = MaxPool<kernel_shape = [3,3], strides = [2,2], ceil_mode =
        1>(x) }
22: 8 12
    g (float[1,2,5,7] x) => (float[a,b,c,d] y) { y = MaxPool<kernel_shape = [3,3], strides = [2,2], dilations =
        [1,1], pads = [1,1,1,1]>(x) }
16: 20 22
    g (float[1,2,4,4] x, float[1,3,3,2] p) => (float[1,2,3,3] y) { y = GridSample<mode = "bicubic">(x, p) }
20: 16
    g (float[1,2,4,4] x, float[1,3,3,2] p) => (float[1,2,3,3] y) { y = GridSample<mode = "cubic">(x, p) }
18: 21
    g (float[2,4,3] x) => (float[2,4,3] y) <float[2] s = {1,2}, float[2] b = {3,4}> { y =
        GroupNormalization<num_groups = 2>(x, s, b) }
17: 20
    g (float[1,8,1] x) => (float[1,8,2] y) { y = DFT(x) }
20: 17
    g (float[1,8,1] x) => (float[1,8,2] y) { y = DFT(x) }
9: 11 18
    g (float[3,4] x, float[1,2] u) => (float[3,4] y) <int64[1,2] i = {1,3}> { y = Scatter<axis = 1>(x, i, u) }
13: 9
    g (float[3,4] x, float[1,2] u) => (float[3,4] y) <int64[1,2] i = {1,3}> { y = ScatterElements<axis = 1>(x,
        i, u) }
13: 11
    g (float[3] x, float[3] w) => (bool[3] y) { y = GreaterOrEqual(x, w) }
15: 13 9
    g (float[3] x, double[3] w) => (double[3] y) { y = CastLike(x, w) }
13: 9
    g (float[3,4] x) => (float[3,2] y) <int64[2] i = {-1,0}> { y = Gather<axis = -1>(x, i) }
12: 7 9 13
    g (float[2,3] x) => (float[2,3] y) { c = Constant<value_float = 2.5>() y = Mul(x, c) }
12: 7 9 11 13
    g (float[2,3] x) => (float[6] y) { c = Constant<value_ints = [6]>() y = Reshape(x, c) }
10: 11
    g (float[1,2,5,7] x) => (float[a,b,c,d] y) <float[2,3,3,3] w> { y = ConvTranspose<output_shape = [5,7]>(x,
        w) }
7: 8 13
    g (float[2,3] x, float[2,3] w) => (float[2,3] y) { y = Max(x, w) }
13: 7
    g (float[2,3] x, float[2,3] w) => (float[2,3] y) { y = Sum(x, w) }
17: 11 9
    g (int64[2,3] x, int64[3] v, int64[2,1] w) => (int64[2,3] y, int64[2,3] z) { y = Max(x, v, w) z = Min(x, v) }
12: 9 10
    g (int32[3] x, int32[2,1] v, int32[2,3] w) => (int32[2,3] y, int32[3] z) { y = Min(x, v, w) z = Max(x) }
13: 9 11
    g (float[N,6] x) => (int64[2] y) <int64[2] k = {2,9}> { s = Shape(x) y = Max(s, k) }
16: 11 9
    g (float[2,3,1] x) => (float[2,3] y, float[1,2,3,1] z) { c = Constant<value = int64[1] {2}>() i = Identity(c) j =
        Identity(i) y = Squeeze(x, j) d = Constant<value = int64[1] {0}>() k = Identity(d) z = Unsqueeze(x, k) }
"""


def entries(table: str) -> list[tuple[int, list[int], str, str]]:
    """Return opset, opsets to convert to, graph, and what else is said, of each entry of a table."""
    found = []
    for head, body in re.findall(r"^(\d+: [\d ]+)\n((?: .*\n)+)", table, re.MULTILINE):
        opset, targets = head.split(":")
        graph = "".join(line for line in body.splitlines(True) if line.startswith("    "))
        more = "".join(line.strip() for line in body.splitlines() if not line.startswith("    "))
        found.append((int(opset), [int(to) for to in targets.split()], graph, more))
    return found


def converted(graph: Graph, to: int, **more: object) -> Graph:
    """Return the graph at opset ``to``, checked, and a fixed point."""
    own = graph.copy()
    assert apply(own, {"to": to, **more}).matches
    assert own.opset() == to and not check(own)
    onnx.checker.check_model(own.full_proto())
    assert not apply(own.copy(), {"to": to, **more}).matches
    return own


@pytest.mark.parametrize(("opset", "text", "to"), [(o, text, to) for o, many, text, _ in entries(SAME) for to in many])
def test_the_numbers_stay(opset: int, text: str, to: int) -> None:
    graph = model_of(text, opset)
    after = converted(graph, to)
    feed = dict(draw(graph).arrays)
    if opset > 6:  # onnxruntime runs nothing older
        wanted, found = run(graph, feed), run(after, feed)
        assert {name: array.tolist() for name, array in found.items()} == {n: a.tolist() for n, a in wanted.items()}
    else:
        run(after, feed)


def test_broadcast_by_axis_lies_where_it_did() -> None:
    text = "g (float[2,3,4] x) => (float[2,3,4] y) <float[3] b = {1,2,3}> { y = Mul<broadcast = 1, axis = 1>(x, b) }"
    feed: dict[str, NDArray[np.generic]] = {"x": np.ones((2, 3, 4), np.float32)}
    assert run(converted(model_of(text, 6), 13), feed)["y"][0, :, 0].tolist() == [1, 2, 3]


# opset: opset to convert to, a graph, and why it cannot be
REFUSED = r"""
17: 13
    g (float[2,3] x) => (float[2,3] y) <float[3] s> { y = LayerNormalization(x, s) }
  LayerNormalization cannot be converted to opset 13: it is new in opset 17; run decompose_layer_norm first
18: 13
    g (float[2,3] x) => (float[2,3] y) { a = HardSwish(x) y = Mish(a) }
  HardSwish_0: HardSwish cannot .* in opset 14; run decompose_hardswish first \(and 1 more\)
10: 11
    g (float[1,2,5,7] x) => (float[a,b,c,d] y) <float[4] s = {1,1,0.6,1}> { y = Resize(x, s) }
  Resize_0: Resize cannot .* nearest that shrinks an axis: ONNX takes the floor, onnxruntime the ceiling
10: 11
    g (float[1,2,5,7] x, float[4] s) => (float[a,b,c,d] y) { y = Resize(x, s) }
  nearest that has computed scales
11: 10
    g (float[1,2,5,7] x) => (float[a,b,c,d] y) <float[0] r = {}, float[4] s = {1,1,2,2}> { y = Resize(x, r, s) }
  coordinate_transformation_mode half_pixel needs opset 11
10: 9
    g (float[1,2,5,7] x) => (float[a,b,c,d] y) <float[4] s = {1,1,0.5,1}> { y = Resize(x, s) }
  scales below 1
9: 14
    g (float[2,3] x) => (float[2,3] y, float[3] p) <float[3] s, float[3] b, float[3] m, float[3] v> { y, p, q =
        BatchNormalization(x, s, b, m, v) }
  the outputs of training
15: 13
    g (float[2,3] x) => (float[2,3] y) <float[3] s, float[3] b, float[3] m, float[3] v> { y =
        BatchNormalization<training_mode = 1>(x, s, b, m, v) }
  training_mode=1 needs opset 14
8: 9
    g (float[2,3] x) => (float[2,3] y) <float[3] s, float[3] b, float[3] m, float[3] v> { y =
        BatchNormalization<spatial = 0>(x, s, b, m, v) }
  spatial=0
10: 12
    g (float[2,3] x) => (float[2,3] y, bool[2,3] m) { y, m = Dropout(x) }
  its mask is read
13: 11
    g (float[2,1] x, int64[1] a) => (float[N] y) { y = Squeeze(x, a) }
  axes of Squeeze is an attribute before opset 13 and must be constant
18: 13
    g (float[2,N] x) => (float[2,M] y, float[2,M] z) { y, z = Split<axis = 1, num_outputs = 2>(x) }
  whether 2 parts are equal is not known
14: 13
    g (int8[2] x) => (int8[2] y) { y = Add(x, x) }
  'x' is int8, which Add cannot have in opsets before 14
12: 11
    g (float[2] x, int64[2] e) => (float[2] y) { y = Pow(x, e) }
  'e' is int64, which Pow cannot have
14: 13
    g (float[2,3] x, int64[2] s) => (float[a,b] y) { y = Reshape<allowzero = 1>(x, s) }
  may hold a 0
19: 18
    g (float[2] x) => (float[4] y) <int64[2] p = {1,1}> { y = Pad<mode = "wrap">(x, p) }
  mode wrap
13: 7
    g (float[2,3] x, float[3] w) => (float[2,3] y) { y = Max(x, w) }
  may have different shapes
17: 8
    g (int64[3] x, int64[3] w) => (int64[3] y) { y = Max(x, w) }
  'x' is int64, which Max cannot have in opsets before 12
17: 11
    g (uint64[3] x, uint64[3] w) => (uint64[3] y) { y = Min(x, w) }
  'x' is uint64, which Min cannot have in opsets before 12
13: 11
    g (float[2,3] x, float[3,4] w) => (float[2,4] y) { y = Einsum<equation = "ij,jk->ik">(x, w) }
  Einsum cannot .* opset 11: it is new in opset 12; run einsum_to_matmul first
10: 11
    g (float[1,2,5,7] x) => (float[a,b,c,d] y) <float[2,3,3,3] w> { y = ConvTranspose<output_shape = [6,8],
        strides = [2,2]>(x, w) }
  is odd: opset 11 puts it at the other end
18: 22
    g (float[1,2,5,7] x) => (float[a,b,c,d] y) { y = MaxPool<kernel_shape = [2,2], strides = [3,3], pads =
        [0,0,1,1], ceil_mode = 1>(x) }
  a window that starts in the padding
21: 18
    g (float[2,4,3] x) => (float[2,4,3] y) <float[4] s = {1,2,3,4}, float[4] b = {3,3,4,4}> { y =
        GroupNormalization<num_groups = 2>(x, s, b) }
  before opset 21 it is deprecated
11: 14
    g (float[2,3] x) => (float[2,3] y) { y = HardSwish(x) }
  HardSwish is no operator before opset 14
"""


@pytest.mark.parametrize(("opset", "to", "text", "reason"), entries(REFUSED))
def test_a_node_without_equivalent_refuses_the_model(opset: int, to: list[int], text: str, reason: str) -> None:
    graph = model_of(text, opset)
    before = graph.proto.SerializeToString(deterministic=True)
    with pytest.raises(PassError, match=reason):
        apply(graph, {"to": to[0]})
    assert graph.proto.SerializeToString(deterministic=True) == before


@pytest.mark.parametrize("to", [6, 29, -1])
def test_an_opset_out_of_range(to: int) -> None:
    with pytest.raises(PassError, match="is not one of 7 to 28"):
        apply(model_of("g (float[2] x) => (float[2] y) { y = Neg(x) }", 13), {"to": to})


def test_every_redefinition_since_opset_8_is_known() -> None:
    from graphtool.natives._opset_steps import NEWEST, path

    ops = sorted({schema.name for schema in defs.get_all_schemas_with_history() if schema.domain == ""})
    unknown: set[tuple[str, int]] = set()
    for op in ops:
        for table, steps in ((UP, path(op, 7, NEWEST)), (DOWN, path(op, NEWEST, 7))):
            unknown.update(
                (op, step.number) for step in steps if step.old and not step.fits and (op, step.number) not in table
            )
            numbers = {step.number for step in path(op, 1, NEWEST)}
            assert {number for name, number in table if name == op} <= numbers, "an adapter for no step"
    # Scan of opset 8 has a batch axis; a node of a deprecated op is upward gone, and downward not there
    assert unknown == {("Scan", 9), ("Scatter", 11), ("Upsample", 10)}


def test_the_pass_named_as_help_exists() -> None:
    from graphtool.natives._opset_node import INSTEAD

    names = Catalog().names
    assert set(INSTEAD.values()) <= set(names)


# -- what a rewriter gets wrong


def test_a_constant_that_others_read_stays_and_one_that_is_overridable_is_none() -> None:
    text = "g (float[1,1,3] x) => (float[1,3] y, int64[1] z) <int64[1] a = {0}> { y = Squeeze(x, a) z = Neg(a) }"
    graph = converted(model_of(text, 13), 11)
    assert lines(graph) == ["y = Squeeze<axes=[0]>(x)", "z = Neg(a)"] and set(graph.initializers) == {"a"}
    graph = graph_of("g (float[1,1,3] x, int64[1] a) => (float[1,3] y) <int64[1] a = {0}> { y = Squeeze(x, a) }")
    with pytest.raises(PassError, match="must be constant"):
        apply(graph, {"to": 11})


def test_equal_axes_are_one_constant_and_its_name_is_free() -> None:
    text = "g (float[1,1,3] x) => (float[3] y) { a = Squeeze<axes = [0]>(x) y = Squeeze<axes = [0]>(a) }"
    proto = model_of(text, 11).proto
    proto.graph.node[1].name = "Squeeze_0/axes"
    proto.graph.node[0].output[0] = proto.graph.node[1].input[0] = "Squeeze_0/axes"
    graph = converted(Graph.from_proto(proto), 13)
    assert list(graph.initializers) == ["Squeeze_0/axes_2"]


def test_a_constant_node_goes_with_its_last_reader() -> None:
    text = "g (float[1,3] x) => (float[3] y) { a = Constant<value = int64[1] {0}>() y = Squeeze(x, a) }"
    assert lines(converted(model_of(text, 13), 11)) == ["y = Squeeze<axes=[0]>(x)"]


def test_identities_go_with_the_constant_before_them_and_stay_where_they_are_read() -> None:
    head = "d = Constant<value = int64[1] {0}>() c = Identity(d) a = Identity(c) y = Squeeze(x, a)"
    graph = model_of(f"g (float[1,3] x) => (float[3] y) {{ {head} }}", 13)
    assert lines(converted(graph, 11)) == ["y = Squeeze<axes=[0]>(x)"]
    graph = model_of(f"g (float[1,3] x) => (float[3] y, int64[1] z) {{ {head} z = Neg(c) }}", 13)
    assert [line.split("(")[0] for line in lines(converted(graph, 11))][1:] == [
        "c = Identity", "y = Squeeze<axes=[0]>", "z = Neg",
    ]  # fmt: skip
    graph = model_of("g (float[1,3] x) => (float[3] y) <int64[1] d = {0}> { a = Identity(d) y = Squeeze(x, a) }", 13)
    after = converted(graph, 11)
    assert lines(after) == ["y = Squeeze<axes=[0]>(x)"] and not after.initializers


def test_the_maker_of_an_output_keeps_the_nodes_name() -> None:
    graph = model_of("g (float[2,3,4] x) => (float[2,3,4] y) { y = Softmax(x) }", 11)
    graph.nodes[0].doc_string = "the head"
    last = converted(graph, 13).nodes[-1]
    assert (last.op_type, last.name, last.doc_string) == ("Reshape", "Softmax_0", "the head")


BODY = """g (bool c, float[2,1] x) => (float[N] y) <int64[1] one = {1}> {
  y = If(c) <then_branch = t () => (float[N] a) { a = Squeeze(x, one) },
             else_branch = e () => (float[N] b) <int64[1] one = {1}> { b = ReduceSum<keepdims = 0>(x, one) }>
}"""


def test_bodies_are_converted_with_their_scopes() -> None:
    graph = model_of(BODY, 13)
    down = converted(graph, 11)
    assert not down.initializers
    up = converted(down, 18)
    for feed in ({"c": np.array(True), "x": np.ones((2, 1), np.float32)},):
        assert run(graph, feed)["y"].tolist() == run(down, feed)["y"].tolist() == run(up, feed)["y"].tolist()


FUNCTION = """<ir_version: 8, opset_import: ["" : 12, "own" : 1]>
g (float[2,3,4] x) => (float[2,3,4] y) { y = own.rows(x) }
<domain: "own", opset_import: ["" : 12]>
rows (a) => (b) { s = Softmax (a)  t = Squeeze <axes = [0]> (s)  b = Unsqueeze <axes = [0]> (t) }
"""


def test_local_functions_are_converted_with_the_types_of_their_calls() -> None:
    graph = graph_of(FUNCTION.replace("[2,3,4]", "[1,3,4]"))
    after = converted(graph, 13)
    function = after.proto.functions[0]
    found = " ".join(node.op_type for node in function.node)
    assert found == "Constant Constant Flatten Softmax Reshape Squeeze Unsqueeze"
    assert [entry.version for entry in function.opset_import] == [13]
    feed = dict(draw(graph).arrays)
    assert run(after, feed)["y"].tolist() == run(graph, feed)["y"].tolist()


def test_types_inside_a_function_come_from_its_calls() -> None:
    text = '<ir_version: 8, opset_import: ["": 14, "own": 1]> g (float[2] x) => (float[2] y) { y = own.f(x) }'
    function = '<domain: "own", opset_import: ["": 14]> f (a) => (b) { b = Add(a, a) }'
    assert converted(graph_of(text + function), 13).proto.functions[0].opset_import[0].version == 13
    with pytest.raises(PassError, match="'a' is int8, which Add cannot have in opsets before 14"):
        apply(graph_of(text.replace("float", "int8") + function), {"to": 13})


def test_an_attribute_that_the_caller_gives_refuses() -> None:
    text = FUNCTION.replace("rows (a)", "rows <d> (a)").replace("axes = [0]> (s)", "axes: ints = @d> (s)")
    with pytest.raises(PassError, match="attribute 'axes' is given by the caller of a function"):
        apply(graph_of(text.replace("rows(x)", "rows<d = [0]>(x)")), {"to": 13})


@pytest.mark.parametrize(
    ("source", "ir", "to", "wanted"), [(11, 6, 21, 10), (21, 10, 11, 6), (9, 3, 13, 7), (13, 7, 14, 7)]
)
def test_the_ir_version_is_that_of_the_release(source: int, ir: int, to: int, wanted: int) -> None:
    graph = model_of("g (float[2] x) => (float[2] y) <float[2] w> { y = Add(x, w) }", source)
    graph.proto.ir_version = ir
    if ir < 4:
        graph.header.input.add().CopyFrom(onnx.helper.make_tensor_value_info("w", 1, [2]))
    after = converted(graph, to)
    assert after.proto.ir_version == wanted
    assert [info.name for info in after.header.input] == ["x"] and after.is_constant("w")


def test_what_a_model_holds_keeps_the_ir_version_up() -> None:
    text = '<ir_version: 9, opset_import: ["": 13, "own": 1]> g (float[2] x) => (float[2] y) { y = own.f(x) }'
    graph = graph_of(text + '<domain: "own", opset_import: ["": 13]> f (a) => (b) { b = Relu(a) }')
    assert converted(graph, 12).proto.ir_version == 8


def test_other_domains_and_unknown_ops_are_left_alone() -> None:
    text = "g (float[2] x) => (float[2] y) { a = com.example.Squeeze<axes = [0]>(x) y = NoSuchOp<axes = [0]>(a) }"
    graph = model_of(text, 11)
    assert apply(graph, {"to": 13}).matches
    assert lines(graph) == ["a = com.example.Squeeze<axes=[0]>(x)", "y = NoSuchOp<axes=[0]>(a)"]


# -- public models


def test_public_models_keep_their_numbers(shared: Path) -> None:
    index = (shared / "corpus" / "index.jsonl").read_text().splitlines()[5::40]
    done = 0
    for line in index:
        graph = Graph.load(shared / "corpus" / json.loads(line)["file"])
        try:
            check(graph)
            feed = dict(draw(graph).arrays)
            before = Session(graph).run(feed)
        except GraphtoolError:
            continue  # broken on purpose, or not for onnxruntime
        for to in (9, 13, 21):
            after = graph.copy()
            try:
                matched = apply(after, {"to": to}).matches
            except PassError as refusal:
                assert "cannot be converted" in str(refusal)
                continue
            found = Session(after).run(feed) if matched else before
            for name, array in before.items():
                if isinstance(array, np.ndarray) and array.dtype.kind == "f":
                    np.testing.assert_allclose(found[name], array, rtol=1e-5, atol=1e-6)
            done += 1
    assert done > 50
