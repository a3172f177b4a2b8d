"""Hold an explained command against the graph it is for: every name, index, rank and size that it mentions."""

from __future__ import annotations

from collections.abc import Iterator

from graphtool.atc import outputs, shaperules
from graphtool.atc.cann import Cann, release
from graphtool.atc.explain import Explained
from graphtool.atc.finding import UNKNOWN, Finding
from graphtool.atc.findings import mask
from graphtool.errors import ProfileError, did_you_mean, quoted
from graphtool.graph import Graph

_SOURCE = "the model; GE, v2.0.0, 2023-03"


def against(one: Explained, graph: Graph, cann: Cann | None = None) -> Iterator[Finding]:
    """Yield what in a command does not hold for a graph; values that are unknown until run are not judged."""
    options = {name: mask(value) for name, value in one.options.items()}
    yield from _shapes(options.get("input_shape", ""), graph, "dynamic" in " ".join(options))
    yield from _halves(options.get("input_fp16_nodes", ""), graph)
    yield from _nodes("out_nodes", options.get("out_nodes", "").split(";"), graph)
    types = options.get("output_type", "")
    if ":" in types:
        yield from _nodes("output_type", [part.rpartition(":")[0] for part in types.split(";")], graph)
    yield from opset_findings(graph, cann)


def opset_findings(graph: Graph, cann: Cann | None) -> Iterator[Finding]:
    """Yield a warning where the graph's opset is beyond what a release documents."""
    known = release(cann) if cann is not None else None
    opset = graph.opset() or 0
    if known is None or known.opsets is None or known.opsets[0] <= opset <= known.opsets[1]:
        return
    low, high = known.opsets
    span = str(high) if low == high else f"{low} to {high}"
    fix = f"convert_opset:to={high}" if opset > high else f"convert_opset:to={low}"
    extra = f"; operators are registered for {known.plugins[0]} to {known.plugins[1]}" if known.plugins else ""
    yield Finding(
        "model",
        "warning",
        "EZ9010" if opset > (known.plugins or known.opsets)[1] else "",
        f"opset {opset}; CANN {cann} documents {span}{extra}",
        f"graphtool run -p {fix}",
        known.source,
    )


def _shapes(text: str, graph: Graph, gears: bool) -> Iterator[Finding]:
    inputs = {value.name: value for value in graph.inputs}
    sizes = shaperules.read(text)[0] if text else {}
    if sizes is None:
        return
    for name, dims in sizes.items():
        if UNKNOWN in name:
            continue
        if name not in inputs:
            reason = f"the model has no input {quoted(name)}{did_you_mean(name, inputs)}"
            hint = "" if "did you mean" in reason else f"the inputs are {', '.join(map(quoted, inputs))}"
            yield Finding("input_shape", "error", "E10016", reason, hint, _SOURCE)
            continue
        own = inputs[name].shape
        if own is None or (None in dims and not gears and len(dims) == 1):
            continue
        if len(own) != len(dims) and None not in dims:
            reason = f"input {quoted(name)} has {len(own)} dimensions ({inputs[name].type_text()}), not {len(dims)}"
            yield Finding("input_shape", "error", "E10049", reason, "", _SOURCE)
            continue
        for axis, (dim, has) in enumerate(zip(dims, own, strict=False)):
            if isinstance(has, int) and dim is not None and dim != has:
                word = "left open" if dim == -1 else str(dim)
                reason = f"input {quoted(name)}: dimension {axis} is {has} in the model, here {word}"
                fix = "set_batch" if axis == 0 else "set_input_shapes"
                yield Finding("input_shape", "warning", "", reason, f"ATC overrides it; see graphtool {fix}", _SOURCE)
    for name, value in inputs.items():
        if name not in sizes and (value.shape is None or not all(isinstance(dim, int) for dim in value.shape)):
            reason = f"input {quoted(name)} is {value.type_text()} and has no sizes here"
            yield Finding("input_shape", "error", "E10011", reason, f"add {name}:DIM,DIM,...", _SOURCE)


def _halves(text: str, graph: Graph) -> Iterator[Finding]:
    inputs = [value.name for value in graph.inputs]
    for name in text.split(";"):
        if name and UNKNOWN not in name and name not in inputs:
            reason = f"the model has no input {quoted(name)}{did_you_mean(name, inputs)}"
            yield Finding("input_fp16_nodes", "error", "E10016", reason, "", _SOURCE)


def _nodes(option: str, words: list[str], graph: Graph) -> Iterator[Finding]:
    for word in words:
        name, colon, index = word.rpartition(":")
        if UNKNOWN in word or not word:
            continue
        if not colon or not index.isdigit():
            name, index = word, "0"
        try:
            outputs.named(graph, [(name, int(index))], option)
        except ProfileError as why:
            reason = str(why).removeprefix(f"{option}: ")
            code = "E10001" if "has no output" in reason else "E10016"
            yield Finding(option, "error", code, reason, "", _SOURCE)
