"""How many nodes a model has, by the rule of the corpus's index."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from onnx import AttributeProto, GraphProto, ModelProto, NodeProto


def count(model: ModelProto) -> int:
    """Return the number of nodes as the index of the corpus does: no Constant, bodies too, calls as what they call."""
    return sum(op_counts(model).values())


def op_counts(model: ModelProto) -> Counter[str]:
    """Return the nodes that :func:`count` counts, by operator."""
    functions = {(f.domain, f.name, f.overload): list(f.node) for f in model.functions}
    inlined: dict[tuple[str, str, str], Counter[str]] = {}

    def counted(nodes: list[NodeProto]) -> Counter[str]:
        total: Counter[str] = Counter()
        for node in nodes:
            key = (node.domain, node.op_type, node.overload)
            if key in functions:
                if key not in inlined:
                    inlined[key] = counted(functions[key])
                total += inlined[key]
            elif node.op_type != "Constant":
                total[node.op_type if not plain_domain(node.domain) else f"{node.domain}.{node.op_type}"] += 1
            for body in bodies(node):
                total += counted(list(body.node))
        return total

    return counted(list(model.graph.node))


def bodies(node: NodeProto) -> Iterator[GraphProto]:
    """Yield the bodies that a node holds."""
    for attribute in node.attribute:
        if attribute.type == AttributeProto.GRAPH:
            yield attribute.g
        yield from attribute.graphs


def all_nodes(model: ModelProto) -> Iterator[NodeProto]:
    """Yield every node of a model, of bodies and functions too."""
    waiting = [list(model.graph.node), *(list(function.node) for function in model.functions)]
    while waiting:
        for node in waiting.pop():
            yield node
            waiting += [list(body.node) for body in bodies(node)]


def plain_domain(domain: str) -> str:
    """Return the one spelling of a domain: '' for ai.onnx."""
    return "" if domain == "ai.onnx" else domain
