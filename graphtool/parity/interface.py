"""The interface of a graph, and whether a pass changed more of it than it declared."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from graphtool.errors import quoted
from graphtool.graph import Graph, Value
from graphtool.graph.declared import drop_inner_types
from graphtool.rewrite.result import Match


def interface_fault(
    before: Graph, after: Graph, declared: frozenset[str], renamed: Mapping[str, str]
) -> str | None:  # fmt: skip
    """Return how the interface changed beyond ``declared``, or None.

    ``declared`` holds ``names``, ``types``, ``shapes``, ``order``; ``subset`` (outputs dropped), ``cut`` (inner tensors
    become outputs), ``append`` (new nodes make new outputs of old ones, and may bring inputs), ``inputs`` (inputs
    dropped, or inner tensors become inputs). ``renamed`` maps new names to old ones.
    """
    kinds = declared & {"names", "types", "shapes", "order"}
    inputs = kinds | ({"dropped", "added"} if "inputs" in declared else set())
    inputs |= {"added"} if "append" in declared else set()
    outputs = kinds | ({"dropped"} if declared & {"subset", "append"} else set())
    outputs |= {"added"} if declared & {"cut", "append"} else set()
    fault = _changed("input", before.inputs, after.inputs, inputs, renamed)
    return fault or _changed("output", before.outputs, after.outputs, outputs, renamed)


def type_fault(before: Graph, after: Graph, matches: Iterable[Match]) -> str | None:
    """Return which match makes an inner value of another type than before, whose stored type would be wrong; or None.

    No output shows it, but whoever reads the model, and the next pass, believes what is stored.
    """
    stored = {info.name for info in after.header.value_info}
    made = {name: match.where for match in matches for name in match.outputs if name in stored}
    if not made:
        return None
    graphs = before.copy(), after.copy()
    for graph in graphs:
        drop_inner_types(graph)
    for name, where in made.items():
        old, new = (graph.value(name) for graph in graphs)
        if old is not None and new is not None and _contradict(old, new):
            return f"match {quoted(where)} makes {quoted(name)} {new.type_text()}, which was {old.type_text()}"
    return None


def _contradict(one: Value, other: Value) -> bool:
    """Whether two types of a tensor cannot both be right."""
    if one.kind != "tensor" or other.kind != "tensor" or not one.dtype or not other.dtype:
        return False
    if one.dtype != other.dtype or one.shape is None or other.shape is None:
        return one.dtype != other.dtype
    if len(one.shape) != len(other.shape):
        return True
    pairs = zip(one.shape, other.shape, strict=True)
    return any(isinstance(a, int) and isinstance(b, int) and a != b for a, b in pairs)


def _changed(
    what: str, before: Sequence[Value], after: Sequence[Value], declared: frozenset[str], renamed: Mapping[str, str]
) -> str | None:  # fmt: skip
    names = renamed if "names" in declared else {}
    old = {value.name: value for value in before}
    new = {names.get(value.name, value.name): value for value in after}
    lost = [name for name in old if name not in new]
    if lost and "dropped" not in declared:
        return f"{what} {quoted(lost[0])} is gone"
    added = [name for name in new if name not in old]
    if added and "added" not in declared:
        return f"{what} {quoted(added[0])} is new"
    kept = [name for name in old if name in new]
    if not added and kept != list(new) and "order" not in declared:
        return f"the order of the {what}s changed"
    for name in kept:
        a, b = old[name], new[name]
        if a.dtype != b.dtype and "types" not in declared:
            return f"{what} {quoted(name)} changed its type from {a.type_text()} to {b.type_text()}"
        if a.kind != b.kind or (a.shape != b.shape and "shapes" not in declared):
            return f"{what} {quoted(name)} changed from {a.type_text()} to {b.type_text()}"
    return None
