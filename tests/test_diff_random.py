"""Differences of random graphs, where what was done to them is known."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator

import numpy as np
from diffing import names, only
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import GraphProto, ModelProto, TensorProto, helper, numpy_helper

from graphtool.diff import Renamed, diff
from graphtool.graph import Graph

# -- random graphs

OPS = ["Relu", "Neg", "Abs", "Add", "Mul", "Concat", "LeakyRelu", "If"]


@st.composite
def random_models(draw: st.DrawFn, distinct: bool = False, largest: int = 14) -> ModelProto:
    """A random graph. With ``distinct`` each node differs in an attribute, so that none can be taken for another."""
    values = ["x", "m"]
    weights = [f"w{k}" for k in range(draw(st.integers(0, 3)))]
    nodes = []
    for k in range(draw(st.integers(1, largest))):
        op = "LeakyRelu" if distinct else draw(st.sampled_from(OPS))
        source = st.sampled_from(values[-4:] + weights)
        reads = [draw(source) for _ in range(2 if op in ("Add", "Mul", "Concat") else 1)]
        name, output = draw(st.sampled_from([f"n{k}", f"n{k}", "" if not distinct else f"n{k}"])), f"t{k}"
        attributes: dict[str, object] = (
            {"alpha": 0.5 + k} if op == "LeakyRelu" else {"axis": 0} if op == "Concat" else {}
        )
        if op == "If":
            branch = helper.make_graph(
                [helper.make_node("Neg", reads, [f"i{k}"], f"in{k}"), helper.make_node("Abs", [f"i{k}"], [f"o{k}"])],
                f"g{k}",
                [],
                [helper.make_tensor_value_info(f"o{k}", TensorProto.FLOAT, None)],
            )
            attributes, reads = {"then_branch": branch, "else_branch": branch}, ["go"]
        nodes.append(helper.make_node(op, reads, [output], name, **attributes))
        values.append(output)
    results = {values[-1], *draw(st.lists(st.sampled_from([n.output[0] for n in nodes]), max_size=2))}
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, k + 1]) for k, name in enumerate(("x", "m"))]
        + [helper.make_tensor_value_info("go", TensorProto.BOOL, [])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, k]) for k, name in enumerate(sorted(results))],
        [numpy_helper.from_array(np.full((1, 2), draw(st.integers(0, 1)), np.float32), name) for name in weights],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)


def graphs_in(graph: GraphProto) -> Iterator[GraphProto]:
    yield graph
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("g"):
                yield from graphs_in(attribute.g)


def rename_all(model: ModelProto, rename: Callable[[str], str]) -> ModelProto:
    """The model with every name of a node, value, input, output and weight replaced, in bodies too."""
    renamed = ModelProto()
    renamed.CopyFrom(model)
    for graph in graphs_in(renamed.graph):
        for node in graph.node:
            node.name = rename(node.name) if node.name else ""
            node.input[:] = [rename(name) if name else "" for name in node.input]
            node.output[:] = [rename(name) for name in node.output]
        for item in (*graph.input, *graph.output, *graph.initializer):
            item.name = rename(item.name)
    return renamed


@given(random_models())
@settings(max_examples=60, deadline=None)
def test_renaming_everything_gives_renames_only(model: ModelProto) -> None:
    before, after = Graph.from_proto(model), Graph.from_proto(rename_all(model, "new/{}".format))
    found = diff(before, after)
    for noun, part in found.parts():
        assert not (part.added or part.removed or part.changed or part.moved), (noun, found.lines())
        for item in part.renamed:
            # names in bodies stand behind the name of their node, which is renamed too
            old, new = item.before.rsplit("/", 1)[-1], item.after.rsplit("new/", 1)[-1]
            assert old == new or item.before.startswith("#"), item
    assert len(found.nodes.renamed) == sum(1 for node in model.graph.node if node.name)
    assert len(found.weights.renamed) == len(model.graph.initializer)
    assert len(found.inputs.renamed) == 3 and len(found.outputs.renamed) == len(model.graph.output)


@given(random_models())
@settings(max_examples=40, deadline=None)
def test_the_same_graph_is_the_same_and_json_is_stable(model: ModelProto) -> None:
    graph = Graph.from_proto(model)
    assert diff(graph, Graph.from_proto(model)).same
    other = Graph.from_proto(rename_all(model, lambda name: name.replace("t", "T").replace("n1", "n7")))
    first, second = (json.dumps(diff(graph, other).to_json()) for _ in range(2))
    assert first == second


@given(random_models(), random_models(), st.randoms(use_true_random=False))
@settings(max_examples=60, deadline=None)
def test_any_two_graphs_add_up(first: ModelProto, second: ModelProto, rng: random.Random) -> None:
    """Also graphs that nothing could run: not sorted, a value made twice, a value never made."""
    for model in (first, second):
        nodes = list(model.graph.node)
        rng.shuffle(nodes)
        nodes += nodes[: rng.randrange(2)]
        nodes = nodes[rng.randrange(2) :]
        del model.graph.node[:]
        model.graph.node.extend(nodes)
    before, after = Graph.from_proto(first), Graph.from_proto(second)
    there, back = diff(before, after), diff(after, before)
    for found, old, new in ((there, before, after), (back, after, before)):
        assert len(old.nodes) - len(found.nodes.removed) == len(new.nodes) - len(found.nodes.added)
        assert len(old.initializers) - len(found.weights.removed) == len(new.initializers) - len(found.weights.added)
        assert sum(b - a for a, b in found.ops.values()) == len(new.nodes) - len(old.nodes)
        assert all(item.details for item in found.nodes.changed)
        assert found.same == (found.lines() == ["no difference"])
    assert there.same == back.same


def test_permuted_names_are_renames() -> None:
    rng = random.Random(7)
    ops = ["Relu", "Neg", "Abs", "Exp", "Sigmoid"]
    nodes = [
        helper.make_node(rng.choice(ops), [f"t{rng.randrange(max(0, k - 3), k + 1)}"], [f"t{k + 1}"], f"n{k}")
        for k in range(60)
    ]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("t0", TensorProto.FLOAT, [1])],
        [helper.make_tensor_value_info("t60", TensorProto.FLOAT, [1])],
    )
    graph.initializer.append(numpy_helper.from_array(np.zeros(1, np.float32), "unread"))
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)])
    values, new_values = [f"t{k}" for k in range(1, 60)], [f"t{k}" for k in range(1, 60)]
    labels, new_labels = [f"n{k}" for k in range(60)], [f"n{k}" for k in range(60)]
    rng.shuffle(new_values)
    rng.shuffle(new_labels)
    names_after = dict(zip(values, new_values, strict=True)) | dict(zip(labels, new_labels, strict=True))
    after = rename_all(model, lambda name: names_after.get(name, name))
    after.graph.initializer[0].CopyFrom(numpy_helper.from_array(np.ones(1, np.float32), "unread"))
    found = diff(Graph.from_proto(model), Graph.from_proto(after))
    assert only(found, "nodes", "values", "weights")
    assert [item.name for item in found.weights.changed] == ["unread"]
    expected = {Renamed(old, new) for old, new in names_after.items() if old != new}
    assert not (found.nodes.added or found.nodes.removed or found.nodes.changed or found.nodes.moved)
    assert {*found.nodes.renamed, *found.values.renamed} == expected


@given(random_models(distinct=True, largest=20), st.data())
@settings(max_examples=60, deadline=None)
def test_removed_and_added_nodes_are_found_exactly(model: ModelProto, data: st.DataObject) -> None:
    after = ModelProto()
    after.CopyFrom(model)
    graph = after.graph
    outputs = {info.name for info in graph.output}
    removable = [node.name for node in graph.node if node.output[0] not in outputs]
    gone = data.draw(st.lists(st.sampled_from(removable), unique=True, max_size=3)) if removable else []
    for name in gone:
        place = next(k for k, node in enumerate(graph.node) if node.name == name)
        old, source = graph.node[place].output[0], graph.node[place].input[0]
        del graph.node[place]
        for node in graph.node:
            node.input[:] = [source if value == old else value for value in node.input]
    inserted = data.draw(st.lists(st.sampled_from([n.name for n in graph.node]), unique=True, max_size=3))
    for number, name in enumerate(inserted):
        place = next(k for k, node in enumerate(graph.node) if node.name == name)
        reader = graph.node[place]
        new = helper.make_node("Clip", [reader.input[0]], [f"new{number}"], f"new{number}")
        reader.input[0] = f"new{number}"
        nodes = [*graph.node[:place], new, *graph.node[place:]]
        del graph.node[:]
        graph.node.extend(nodes)
    found = diff(Graph.from_proto(model), Graph.from_proto(after))
    before_inputs = {node.name: list(node.input) for node in model.graph.node}
    rewired = [n.name for n in graph.node if n.name in before_inputs and list(n.input) != before_inputs[n.name]]
    assert sorted(names(found.nodes.removed)) == sorted(gone), found.lines()
    assert sorted(names(found.nodes.added)) == [f"new{k}" for k in range(len(inserted))]
    assert sorted(item.name for item in found.nodes.changed) == sorted(rewired)
    assert not (found.nodes.renamed or found.nodes.moved or found.values or found.weights)
    assert found.same == (not gone and not inserted)


def test_edits_of_a_graph_without_one_name_in_common() -> None:
    """Between two edits neither what a node computes nor what it feeds is as before: order and op types tell."""
    rng = random.Random(3)
    ops = ["Relu"]
    while len(ops) < 100:
        # not twice the same in a row: which of two such was removed, nothing could tell
        ops.append(rng.choice([op for op in ("Relu", "Neg", "Abs", "Exp", "Sigmoid", "Tanh", "Log") if op != ops[-1]]))

    def chain(kept: list[int], prefix: str) -> Graph:
        nodes = [
            helper.make_node(ops[k], [f"{prefix}t{n}"], [f"{prefix}t{n + 1}"], f"{prefix}n{k}")
            for n, k in enumerate(kept)
        ]
        ends = [helper.make_tensor_value_info(f"{prefix}t{n}", TensorProto.FLOAT, [1]) for n in (0, len(kept))]
        graph = helper.make_graph(nodes, "g", ends[:1], ends[1:])
        return Graph.from_proto(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)]))

    cut = [10, 33, 57, 80]
    found = diff(chain(list(range(100)), ""), chain([k for k in range(100) if k not in cut], "r/"))
    assert names(found.nodes.removed) == [f"n{k}" for k in cut] and not found.nodes.added
    assert [item.name for item in found.nodes.changed] == [f"n{k + 1}" for k in cut]
    assert found.nodes.renamed == tuple(Renamed(f"n{k}", f"r/n{k}") for k in range(100) if k not in cut)
