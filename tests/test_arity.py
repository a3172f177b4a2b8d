"""Nodes with fewer inputs or outputs than their operator has: a pass that stumbles on one says which it is."""

from __future__ import annotations

import onnx
import pytest
from clirun import Cli
from fuzz_graphs import any_graph, chains

from graphtool.data import data_dir
from graphtool.errors import GraphtoolError
from graphtool.graph import Graph, check
from graphtool.graph.arity import arity_fault
from graphtool.rewrite import Catalog, Stage, apply_stage
from graphtool.rewrite.params import resolve

CATALOG = Catalog([data_dir("passes")])
NAMES = [name for name in CATALOG.names if CATALOG.get(name).native not in ("onnxsim", "fold_constants")]


def crippled(graph: Graph, what: str) -> Graph:
    """Return a graph with each node once more: without outputs, without names of outputs, or without inputs."""
    model = graph.full_proto()
    for node in list(model.graph.node):
        other = model.graph.node.add()
        other.CopyFrom(node)
        other.name = f"{node.name or node.op_type}_{len(model.graph.node)}"
        fresh = [f"{name}_z" for name in node.output if name]
        kept = {"no outputs": [], "no names": [""] * len(node.output), "no inputs": fresh}
        del other.output[:]
        other.output.extend(kept[what])
        if what == "no inputs":
            del other.input[:]
    return Graph.from_proto(model)


@pytest.mark.parametrize("what", ["no outputs", "no names", "no inputs"])
def test_every_pass_works_or_says_what_is_wrong(what: str) -> None:
    for name in NAMES:
        spec = CATALOG.get(name)
        for graph in (crippled(any_graph(), what), crippled(chains(), what)):
            check(graph)
            try:
                apply_stage(graph, Stage(spec, resolve(spec.params, {}, spec.name), spec.name), CATALOG)
            except GraphtoolError as error:
                assert "\n" not in str(error)
            check(graph)


def test_it_is_one_line(cli: Cli) -> None:
    model = onnx.parser.parse_model(
        '<ir_version: 8, opset_import: ["": 17]> g (float[2,3] x) => (int64[2,1] y) { y = ArgMax<axis=1>(x) }'
    )
    model.graph.node.add(op_type="ArgMax", name="bad", output=["z"])
    onnx.save(model, cli.folder / "m.onnx")
    message = "node 'bad' (ArgMax) has 0 inputs, its operator at least 1; export it again"
    assert message in cli.refused("run", "m.onnx", "-p", "argmax_below_upsampling", "--no-check")


def test_nodes_that_lack_nothing_and_unknown_ones_are_passed_over() -> None:
    graph = any_graph()
    assert arity_fault(graph) is None, "it has an operator of another domain, and bodies"
    lacking = graph.full_proto()
    del next(node for node in lacking.graph.node if node.op_type == "If").attribute[0].g.node[0].input[:]
    fault = arity_fault(Graph.from_proto(lacking))
    assert fault is not None and "its operator at least 1" in fault
