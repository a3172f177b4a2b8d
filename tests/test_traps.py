"""Small models on which graph rewriters go wrong: here every pass leaves them right.

The traps are those on which onnxsim, onnxslim, onnxoptimizer, onnxscript, onnx_ir, graphsurgeon, polygraphy or
onnxruntime's optimizer were seen to fail: values joined or renamed wrongly, defaults baked in, metadata lost, random
numbers merged, types without a numpy form mangled. Each names what ``optimize`` is to make of it.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from conftest import graph_of
from onnx import ModelProto, TensorProto, helper

from graphtool import pipeline
from graphtool.cases import model_of
from graphtool.errors import GraphtoolError, ModelError, PromiseError
from graphtool.graph import Graph, check
from graphtool.parity.feed import draw
from graphtool.parity.metrics import equal
from graphtool.parity.runerror import RunError
from graphtool.parity.session import Session
from graphtool.rewrite import Catalog, apply_stage, parse_pipeline
from graphtool.step import Step

CATALOG = Catalog()
# what changes neither the numbers nor the interface; onnxsim, slow and separately guarded, has its own test below
PASSES = [
    name
    for name in CATALOG.names
    if CATALOG.get(name).parity in ("exact", "close") and not CATALOG.get(name).interface and name != "onnxsim"
]


@dataclass(frozen=True)
class Trap:
    """A model, what becomes of it under ``optimize`` (its op types, in order), and why it cannot be judged, if so."""

    make: Callable[[], Graph]
    after: str
    fault: type[GraphtoolError] | None = None


def text(model: str, after: str, fault: type[GraphtoolError] | None = None, opset: int = 13) -> Trap:
    """A trap in the text of a case: declared values that nothing makes are weights."""
    return Trap(lambda: model_of(model, opset), after, fault)


def model(source: str, after: str, fault: type[GraphtoolError] | None = None) -> Trap:
    """A trap in the text of a whole model."""
    return Trap(lambda: graph_of(source), after, fault)


def edited(base: Trap, edit: Callable[[ModelProto], object]) -> Trap:
    """A trap that text cannot say: ``edit`` changes the protobuf."""

    def make() -> Graph:
        proto = base.make().full_proto()
        edit(proto)
        return Graph.from_proto(proto)

    return Trap(make, base.after, base.fault)


def weight(name: str, dtype: int, dims: list[int], values: list[Any]) -> Callable[[ModelProto], object]:
    return lambda proto: proto.graph.initializer.append(helper.make_tensor(name, dtype, dims, values))


def _sparse(proto: ModelProto) -> None:
    values = helper.make_tensor("c", TensorProto.FLOAT, [2], [1.0, -3.0])
    places = helper.make_tensor("c_places", TensorProto.INT64, [2], [1, 4])
    proto.graph.sparse_initializer.append(helper.make_sparse_tensor(values, places, [5]))


def _documented(proto: ModelProto) -> None:
    proto.doc_string, proto.graph.doc_string, proto.producer_name, proto.domain = "d", "gd", "exporter", "org"
    proto.model_version = 7
    proto.metadata_props.add(key="author", value="someone")
    proto.graph.metadata_props.add(key="graph", value="1")
    proto.graph.input[0].doc_string = "an image"
    proto.graph.input[0].type.denotation = "IMAGE"
    proto.graph.initializer[0].doc_string = "a weight"
    for number, node in enumerate(proto.graph.node):
        node.doc_string = f"node {number}"
        node.metadata_props.add(key="layer", value=str(number))


def _annotated(proto: ModelProto) -> None:
    for tensor in ("x", "a", "y"):
        note = proto.graph.quantization_annotation.add(tensor_name=tensor)
        note.quant_parameter_tensor_names.add(key="SCALE_TENSOR", value="s")


def _unknown_field(proto: ModelProto) -> None:
    proto.graph.MergeFromString(b"\xc2\x3e\x03abc")  # field 1000, wire type 2: of a later ONNX


def _minus_one(proto: ModelProto) -> None:
    for info in (*proto.graph.input, *proto.graph.output):
        info.type.tensor_type.shape.dim[0].dim_param = "-1"


def _unsorted(proto: ModelProto) -> None:
    nodes = list(proto.graph.node)[::-1]
    del proto.graph.node[:]
    proto.graph.node.extend(nodes)


BN = "<float[4,3,3,3] w, float[4] s, float[4] b, float[4] m, float[4] v = {1, 2, 3, 4}>"
TWO = "g (float[2] x) => (float[2] y) "
IF = """g (float[2] x, bool c) => (float[2] y) { %s y = If(c) <
  then_branch = a () => (float[2] p) { %s }, else_branch = b () => (float[2] q) { %s }> }"""
RELU = text(TWO + "{ a = Relu(x) y = Neg(a) }", "Relu Neg")

TRAPS = {
    # sharing and aliasing
    "a weight shared by two Conv, BatchNormalization on one": text(
        f"g (float[1,3,8,8] x) => (float[1,4,6,6] y, float[1,4,6,6] z) {BN} "
        "{ c = Conv(x, w) y = BatchNormalization(c, s, b, m, v) z = Conv(x, w) }", "Conv BatchNormalization"),
    "a Conv before BatchNormalization that is an output": text(
        f"g (float[1,3,8,8] x) => (float[1,4,6,6] y, float[1,4,6,6] c) {BN} "
        "{ c = Conv(x, w) y = BatchNormalization(c, s, b, m, v) }", "Conv BatchNormalization"),
    "BatchNormalization in training": text(
        f"g (float[2,3,8,8] x) => (float[2,4,6,6] y, float[4] n) {BN} "
        "{ c = Conv(x, w) y, n, k = BatchNormalization<training_mode=1>(c, s, b, m, v) }",
        "Conv BatchNormalization", opset=15),
    "BatchNormalization weights shared with something else": text(
        f"g (float[1,3,8,8] x) => (float[1,4,6,6] y, float[4] z) {BN} "
        "{ c = Conv(x, w) y = BatchNormalization(c, s, b, m, v) z = Add(s, m) }", "Conv Constant"),
    "two readers of a Transpose": text(
        "g (float[2,3] x) => (float[2,3] y, float[3,2] z) "
        "{ t = Transpose<perm=[1,0]>(x) y = Transpose<perm=[1,0]>(t) z = Relu(t) }", "Transpose Identity Relu"),
    "input straight to output": text(TWO + "{ y = Identity(x) }", "Identity"),
    "input that is an output": text("g (float[2] x) => (float[2] x, float[2] y) { y = Identity(x) }", "Identity"),
    "input to output by two Transposes": text(
        "g (float[2,3] x) => (float[2,3] y) { t = Transpose<perm=[1,0]>(x) y = Transpose<perm=[1,0]>(t) }",
        "Identity"),
    "two names for one value, both outputs": text(
        "g (float[2] x) => (float[2] a, float[2] b) { r = Relu(x) a = Identity(r) b = Identity(r) }", "Relu Identity"),
    "an output that feeds an Identity that is an output": text(
        "g (float[2] x) => (float[2] r, float[2] b) { r = Relu(x) b = Identity(r) }", "Relu Identity"),
    "a weight that is an output": text(
        "g (float[2] x) => (float[2] y, float[2] k) <float[2] k> { y = Relu(x) }", "Relu"),
    "a weight that is an output through Identity": text(TWO + "<float[2] k> { y = Identity(k) }", "Constant"),
    "an output listed twice": text(
        "g (float[2] x) => (float[2] y, float[2] y) { a = Relu(x) y = Identity(a) }", "Relu"),
    "an input that nothing reads": text("g (float[2] x, float[2] u) => (float[2] y) { y = Relu(x) }", "Relu"),
    # defaults of inputs
    "a weight that a caller may override": model(
        """<ir_version: 8, opset_import: ["": 13]> g (float[2] x, float[2] b = {1, 2}) => (float[2] y)
        { i = Identity(b) t = Add(x, i) n = Neg(b) y = Mul(t, n) }""", "Add Neg Mul"),
    "Conv weights that a caller may override": model(
        """<ir_version: 8, opset_import: ["": 13]>
        g (float[1,1,2,2] x, float[1,1,1,1] w = {2}, float[1] s = {3}) => (float[1,1,2,2] y) <float[1] z = {1}>
        { c = Conv(x, w) y = BatchNormalization(c, s, z, z, z) }""", "Conv BatchNormalization"),
    "IR 3, where every weight is an input": model(
        """<ir_version: 3, opset_import: ["": 8]>
        g (float[1,1,2,2] x, float[1,1,1,1] w = {2}, float[1] s = {3}) => (float[1,1,2,2] y)
        { c = Conv(x, w) y = BatchNormalization(c, s, s, s, s) }""", "Conv"),
    # bodies
    "a chain of Identity into both branches": model(
        IF % ("i = Identity(x) j = Identity(i)", "p = Exp(j)", "q = Neg(j)"), "If"),
    "branches with the same inner name": model(IF % ("", "p = Neg(x) ", "t = Abs(x) q = Relu(t)"), "If"),
    "an Identity between the branches' outputs and a capture": model(
        IF % ("r = Exp(x) i = Identity(r)", "p = Identity(i)", "q = Neg(r)"), "Exp If"),
    "a Loop whose body has its own weight": model(
        """g (float[2] x, float[2] s0) => (float[2] f, float[k,2] ys) <int64 n = {3}> { i0 = Identity(x)
        f, ys = Loop(n, , s0) <body = b (int64 i, bool ci, float[2] s) => (bool co, float[2] so, float[2] sc)
          <float[2] k = {0.5, 2}> { co = Identity(ci) so = Add(s, k) sc = Mul(so, i0) }> }""", "Loop"),
    "a Scan body with a value and its Identity as outputs": model(
        """g (float[2] s0, float[4,2] x) => (float[2] f, float[4,2] ys) { j = Identity(x)
        f, ys = Scan(s0, j) <num_scan_inputs = 1, body = b (float[2] s, float[2] xx) => (float[2] so, float[2] yy)
          { so = Add(s, xx) yy = Identity(so) }> }""", "Scan"),
    # absent inputs and outputs
    "an absent roi": text(
        "g (float[1,1,4,4] x) => (float[1,1,8,8] y) <float[4] f = {1,1,2,2}> "
        '{ y = Resize<mode="cubic">(x, , f) }', "Resize"),
    "an absent roi at opset 11, where it is required": text(
        "g (float[1,1,4,4] x) => (float[1,1,8,8] y) <float[4] f = {1,1,2,2}> "
        '{ i = Identity(x) y = Resize<mode="cubic">(i, , f) }', "Resize", RunError, opset=11),
    "Clip by attributes": text("g (float[4] x) => (float[4] y) { y = Clip<min=-0.5, max=0.5>(x) }", "Clip", opset=10),
    "Clip without a lower bound": text(
        "g (float[4] x) => (float[4] y) <float h = {0.3}> { a = Clip(x, , h) y = Relu(a) }", "Clip"),
    "a first output without a name": text(
        'g (float[3] x) => (bool[3] y) { "", k = Dropout(x) i = Identity(k) y = Not(i) }', "Dropout Not", RunError),
    "a second output that nothing reads": text(
        "g (float[4] x) => (float[2] y) <int64[2] n = {2,2}> { a, b = Split<axis=0>(x, n) y = Relu(a) }", "Split Relu"),
    "an output without a shape": edited(RELU, lambda p: p.graph.output[0].type.tensor_type.ClearField("shape")),
    # what is no function of its inputs
    "random numbers": text(TWO + "{ r = RandomNormalLike(x) i = Identity(r) y = Add(x, i) }",
                           "RandomNormalLike Add", PromiseError),
    "two equal calls for random numbers": text(
        TWO + "{ r = RandomNormal<shape=[2]>() s = RandomNormal<shape=[2]>() d = Sub(r, s) y = Add(x, d) }",
        "RandomNormal RandomNormal Sub Add", PromiseError),
    "Dropout in training": text(
        "g (float[64] x) => (float[64] y) <float r = {0.5}, bool t = {1}> { i = Identity(x) y = Dropout(i, r, t) }",
        "Dropout", PromiseError),
    # numbers
    "NaN": text("g (float[3] x) => (float[3] y) <float[3] z = {0,0,0}> { a = Mul(x, z) i = Identity(a) y = Div(i, z) }",
                "Mul Div"),
    "zero times NaN and infinity": text(
        "g (float[3] x) => (float[3] y) <float[3] z = {0,0,0}> { l = Log(x) y = Mul(l, z) }", "Log Mul"),
    "minus zero": text(TWO + "<float[2] z = {0,0}> { n = Neg(z) m = Mul(x, n) y = Identity(m) }", "Mul"),
    "an empty tensor": edited(
        text("g (float[2,3] x) => (float[2,3] y) { i = Identity(e) y = Concat<axis=0>(x, i) }", "Concat"),
        weight("e", TensorProto.FLOAT, [0, 3], [])),
    "integers that overflow": text(
        "g (float[1] x) => (float[1] y) <int64[1] a = {1099511627776}> "
        "{ b = Mul(a, a) c = Cast<to=1>(b) y = Add(x, c) }",
        "Add"),
    "a cast that loses digits": text(
        "g (float[4] x) => (float[4] y) { h = Cast<to=10>(x) y = Cast<to=1>(h) }", "Cast Cast"),
    "a large constant from little": text(
        "g (float[1] x) => (float[300,300] y) <int64[2] s = {300,300}> { z = ConstantOfShape(s) y = Add(x, z) }",
        "ConstantOfShape Add"),
    # types
    "strings that are not UTF-8": edited(
        text("g (string[2] x) => (bool[2] y) { i = Identity(s) y = Equal(x, i) }", "Equal", opset=19),
        weight("s", TensorProto.STRING, [2], [b"a", b"\xff\x00"])),
    "a sequence": text(
        TWO + "<int64 k = {0}> { s = SequenceConstruct(x, x) i = Identity(s) y = SequenceAt(i, k) }",
        "Identity", opset=17),
    "bfloat16": edited(
        text(TWO + "{ b = Cast<to=16>(x) i = Identity(w) s = Add(b, i) y = Cast<to=1>(s) }", "Cast Add Cast"),
        weight("w", TensorProto.BFLOAT16, [2], [1.5, 2.5])),
    "float8": edited(
        text(TWO + "<float s = {1}> { i = Identity(w) d = DequantizeLinear(i, s) y = Add(x, d) }",
             "DequantizeLinear Add", opset=19),
        weight("w", TensorProto.FLOAT8E4M3FN, [2], [1.5, 2.5])),
    "int4, two to a byte": edited(
        text("g (float[3] x) => (float[3] y) <float s = {0.5}> "
             "{ i = Identity(x) d = DequantizeLinear(w, s) y = Add(i, d) }", "DequantizeLinear Add", opset=21),
        weight("w", TensorProto.INT4, [3], [1, -2, 3])),
    "a sparse weight": edited(
        text("g (float[5] x) => (float[5] y) { i = Identity(x) y = Add(i, c) }", "Add"), _sparse),
    # operators and functions
    "a local function": model(
        """<ir_version: 8, opset_import: ["": 13, "d": 1]> g (float[2] x) => (float[2] y) { i = Identity(x) y = d.F(i) }
        <domain: "d", opset_import: ["": 13]> F (p) => (q) { k = Identity(p) t = Mul(k, p) q = Relu(t) }""",
        "Mul Relu"),
    "a local function with a default attribute": model(
        """<ir_version: 9, opset_import: ["": 13, "d": 1]> g (float[2] x) => (float[2] y) { i = Identity(x) y = d.L(i) }
        <domain: "d", opset_import: ["": 13]>
        L <alpha: float = 0.3>(p) => (q) { q = LeakyRelu<alpha: float = @alpha>(p) }""", "LeakyRelu"),
    "a custom op in the default domain": text(
        TWO + "<float[2] w> { a = Relu(x) b = MyPlugin_TRT<k=1>(a, w) c = Identity(b) y = Relu(c) }",
        "Relu MyPlugin_TRT Relu", RunError),
    "a custom op in its own domain": text(
        TWO + "<float[2] w> { a = Relu(x) b = my.dom.Foo<k=1>(a, w) c = Identity(b) y = Relu(c) }",
        "Relu Foo Relu", RunError),
    "the default domain spelled ai.onnx": model(TWO + "{ a = ai.onnx.Identity(x) y = ai.onnx.Relu(a) }", "Relu"),
    "a custom Identity": text(TWO + "{ a = my.dom.Identity(x) y = Relu(a) }", "Identity Relu", RunError),
    "two nodes of one name": model(TWO + "{ [n] a = Relu(x) [n] y = Neg(a) }", "", ModelError),
    # shapes
    "a shape computed from the batch": text(
        "g (float[N,3,4] x) => (float[N,12] y) <int64 z = {0}, int64[1] o = {0}, int64[1] r = {-1}> "
        "{ s = Shape(x) n = Gather<axis=0>(s, z) u = Unsqueeze(n, o) i = Identity(u) c = Concat<axis=0>(i, r) "
        "y = Reshape(x, c) }", "Reshape"),
    "one shape for two Reshapes": text(
        "g (float[2,6] x, float[3,4] z) => (float[2,6] y, float[2,6] w) <int64[1] a = {-1}, int64[2] s = {2,-1}> "
        "{ p = Reshape(x, a) y = Reshape(p, s) q = Reshape(z, a) w = Reshape(q, s) }",
        "Reshape Reshape"),
    "slices backwards": text(
        "g (float[10] x) => (float[2] y) <int64[1] b = {8}, int64[1] e = {-11}, int64[1] a = {0}, int64[1] t = {-2}, "
        "int64[1] b2 = {1}, int64[1] e2 = {4}, int64[1] t2 = {2}> "
        "{ p = Slice(x, b, e, a, t) y = Slice(p, b2, e2, a, t2) }", "Slice Slice"),
    "a reflecting Pad before Conv": text(
        "g (float[1,3,8,8] x) => (float[1,4,8,8] y) <float[4,3,3,3] w, int64[8] p = {0,0,1,1,0,0,1,1}> "
        '{ t = Pad<mode="reflect">(x, p) y = Conv(t, w) }', "Pad Conv"),
    "a Pad before AveragePool": text(
        "g (float[1,3,8,8] x) => (float[1,3,8,8] y) <int64[8] p = {0,0,1,1,0,0,1,1}> "
        "{ t = Pad(x, p) y = AveragePool<kernel_shape=[3,3]>(t) }", "AveragePool"),
    "no axes to reduce": edited(
        text("g (float[2,3] x) => (float[2,3] y) { y = ReduceSum<noop_with_empty_axes=1>(x, a) }", "ReduceSum"),
        weight("a", TensorProto.INT64, [0], [])),
    "a stored shape that is wrong": edited(
        RELU, lambda p: p.graph.value_info.append(helper.make_tensor_value_info("a", 1, [9, 9]))),
    "a dimension named -1": edited(
        text("g (float[N,2] x) => (float[N,2] y) { i = Identity(x) y = Relu(i) }", "Relu"), _minus_one),
    # what a rewriter loses
    "documentation and metadata everywhere": edited(
        text(TWO + "<float[2] w> { i = Identity(x) a = Add(i, w) y = Relu(a) }", "Add Relu", opset=21), _documented),
    "quantization annotations": edited(
        text(TWO + "<float s = {0.5}> { a = Relu(x) y = Neg(a) }", "Relu Neg"), _annotated),
    "a field of a later ONNX": edited(text(TWO + "{ i = Identity(x) y = Relu(i) }", "Relu"), _unknown_field),
    "nodes in a wrong order": edited(text(TWO + "{ a = Relu(x) i = Identity(a) y = Neg(i) }", "Relu Neg"), _unsorted),
}  # fmt: skip


INLINERS = ("inline_functions", "optimize")  # what they write out they need not keep


def kept(graph: Graph, functions: bool = True) -> dict[str, Any]:
    """Return what a pass without a declared interface change must not touch."""
    proto = graph.full_proto()
    top = proto.graph
    inputs = {info.name for info in top.input}
    defaults = (
        {} if proto.ir_version < 4 else {t.name: t.SerializeToString() for t in top.initializer if t.name in inputs}
    )
    left = [info for info in top.input if proto.ir_version >= 4 or info.name not in graph.initializers]
    made = {name for node in top.node for name in node.output} | inputs
    notes = {note.tensor_name: note.SerializeToString() for note in top.quantization_annotation}
    bare = ModelProto()
    bare.CopyFrom(proto)
    bare.ClearField("graph")
    if not functions:
        bare.ClearField("functions")
        del bare.opset_import[:]
    header = onnx.GraphProto()
    header.CopyFrom(top)
    for field in ("node", "initializer", "input", "output", "value_info", "quantization_annotation"):
        header.ClearField(field)
    return {
        "model": bare.SerializeToString(deterministic=True),  # functions, opsets, metadata
        "graph": header.SerializeToString(deterministic=True),  # sparse weights, documentation, unknown fields
        "inputs": [info.SerializeToString() for info in left],
        "outputs": [info.SerializeToString() for info in top.output],
        "defaults": defaults,
        "notes": {name: note for name, note in notes.items() if name in made},
    }


def said(graph: Graph) -> dict[str, tuple[str, list[tuple[str, str]]]]:
    """Return the documentation of each node by the node's name."""
    return {node.name: (node.doc_string, [(p.key, p.value) for p in node.metadata_props]) for node in graph.nodes}


