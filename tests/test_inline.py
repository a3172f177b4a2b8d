"""Calls of local functions inlined: attributes, opsets, names, bodies, and what is left as it is."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import helper
from rewriting import apply, lines, names, places, reasons, run

from graphtool.cases import model_of
from graphtool.errors import ModelError
from graphtool.graph import Graph
from graphtool.natives._meaning import same_meaning
from graphtool.rewrite import Applied, Catalog

CATALOG = Catalog()
INLINE = CATALOG.get("inline_functions")


def model(text: str, opset: int = 17) -> Graph:
    return Graph.from_proto(onnx.parser.parse_model(f'<ir_version: 10, opset_import: ["": {opset}, "d": 1]> {text}'))


def inline(graph: Graph | str) -> tuple[Graph, Applied]:
    """Inline, hold the outputs to those before, and find nothing to do a second time."""
    graph = model(graph) if isinstance(graph, str) else graph
    before = graph.copy()
    graph, found = apply(INLINE, graph)
    was, now = run(before), run(graph)
    assert all(was[name].tobytes() == now[name].tobytes() for name in was)
    if not graph.proto.functions:
        onnx.checker.check_model(graph.full_proto())
    assert places(apply(INLINE, Graph.from_proto(graph.full_proto()))[1]) == []
    return graph, found


def test_names_come_from_the_call_and_are_unique() -> None:
    graph, found = inline(
        """g (float[2] x) => (float[2] y, float[2] z) { [first] t = d.F(x) [second] y = d.F(t) z = d.F(y) }
        <domain: "d", opset_import: ["": 17]> F (p) => (q) { [n] t = Neg(p) q = Exp(t) }"""
    )
    assert names(graph) == ["first/n", "first/Exp", "second/n", "second/Exp", "F/n", "F/Exp"]
    assert lines(graph)[:3] == ["first/t = Neg(x)", "t = Exp(first/t)", "second/t = Neg(t)"]
    assert len(found.matches) == 3 and not graph.proto.functions


@pytest.mark.parametrize(
    "call,alpha",
    [("d.F(x)", 0.25), ("d.F<a: float = 0.5>(x)", 0.5)],
)
def test_attributes_and_their_defaults(call: str, alpha: float) -> None:
    graph, _ = inline(
        f"""g (float[2] x) => (float[2] y) {{ y = {call} }}
        <domain: "d", opset_import: ["": 17]> F <a: float = 0.25> (p) => (q) {{
          k = Constant<value_float: float = @a>() t = Mul(p, k) q = LeakyRelu<alpha: float = @a>(t) }}"""
    )
    assert graph.nodes[0].attribute[0].f == pytest.approx(alpha) == graph.nodes[2].attribute[0].f


def test_an_attribute_without_value_or_default_is_left_to_the_operator() -> None:
    graph, _ = inline(
        """g (float[2,3] x) => (float[2,3] y, float[2,3] z) { y = d.F(x) z = d.F<axis: int = 0>(x) }
        <domain: "d", opset_import: ["": 17]> F <axis> (p) => (q) { q = Softmax<axis: int = @axis>(p) }"""
    )
    assert lines(graph) == ["y = Softmax(x)", "z = Softmax<axis=0>(x)"]


def test_an_attribute_in_a_body_of_a_call_in_a_function() -> None:
    graph, _ = inline(
        """g (float[2] x, bool c) => (float[2] y) { y = d.F<a: float = 0.5>(x, c) }
        <domain: "d", opset_import: ["": 17, "d": 1]> F <a> (p, c) => (q) { q = If(c) <
          then_branch = t () => (float[2] r) { r = d.G<b: float = @a>(p) },
          else_branch = e () => (float[2] s) { s = Elu<alpha: float = @a>(p) }> }
        <domain: "d", opset_import: ["": 17]> G <b: float = 3.0> (p) => (q) { q = LeakyRelu<alpha: float = @b>(p) }"""
    )
    (node,) = graph.nodes
    branches = {attribute.name: attribute.g for attribute in node.attribute}
    for branch, op in (("then_branch", "LeakyRelu"), ("else_branch", "Elu")):
        (inner,) = branches[branch].node
        assert inner.op_type == op and inner.attribute[0].f == pytest.approx(0.5) and inner.input[0] == "x"


def test_absent_inputs_and_outputs() -> None:
    graph, _ = inline(
        """g (float[4] x) => (float[4] y, float[2] b) <float m = {1}> { y = d.F(x, , m) "", b = d.Two(x) k = d.F(x) }
        <domain: "d", opset_import: ["": 17]> F (p, low, high) => (q) { q = Clip(p, low, high) }
        <domain: "d", opset_import: ["": 17]> Two (p) => (a, b) { a, b = Split<axis = 0>(p) }"""
    )
    assert lines(graph)[0] == "y = Clip(x, , m)" and lines(graph)[2] == "k = Clip(x)"
    assert graph.nodes[1].output[1] == "b" and graph.nodes[1].output[0]


def test_outputs_that_are_inputs_and_calls_in_bodies() -> None:
    graph, _ = apply(
        INLINE,
        model(  # which onnxruntime does not load
            """g (float[2] x, bool c) => (float[2] y, float[2] z, float[2] u) { t, k = d.F(x) y = Neg(t) z, u = d.F(k)
            v = If(c) <then_branch = a () => (float[2] p) { p, o = d.F(t) },
                       else_branch = b () => (float[2] q) { r, q = d.F(t) }> }
            <domain: "d", opset_import: ["": 17]> F (p) => (p, q) { q = Exp(p) }"""
        ),
    )
    assert [node.op_type for node in graph.nodes] == ["Exp", "Neg", "Exp", "Identity", "If"]
    assert graph.nodes[1].input[0] == "x", "what reads an output that is an input reads that input"
    inner = [node.op_type for attribute in graph.nodes[-1].attribute for node in attribute.g.node]
    assert sorted(inner) == ["Exp", "Exp", "Identity"]


def test_inner_names_of_bodies_in_a_function_are_made_unique() -> None:
    graph, _ = inline(
        """g (float[2] t, bool c) => (float[2] y, float[2] z) { y = d.F(t, c) z = d.F(y, c) }
        <domain: "d", opset_import: ["": 17]> F (p, c) => (q) { q = If(c) <
          then_branch = a () => (float[2] r) { t = Exp(p) r = Neg(t) },
          else_branch = b () => (float[2] r) { y = Abs(p) r = Neg(y) }> }"""
    )
    made = [
        name
        for node in graph.nodes
        for attribute in node.attribute
        for inner in attribute.g.node
        for name in inner.output
    ]
    assert not {"t", "y"} & set(made), "the caller's t would be hidden where the body reads it"


def test_documentation_of_the_call_and_of_the_nodes_is_kept() -> None:
    graph = model(
        """g (float[2] x) => (float[2] y) { y = d.F(x) }
        <domain: "d", opset_import: ["": 17]> F (p) => (q) { t = Neg(p) q = Exp(t) }"""
    )
    graph.proto.graph.node[0].metadata_props.add(key="scope", value="call")
    graph.proto.functions[0].node[0].metadata_props.add(key="scope", value="own")
    graph.proto.functions[0].node[1].doc_string = "why"
    graph, _ = inline(graph)
    assert [node.metadata_props[0].value for node in graph.nodes] == ["own", "call"]
    assert graph.nodes[1].doc_string == "why"


def test_overloads_and_functions_that_are_called_no_more() -> None:
    graph = model(
        """g (float[2] x) => (float[2] y, float[2] z) { y = d.F(x) z = d.F(y) }
        <domain: "d", opset_import: ["": 17]> F (p) => (q) { q = Exp(p) }
        <domain: "d", overload: "neg", opset_import: ["": 17]> F (p) => (q) { q = Neg(p) }
        <domain: "d", opset_import: ["": 17]> Unused (p) => (q) { q = Neg(p) }"""
    )
    graph.proto.graph.node[1].overload = "neg"
    assert lines(inline(graph)[0]) == ["y = Exp(x)", "z = Neg(y)"]
    assert not graph.proto.functions


def test_a_domain_of_the_function_is_imported() -> None:
    graph = model(
        """g (float[2] x) => (float[2] y) { y = d.F(x) }
        <domain: "d", opset_import: ["com.microsoft": 1]> F (p) => (q) { q = com.microsoft.Gelu(p) }"""
    )
    graph, _ = apply(INLINE, graph)
    assert graph.opset("com.microsoft") == 1 and lines(graph) == ["y = com.microsoft.Gelu(x)"]


# -- what is left


@pytest.mark.parametrize(
    "functions,reason",
    [
        (
            "F (p) => (q) { q = o.Op(p) }",
            "function 'F' uses 'Op' and imports no opset for it",
        ),
        ("F (p, o) => (o) { q = Neg(p) }", "an output of it is an absent input"),
        ("F () => (q) { q = Constant<value_int = 1>() }", "it has more inputs or outputs than function 'F'"),
    ],
)
def test_a_call_that_cannot_be_inlined(functions: str, reason: str) -> None:
    graph = model(
        f'g (float[2] x) => (float[2] y) {{ y = d.F(x) }} <domain: "d", opset_import: ["": 17, "d": 1]> {functions}'
    )
    before = graph.proto.SerializeToString(deterministic=True)
    graph, found = apply(INLINE, graph)
    assert reasons(found) == [reason] and not found.matches
    assert graph.proto.SerializeToString(deterministic=True) == before


@pytest.mark.parametrize(
    "functions",
    [
        "F (p) => (q) { q = d.F(p) }",
        'F (p) => (q) { q = d.G(p) } <domain: "d", opset_import: ["": 17, "d": 1]> G (p) => (q) { q = d.F(p) }',
    ],
)
def test_functions_in_a_circle(functions: str) -> None:
    graph = model(
        f'g (float[2] x) => (float[2] y) {{ y = d.F(x) }} <domain: "d", opset_import: ["": 17, "d": 1]> {functions}'
    )
    with pytest.raises(ModelError, match="call each other in a circle: 'F' -> "):
        apply(INLINE, graph)


def test_an_opset_that_means_another_thing() -> None:
    graph, found = inline(
        """g (float[2,3,4] x) => (float[2,3,4] y, float[2,3,4] z) { y = d.F(x) z = d.G(x) }
        <domain: "d", opset_import: ["": 11]> F (p) => (q) { q = Softmax(p) }
        <domain: "d", opset_import: ["": 11]> G (p) => (q) { t = Mul(p, p) q = Relu(t) }"""
    )
    assert reasons(found) == [
        "'Softmax' of function 'F' is that of opset 11, and may mean another thing in the model's opset 17"
    ]
    assert lines(graph) == ["y = d.F(x)", "G/t = Mul(x, x)", "z = Relu(G/t)"]
    assert [function.name for function in graph.proto.functions] == ["F"]


def test_two_functions_that_import_two_versions_of_a_domain() -> None:
    graph = model(
        """g (float[2] x) => (float[2] y, float[2] z) { y = d.F(x) z = d.G(x) }
        <domain: "d", opset_import: ["o": 1]> F (p) => (q) { q = o.Op(p) }
        <domain: "d", opset_import: ["o": 2]> G (p) => (q) { q = o.Op(p) }"""
    )
    graph, found = apply(INLINE, graph)
    assert lines(graph) == ["y = o.Op(x)", "z = d.G(x)"] and "may mean another thing" in reasons(found)[0]


def test_a_graph_handed_over_as_an_attribute() -> None:
    graph = model(
        """g (float[2] x) => (float[2] y) { y = d.F(x) }
        <domain: "d", opset_import: ["": 17]> F (p) => (q) { q = Neg(p) }"""
    )
    inner = helper.make_graph([], "inner", [], [])
    graph.proto.graph.node[0].attribute.append(helper.make_attribute("body", inner))
    assert reasons(apply(INLINE, graph)[1]) == ["it hands over a graph as an attribute"]


# -- meaning


@pytest.mark.parametrize(
    "op,old,new,same",
    [
        ("Relu", 13, 17, True),
        ("Relu", 17, 13, False),  # takes integers, the older one does not
        ("Add", 7, 22, True),
        ("Add", 6, 7, False),  # broadcasts by an attribute
        ("Softmax", 11, 13, False),
        ("Softmax", 13, 22, True),
        ("Reshape", 13, 14, True),
        ("ReduceSum", 12, 13, False),
        ("ReduceMean", 13, 17, True),
        ("ReduceMean", 17, 18, False),
        ("Squeeze", 11, 13, False),
        ("Resize", 11, 13, False),
        ("Upsample", 9, 10, False),
        ("BatchNormalization", 9, 14, False),
        ("Dropout", 7, 10, False),
        ("NoSuchOp", 9, 10, False),
        ("NoSuchOp", 9, 9, True),
    ],
)
def test_meaning_of_operators_at_two_opsets(op: str, old: int, new: int, same: bool) -> None:
    assert same_meaning(op, "", old, new) == same


def test_cases_of_pass_files_may_have_functions() -> None:
    text = """g (float[2] x) => (float[2] y) { y = d.F(x) }
    <domain: "d", opset_import: ["": 17]> F (p) => (q) { q = Relu(p) }"""
    graph = model_of(text, 17)
    assert [function.name for function in graph.proto.functions] == ["F"] and graph.opset("d") == 1
    assert np.array_equal(run(graph)["y"], run(apply(INLINE, graph.copy())[0])["y"])


def test_a_round_that_inlines_thousands_of_nodes_and_removes_them_is_no_cycle() -> None:
    chain = " ".join(f"v{n + 1} = Identity(v{n})" for n in range(3000))
    body = f'<domain: "d", opset_import: ["": 17]> F (v0) => (z) {{ {chain} z = Relu(v3000) }}'
    graph = model(f"g (float[2] x) => (float[2] y) {{ y = d.F(x) }} {body}")
    assert [node.op_type for node in apply(CATALOG.get("optimize"), graph)[0].nodes] == ["Relu"]
