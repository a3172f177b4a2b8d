"""What the tests of the pass language share: a pass out of a few lines, applied to a graph out of one."""

from __future__ import annotations

import tomllib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from onnx import NodeProto

from graphtool.cases import model_of
from graphtool.graph import Graph, check
from graphtool.graph.rows import Row
from graphtool.graph.text import node_line
from graphtool.parity.feed import draw
from graphtool.parity.session import Session
from graphtool.rewrite import Applied, Catalog, Match, Pass, Stage, apply_stage
from graphtool.rewrite.params import resolve
from graphtool.rewrite.passfile import parse_pass

HEAD = 'summary = "s"\nwhy = "w"\nparity = "exact"\n'


def stale_rows(graph: Graph) -> list[str]:
    """Return the nodes of the main graph of which the row says something else than the protobuf does."""
    kept = [graph.row_at(slot) for slot in graph.live_slots()]
    read = [Row(graph.node_at(slot)) for slot in graph.live_slots()]
    fields = Row.__slots__
    return [
        f"{own.op_type}{own.outputs}"
        for own, row in zip(read, kept, strict=True)
        if any(getattr(own, name) != getattr(row, name) for name in fields)
    ]


def pass_of(text: str, head: str = HEAD) -> Pass:
    """Return the pass written in TOML, called ``x``."""
    return parse_pass(tomllib.loads(head + text), Path("passes/x.toml"), "passes/x.toml")


def rule_of(match: str, replace: str, more: str = "") -> Pass:
    """Return the pass that rewrites ``match`` as ``replace``."""
    return pass_of(f"[[rewrite]]\nmatch = '''{match}'''\nreplace = '''{replace}'''\n{more}")


def apply(spec: Pass, graph: Graph | str, opset: int = 17, **params: object) -> tuple[Graph, Applied]:
    """Apply a pass to a graph (or a case's text of one); the result is checked."""
    graph = model_of(graph, opset) if isinstance(graph, str) else graph
    check(graph)
    stage = Stage(spec, resolve(spec.params, params, spec.name), spec.name)
    applied = apply_stage(graph, stage, Catalog()).applied
    assert not check(graph), "the nodes are in topological order after a pass"
    return graph, applied


def lines(graph: Graph) -> list[str]:
    """Return the graph's nodes, a line each."""
    return [node_line(node) for node in graph.nodes]


def names(graph: Graph) -> list[str]:
    """Return the names of the graph's nodes."""
    return [node.name for node in graph.nodes]


def places(found: Applied) -> list[str]:
    """Return where a pass matched."""
    return [match.where for match in found.matches]


def reasons(found: Applied) -> list[str]:
    """Return why a pass did not match, place by place."""
    return [miss.reason for miss in found.misses]


def ops(nodes: tuple[NodeProto, ...]) -> list[str]:
    """Return the op types of the nodes of a match."""
    return [node.op_type for node in nodes]


def run(graph: Graph, feed: dict[str, NDArray[np.generic]] | None = None) -> dict[str, NDArray[np.generic]]:
    """Return the graph's outputs on its default feed."""
    return Session(graph).run(feed or dict(draw(graph).arrays))


__all__ = ["Match", "apply", "lines", "names", "ops", "pass_of", "places", "reasons", "rule_of", "run"]
