"""A part of the graph by the names of its tensors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from onnx import ValueInfoProto

from graphtool.errors import PassError, did_you_mean, quoted, show
from graphtool.graph import Graph
from graphtool.graph.bodies import captures
from graphtool.graph.declared import copied, declare
from graphtool.graph.sort import remove_unused
from graphtool.rewrite.result import Applied, Match, Miss


def apply(graph: Graph, params: Mapping[str, object]) -> Applied:
    """Keep what computes ``to`` from ``from``; raises PassError where a name is none or an input is missing."""
    sources, targets = params["from"], params["to"]
    assert isinstance(sources, list) and isinstance(targets, list)
    if not sources and not targets:
        return Applied(misses=[Miss("", "native", "no tensor is named; give from=TENSOR, to=TENSOR or both")])
    inputs = {value.name for value in graph.inputs}
    before = [info.name for info in graph.header.input], [info.name for info in graph.header.output]
    known = inputs | set(graph.index.producers)
    targets = list(dict.fromkeys(_resolved(graph, name, known, "to") for name in targets)) or before[1]
    sources = list(dict.fromkeys(_resolved(graph, name, known, "from") for name in sources))
    passed = [name for name in targets if name in sources or name not in graph.index.producers]
    if passed:
        raise PassError(f"{quoted(passed[0])} is where the part begins: it cannot be one of its outputs too")
    reached = _inputs_of(graph, targets, set(sources))
    if not sources:
        sources = [value.name for value in graph.inputs if value.name in reached]
    missing = [name for name in reached if name not in sources]
    if missing:
        shown = "+".join(map(show, missing))
        raise PassError(f"what is asked for also needs the inputs {shown}; name them in 'from', or tensors behind them")
    idle = [name for name in sources if name not in reached]
    if idle:
        raise PassError(
            f"{quoted(idle[0])} is not needed for {', '.join(map(quoted, targets))}; leave it out of 'from'"
        )
    if sources == [name for name in before[0] if name in inputs] and targets == before[1]:
        return Applied()
    infos = {info.name: info for info in (*graph.header.output, *graph.header.input)}
    new_inputs = [_described(graph, name, infos) for name in sources]
    new_outputs = [_described(graph, name, infos) for name in targets]
    _cut(graph, sources)
    # an initializer with an input beside it is a default, or (before IR 4) has to have one
    rest = [copied(info) for info in graph.header.input if info.name in graph.initializers]
    del graph.header.input[:], graph.header.output[:]
    graph.header.input.extend([*new_inputs, *rest])
    graph.header.output.extend(new_outputs)
    remove_unused(graph)
    graph.forget_shapes()
    return Applied([Match(name, "native") for name in (*sources, *targets)])


def _resolved(graph: Graph, name: str, known: set[str], what: str) -> str:
    if name in known:
        return name
    if name in graph.initializers:
        raise PassError(f"{quoted(name)} is a weight; 'from' and 'to' name tensors that are computed, or inputs")
    node = next((node for node in graph.nodes if node.name == name), None)
    made: list[str] = [value for value in node.output if value] if node is not None else []
    if len(made) == 1:
        return made[0]
    if made:
        raise PassError(f"node {quoted(name)} makes {', '.join(map(quoted, made))}; name one of them in '{what}'")
    raise PassError(f"no tensor named {quoted(name)}{did_you_mean(name, known)}")


def _inputs_of(graph: Graph, targets: Sequence[str], sources: set[str]) -> list[str]:
    """Return the sources, and inputs beside them, that the targets are computed from."""
    inputs = {value.name for value in graph.inputs}
    front = list(targets)
    seen = set(front)
    found: list[str] = []
    for name in front:  # grows on the way
        node = None if name in sources else graph.index.producer(name)
        if node is None:
            if name in sources or name in inputs:
                found.append(name)
            continue
        fresh = [read for read in (*node.input, *sorted(captures(node))) if read and read not in seen]
        fresh = list(dict.fromkeys(fresh))
        seen.update(fresh)
        front += fresh
    return found


def _described(graph: Graph, name: str, infos: Mapping[str, ValueInfoProto]) -> ValueInfoProto:
    if name in infos:
        return copied(infos[name])
    value = graph.value(name)
    if value is None or value.kind != "tensor" or not value.dtype or value.shape is None:
        raise PassError(f"type and shape of {quoted(name)} are not known, so it cannot be an input or output")
    info = ValueInfoProto(name=name)
    declare(info, value.dtype, value.shape)
    return info


def _cut(graph: Graph, sources: Sequence[str]) -> None:
    """Take the makers of ``sources`` out; what else such a node makes, and is read, goes on being made."""
    for name in sources:
        slot = graph.index.producer_slot(name)
        if slot is None:
            continue
        node = graph.node(slot)
        assert node is not None
        if sum(1 for other in node.output if other) == 1:
            graph.remove_node(slot)
        else:
            fresh = graph.names.fresh_value(f"{name}/cut")
            graph.rename_output(slot, list(node.output).index(name), fresh)
