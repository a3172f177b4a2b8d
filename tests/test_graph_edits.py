"""After any edits the look-ups say what a fresh index says, and the protobuf is in the order of the edits."""

from __future__ import annotations

import random
from typing import Any

import onnx
import pytest
from conftest import graph_of
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import NodeProto, TensorProto, helper
from rewriting import stale_rows
from work import work

from graphtool.graph import Graph
from graphtool.graph.bodies import all_names
from graphtool.graph.index import Index

# -- random graphs under random edits


def node_of(draw: st.DrawFn, known: list[str], made: str, depth: int = 0) -> NodeProto:
    """A node that reads known values: plain, with absent inputs, or an If whose branches capture and hide values."""
    op = draw(st.sampled_from(["Relu", "Add", "Sum", "Clip"] if depth > 1 else ["Relu", "Add", "Sum", "Clip", "If"]))
    if op != "If":
        count = {"Relu": 1, "Add": 2, "Sum": 3, "Clip": 3}[op]
        inputs = draw(st.lists(st.sampled_from(known), min_size=count, max_size=count))
        if op == "Clip":
            inputs[1] = ""
        return helper.make_node(op, inputs, [made], name=f"{op}_{made}")
    branches = {}
    for name in ("then_branch", "else_branch"):
        # an inner value may have the name of an outer one, which it hides
        inner = draw(st.sampled_from([f"{made}_{name}", *known]))
        readable = sorted({*known, inner} - {made})
        nodes = [node_of(draw, [k for k in known if k != inner] or ["x"], inner, depth + 1)]
        nodes.append(node_of(draw, readable, f"{made}_{name}_end", depth + 1))
        result = draw(st.sampled_from([f"{made}_{name}_end", draw(st.sampled_from(known))]))
        outputs = [helper.make_tensor_value_info(result, TensorProto.FLOAT, None)]
        branches[name] = helper.make_graph(nodes, name, [], outputs)
    return helper.make_node("If", ["cond"], [made], name=f"If_{made}", **branches)


@st.composite
def graphs(draw: st.DrawFn) -> Graph:
    known = ["x", "w"]
    nodes = []
    for number in range(draw(st.integers(1, 7))):
        nodes.append(node_of(draw, known, f"v{number}"))
        known.append(f"v{number}")
    info = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [2]) for name in ("x", known[-1])]
    cond = helper.make_tensor_value_info("cond", TensorProto.BOOL, [])
    weight = helper.make_tensor("w", TensorProto.FLOAT, [2], [1.0, 2.0])
    graph = helper.make_graph(nodes, "g", [info[0], cond], info[1:], [weight])
    return Graph.from_proto(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8))


