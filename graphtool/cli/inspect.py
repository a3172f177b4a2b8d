"""``graphtool inspect``."""

from __future__ import annotations

from collections import Counter

from graphtool.cli.common import Json, Model, dump


def inspect(model: Model, json: Json = False) -> None:
    """Show a model's inputs, outputs (with the word for ATC's out_nodes) and op counts."""
    from graphtool.atc.outputs import out_node_words
    from graphtool.graph import Graph, dtype_name
    from graphtool.job import sound
    from graphtool.report.console import print_inspection

    graph = Graph.load(model)
    sound(graph)
    counts = dict(sorted(Counter(node.op_type for node in graph.nodes).items(), key=lambda item: (-item[1], item[0])))
    words = out_node_words(graph)
    if not json:
        print_inspection(graph, words, counts)
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
    dump("inspect", {"model": str(model), "nodes": len(graph.nodes), "opsets": opsets, **interface, "ops": counts})
