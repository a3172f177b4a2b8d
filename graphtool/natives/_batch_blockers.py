"""Which constants keep a graph from taking another batch: set_batch, tried on a copy."""

from __future__ import annotations

from typing import NamedTuple

from graphtool.errors import GraphtoolError, PassError
from graphtool.graph import Graph
from graphtool.natives import set_batch


class Blockers(NamedTuple):
    """Nodes with a constant that holds the batch of now and can be freed; ``fault`` names one that cannot."""

    nodes: tuple[str, ...] = ()
    fault: str = ""


def blockers(graph: Graph, batch: int) -> Blockers | None:
    """Return what blocks ``batch`` in ``graph``, which stays as it is; None where no input has a batch."""
    own = graph.copy()
    inputs = {value.name for value in own.inputs}
    try:
        set_batch.carriers(own, [])
    except PassError:
        return None
    try:
        applied = set_batch.apply(own, {"batch": str(batch), "inputs": []})
    except GraphtoolError as error:
        return Blockers(fault=str(error))
    return Blockers(tuple(match.where for match in applied.matches if match.where not in inputs))
