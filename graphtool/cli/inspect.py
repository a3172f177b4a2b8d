"""``graphtool inspect``."""

from __future__ import annotations

from collections import Counter
from enum import StrEnum
from typing import Annotated

import typer

from graphtool.cli.common import Json, Model, Profile, Shapes, Soc, dump


class By(StrEnum):
    """What the rows are."""

    NODE = "node"
    OP = "op"
    SCOPE = "scope"


def inspect(
    model: Model,
    by: Annotated[By | None, typer.Option("--by", help="Costs by node, op or scope.", show_default=False)] = None,
    depth: Annotated[
        int | None, typer.Option("--depth", min=1, metavar="N", help="Scopes by their first N parts.")
    ] = None,
    shape: Shapes = None,
    profile: Profile = None,
    soc: Soc = None,
    all_: Annotated[bool, typer.Option("--all", help="Every row, in the order of the graph.")] = False,
    csv: Annotated[bool, typer.Option("--csv", help="Print the rows as CSV.")] = False,
    json: Json = False,
) -> None:
    """Show a model's interface, op counts and costs; by node, op or scope; with a device, bounds of time."""
    from graphtool.analysis.bind import bound
    from graphtool.atc.outputs import out_node_words
    from graphtool.atc.target import Target, shapes_of
    from graphtool.errors import UsageError
    from graphtool.graph import Graph, dtype_name
    from graphtool.report.console import print_inspection
    from graphtool.report.costs import costs_csv, costs_data, costs_of, print_costs, print_sums
    from graphtool.request import sound

    if depth is not None and (by is None or by.value != "scope"):
        raise UsageError("--depth cuts scopes; give --by scope with it")
    if csv and json:
        raise UsageError("--csv and --json both want stdout; give one")
    device = Target(profile, soc).load().soc if profile is not None or soc is not None else None
    graph = Graph.load(model)
    sound(graph)
    graph = bound(graph, shapes_of(shape or ()))
    costs = costs_of(graph, by.value if by is not None else "node" if csv else "op", depth, device)
    if csv:
        typer.echo(costs_csv(costs), nl=False)
        return
    counts = dict(sorted(Counter(node.op_type for node in graph.nodes).items(), key=lambda item: (-item[1], item[0])))
    words = out_node_words(graph)
    if not json:
        print_inspection(graph, words, counts)
        print_sums(costs.cost)
        if by is not None or device is not None or shape or all_:
            print_costs(costs, all_)
        return
    interface = {
        side: [
            {"name": v.name, "type": dtype_name(v.dtype) if v.kind == "tensor" else v.kind, "shape": v.shape}
            for v in values
        ]
        for side, values in (("inputs", graph.inputs), ("outputs", graph.outputs))
    }
    for value in interface["outputs"]:
        value["out_nodes"] = words[str(value["name"])]
    opsets = {entry.domain or "ai.onnx": entry.version for entry in graph.proto.opset_import}
    head = {"model": str(model), "nodes": graph.node_count, "opsets": opsets, **interface, "ops": counts}
    dump("inspect", {**head, "costs": costs_data(costs)})
