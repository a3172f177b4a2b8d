"""Nodes with fewer inputs or outputs than their operator has: looked for only when something has failed on a graph."""

from __future__ import annotations

from graphtool.errors import quoted
from graphtool.graph.bodies import walk
from graphtool.graph.model import Graph
from graphtool.graph.opset import schema


def arity_fault(graph: Graph) -> str | None:
    """Return what the first node lacks that has fewer inputs or outputs than the ONNX schema demands, else None.

    Local functions are looked into, and operators that ONNX does not define are passed over.
    """
    versions = {entry.domain: entry.version for entry in graph.proto.opset_import}
    nodes = [*walk(graph.proto.graph), *(node for function in graph.proto.functions for node in walk(function))]
    for node in nodes:
        known = schema(node.op_type, node.domain, versions.get(node.domain, versions.get("")))
        if known is None:
            continue
        counts = (("input", len(node.input), known.min_input), ("output", len(node.output), known.min_output))
        for what, has, least in counts:
            if has < least:
                place = f" at {quoted(node.output[0])}" if node.output else ""
                name = quoted(node.name) if node.name else f"without a name{place}"
                return f"node {name} ({node.op_type}) has {has} {what}s, its operator at least {least}; export it again"
    return None
