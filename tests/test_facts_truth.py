"""What facts claim of public models is held against what onnxruntime computes: sizes, contents, equality of symbols."""

from __future__ import annotations

import json
import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from onnx import ModelProto

from graphtool.errors import GraphtoolError
from graphtool.graph import Graph
from graphtool.parity.feed import draw
from graphtool.parity.session import Session

Arrays = Mapping[str, NDArray[Any]]


def values_of(graph: Graph) -> list[str]:
    return [name for node in graph.nodes for name in node.output if name]


def false_claims(graph: Graph, arrays: Arrays) -> tuple[list[str], int]:
    """Return what ``graph.facts`` says that is not so in one run, and how much it says."""
    bound: dict[str, int] = {}
    wrong: list[str] = []
    claims = 0

    def claim(said: object, real: int, where: str) -> None:
        nonlocal claims
        claims += said is not None
        if isinstance(said, str):
            said = bound.setdefault(said, real)
        if said is not None and said != real and not np.array_equal(said, real, equal_nan=True):
            wrong.append(f"{where} is {real}, not {said}")

    for name, array in arrays.items():
        fact = graph.facts.fact(name)
        if not isinstance(array, np.ndarray) or fact.kind != "tensor":
            continue
        if fact.shape is not None:
            claim(len(fact.shape), array.ndim, f"rank of {name}")
            for axis, (said, real) in enumerate(zip(fact.shape, array.shape, strict=False)):
                claim(said, real, f"{name}.{axis}")
        content = graph.facts.elements(name)
        if content is not None:
            assert content.shape == array.shape, name
            for place, (item, real) in enumerate(zip(content.items, array.ravel().tolist(), strict=True)):
                claim(item, real, f"{name}#{place}")
    symbols = graph.facts.symbols
    for name, size in bound.items():
        claim(True if symbols.nonnegative(name) else None, size >= 0, f"{name} >= 0")
        claim(True if symbols.positive(name) else None, size > 0, f"{name} > 0")
    return wrong, claims


def with_symbols(graph: Graph) -> Graph:
    """Return the graph with a symbol for each size of its inputs, and nothing declared of its outputs."""
    proto = ModelProto()
    proto.CopyFrom(graph.proto)
    given = {value.name for value in graph.inputs}
    for info in proto.graph.input:
        for axis, dim in enumerate(info.type.tensor_type.shape.dim if info.name in given else ()):
            dim.dim_param = f"{info.name}:{axis}"
    for info in proto.graph.output:
        if info.type.HasField("tensor_type"):
            info.type.tensor_type.ClearField("shape")
    return Graph(proto, graph.weights, graph.path)


def fold(graph: Graph, chance: random.Random) -> None:
    """Replace some nodes whose content is known by constants, and let facts follow."""
    kept = {info.name for info in graph.header.output}
    for slot in graph.live_slots():
        node = graph.node(slot)
        if node is None or node.op_type == "Constant" or len(node.output) != 1 or node.output[0] in kept:
            continue
        name = node.output[0]
        content = graph.content(name)
        array = None if content is None else content.numeric
        if array is not None and chance.random() < 0.7:
            graph.remove_node(slot)
            graph.put_initializer(name, array)
            if chance.random() < 0.3:
                graph.refine_shapes()
    graph.refine_shapes()


@pytest.mark.parametrize("part", range(5))
def test_public_models(shared: Path, part: int) -> None:
    rows = (shared / "corpus" / "index.jsonl").read_text().splitlines()[part::40]
    ran = claimed = 0
    for number, row in enumerate(rows):
        path = shared / "corpus" / json.loads(row)["file"]
        try:
            graph = Graph.load(path)
            feed = draw(graph).arrays
            found = Session(graph, values_of(graph), threads=1).run(feed)
        except GraphtoolError:
            continue  # a model that onnxruntime or the feed cannot take
        ran += 1
        for sized in (graph, with_symbols(graph)):
            arrays = {**feed, **found}
            wrong, claims = false_claims(sized, arrays)
            assert not wrong, path.name
            claimed += claims
            fold(sized, random.Random(number))
            assert not false_claims(sized, arrays)[0], f"{path.name} after folding"
            fresh = sized.copy()
            names = values_of(sized)
            assert [sized.value(name) for name in names] == [fresh.value(name) for name in names], path.name
    assert ran > 30
    assert claimed > 1000


def test_a_false_claim_is_found(shared: Path) -> None:
    """The check itself, on a model whose arrays are not its own."""
    graph = Graph.load(shared / "corpus" / json.loads((shared / "corpus" / "index.jsonl").open().readline())["file"])
    name = values_of(graph)[-1]
    wrong, _ = false_claims(graph, {name: np.zeros((7, 7, 7, 7, 7), np.float32)})
    assert wrong
