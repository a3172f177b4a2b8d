"""Format conversions: where NC1HWC0 and the plain form meet, what they move, and the bound of the time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from graphtool.analysis.amounts import short_bytes
from graphtool.analysis.layout import Conversion
from graphtool.lint.conditions import Found
from graphtool.lint.found import at
from graphtool.lint.ground import Ground
from graphtool.lint.rule import Rule
from graphtool.rewrite.result import label

_LARGE = 1 << 20  # bytes of a conversion that is worth a line of its own


def _values(ground: Ground, found: Conversion) -> dict[str, object]:
    device = ground.aim.device
    bound = "not published" if device is None else f"{device.transfer(found.bytes) * 1e3:.3g} ms"
    group = ground.group
    channels = found.shape[1]
    return {
        "shape": "x".join(map(str, found.shape)),
        "channels": channels,
        "padded": -(-channels // group) * group,
        "waste": f"{found.waste * 100:.3g} %",
        "bytes": short_bytes(found.bytes),
        "read": short_bytes((found.padded if found.leaves else found.plain) * found.element),
        "written": short_bytes((found.plain if found.leaves else found.padded) * found.element),
        "dtype": "float32" if found.element == 4 else "float16",
        "bound": bound,
        "reader": found.reader,
    }


def inner(ground: Ground, rule: Rule) -> Iterator[Found]:
    """Conversions inside the graph, of a megabyte or more each."""
    ends = {value.name for value in ground.graph.inputs}
    kinds = {label(node): node.op_type for node in ground.graph.nodes}
    for found in ground.conversions:
        if found.reader == "(output)" or found.value in ends or found.bytes < _LARGE:
            continue
        finding = at(rule, "node", found.reader, **_values(ground, found), value=found.value)
        yield replace(finding, op=kinds.get(found.reader, ""))


def inputs(ground: Ground, rule: Rule) -> Iterator[Found]:
    """Conversions of graph inputs."""
    names = {value.name for value in ground.graph.inputs}
    for found in ground.conversions:
        if found.value in names and not found.leaves and found.bytes >= _LARGE:
            yield at(rule, "input", found.value, **_values(ground, found))


def outputs(ground: Ground, rule: Rule) -> Iterator[Found]:
    """Conversions of the outputs that are kept, in float32."""
    yield from _of_outputs(ground, rule, 4)


def half_outputs(ground: Ground, rule: Rule) -> Iterator[Found]:
    """Conversions of the outputs that are kept, in float16."""
    yield from _of_outputs(ground, rule, 2)


def _of_outputs(ground: Ground, rule: Rule, element: int) -> Iterator[Found]:
    names = ground.kept
    for found in ground.conversions:
        if found.value in names and found.reader == "(output)" and found.element == element and found.bytes >= _LARGE:
            yield at(rule, "output", found.value, **_values(ground, found))