def weights_of(graph: Graph) -> dict[str, bytes]:
    return {tensor.name: tensor.SerializeToString() for tensor in graph.full_proto().graph.initializer}


def judged(graph: Graph, name: str) -> Step:
    """Apply one pass in a pipeline that judges it."""
    state = pipeline.begin(graph, parse_pipeline(name, CATALOG), CATALOG, draw(graph))
    return next(pipeline.advance(state, CATALOG))


def unjudged(graph: Graph, name: str) -> None:
    state = pipeline.begin(graph, parse_pipeline(name, CATALOG), CATALOG, None)
    step = next(pipeline.advance(state, CATALOG))
    assert step.status in ("unchecked", "unmatched"), step.reason


def assert_untouched(before: Graph, after: Graph, functions: bool = True) -> None:
    was, now = kept(before, functions), kept(after, functions)
    assert now == was
    documented = said(before)
    for node, documentation in said(after).items():
        assert documented.get(node, documentation) == documentation
    assert not check(after)
    weights = weights_of(before)
    for name, data in weights_of(after).items():
        assert weights.get(name, data) == data, f"weight {name} was edited in place"


@pytest.mark.parametrize("name", PASSES)
@pytest.mark.parametrize("trap", TRAPS)
def test_trap(trap: str, name: str) -> None:
    case = TRAPS[trap]
    graph = case.make()
    if case.fault is ModelError:
        with pytest.raises(ModelError, match="two nodes are named 'n'"):
            check(graph)
        return
    check(graph)
    before = graph.copy()
    if case.fault is not None:
        with pytest.raises(case.fault):
            judged(graph, name)
        unjudged(graph, name)
    else:
        step = judged(graph, name)
        assert step.status in ("applied", "unmatched"), step.reason
        # onnxruntime cannot add bfloat16: ONNX's evaluator has judged it
        if CATALOG.get(name).parity == "exact" and trap != "bfloat16":
            feed = dict(draw(before).arrays)
            was, now = Session(before).run(feed), Session(graph).run(feed)
            assert all(equal(was[output], now[output]) for output in was)
    assert_untouched(before, graph, name not in INLINERS)
    if name == "optimize":
        assert [node.op_type for node in graph.nodes] == case.after.split()
        again = graph.proto.SerializeToString(deterministic=True)
        assert not apply_stage(graph, parse_pipeline(name, CATALOG)[0], CATALOG).applied.matches
        assert graph.proto.SerializeToString(deterministic=True) == again


