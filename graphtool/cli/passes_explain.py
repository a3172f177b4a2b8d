"""``graphtool passes explain``."""

from __future__ import annotations

from typing import Annotated

import typer

from graphtool.cli.common import Json, Model, dump, progress


def explain(
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="A pass as in run --passes: NAME:PARAM=VALUE.", show_default=False)
    ],
    model: Model,
    everything: Annotated[bool, typer.Option("--all", help="One line a node, not one a reason.")] = False,
    json: Json = False,
) -> None:
    """Show where a pass matches and each node that it nearly does, with the reason; nothing is written."""
    from graphtool.explain import explain as explanations
    from graphtool.graph import Graph
    from graphtool.report.passes import explanation_data, print_explanation
    from graphtool.request import sound
    from graphtool.rewrite import Catalog, parse_pipeline

    catalog = Catalog()
    stages = parse_pipeline(name, catalog)
    with progress() as watch:
        watch("loading")
        graph = Graph.load(model)
        sound(graph)
        watch(f"pass {name}")
        found = list(explanations(graph, stages, catalog))
    if json:
        dump("passes-explain", {"model": str(model), "stages": [explanation_data(item) for item in found]})
        return
    for item in found:
        print_explanation(item, everything)
