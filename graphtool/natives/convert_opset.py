"""The opset of the default domain, up or down: every node, in bodies and local functions too, in its form there.

A conversion is planned whole before anything is changed: one node that has no equivalent refuses the model, by name.
What is not covered refuses too. The definitions are those of ``onnx.defs``; where a definition leaves open what was
said only later (negative indices of Gather before opset 11), what all runtimes do is taken to be meant.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from onnx import NodeProto

from graphtool.errors import PassError, show
from graphtool.graph import Graph
from graphtool.graph.sort import drop_unread, remove_nodes
from graphtool.natives import _opset_axes, _opset_layers, _opset_others, _opset_resize
from graphtool.natives._opset_functions import standing_for, written_back
from graphtool.natives._opset_node import Adapter, convert
from graphtool.natives._opset_release import check_known, set_opset, set_versions, version_of
from graphtool.natives._opset_site import Array, Site
from graphtool.natives._opset_steps import NEWEST, Refusal
from graphtool.rewrite.result import Applied, Match, Miss, label

OLDEST = 7  # earlier ones broadcast by attributes, and onnxruntime does not run them
_PARTS = (_opset_axes, _opset_layers, _opset_others, _opset_resize)
UP: dict[tuple[str, int], Adapter] = {key: adapter for part in _PARTS for key, adapter in part.UP.items()}
DOWN: dict[tuple[str, int], Adapter] = {key: adapter for part in _PARTS for key, adapter in part.DOWN.items()}
_DOMAINS = ("", "ai.onnx")
Refusals = list[tuple[NodeProto, str]]


@dataclass(slots=True)
class Level:
    """What becomes of one graph: the nodes that take the place of those in some slots, and the constants they read."""

    nodes: dict[int, list[NodeProto]] = field(default_factory=dict)
    constants: dict[str, Array] = field(default_factory=dict)


def apply(graph: Graph, params: Mapping[str, object]) -> Applied:
    """Convert the model to opset ``to``; raises PassError naming the first node that has no equivalent there."""
    target = params["to"]
    assert isinstance(target, int)
    if not target:
        return Applied(misses=[Miss("the model", "native", "no opset is asked for: convert_opset:to=13, say")])
    if not OLDEST <= target <= NEWEST:
        raise PassError(f"opset {target} is not one of {OLDEST} to {NEWEST}, between which models are converted")
    model = graph.proto
    source = graph.opset()
    functions = [function for function in model.functions if version_of(function) not in (None, target)]
    if (source is None or source == target) and not functions:
        return Applied(misses=[Miss("the model", "native", f"it is of opset {target} already")])
    check_known(model)
    shrinking = str(params.get("shrinking", "refuse"))
    refusals: Refusals = []
    whole = _plan(graph, source, target, shrinking, refusals) if source is not None else []
    inner = [(function, standing_for(graph, function)) for function in functions]
    plans = [_plan(standing, version_of(function), target, shrinking, refusals) for function, standing in inner]
    if refusals:
        raise PassError(_refused(refusals, target))
    matches = [Match(f"opset {source}", "native")] if source not in (None, target) else []
    set_opset(graph, target)
    matches += _carry_out(graph, whole)
    for (function, standing), plan in zip(inner, plans, strict=True):
        matches += [Match(f"function {function.name}", "native"), *_carry_out(standing, plan)]
        written_back(standing, function)
        set_versions(function, target)
    return Applied(matches)


# -- the plan


def _plan(graph: Graph, source: int | None, target: int, shrinking: str, refusals: Refusals) -> list[Level]:
    """Return what becomes of a graph and the bodies in it, in the order of ``levels()``."""
    assert source is not None
    plans = []
    for level in graph.levels():
        site, plan = Site(level, target, shrinking), Level()
        for slot in level.live_slots():
            node = level.node(slot)
            assert node is not None
            if node.domain not in _DOMAINS:
                continue
            try:
                made = convert(site, node, source, UP, DOWN)
            except Refusal as refusal:
                refusals.append((node, str(refusal)))
                continue
            if made is not None:
                plan.nodes[slot] = made
        read = {name for nodes in plan.nodes.values() for node in nodes for name in node.input} | site.kept
        plan.constants = {name: array for name, array in site.constants.items() if name in read}
        plans.append(plan)
    return plans


def _carry_out(graph: Graph, plans: list[Level]) -> list[Match]:
    """Put the new nodes and constants in place, and drop the constants that only the old nodes read."""
    matches: list[Match] = []
    freed: dict[str, None] = {}  # in order
    for level, plan in zip(graph.levels(), plans, strict=True):
        for name, array in plan.constants.items():
            level.put_initializer(name, array)
        for slot, made in plan.nodes.items():
            node = level.node(slot)
            assert node is not None
            matches.append(Match(label(node), "native"))
            kept = {name for new in made for name in new.input}
            freed.update((name, None) for name in node.input if name and name not in kept)
            if len(made) == 1 and made[0].input == node.input and made[0].output == node.output:
                op_changed = made[0].op_type != node.op_type
                if not op_changed:
                    node.CopyFrom(made[0])  # attributes only
                    continue
            level.remove_node(slot)
            for place, new in enumerate(made):
                level.add_node(new, at=slot, step=place if len(made) > 1 else None)
    for level in graph.levels() if freed else ():
        _drop(level, freed)
    return matches


def _drop(level: Graph, freed: Mapping[str, None]) -> None:
    """Remove constants of this level among ``freed`` that nothing reads any more, with the Identities behind them."""
    names = {name for name in freed if level.is_constant(level.behind_identities(name))}
    slots = [level.index.producer_slot(name) for name in freed if name in names]
    unread = dict.fromkeys([*freed, *(level.behind_identities(name) for name in freed)])
    remove_nodes(level, [slot for slot in slots if slot is not None], set())
    drop_unread(level, [name for name in unread if name in level.initializers])


def _refused(refusals: Refusals, target: int) -> str:
    node, reason = refusals[0]
    more = f" (and {len(refusals) - 1} more)" if len(refusals) > 1 else ""
    return f"{show(label(node))}: {show(node.op_type)} cannot be converted to opset {target}: {reason}{more}"


__all__ = ["DOWN", "OLDEST", "UP", "apply"]