def test_the_defaults_of_inputs_can_still_be_overridden() -> None:
    graph = TRAPS["a weight that a caller may override"].make()
    judged(graph, "optimize")
    given = {"x": np.array([1, 1], np.float32), "b": np.array([3, 5], np.float32)}
    found = onnx.reference.ReferenceEvaluator(graph.full_proto()).run(None, given)
    assert found[0].tolist() == [-12, -30]


def test_small_types_move_as_bytes() -> None:
    for trap, name in (
        ("int4, two to a byte", "w"),
        ("float8", "w"),
        ("bfloat16", "w"),
        ("strings that are not UTF-8", "s"),
    ):
        before = TRAPS[trap].make()
        graph = before.copy()
        unjudged(graph, "optimize")
        assert weights_of(graph)[name] == weights_of(before)[name], trap


def test_the_order_is_repaired_and_said() -> None:
    graph = TRAPS["nodes in a wrong order"].make()
    state = pipeline.begin(graph, [], CATALOG, draw(graph))
    assert state.notes == ["the nodes were not in topological order; they are now"]
    assert [node.op_type for node in graph.nodes] == ["Relu", "Identity", "Neg"]


def test_cast_passes_declare_the_only_change() -> None:
    """Passes that change types change nothing else: names, order, shapes and documentation of the interface stay."""
    for name in ("output_fp16", "inputs_int32", "input_cast", "output_cast"):
        for trap, case in TRAPS.items():
            if case.fault is ModelError:
                continue
            before = case.make()
            check(before)
            graph = before.copy()
            unjudged(graph, name)
            for was, now in zip(
                (*before.proto.graph.input, *before.proto.graph.output),
                (*graph.proto.graph.input, *graph.proto.graph.output),
                strict=True,
            ):
                same = onnx.ValueInfoProto()
                same.CopyFrom(now)
                if same.type.HasField("tensor_type"):
                    same.type.tensor_type.elem_type = was.type.tensor_type.elem_type
                assert same == was, (name, trap)
            assert not check(graph)


