"""Declared shapes of inputs, fixed or freed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from onnx import ValueInfoProto

from graphtool.errors import PassError, did_you_mean, quoted, show
from graphtool.graph import Graph
from graphtool.graph.declared import (
    declare,
    declare_dim,
    drop_inner_types,
    inference_fault,
    narrowed,
    redeclare_outputs,
)
from graphtool.graph.values import Dim, Shape, value_of
from graphtool.rewrite.result import Applied, Match, Miss


def apply(graph: Graph, params: Mapping[str, object]) -> Applied:
    """Declare ``shapes`` for ``inputs``, ``sizes`` for ``symbols``; raises PassError where the graph does not fit."""
    names, shapes = params["inputs"], params["shapes"]
    symbols, sizes = params["symbols"], params["sizes"]
    assert isinstance(names, list) and isinstance(shapes, list)
    assert isinstance(symbols, list) and isinstance(sizes, list)
    if len(names) != len(shapes):
        raise PassError(f"'inputs' has {len(names)} names and 'shapes' has {len(shapes)}; give one shape for each")
    if len(symbols) != len(sizes):
        raise PassError(f"'symbols' has {len(symbols)} names and 'sizes' has {len(sizes)}; give one size for each")
    if not names and not symbols:
        given = "nothing is named; give inputs=NAME and shapes=1x3x224x224, or symbols=N and sizes=1"
        return Applied(misses=[Miss("", "native", given)])
    asked = {name: _dims(text) for name, text in zip(names, shapes, strict=True)}
    infos = _infos(graph, list(asked))
    fixed, misses = _fixed(graph, symbols, sizes)
    changes: dict[str, Shape] = {}
    for value in graph.inputs:
        if value.kind != "tensor":
            continue
        shape = asked.get(value.name, value.shape)
        if value.name in asked and value.shape is not None and len(asked[value.name]) != len(value.shape):
            raise PassError(f"input {quoted(value.name)} has {len(value.shape)} dimensions, {value.type_text()}")
        shape = None if shape is None else tuple(fixed.get(dim, dim) if isinstance(dim, str) else dim for dim in shape)
        if shape is not None and shape != value.shape:
            changes[value.name] = shape
    if not changes:
        return Applied(misses=misses or [Miss(name, "native", "it has that shape already") for name in asked])
    sound, before, values = inference_fault(graph) is None, _symbols(graph), graph.inputs
    beyond = next((dim for shape in changes.values() for dim in shape if isinstance(dim, int) and dim >> 63), None)
    if beyond is not None:
        raise PassError(f"the size {show(str(beyond), 40)} is more than ONNX can write")
    for name, shape in changes.items():
        declare(infos[name], infos[name].type.tensor_type.elem_type, shape)
    _fix_outputs(graph, fixed)
    drop_inner_types(graph)
    redeclare_outputs(graph, gone=before - _symbols(graph), became=narrowed(values, graph.inputs))
    fault = inference_fault(graph) if sound else None
    if fault is not None:
        raise PassError(f"the graph does not take these shapes: {show(fault, 200)} (set_batch frees a batch)")
    return Applied([Match(name, "native") for name in changes], misses)


def _infos(graph: Graph, names: Sequence[str]) -> dict[str, ValueInfoProto]:
    infos = {info.name: info for info in graph.header.input}
    inputs = {value.name for value in graph.inputs}
    for name in names:
        if name not in inputs:
            what = " is a weight that a caller may override, not an input that is given" if name in infos else ""
            raise PassError(f"{quoted(name)}{what}" if what else f"no input named {quoted(name)}{_near(name, inputs)}")
        if value_of(infos[name]).kind != "tensor":
            raise PassError(f"input {quoted(name)} is a {value_of(infos[name]).kind}; only tensors have a shape")
    return infos


def _near(name: str, known: set[str]) -> str:
    return did_you_mean(name, known) or f"; the inputs are {', '.join(map(show, sorted(known)))}"


def _dims(text: str) -> Shape:
    """Return the shape that ``1x3x224x224`` or ``N,3,-1,-1`` says; -1 and ? are open dimensions without a name."""
    words = [word.strip() for word in text.split("," if "," in text else "x")]
    dims: list[Dim] = []
    for word in words:
        if word in ("-1", "?"):
            dims.append(None)
        elif word.isdecimal() and int(word) > 0:
            dims.append(int(word))
        elif word and word.isprintable() and not word.lstrip("+-").replace(".", "").isdecimal():
            dims.append(word)
        else:
            raise PassError(f"{quoted(text)} is no shape: {quoted(word)} is neither a positive size nor a name")
    return tuple(dims)


def _fixed(graph: Graph, symbols: Sequence[str], sizes: Sequence[int]) -> tuple[dict[str, int], list[Miss]]:
    """Return the size of each symbol, and a miss for each that no input has (any more)."""
    known = _symbols(graph)
    for name, size in zip(symbols, sizes, strict=True):
        if size < 1:
            raise PassError(f"the size {size} of {quoted(name)} is not positive")
    gone = [Miss(name, "native", f"no input has an open dimension of that name{did_you_mean(name, known)}")
            for name in symbols if name not in known]  # fmt: skip
    return dict(zip(symbols, sizes, strict=True)), gone


def _symbols(graph: Graph) -> set[str]:
    return {dim for value in graph.inputs for dim in value.shape or () if isinstance(dim, str)}


def _fix_outputs(graph: Graph, fixed: Mapping[str, int]) -> None:
    for info in graph.header.output:
        for axis, dim in enumerate(value_of(info).shape or ()):
            if isinstance(dim, str) and dim in fixed:
                declare_dim(info, axis, fixed[dim])
