"""Random rules on random graphs: whatever a rule says, the graph stays sound and its interface stays the same.

Rules that mean the same (Identity, Transpose) are also run before and after. The examples are the same in every run;
``GRAPHTOOL_FUZZ=20000`` draws that many new ones.
"""

from __future__ import annotations

import os

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import NodeProto, TensorProto, helper
from rewriting import pass_of, stale_rows

from graphtool.errors import PassError
from graphtool.graph import Graph, check
from graphtool.graph.index import Index
from graphtool.parity.session import Session
from graphtool.rewrite import Catalog, Pass, Stage, apply_stage
from graphtool.rewrite.pattern import Pattern, parse_pattern
from graphtool.rewrite.rule import Rule

EXAMPLES = int(os.environ.get("GRAPHTOOL_FUZZ", "300"))
FUZZ = settings(derandomize="GRAPHTOOL_FUZZ" not in os.environ, deadline=None)
CATALOG = Catalog()
# how many values each operator reads
READS = {"One": 1, "Two": 1, "Three": 3, "Add": 2, "Identity": 1, "Neg": 1, "Transpose": 1, "If": 0}

# -- random graphs: a chain or a bush of few operators, so that rules meet themselves


def info(name: str) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, [2, 2])


def body(draw: st.DrawFn, known: list[str], stem: str, ops: list[str], hides: bool) -> onnx.GraphProto:
    """A branch that captures outer values; if it ``hides`` one, it makes a value of that name itself."""
    nodes = []
    # within a body a name means one value from its first node on
    hidden = draw(st.sampled_from(["", *known])) if hides else ""
    inner = [name for name in known if name != hidden]
    for number in range(draw(st.integers(1, 2))):
        op = draw(st.sampled_from([op for op in ops if op not in ("If", "Two")]))
        made = hidden if hidden and not number else f"{stem}{number}"
        nodes.append(node(op, [draw(st.sampled_from(inner)) for _ in range(READS[op])], [made]))
        inner.append(made)
    return helper.make_graph(nodes, stem, [], [info(nodes[-1].output[0])])


def node(op: str, reads: list[str], made: list[str], **attributes: object) -> NodeProto:
    standard = op in ("Identity", "Transpose", "Neg", "Add", "If")
    if op == "Transpose":
        attributes["perm"] = [1, 0]
    return helper.make_node(op, reads, made, domain="" if standard else "t", **attributes)


@st.composite
def graphs(draw: st.DrawFn, ops: list[str], planted: Pattern, hides: bool) -> Graph:
    """A graph over ``ops`` in which a pattern is ``planted`` here and there; some outputs come twice.

    Bodies that hide outer names (``hides``) are valid for graphtool, but onnxruntime refuses them.
    """
    known = ["x", "w"]
    nodes: list[NodeProto] = []

    def add(op: str, reads: list[str]) -> list[str]:
        number = len(nodes)
        made = [f"v{number}", f"v{number}b"] if op == "Two" else [f"v{number}"]
        branches = {}
        if op == "If":
            reads = ["flag"]
            for side in ("then_branch", "else_branch"):
                branches[side] = body(draw, known, f"{side}_{number}_", ops, hides)
        nodes.append(node(op, reads, made, **branches))
        nodes[-1].name = draw(st.sampled_from(["", f"n{number}"]))
        known.extend(made)
        return made

    for _ in range(draw(st.integers(1, 5))):
        if draw(st.booleans()):
            add(op := draw(st.sampled_from(ops)), [draw(st.sampled_from(known)) for _ in range(READS[op])])
            continue
        stands = {name: draw(st.sampled_from(known)) for name in planted.free}
        for statement in planted.nodes:
            made = add(statement.op_type, [stands[name] for name in statement.inputs])
            stands.update(zip(statement.outputs, made, strict=True))
    outputs = draw(st.lists(st.sampled_from(known[2:]), min_size=1, max_size=3))
    flag = helper.make_tensor_value_info("flag", TensorProto.BOOL, [])
    weight = helper.make_tensor("w", TensorProto.FLOAT, [2, 2], [1.0, -2.0, 3.0, 0.5])
    graph = helper.make_graph(nodes, "g", [info("x"), flag], [info(name) for name in outputs], [weight])
    imports = [helper.make_opsetid("", 17), helper.make_opsetid("t", 1)]
    return Graph.from_proto(helper.make_model(graph, opset_imports=imports, ir_version=8))


# -- random rules over the operators of domain t

OPS = ["One", "One", "Two", "Three", "Add", "Identity", "If"]


