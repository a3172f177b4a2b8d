"""Which graphs are sound, and what is said of the others."""

from __future__ import annotations

import random

import numpy as np
import onnx
import pytest
from conftest import graph_of
from onnx import NodeProto, TensorProto, helper, numpy_helper
from work import work

from graphtool.errors import ModelError
from graphtool.graph import Graph, check
from graphtool.parity.session import Session

ESC = "\x1b[31m"


def graph_from(*nodes: NodeProto, outputs: tuple[str, ...] = ("y",), opset: int | None = 17) -> Graph:
    inputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [2]) for name in ("x", "c")]
    made = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [2]) for name in outputs]
    weight = numpy_helper.from_array(np.ones(2, np.float32), "w")
    opsets = [helper.make_opsetid("", opset)] if opset else [helper.make_opsetid("other", 1)]
    graph = helper.make_graph(nodes, "g", inputs, made, [weight])
    return Graph.from_proto(helper.make_model(graph, opset_imports=opsets, ir_version=8))


def node(op: str, inputs: str, outputs: str, name: str = "", **attributes: object) -> NodeProto:
    return helper.make_node(op, inputs.split(), outputs.split(), name=name, **attributes)


def body(*nodes: NodeProto, result: str = "o") -> onnx.GraphProto:
    return helper.make_graph(nodes, "body", [], [helper.make_tensor_value_info(result, TensorProto.FLOAT, None)])


def iff(then: onnx.GraphProto, outputs: str = "y") -> NodeProto:
    return node("If", "c", outputs, "if", then_branch=then, else_branch=body(node("Neg", "x", "o")))


def with_sparse(graph: Graph) -> Graph:
    indices = numpy_helper.from_array(np.array([0]), "")
    graph.proto.graph.sparse_initializer.append(
        helper.make_sparse_tensor(numpy_helper.from_array(np.ones(1, np.float32), "w"), indices, [2])
    )
    return graph


def twice(graph: Graph, field: str) -> Graph:
    items = getattr(graph.proto.graph, field)
    items.append(items[0])
    return graph


def named_in_bytes(graph: Graph) -> Graph:
    data = graph.proto.SerializeToString().replace(b"oddname", b"odd\xffame")
    return Graph.from_proto(onnx.ModelProto.FromString(data))


