"""The batch made dynamic or another fixed number, with the constants freed that hold the old one."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from onnx import ValueInfoProto

from graphtool.errors import PassError, did_you_mean, quoted
from graphtool.graph import Graph, Value
from graphtool.graph.declared import declare_dim, drop_inner_types, narrowed, redeclare_outputs
from graphtool.graph.values import Dim, Shape, value_of
from graphtool.natives._batch_facts import Facts, UnfitError
from graphtool.natives._batch_free import Freer
from graphtool.rewrite.result import Applied, Match

_PRIMES = (7, 11, 13, 17, 19, 23, 29, 31, 37, 41)


def apply(graph: Graph, params: Mapping[str, object]) -> Applied:
    """Let axis 0 of the inputs that carry the batch be ``batch``; raises PassError, naming what blocks it."""
    wanted, names = params["batch"], params["inputs"]
    assert isinstance(wanted, str) and isinstance(names, list)
    target = _target(wanted)
    inputs = carriers(graph, names)
    own = _batch_of(inputs[0])
    now = own if isinstance(own, int) else 1
    _check_symbol(graph, target, inputs)
    names = [value.name for value in inputs]
    base = graph.copy()
    drop_inner_types(base)
    _declare(base, names, now)
    redeclare_outputs(base)
    taken = {dim for value in inputs for dim in value.shape or ()}
    then = target if isinstance(target, int) and target != now else next(p for p in _PRIMES if p not in {*taken, now})
    facts, freed = Facts(graph, base, now, then, names), list[str]()
    # open, with a name or without, and nothing blocks it: [1, -1] may well mean all items in one row
    if now != target and (isinstance(own, int) or not _fits(graph, facts)):
        freer = _run(graph, base, Freer(graph, Facts(graph, base, now, then, names), target, names[0]), names)
        facts, freed = freer.facts, freer.freed
    changed = [value.name for value in inputs if _batch_of(value) != target]
    if not changed and not freed:
        return Applied()
    drop_inner_types(graph)
    before = graph.inputs
    _declare(graph, changed, target)
    known = {info.name: _output_shape(facts, info, target) for info in graph.header.output}
    left = {dim for value in graph.inputs for dim in value.shape or ()}
    gone = {str(dim) for dim in taken - left if isinstance(dim, str)}
    redeclare_outputs(graph, gone=gone, became=None if freed else narrowed(before, graph.inputs))
    _declare_outputs(graph, known)
    return Applied([Match(name, "native") for name in dict.fromkeys((*changed, *freed))])


def _run(graph: Graph, base: Graph, freer: Freer, names: Sequence[str]) -> Freer:
    """Free ``graph`` of its batch and return who did it; raises PassError.

    At batch 1 the axes of length 1 look alike. Where a Reshape was freed that could have been left alone, and then the
    graph does not fit or an output has its items beside axis 0, it is left alone instead, if that turns out better.
    """
    start = graph.snapshot()
    fault: PassError | None = None
    try:
        freer.run()
    except PassError as error:
        fault = error
    if not freer.doubtful or (fault is None and not _beside(freer.facts)):
        if fault is not None:
            raise fault
        return freer
    other, facts = graph.at(start), freer.facts
    again = Freer(other, Facts(other, base, facts.now, facts.then, names), freer.target, names[0], lenient=True)
    try:
        again.run()
    except PassError:
        if fault is not None:
            raise fault from None
        return freer
    if fault is None and len(_beside(again.facts)) >= len(_beside(facts)):
        return freer
    graph.become(other)
    again.facts.graph = graph
    return again


def _beside(facts: Facts) -> list[str]:
    """Return the outputs that have the batch of now at axis 0, as far as sizes tell, and the other one elsewhere."""
    found = []
    for info in facts.base.header.output:
        shape, axes = facts.shape_now(info.name), facts.axes(info.name)
        if shape and shape[0] == facts.now and axes and 0 not in axes:
            found.append(info.name)
    return found


def _fits(graph: Graph, facts: Facts) -> bool:
    """Whether every node takes the other batch as the graph stands, as far as inference tells."""
    for node in graph.nodes:
        try:
            facts.pass_on(node)
        except UnfitError:
            return False
        if node.op_type == "Reshape":  # inference does not count
            counts = [_count(facts.shape_then(name)) for name in (node.input[0], node.output[0])]
            if None not in counts and counts[0] != counts[1]:
                return False
    return True


def _count(shape: Shape | None) -> int | None:
    sizes = [dim for dim in shape or () if isinstance(dim, int)]
    return math.prod(sizes) if shape is not None and len(sizes) == len(shape) else None


def _target(text: str) -> int | str:
    if text.lstrip("+-").isdecimal() and text != "-1":
        if int(text) < 1:
            raise PassError(f"batch {quoted(text)} is not a positive number; give one, or a name such as N")
        return int(text)
    if not text or not text.isprintable() or text.strip() != text:
        raise PassError(f"batch {quoted(text)} is neither a number nor the name of a dimension, such as N")
    return text


def _batch_of(value: Value) -> Dim:
    assert value.shape
    return value.shape[0]


def carriers(graph: Graph, names: Sequence[str]) -> list[Value]:
    """Return the inputs whose axis 0 is the batch: those named, or those with the same size there as the first."""
    known = {value.name: value for value in graph.inputs}
    for name in names:
        if name not in known:
            raise PassError(f"no input named {quoted(name)}{did_you_mean(name, known)}")
        if known[name].kind != "tensor" or not known[name].shape:
            raise PassError(f"input {quoted(name)} is {known[name].type_text()}: it has no axis 0 that is a batch")
    if names:
        found = [known[name] for name in dict.fromkeys(names)]
    else:
        ranked = [value for value in known.values() if value.kind == "tensor" and value.shape]
        ranked = [value for value in ranked if value.shape != (1,)] or ranked  # one number is a setting, not an item
        found = [value for value in ranked if _batch_of(value) == _batch_of(ranked[0])]
    if not found:
        raise PassError("no input has an axis 0 of its own: there is no batch")
    sizes = {_batch_of(value) for value in found}
    if len(sizes) > 1 and any(isinstance(size, int) for size in sizes):
        shown = ", ".join(f"{value.name} {value.type_text()}" for value in found)
        raise PassError(f"the inputs have different batches: {shown}")
    return found


def _check_symbol(graph: Graph, target: int | str, inputs: Sequence[Value]) -> None:
    if isinstance(target, int):
        return
    carriers = {value.name for value in inputs}
    for value in graph.inputs:
        for axis, dim in enumerate(value.shape or ()):
            if dim == target and not (axis == 0 and value.name in carriers):
                where = f"axis {axis} of input {quoted(value.name)}"
                raise PassError(f"{quoted(target)} is the name of {where}; name the batch otherwise")


def _declare(graph: Graph, names: Sequence[str], batch: Dim) -> None:
    for info in graph.header.input:
        if info.name in names:
            declare_dim(info, 0, batch)
    graph.forget_shapes()


def _declare_outputs(graph: Graph, known: Mapping[str, Shape | None]) -> None:
    """Declare what the walk found of the outputs and inference did not."""
    for info in graph.header.output:
        shape = known[info.name]
        if shape is None or len(shape) != len(value_of(info).shape or ()):
            continue
        for axis, dim in enumerate(shape):
            if value_of(info).shape[axis] is None:  # type: ignore[index]
                declare_dim(info, axis, dim)
    graph.forget_shapes()


def _output_shape(facts: Facts, info: ValueInfoProto, target: int | str) -> Shape | None:
    now, then = facts.shape_now(info.name), facts.shape_then(info.name)
    if now is None or then is None or len(now) != len(then):
        return None
    dims: list[Dim] = []
    for a, b in zip(now, then, strict=True):
        if a == b or isinstance(target, int):
            dims.append(b)
        else:
            dims.append(target if (a, b) == (facts.now, facts.then) else None)
    return tuple(dims)
