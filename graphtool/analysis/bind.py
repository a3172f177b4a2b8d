"""Open sizes of inputs bound to numbers, on a copy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from graphtool.errors import PassError, UsageError
from graphtool.graph import Graph
from graphtool.natives import set_input_shapes


def bound(graph: Graph, shapes: Mapping[str, Sequence[int]], where: str = "--shape") -> Graph:
    """Return ``graph`` with inputs of these shapes; itself where none are given. Raises UsageError for a misfit.

    A symbol that an input's shape fixes is that number wherever another input has it.
    """
    if not shapes:
        return graph
    own = graph.copy()
    symbols: dict[str, int] = {}
    for value in own.inputs:
        for dim, size in zip(value.shape or (), shapes.get(value.name, ()), strict=False):
            if isinstance(dim, str):
                symbols[dim] = size
    given = {
        "inputs": list(shapes),
        "shapes": ["x".join(map(str, shape)) for shape in shapes.values()],
        "symbols": list(symbols),
        "sizes": list(symbols.values()),
    }
    try:
        set_input_shapes.apply(own, given)
    except PassError as error:
        raise UsageError(f"{where}: {error}") from None
    return own