class Edits:
    """Random edits of a graph, and the order of node names that they should leave."""

    def __init__(self, graph: Graph, draw: Any) -> None:
        self.graph = graph
        self.draw = draw
        self.order = [node.name for node in graph.nodes]
        self.front: set[str] = set()  # prepended
        self.count = 0

    def slot_of(self, name: str) -> int:
        return next(s for s in self.graph.live_slots() if self.graph.node(s).name == name)

    def values(self) -> list[str]:
        return ["x", "w", *(name for node in self.graph.nodes for name in node.output)]

    def fresh(self) -> NodeProto:
        self.count += 1
        inputs = self.draw(st.lists(st.sampled_from(self.values()), min_size=1, max_size=3))
        return helper.make_node("Sum", inputs, [f"new{self.count}"], name=f"Sum_new{self.count}")

    def replace(self) -> None:
        place = self.draw(st.integers(0, len(self.order) - 1))
        slot = self.slot_of(self.order[place])
        new = [self.fresh() for _ in range(self.draw(st.integers(1, 3)))]
        self.graph.remove_node(slot)
        for step, node in enumerate(new):
            self.graph.add_node(node, slot, step if len(new) > 1 else None)
        if self.order[place] in self.front:  # what takes a prepended node's place stands where it stood
            self.front.update(node.name for node in new)
        self.order[place : place + 1] = [node.name for node in new]

    def remove(self) -> None:
        name = self.order.pop(self.draw(st.integers(0, len(self.order) - 1)))
        self.graph.remove_node(self.slot_of(name))

    def append(self) -> None:
        node = self.fresh()
        self.graph.append_node(node)
        self.order.append(node.name)

    def prepend(self) -> None:
        node = self.fresh()
        self.graph.prepend_node(node)
        self.order.insert(sum(name in self.front for name in self.order), node.name)
        self.front.add(node.name)

    def set_input(self) -> None:
        slot = self.draw(st.sampled_from(self.graph.live_slots()))
        position = self.draw(st.integers(0, len(self.graph.node(slot).input) - 1))
        self.graph.set_input(slot, position, self.draw(st.sampled_from(["", *self.values()])))

    def replace_uses(self) -> None:
        self.graph.replace_uses(self.draw(st.sampled_from(self.values())), self.draw(st.sampled_from(self.values())))

    def rename_output(self) -> None:
        self.count += 1
        slot = self.draw(st.sampled_from(self.graph.live_slots()))
        self.graph.rename_output(slot, 0, self.draw(st.sampled_from(["", f"renamed{self.count}"])))

    def commit(self) -> None:
        self.graph.commit()

    def run(self) -> None:
        kinds = ["replace", "remove", "append", "prepend", "set_input", "replace_uses", "rename_output", "commit"]
        for kind in self.draw(st.lists(st.sampled_from(kinds), max_size=8)):
            if self.order:
                getattr(self, kind)()


def assert_index_is_right(graph: Graph) -> None:
    slots = [graph.node(slot) for slot in range(max(graph.live_slots(), default=-1) + 1)]
    fresh = Index(slots)
    assert stale_rows(graph) == []
    names = {"", "x", "w", "cond", "nowhere"}
    names.update(*(node.output for node in graph.nodes), *(node.input for node in graph.nodes))
    names.update(*(all_names(body) for body in graph.body_graphs()))
    for name in sorted(names):
        assert graph.index.producer_slot(name) == fresh.producer_slot(name), name
        assert graph.index.reader_slots(name) == fresh.reader_slots(name), name
        assert graph.index.uses(name) == fresh.uses(name), name
    for op in ("Relu", "Add", "Sum", "Clip", "If", "None"):
        assert graph.index.slots_of_type(op) == fresh.slots_of_type(op)


@settings(max_examples=150, deadline=None)
@given(graphs(), st.data())
def test_index_is_kept_current(graph: Graph, data: st.DataObject) -> None:
    if data.draw(st.booleans()):  # built before the edits, and so kept current, or after them
        _ = graph.index.types, graph.index.producers, graph.index.readers
    edits = Edits(graph, data.draw)
    edits.run()
    assert_index_is_right(graph)
    for name in edits.values():  # and no look-up gives out a removed node
        graph.index.consumers(name)


@settings(max_examples=100, deadline=None)
@given(graphs(), st.data())
def test_order_and_proxies(graph: Graph, data: st.DataObject) -> None:
    held = list(graph.nodes)
    edits = Edits(graph, data.draw)
    edits.run()
    assert [node.name for node in graph.nodes] == edits.order
    proto = graph.proto
    assert [node.name for node in proto.graph.node] == edits.order
    assert all(own is graph.node(slot) for own, slot in zip(proto.graph.node, graph.live_slots(), strict=True))
    for number, node in enumerate(held):  # proxies from before the edits are the nodes that get saved
        if node.name in edits.order:
            node.doc_string = f"held {number}"
    saved = onnx.ModelProto.FromString(graph.snapshot().skeleton)
    assert [n.doc_string for n in saved.graph.node if n.name in {h.name for h in held}] == [
        n.doc_string for name in edits.order for n in held if n.name == name
    ]


