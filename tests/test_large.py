"""What models of thousands of inputs, bodies and functions cost: work is counted, and grows with their size alone."""

from __future__ import annotations

import random

import numpy as np
from onnx import NodeProto, TensorProto, ValueInfoProto, helper
from rewriting import apply, rule_of
from work import work

from graphtool.analysis.measure import madds_and_bytes
from graphtool.graph import Graph
from graphtool.graph.counts import counts_line
from graphtool.parity import parts
from graphtool.parity.hashes import Numbered
from graphtool.rewrite.matcher import MAX_LOOKS


def _infos(*names: str) -> list[ValueInfoProto]:
    return [helper.make_tensor_value_info(name, TensorProto.FLOAT, [None]) for name in names]


def _wide(count: int) -> Graph:
    nodes = [helper.make_node("Relu", ["x"], [f"v{number}"]) for number in range(count)]
    nodes.append(helper.make_node("Concat", [f"v{number}" for number in range(count)], ["y"], axis=0))
    info = _infos("x", "y")
    return Graph.from_proto(helper.make_model(helper.make_graph(nodes, "g", info[:1], info[1:])))


def test_renaming_all_that_a_wide_node_reads_stays_linear() -> None:
    def steps(count: int) -> int:
        graph = _wide(count)

        def rename() -> None:
            for number in range(count - 1):
                graph.replace_uses(f"v{number}", f"v{number + 1}" if number % 2 else "v0")

        return work(rename)

    assert steps(2000) < 5 * steps(500)


def test_a_wide_node_is_renamed_right_between_other_edits() -> None:
    rng = random.Random(2)
    graph = _wide(60)
    slot = graph.index.producer_slot("y")
    assert slot is not None
    node = graph.node(slot)
    assert node is not None
    wanted = list(node.input)
    for _ in range(400):
        new = f"v{rng.randrange(60)}"
        if rng.random() < 0.4:
            place = rng.randrange(60)
            graph.set_input(slot, place, new)
            wanted[place] = new
        else:
            old = rng.choice([*wanted, f"v{rng.randrange(60)}"])
            if old != new:
                graph.replace_uses(old, new)
            wanted = [new if name == old else name for name in wanted]
        assert list(node.input) == wanted
        for name in {*wanted, new}:
            assert graph.index.reads(name, slot) == wanted.count(name)


def test_one_of_thousands_of_inputs_is_found_and_the_others_are_no_look_each() -> None:
    count = MAX_LOOKS + 500
    nodes = [helper.make_node("Relu", ["x"], [f"v{number}"]) for number in range(count)]
    nodes += [helper.make_node("Concat", ["x", "x"], ["a"], axis=0)]
    nodes += [helper.make_node("Concat", [*(f"v{number}" for number in range(count)), "a"], ["y"], axis=0)]
    info = _infos("x", "y")
    graph = Graph(helper.make_model(helper.make_graph(nodes, "g", info[:1], info[1:])))
    spec = rule_of("a = Concat<axis = 0>(*parts)  y = Concat<axis = 0>(*before, a, *after)",
                   "y = Concat<axis = 0>(*before, *parts, *after)")  # fmt: skip
    graph, found = apply(spec, graph)
    assert found.matches
    assert len(graph.index.by_type("Concat")[0].input) == count + 2


def test_a_part_takes_along_the_functions_that_it_calls_and_no_others() -> None:
    domain = [helper.make_opsetid("", 17), helper.make_opsetid("l", 1)]
    bodies = [[NodeProto(op_type="Exp", input=["u"], output=["v"])]]
    bodies += [[NodeProto(op_type=f"F{number}", domain="l", input=["u"], output=["v"])] for number in range(3)]
    functions = [helper.make_function("l", f"F{n}", ["u"], ["v"], body, domain) for n, body in enumerate(bodies)]
    nodes = [helper.make_node(f"F{number}", ["x"], [f"y{number}"], domain="l") for number in range(4)]
    info = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [2]) for name in ("x", "y0", "y1", "y2", "y3")]
    proto = helper.make_graph(nodes, "g", info[:1], info[1:])
    graph = Graph(helper.make_model(proto, opset_imports=domain, functions=functions, ir_version=8))
    view = parts.View(graph, Numbered([], {}))
    given = {"x": np.zeros(2, np.float32)}
    for place in range(4):
        part = parts.part(view, [place], given, [f"y{place}"])
        assert [function.name for function in part.proto.functions] == [f"F{number}" for number in range(place + 1)]
        assert parts.run_part(view, [place], given, [f"y{place}"])[f"y{place}"].tolist() == [1, 1]


def test_what_thousands_of_nodes_of_open_sizes_cost_is_one_sum() -> None:
    def steps(count: int) -> int:
        nodes = [helper.make_node("Relu", [f"v{number}"], [f"v{number + 1}"]) for number in range(count)]
        info = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", "M"]) for name in ("v0", f"v{count}")]
        graph = Graph.from_proto(helper.make_model(helper.make_graph(nodes, "g", info[:1], info[1:])))
        assert str(madds_and_bytes(graph)[1]) == f"{8 * count}*M*N"
        return work(lambda: madds_and_bytes(graph))

    assert steps(800) < 4.5 * steps(200)
    assert steps(200) < 200 * 230  # 300 where each node has its sizes multiplied and sums sorted


def test_a_large_model_whose_nodes_stay_says_so() -> None:
    assert counts_line({}) == "op counts: unchanged"
    assert counts_line({"Conv": (3, 4)}) == "op counts: Conv 3 -> 4"
