"""Peak activation memory: which values are alive at once while the nodes run in their order."""

from __future__ import annotations

from dataclasses import dataclass

from graphtool.analysis.amounts import Amount, is_at_least
from graphtool.analysis.sizes import Sizes
from graphtool.graph import Graph
from graphtool.graph.bodies import captures, has_bodies
from graphtool.rewrite.result import label

_MOST = 4  # peaks of which none is the largest whatever the symbols are


@dataclass(frozen=True, slots=True)
class Peak:
    """The most bytes that are alive at once, and the node that runs then.

    With open sizes there may be several candidates; each is the largest for some sizes. ``unknown`` values of unknown
    size are not in it.
    """

    candidates: tuple[tuple[Amount, str], ...]
    unknown: int

    @property
    def bytes(self) -> Amount | None:
        """The peak where there is one candidate."""
        return self.candidates[0][0] if len(self.candidates) == 1 else None


def peak(graph: Graph, sizes: Sizes) -> Peak:
    """Return the peak of activations over the nodes in order, the main graph alone.

    Inputs are alive from the start and outputs to the end, as a runtime's caller holds them; any other value from the
    node that makes it to its last reader. Each value has a buffer of its own: what a runtime shares or fuses is less.
    """
    last: dict[str, int] = {}
    nodes = list(graph.nodes)
    for place, node in enumerate(nodes):
        for name in node.input:
            last[name] = place
        if has_bodies(node):
            for name in captures(node):
                last[name] = place
    outputs = {info.name for info in graph.header.output}
    inputs = {value.name for value in graph.inputs}
    dying: dict[int, list[str]] = {}
    for name, place in last.items():
        if name and name not in outputs and name not in inputs:
            dying.setdefault(place, []).append(name)
    alive: Amount = 0
    unknown = 0
    held: dict[str, Amount] = {}
    found: list[tuple[Amount, str]] = []

    def born(name: str) -> None:
        nonlocal alive, unknown
        amount = sizes.of(name).bytes if name and name not in held else 0
        if amount is None:
            unknown += 1
        elif name:
            held[name] = amount
            alive = alive + amount

    for name in sorted(inputs):
        born(name)
    _note(found, alive, "(start)")
    for place, node in enumerate(nodes):
        if node.op_type == "Constant" and node.domain in ("", "ai.onnx"):
            continue
        for name in node.output:
            born(name)
        _note(found, alive, label(node))
        gone = [*dying.get(place, ()), *(n for n in node.output if n and n not in last and n not in outputs)]
        for name in gone:
            alive = alive - held.pop(name, 0)
    return Peak(tuple(found), unknown)


def _note(found: list[tuple[Amount, str]], alive: Amount, name: str) -> None:
    if any(is_at_least(amount, alive) for amount, _ in found):
        return
    found[:] = [item for item in found if not is_at_least(alive, item[0])]
    if len(found) < _MOST:
        found.append((alive, name))