@st.composite
def statements(draw: st.DrawFn, readable: list[str], count: int, stem: str) -> tuple[list[str], list[str]]:
    """Return statements over ``readable`` values, each reading the one before, and what the last one makes."""
    lines: list[str] = []
    last: list[str] = []
    for number in range(count):
        op = draw(st.sampled_from([op for op in OPS if op != "If"]))
        reads = [draw(st.sampled_from([*readable, *last])) for _ in range(READS[op])]
        if last:
            reads[draw(st.integers(0, len(reads) - 1))] = draw(st.sampled_from(last))
        readable = [*readable, *last]
        last = [f"{stem}{number}"] + ([f"{stem}{number}b"] if op == "Two" else [])
        domain = "" if op in ("Add", "Identity") else "t."
        lines.append(f"{', '.join(last)} = {domain}{op}({', '.join(reads)})")
    return lines, last


@st.composite
def rules(draw: st.DrawFn) -> Pass:
    free = ["p", "q"][: draw(st.integers(1, 2))]
    match, roots = draw(statements(free, draw(st.integers(1, 3)), "m"))
    read = [name for name in free if any(f"({name}" in line or f" {name}" in line for line in match)]
    known = [*read, "c"]
    replace, made = draw(statements(known, draw(st.integers(0, 2)), "r")) if draw(st.booleans()) else ([], [])
    for root in roots:
        source = draw(st.sampled_from([*known, *made]))
        op = draw(st.sampled_from(["forward", "One", "Identity"]))
        replace.append(
            f"{root} = {source}" if op == "forward" else f"{root} = {'t.One' if op == 'One' else op}({source})"
        )
    default = f"default.{read[0]} = 'full([2, 2], 0.5)'" if draw(st.integers(0, 9)) == 0 else ""
    lets = "let.c = 'full([2, 2], 1.5)'"
    text = "\n".join(match), "\n".join(replace)
    return pass_of(f"[[rewrite]]\nmatch = '''{text[0]}'''\nreplace = '''{text[1]}'''\n{lets}\n{default}\n")


def interface(graph: Graph) -> tuple[list[str], list[str]]:
    top = graph.proto.graph
    return [v.name for v in top.input], [v.name for v in top.output]


def same_index(graph: Graph) -> None:
    """Check that the look-ups kept through the edits are those of a fresh index."""
    assert stale_rows(graph) == []
    fresh = Index([graph.node(slot) for slot in graph.live_slots()])
    live = {slot: place for place, slot in enumerate(graph.live_slots())}
    assert {name: live[slot] for name, slot in graph.index.producers.items()} == fresh.producers
    for name in {*graph.index.readers, *fresh.readers}:
        assert sorted(live[slot] for slot in graph.index.reader_slots(name)) == fresh.reader_slots(name), name
        assert graph.index.uses(name) == fresh.uses(name), name


@settings(FUZZ, max_examples=EXAMPLES)
@given(st.data())
def test_any_rule_leaves_a_sound_graph(data: st.DataObject) -> None:
    try:
        spec = data.draw(rules())
    except PassError:
        return
    rule = spec.bodies[0].run
    assert isinstance(rule, Rule)
    graph = data.draw(graphs(OPS, rule.patterns[0], hides=True))
    check(graph)
    before = interface(graph)
    once = graph.proto.SerializeToString(deterministic=True)
    try:
        outcome = apply_stage(graph, Stage(spec, {}, "x"), CATALOG)
    except PassError as error:
        assert "without end" in str(error)
        assert graph.proto.SerializeToString(deterministic=True) == once
        return
    assert interface(graph) == before
    assert not check(graph), "sorted without help"
    same_index(graph)
    if not outcome.applied.matches:
        assert graph.proto.SerializeToString(deterministic=True) == once


# -- rules that keep the meaning, run before and after

RUNS = ["Identity", "Transpose", "Neg", "Add", "If"]
PLANTED = {
    "remove_identity": "y = Identity(x)",
    "fuse_transposes": "a = Transpose(x) y = Transpose(a)",
    "optimize": "a = Identity(x) b = Transpose(a) c = Identity(b) y = Transpose(c)",
}


@pytest.mark.parametrize("name", PLANTED)
def test_the_numbers_stay(name: str) -> None:
    spec = CATALOG.get(name)
    planted = parse_pattern(PLANTED[name])
    matched = 0

    @settings(FUZZ, max_examples=EXAMPLES // 4)
    @given(graphs(RUNS, planted, hides=False), st.booleans())
    def runs_alike(graph: Graph, flag: bool) -> None:
        nonlocal matched
        check(graph)
        feed = {"x": np.array([[1, 2], [3, 5]], np.float32), "flag": np.array(flag)}
        before = Session(graph.copy()).run(feed)
        outcome = apply_stage(graph, Stage(spec, {}, name), CATALOG)
        matched += bool(outcome.applied.matches)
        assert not check(graph)
        same_index(graph)
        after = Session(graph).run(feed)
        assert list(after) == list(before)
        for output, array in before.items():
            assert np.array_equal(array, after[output]), output

    runs_alike()
    assert matched > 5, "the graphs have what the pass is for"
