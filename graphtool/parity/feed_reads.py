"""Who reads an input, directly or through operators that only move or convert it, and the sizes of what they see."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from onnx import NodeProto, helper

from graphtool.graph import Graph
from graphtool.graph.bodies import bodies

# operators that move, convert or clamp an input, and at which places; None: at any
_MOVES: dict[str, tuple[int, ...] | None] = {
    **dict.fromkeys(("Cast", "CastLike", "Clip", "Dropout", "Expand", "Flatten", "Identity", "Reshape", "Slice"), (0,)),
    **dict.fromkeys(("Optional", "OptionalGetElement", "SequenceAt", "SequenceErase", "SequenceInsert"), (0,)),
    **dict.fromkeys(("Split", "Squeeze", "Tile", "Transpose", "Unsqueeze"), (0,)),
    **dict.fromkeys(("Concat", "Max", "Min"), None),
    "Where": (1, 2),
}


@dataclass(frozen=True, slots=True)
class Known:
    """The graph, the size of each symbol, and the shape of each input that is being drawn."""

    graph: Graph
    dims: Mapping[str, int]
    sizes: Mapping[str, tuple[int, ...]]

    def shape(self, name: str) -> tuple[int | None, ...] | None:
        """Return a tensor's shape with the symbols replaced by their sizes; None for what is not known."""
        if name in self.sizes:
            return self.sizes[name]
        value = self.graph.value(name)
        if value is None or value.shape is None:
            return None
        return tuple(dim if isinstance(dim, int) else self.dims.get(dim or "") for dim in value.shape)

    def extent(self, name: str, axis: int) -> int | None:
        """Return the size of one axis of a tensor."""
        shape = self.shape(name)
        return shape[axis] if shape is not None and -len(shape) <= axis < len(shape) else None


@dataclass(frozen=True, slots=True)
class Read:
    """A node that reads a value at a place; ``through`` are the op types that the value came through."""

    node: NodeProto
    place: int
    through: tuple[str, ...]

    def attribute(self, name: str, default: Any) -> Any:
        """Return an attribute's value, ``default`` where the node does not set it."""
        return next((helper.get_attribute_value(a) for a in self.node.attribute if a.name == name), default)

    def input(self, place: int) -> str:
        """Return the name of another input of the node, empty where it is absent."""
        return self.node.input[place] if place < len(self.node.input) else ""


def readers_of(graph: Graph, name: str) -> Iterator[Read]:
    """Yield who reads a value, directly or through operators that only move or convert it."""
    seen = {name}
    work: list[tuple[str, tuple[str, ...]]] = [(name, ())]
    while work:
        value, through = work.pop(0)
        for node in graph.index.consumers(value):
            for reader in _holding(node, value):
                for place, read in enumerate(reader.input):
                    if read != value:
                        continue
                    yield Read(reader, place, through)
                    places = _MOVES.get(reader.op_type, ())
                    if places is None or place in places:
                        for output in reader.output:
                            if output and output not in seen:
                                seen.add(output)
                                work.append((output, (*through, reader.op_type)))


def _holding(node: NodeProto, value: str) -> Iterator[NodeProto]:
    """Yield ``node`` and the nodes in its bodies that read ``value``."""
    if value in node.input:
        yield node
    for body in bodies(node):
        for inner in body.node:
            yield from _holding(inner, value)