@settings(max_examples=60, deadline=None)
@given(graphs(), st.lists(st.tuples(st.sampled_from(["x", "v0", "v1_then_branch", "new", ""]), st.booleans())))
def test_fresh_names_collide_with_nothing(graph: Graph, wishes: list[tuple[str, bool]]) -> None:
    values = all_names(graph.proto.graph)
    nodes = {node.name for node in graph.nodes}
    for wish, is_value in wishes:
        taken = values if is_value else nodes
        name = graph.names.fresh_value(wish) if is_value else graph.names.fresh_node(wish)
        assert name
        assert name not in taken
        assert name.startswith(wish)
        taken.add(name)


# -- single cases


def test_an_edit_through_an_older_proxy_is_saved() -> None:
    graph = graph_of("g (float[2] x) => (float[2] y) { a = Relu(x) b = Neg(a) y = Abs(b) }")
    neg = graph.index.by_type("Neg")[0]
    (relu,) = graph.index.slots_of_type("Relu")
    graph.remove_node(relu)
    graph.add_node(helper.make_node("Exp", ["x"], ["mid"]), relu, 0)
    graph.add_node(helper.make_node("Log", ["mid"], ["a"]), relu, 1)
    graph.commit()
    neg.op_type = "Sign"
    saved = onnx.ModelProto.FromString(graph.snapshot().skeleton)
    assert [node.op_type for node in saved.graph.node] == ["Exp", "Log", "Sign", "Abs"]


def test_nested_placement() -> None:
    """A node that replaced one, replaced in turn, and so on: all stay between the neighbours of the first."""
    graph = graph_of("g (float[2] x) => (float[2] y) { a = Relu(x) b = Neg(a) y = Abs(b) }")
    (slot,) = graph.index.slots_of_type("Neg")
    for level in range(3):
        graph.remove_node(slot)
        slots = [
            graph.add_node(helper.make_node("Neg", ["a"], [f"b{level}{step}"], name=f"{level}{step}"), slot, step)
            for step in range(3)
        ]
        slot = slots[1]
    assert [node.name for node in graph.nodes] == ["", "00", "10", "20", "21", "22", "12", "02", ""]


def test_what_replaces_prepended_and_appended_nodes_stands_where_they_stood() -> None:
    graph = graph_of("g (float[2] x) => (float[2] y) { y = Relu(x) }")
    for add in (graph.prepend_node, graph.append_node):
        first, _ = (add(helper.make_node("Neg", ["x"], [f"{add.__name__}{n}"], name=f"{n}")) for n in range(2))
        graph.remove_node(first)
        for step in range(2):
            name = f"{add.__name__}0{step}"
            graph.add_node(helper.make_node("Neg", ["x"], [name], name=f"0.{step}"), first, step)
    assert [node.name for node in graph.nodes] == ["0.0", "0.1", "1", "", "0.0", "0.1", "1"]


def body_of(graph: Graph, branch: int = 0) -> onnx.GraphProto:
    return list(graph.body_graphs())[branch]


IF = """
    g (float[2] x, bool c) => (float[2] y) {{
        a = Relu(x)
        b = Neg(x)
        y = If(c) <
            then_branch = t () => (float[2] o) {{ {then} }},
            else_branch = e () => (float[2] o) {{ o = Identity(a) }}
        >
    }}
"""


def test_replace_uses_renames_captures_at_any_depth() -> None:
    inner = "o = If(c) <then_branch = t2 () => (float[2] p) { p = Add(a, a) }, else_branch = e2 () => (float[2] a) {}>"
    graph = graph_of(IF.format(then=inner))
    assert [node.op_type for node in graph.index.consumers("a")] == ["If"]
    graph.replace_uses("a", "b")
    assert graph.index.consumers("a") == []
    deep = body_of(graph).node[0].attribute
    assert list(deep[0].g.node[0].input) == ["b", "b"]
    assert deep[1].g.output[0].name == "b"  # an outer value that is a body's output
    assert list(body_of(graph, 1).node[0].input) == ["b"]
    assert_index_is_right(graph)