BAD = {
    "cycle": (graph_from(node("Add", "x b", "a", "n1"), node("Neg", "a", "b", "n2"), node("Abs", "b", "y")),
              "cycle through node 'n1'"),
    "cycle of one": (graph_from(node("Add", "y x", "y", "self")), "cycle through node 'self'"),
    "behind a cycle": (graph_from(node("Abs", "b", "y", "behind"), node("Add", "x b", "a", "n1"),
                                  node("Neg", "a", "b", "n2")), "cycle through node 'n[12]'"),
    "cycle through a body": (graph_from(iff(body(node("Abs", "z", "o"))), node("Neg", "y", "z", "n")),
                             "cycle through node 'if'"),
    "cycle in a body": (graph_from(iff(body(node("Add", "x p", "q", "b1"), node("Neg", "q", "p"),
                                            node("Neg", "p", "o")))), "cycle through node 'b1'"),
    "cycle without names": (graph_from(node("Add", "x y", "y")), "cycle through node 'Add'"),
    "dangling": (graph_from(node("Add", "x nothing", "y", "sum")), "node 'sum' reads 'nothing', which nothing defines"),
    "dangling without a name": (graph_from(node("Neg", "x", "a"), node("Add", "x nothing", "y")),
                                "node 'Add at index 1' reads 'nothing'"),
    "dangling in a body": (graph_from(iff(body(node("Abs", "nothing", "o", "inner")))), "node 'inner' reads 'nothing'"),
    "out of a body": (graph_from(iff(body(node("Abs", "x", "o"))), node("Neg", "o", "z", "after")),
                      "node 'after' reads 'o'"),
    "output": (graph_from(node("Neg", "x", "a")), "graph output 'y' has no producer"),
    "second output": (graph_from(node("Neg", "x", "y"), outputs=("y", "z")), "graph output 'z' has no producer"),
    "output of a body": (graph_from(iff(body(result="r"))), "graph output 'r' has no producer"),
    "no outputs": (graph_from(node("Neg", "x", "y"), outputs=()), "the graph has no outputs"),
    "value twice": (graph_from(node("Neg", "x", "y", "n1"), node("Abs", "x", "y", "n2")),
                    "value 'y' is defined twice, the second time by node 'n2'"),
    "value twice in one": (graph_from(node("Split", "x", "y y", "n1")), "value 'y' is defined twice"),
    "value and input": (graph_from(node("Neg", "w", "x", "n1"), outputs=("x",)), "value 'x' is defined twice"),
    "value and weight": (graph_from(node("Neg", "x", "w", "n1"), outputs=("w",)), "value 'w' is defined twice"),
    "value twice in a body": (graph_from(iff(body(node("Neg", "x", "o"), node("Abs", "x", "o")))),
                              "value 'o' is defined twice"),
    "node names": (graph_from(node("Neg", "x", "a", "n"), node("Abs", "a", "y", "n")), "two nodes are named 'n'"),
    "weight twice": (twice(graph_from(node("Neg", "x", "y")), "initializer"), "initializer 'w' is defined twice"),
    "sparse and dense": (with_sparse(graph_from(node("Neg", "x", "y"))), "initializer 'w' is defined twice"),
    "input twice": (twice(graph_from(node("Neg", "x", "y")), "input"), "graph input 'x' is defined twice"),
    "no opset": (graph_from(node("Neg", "x", "y"), opset=None), "no opset for the default domain"),
    "not UTF-8": (named_in_bytes(graph_from(node("Neg", "x", "oddname"), node("Neg", "oddname", "y"))),
                  r"the name 'odd\\xffame' is not UTF-8"),
    "node not UTF-8": (named_in_bytes(graph_from(node("Neg", "x", "y", "oddname"))), r"'odd\\xffame' is not UTF-8"),
    "escape in a cycle": (graph_from(node("Add", "y x", "y", f"{ESC}self")), r"node '\\x1b\[31mself'"),
    "escape in a value": (graph_from(node("Add", f"x {ESC}", "y", "sum")), r"reads '\\x1b\[31m'"),
    "escape in an output": (graph_from(node("Neg", "x", "y"), outputs=(f"{ESC}z\n",)), r"output '\\x1b\[31mz\\n'"),
    "escape in a node": (graph_from(node("Neg", "x", "a", ESC), node("Neg", "x", "y", ESC)), r"named '\\x1b\[31m'"),
    "escape in an op": (graph_from(node(ESC, "nothing", "y")), r"node '\\x1b\[31m at index 0' reads"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_refused(case: str) -> None:
    graph, message = BAD[case]
    with pytest.raises(ModelError, match=message) as caught:
        check(graph)
    assert "\n" not in str(caught.value)
    assert "\x1b" not in str(caught.value)


SOUND = {
    "same output twice": graph_from(node("Neg", "x", "y"), outputs=("y", "y")),
    "input and weight as outputs": graph_from(node("Neg", "x", "y"), outputs=("y", "x", "w")),
    "unnamed nodes": graph_from(node("Neg", "x", "a"), node("Neg", "a", "y")),
    "absent inputs and outputs": graph_from(node("Clip", "x", "a"), helper.make_node("Dropout", ["a"], ["", "m"]),
                                            helper.make_node("Clip", ["a", "", "w"], ["y"])),
    "captures": graph_from(node("Neg", "x", "a"), iff(body(node("Add", "a w", "o"), result="a"))),
    "names shared by branches": graph_from(iff(body(node("Neg", "x", "p", "n"), node("Neg", "p", "o")))),
    "a body hides an outer name": graph_from(node("Neg", "x", "a"),
                                             iff(body(node("Neg", "x", "a"), node("Neg", "a", "o")))),
    "custom op in the default domain": graph_from(node("AdaptiveAvgPool2d", "x", "y", output_size=[1, 1])),
    "other domain alone": graph_from(node("Foo", "x", "y", domain="other"), opset=None),
}  # fmt: skip


@pytest.mark.parametrize("case", SOUND)
def test_sound(case: str) -> None:
    graph = SOUND[case]
    before = graph.snapshot()
    assert check(graph) is False
    assert graph.snapshot() == before


def test_loop_and_scan_bodies_read_outer_values_and_their_own_inputs() -> None:
    graph = graph_of("""
        g (int64 n, bool go, float[3,2] s, float[2] x) => (float[2] a, float[2] b) {
            k = Neg(x)
            a = Loop(n, go, x) <body = l (int64 i, bool g, float[2] v) => (bool g2, float[2] v2) {
                g2 = Identity(g)
                v2 = Add(v, k)
            }>
            b, ys = Scan <num_scan_inputs = 1, body = m (float[2] t, float[2] e) => (float[2] t2, float[2] e2) {
                t2 = Add(t, e)
                e2 = Add(e, k)
            }> (x, s)
        }
    """)
    assert check(graph) is False
    assert [n.op_type for n in graph.index.consumers("k")] == ["Loop", "Scan"]
    assert graph.index.consumers("v") == []


def test_functions_are_left_alone() -> None:
    graph = graph_from(node("F", "x", "y", domain="other"))
    opset = helper.make_opsetid("", 17)
    wrong = [node("Neg", "b", "q"), node("Abs", "p", "b")]  # not in order: what a function holds is not rewritten
    graph.proto.functions.append(helper.make_function("other", "F", ["p"], ["q"], wrong, [opset]))
    before = graph.snapshot()
    assert check(graph) is False
    assert graph.snapshot() == before


# -- order


def test_unsorted_nodes_are_sorted_and_the_rest_stays_where_it_was() -> None:
    graph = graph_from(
        node("Neg", "x", "a", "first"),
        node("Add", "late a", "b", "early"),
        node("Abs", "x", "c1", "middle"),
        node("Exp", "x", "late", "source"),
        node("Add", "b c1", "y", "last"),
    )
    held = graph.index.by_type("Add")[0]
    assert check(graph) is True
    assert [n.name for n in graph.proto.graph.node] == ["first", "middle", "source", "early", "last"]
    assert held is graph.proto.graph.node[3]
    assert check(graph) is False


def test_a_node_with_a_body_comes_after_what_the_body_reads() -> None:
    graph = graph_from(iff(body(node("Abs", "a", "o"))), node("Neg", "x", "a", "neg"))
    assert check(graph) is True
    assert [n.name for n in graph.nodes] == ["neg", "if"]


def test_bodies_are_sorted_too() -> None:
    inner = body(node("Add", "p x", "o", "second"), node("Neg", "x", "p", "first"))
    graph = graph_from(iff(inner))
    assert check(graph) is True
    assert [n.name for n in graph.nodes[0].attribute[1].g.node] == ["first", "second"]
    onnx.checker.check_model(graph.full_proto())
    assert check(graph) is False


def test_any_shuffled_graph_is_put_in_an_order_that_the_checker_accepts() -> None:
    rng = random.Random(3)
    names = ["x"]
    nodes = []
    for number in range(60):
        nodes.append(helper.make_node("Add", rng.choices(names, k=2), [f"v{number}"], name=f"n{number}"))
        names.append(f"v{number}")
    nodes.append(node("Neg", "v59", "y"))
    rng.shuffle(nodes)
    graph = graph_from(*nodes)
    assert check(graph) is True
    onnx.checker.check_model(graph.full_proto(), full_check=True)


def test_a_wide_graph_with_many_bodies_is_checked_with_linear_work() -> None:
    """Not one copy of all outer names for each body."""

    def steps(count: int) -> int:
        nodes = [helper.make_node("Neg", ["x"], [f"v{n}"]) for n in range(count)]
        nodes += [iff(body(node("Abs", f"v{n}", "o")), f"i{n}") for n in range(count)]
        for number, made in enumerate(nodes):
            made.name = f"n{number}"
        graph = graph_from(*nodes, outputs=("v0",))
        return work(lambda: check(graph))

    assert steps(1000) < 11 * steps(100)


@pytest.mark.parametrize("equation", ["i.j,jk->ik", "i-j,jk->ik"])
def test_an_equation_from_which_onnx_never_comes_back(equation: str) -> None:
    text = 'g (float[2,3] a, float[3,4] b) => (float[2,4] y) { y = Einsum<equation = "%s">(a, b) }'
    with pytest.raises(ModelError, match="equation is none of Einsum"):
        check(graph_of(text % equation))


def test_constants_may_share_a_name() -> None:
    one, two = (node("Constant", "", value, "n", value_float=1.0) for value in ("k", "l"))
    graph = graph_from(one, node("Add", "x k", "a", "n"), two, node("Mul", "a l", "y"))
    check(graph)
    assert Session(graph).run({"x": np.ones(2, np.float32), "c": np.ones(2, np.float32)})["y"].tolist() == [2.0, 2.0]
