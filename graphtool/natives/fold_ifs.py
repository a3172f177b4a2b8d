"""If with a condition that is the same in each run: the nodes of the branch that is taken, in place of the If."""

from __future__ import annotations

from collections.abc import Mapping

from onnx import GraphProto, NodeProto

from graphtool.graph import Graph
from graphtool.graph.opset import attribute_of
from graphtool.natives._elimination import only_way
from graphtool.natives._known import boolean
from graphtool.natives._placing import drop_unneeded
from graphtool.natives._splice import Splicer, identity_fault
from graphtool.rewrite.result import Applied, Match, Miss, alias, label
from graphtool.rewrite.selection import Offer, everywhere

UNITS = True  # each If


def apply(graph: Graph, params: Mapping[str, object], offer: Offer = everywhere) -> Applied:
    """Replace each If with a known condition, in the graph and in its bodies, and those in the branches too.

    Known is also a condition with which, one way, a node behind the If could not run.
    """
    return _fold(graph, offer, eliminate=True)


def _fold(graph: Graph, offer: Offer, eliminate: bool) -> Applied:
    applied = Applied()
    ir_version = graph.proto.ir_version
    conditions: dict[str, None] = {}  # that are read no more; some are values of graphs around the If's
    for level in graph.levels():
        queue = level.index.slots_of_type("If")
        ways: dict[str, bool] = {}
        while queue:
            left: dict[int, Miss] = {}
            more: list[int] = []
            for slot in queue:
                node = level.node(slot)
                if node is None or node.domain not in ("", "ai.onnx"):
                    continue
                branch = _branch(level, node, ways)
                if isinstance(branch, str):
                    left[slot] = Miss(label(node), "native", branch)
                    continue
                if not offer(label(node), alias(node)):
                    left[slot] = Miss(label(node), "native", "only= or skip= leaves it as it is")
                    continue
                conditions[node.input[0]] = None
                applied.matches.append(Match(label(node), "native"))
                added = _take(level, slot, node, branch, ir_version)
                more += [new for new in added if (own := level.node(new)) is not None and own.op_type == "If"]
            if len(left) == len(queue):
                found = only_way(level, left, _as_they_are) if eliminate else {}
                if not found.keys() - ways.keys():
                    applied.misses += left.values()
                    break
                ways.update(found)
                continue
            level.refine_shapes()  # what a branch makes may decide the next If
            queue = [*left, *more]
        drop_unneeded(level, [name for name in conditions if level.defines(name)])
    drop_unneeded(graph, conditions)
    return applied


def _as_they_are(graph: Graph) -> None:
    _fold(graph, everywhere, eliminate=False)


def _branch(graph: Graph, node: NodeProto, ways: Mapping[str, bool]) -> GraphProto | str:
    """Return the branch that is taken in each run, or why none is; ``ways`` are the conditions found by elimination."""
    taken = ways.get(node.input[0], boolean(graph, node.input[0]))
    if taken is None:
        return "its condition is not known"
    branch = attribute_of(node, "then_branch" if taken else "else_branch")
    if branch is None:
        return "it has no such branch"
    if branch.g.input or len(branch.g.output) < len(node.output):
        return "its branch does not fit it"
    made = {name for inner in branch.g.node for name in inner.output}
    return identity_fault(graph, _results(node, branch.g), made) or branch.g


def _take(graph: Graph, slot: int, node: NodeProto, branch: GraphProto, ir_version: int) -> list[int]:
    """Put the nodes of ``branch`` in place of the If; return their slots."""
    splicer = Splicer(graph, slot, ir_version)
    results = _results(node, branch)
    graph.remove_node(slot)
    prefix = node.name or "If"
    names = splicer.splice(branch, {}, results, prefix)
    splicer.keep_scalars(results, names, prefix)
    return splicer.added


def _results(node: NodeProto, branch: GraphProto) -> list[tuple[str, str]]:
    """Return which value of the branch makes which value outside."""
    return [(info.name, outside) for info, outside in zip(branch.output, node.output, strict=False) if outside]
