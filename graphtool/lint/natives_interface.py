"""Inputs, outputs, batches and memory: what the graph asks of the compiler and of the device as a whole."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from graphtool.analysis.amounts import short_bytes
from graphtool.analysis.roofline import half_bytes
from graphtool.errors import show
from graphtool.lint.conditions import Found
from graphtool.lint.found import at
from graphtool.lint.ground import Ground
from graphtool.lint.rule import Finding, Rule
from graphtool.natives._batch_blockers import blockers

_GEARS = ("dynamic_batch_size", "dynamic_image_size", "dynamic_dims", "input_shape_range")


def open_inputs(ground: Ground, rule: Rule) -> Iterator[Found]:
    """Inputs with open sizes that the profile neither fixes nor gives gears for."""
    aim = ground.aim
    if any(aim.options.get(name) for name in _GEARS):
        return
    given = {part.rpartition(":")[0].strip() for part in aim.options.get("input_shape", "").split(";")}
    for value in ground.graph.inputs:
        if value.kind == "tensor" and not value.static and value.name not in given:
            yield at(rule, "input", value.name, type=value.type_text())


def blocked_batch(ground: Ground, rule: Rule) -> Iterator[Found]:
    """Constants that hold the batch of the export, at the largest other batch of the profile."""
    now = _batch(ground)
    batch = max((batch for batch in ground.aim.batches if batch != now), default=0)
    if batch:
        yield from _blocked(ground, rule, now, batch)


def blocked_any_batch(ground: Ground, rule: Rule) -> Iterator[Found]:
    """The same where the profile names no batches, at four times that of now; what cannot be freed is left out."""
    now = _batch(ground)
    if not ground.aim.batches:
        yield from (found for found in _blocked(ground, rule, now, 4 * max(now, 1)) if found.kind == "node")


def _batch(ground: Ground) -> int:
    sizes = [value.shape[0] for value in ground.graph.inputs if value.shape]
    return next((size for size in sizes if isinstance(size, int)), 1)


def _blocked(ground: Ground, rule: Rule, now: int, batch: int) -> Iterator[Finding]:
    found = blockers(ground.graph, batch)
    if found is None:
        return
    kinds = {node.name: node.op_type for node in ground.graph.nodes}
    for name in found.nodes:
        finding = at(rule, "node", name, batch=batch, now=now, what="set_batch frees it")
        yield replace(finding, op=kinds.get(name, ""))
    if found.fault:
        fault = at(rule, "model", "batch", batch=batch, now=now, what=f"and it cannot be freed: {found.fault}")
        yield replace(fault, fix=())


def unnamed(ground: Ground, rule: Rule) -> Iterator[Found]:
    """Outputs that ``out_nodes`` cannot name."""
    for name, word in ground.words.items():
        if word is not None:
            continue
        node = ground.graph.index.producer(name)
        if node is None:
            what = "no node makes it"
        elif not node.name:
            what = "its node has no name"
        else:
            what = f"the name of its node, {show(node.name)}, is shared or holds ':' or ';'"
        yield at(rule, "output", name, what=what)


def unused(ground: Ground, rule: Rule) -> Iterator[Found]:
    """Outputs beside those that the profile keeps; without a word of it, all but the first."""
    outputs = [value.name for value in ground.graph.outputs]
    rest = [name for name in outputs if name not in (ground.named or outputs[:1])]
    if not rest:
        return
    halves = [half_bytes(ground.sizes.of(name)) for name in rest]
    used = ", ".join(show(name) for name in outputs if name in ground.named)
    more = f" and {len(rest) - 8} more" if len(rest) > 8 else ""
    yield at(
        rule, "model", "outputs", count=len(outputs), kept=used or f"not said, {show(outputs[0])} is the first",
        rest=", ".join(map(show, rest[:8])) + more, bytes=short_bytes(sum(half or 0 for half in halves)),
    )  # fmt: skip


def memory_beyond(ground: Ground, rule: Rule) -> Iterator[Found]:
    """Batches whose weights and activations are more than the device has."""
    device = ground.aim.device
    for batch, need in ground.needs if device is not None else ():
        assert device is not None
        if need > device.memory:
            yield at(
                rule, "model", f"batch {batch}", batch=batch, need=short_bytes(need), memory=short_bytes(device.memory),
                source=device.sources["memory"],
            )  # fmt: skip


def memory(ground: Ground, rule: Rule) -> Iterator[Found]:
    """The bytes of each batch beside the device's memory."""
    device = ground.aim.device
    if device is not None and ground.needs:
        text = ", ".join(f"batch {batch}: {short_bytes(need)}" for batch, need in ground.needs)
        has = short_bytes(device.memory)
        yield at(rule, "model", "memory", needs=text, memory=has, source=device.sources["memory"])