# -- onnxsim, which many of these break: either it is right, or it is refused and undone

SIMPLIFIED = {
    "a sequence": ("broken", "input 'x' is gone"),
    "a weight that a caller may override": ("applied", ""),
    "a sparse weight": ("applied", ""),
    "documentation and metadata everywhere": ("applied", ""),
    "quantization annotations": ("unmatched", ""),
    "a weight shared by two Conv, BatchNormalization on one": ("applied", ""),
    "a local function": ("applied", ""),
}


@pytest.mark.parametrize("trap", SIMPLIFIED)
def test_onnxsim(trap: str) -> None:
    graph = TRAPS[trap].make()
    check(graph)
    before = graph.copy()
    status, reason = SIMPLIFIED[trap]
    step = judged(graph, "onnxsim")
    assert step.status == status and reason in step.reason
    assert kept(graph) == kept(before)


# -- the fifty models of the reference material

CANNOT_RUN = {"custom_op_default_domain", "custom_op_domain", "empty_output_name"}
RANDOM = {"dropout_training", "random_dup_cse", "random_normal"}


@pytest.fixture(scope="module")
def fifty(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """The models that the reference material's own script writes."""
    script = shared / "traps" / "make_traps.py"
    if not script.is_file():
        pytest.skip("the reference material has no make_traps.py")
    folder = tmp_path_factory.mktemp("traps")
    subprocess.run([sys.executable, str(script), str(folder)], check=True, capture_output=True)
    return sorted(folder.glob("*.onnx"))


@pytest.mark.parametrize("name", PASSES)
def test_the_fifty(fifty: list[Path], name: str) -> None:
    assert len(fifty) == 50
    for path in fifty:
        graph = Graph.load(path)
        if path.stem == "no_node_names_dup_names":
            with pytest.raises(ModelError, match="two nodes are named 'n'"):
                check(graph)
            continue
        check(graph)
        before = graph.copy()
        if path.stem in CANNOT_RUN | RANDOM:
            with pytest.raises(RunError if path.stem in CANNOT_RUN else PromiseError):
                judged(graph, name)
            unjudged(graph, name)
        else:
            step = judged(graph, name)
            assert step.status in ("applied", "unmatched"), (path.stem, step.reason)
        assert_untouched(before, graph, name not in INLINERS)
