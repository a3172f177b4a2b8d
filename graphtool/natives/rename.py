"""Renaming of values and nodes, in place of exporters' numbers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from onnx import GraphProto

from graphtool.errors import PassError, did_you_mean, quoted
from graphtool.graph import Graph
from graphtool.graph.bodies import all_names, bodies, defined_below, rename_captured, walk
from graphtool.rewrite.result import Applied, Match, Miss


def apply(graph: Graph, params: Mapping[str, object]) -> Applied:
    """Rename ``from`` to ``to``, all at once, so that names can change places. Raises PassError for a bad name."""
    old, new = params["from"], params["to"]
    assert isinstance(old, list) and isinstance(new, list)
    if len(old) != len(new):
        raise PassError(f"'from' has {len(old)} names and 'to' has {len(new)}; give one new name for each old one")
    if len(set(old)) < len(old) or len(set(new)) < len(new):
        raise PassError("a name is given twice")
    if not old:
        return Applied(misses=[Miss("", "native", "nothing is named; give from=OLD and to=NEW")])
    known = all_names(graph.proto.graph)
    node_names = {node.name for node in walk(graph.proto.graph) if node.name}
    values: dict[str, str] = {}
    nodes: dict[str, str] = {}
    for name, wish in zip(old, new, strict=True):
        if not (wish and name and wish.isprintable()):  # an empty name is an absent input
            raise PassError(f"{quoted(name)} cannot become {quoted(wish)}: a name is not empty, and printable")
        if name not in known and name not in node_names:
            raise PassError(f"no tensor or node named {quoted(name)}{did_you_mean(name, known | node_names)}")
        (values if name in known else nodes)[name] = wish
    _check_free(values, known, "tensor")
    _check_free(nodes, node_names, "node")
    _check_bodies(graph, values)
    infos = (*graph.proto.graph.input, *graph.proto.graph.output)
    interface = {wish: name for name, wish in values.items() if any(info.name == name for info in infos)}
    changed = {name: wish for name, wish in values.items() if name != wish}
    renamed_nodes = {name: wish for name, wish in nodes.items() if name != wish}
    _rename(graph, changed, renamed_nodes)
    matches = [Match(name, "native") for name in (*changed, *renamed_nodes)]
    return Applied(matches, renamed={wish: name for wish, name in interface.items() if wish != name})


def _check_free(names: Mapping[str, str], taken: Iterable[str], what: str) -> None:
    for name, wish in names.items():
        if wish in taken and wish not in names and wish != name:
            raise PassError(f"{quoted(wish)} is another {what}'s name already")


def _check_bodies(graph: Graph, values: Mapping[str, str]) -> None:
    for body in graph.body_graphs():
        inside = defined_below(body)
        for name, wish in values.items():
            if name in inside or wish in inside:
                raise PassError(f"{quoted(name if name in inside else wish)} is defined in a body of If, Loop or Scan")


def _rename(graph: Graph, values: Mapping[str, str], nodes: Mapping[str, str]) -> None:
    proto = graph.proto
    _rename_values(proto.graph, values)
    for node in walk(proto.graph):
        if node.name in nodes:
            node.name = nodes[node.name]
    graph.reindex()


def _rename_values(graph: GraphProto, names: Mapping[str, str]) -> None:
    for node in graph.node:
        for part in (node.input, node.output):
            for position, name in enumerate(part):
                if name in names:
                    part[position] = names[name]
        if any(True for _ in bodies(node)):
            rename_captured(node, names)
    sparse = (tensor.values for tensor in graph.sparse_initializer)
    for item in (*graph.input, *graph.output, *graph.value_info, *graph.initializer, *sparse):
        if item.name in names:  # assigning what is there already would change an absent name to an empty one
            item.name = names[item.name]
    for note in graph.quantization_annotation:
        if note.tensor_name in names:
            note.tensor_name = names[note.tensor_name]
        for entry in note.quant_parameter_tensor_names:
            if entry.value in names:
                entry.value = names[entry.value]