def test_replace_uses_leaves_hidden_names_alone() -> None:
    graph = graph_of(IF.format(then="a = Exp(x) o = Log(a)"))  # its own a hides the outer one
    graph.replace_uses("a", "b")
    assert [list(node.input) for node in body_of(graph).node] == [["x"], ["a"]]
    assert list(body_of(graph).node[0].output) == ["a"]
    assert list(body_of(graph, 1).node[0].input) == ["b"]
    assert_index_is_right(graph)


def test_replace_uses_of_an_input_of_a_node_with_bodies() -> None:
    """The node reads the new value once, whether or not its bodies read it too."""
    graph = graph_of(IF.format(then="o = Sum(a, b)"))
    assert graph.index.uses("c") == 1
    graph.replace_uses("c", "c2")
    assert graph.index.uses("c2") == 1
    graph.replace_uses("a", "b")
    assert graph.index.uses("b") == 1
    graph.remove_node(graph.index.slots_of_type("If")[0])
    assert graph.index.consumers("b") == graph.index.consumers("c2") == []


def test_fresh_names_avoid_names_in_bodies() -> None:
    graph = graph_of(IF.format(then="p = Exp(x) q = Neg(p) o = Log(q)"))
    assert [graph.names.fresh_value(wish) for wish in ("p", "o", "r")] == ["p_2", "o_2", "r"]


def test_fresh_names_avoid_notes_of_removed_values() -> None:
    graph = graph_of("g (float[2] x) => (float[2] y) { y = Relu(x) }")
    graph.proto.graph.value_info.append(helper.make_tensor_value_info("ghost", TensorProto.INT64, [9]))
    graph.proto.graph.quantization_annotation.add(tensor_name="noted")
    assert graph.names.fresh_value("ghost") == "ghost_2"
    assert graph.names.fresh_value("noted") == "noted_2"


def test_fresh_names_follow_edits() -> None:
    graph = graph_of("g (float[2] x) => (float[2] y) { y = Relu(x) }")
    assert graph.names.fresh_value("a") == "a"
    assert graph.names.fresh_value("a") == "a_2"
    graph.append_node(helper.make_node("Neg", ["x"], ["b"], name="n"))
    assert graph.names.fresh_value("b") == "b_2"
    assert graph.names.fresh_node("n") == "n_2"
    body = helper.make_graph([helper.make_node("Abs", ["x"], ["inner"])], "t", [], [])
    graph.append_node(helper.make_node("If", ["x"], ["c"], name="m", then_branch=body))
    assert graph.names.fresh_node("m") == "m_2"
    assert graph.names.fresh_value("inner") == "inner_2"


@pytest.mark.parametrize("kind", ["fresh_value", "fresh_node"])
def test_many_equal_wishes_stay_linear(kind: str) -> None:
    graph = graph_of("g (float[2] x) => (float[2] y) { y = Relu(x) }")
    names: set[str] = set()

    def wish() -> None:
        names.update(getattr(graph.names, kind)("rows") for _ in range(2000))

    assert work(wish) < 50 * 2000
    assert len(names) == 2000


def test_removing_the_readers_of_a_shared_value_stays_linear() -> None:
    count = 3000
    nodes = [helper.make_node("Add", ["x", "w"], [f"v{number}"]) for number in range(count)]
    info = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [2]) for name in ("x", "w", "v0")]
    graph = Graph.from_proto(helper.make_model(helper.make_graph(nodes, "g", info[:2], info[2:])))
    assert graph.index.uses("w") == count
    slots = list(range(count))
    random.Random(1).shuffle(slots)

    def remove() -> None:
        for slot in slots:
            graph.remove_node(slot)

    assert work(remove) < 200 * count
    assert graph.index.uses("w") == 0
    assert graph.index.consumers("w") == []
