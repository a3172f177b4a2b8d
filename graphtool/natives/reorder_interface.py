"""The order of inputs and outputs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from graphtool.errors import PassError, did_you_mean, quoted
from graphtool.graph import Graph
from graphtool.rewrite.result import Applied, Match, Miss


def apply(graph: Graph, params: Mapping[str, object]) -> Applied:
    """Put the named inputs and outputs first, in the order given; raises PassError for a name that is none."""
    inputs, outputs = params["inputs"], params["outputs"]
    assert isinstance(inputs, list) and isinstance(outputs, list)
    if not inputs and not outputs:
        return Applied(misses=[Miss("", "native", "nothing is named; give inputs=A+B, outputs=A+B or both")])
    matches = []
    for what, field, wanted in (("input", graph.header.input, inputs), ("output", graph.header.output, outputs)):
        if wanted and _reorder(what, field, wanted):
            matches.append(Match(f"{what}s", "native"))
    return Applied(matches)


def _reorder(what: str, field: Any, wanted: Sequence[str]) -> bool:
    names = [info.name for info in field]
    for name in wanted:
        if name not in names:
            raise PassError(f"no {what} named {quoted(name)}{did_you_mean(name, names)}")
    if len(set(wanted)) < len(wanted):
        raise PassError(f"an {what} is named twice")
    rank = {name: place for place, name in enumerate(wanted)}
    field.sort(key=lambda info: rank.get(info.name, len(rank)))  # the others stay behind them, in their order
    return [info.name for info in field] != names
