"""One node as the rules see it: its attributes, and what is known of its inputs."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from onnx import NodeProto, helper

from graphtool.graph.contents import Content, Items
from graphtool.graph.facts_symbols import Size, Symbols

Sizes = tuple[Size, ...]
INVENTED = re.compile(r"unk__\d+")  # how onnx calls a size that it does not know


class Unknown(Exception):  # noqa: N818  # no error: the usual end of a rule
    """A rule has no answer for this node; nothing is known of its outputs."""


class Fact(NamedTuple):  # a tuple, for the speed at which it is hashed and compared
    """The type of a value: element type (0 unknown), sizes of the axes (None: not even the rank is known), kind.

    A size is a number, a symbol of any sort or None; ``kind`` is that of
    :class:`~graphtool.graph.values.Value`. ``other`` is the serialised TypeProto of what is no tensor.
    """

    dtype: int = 0
    shape: Sizes | None = None
    kind: str = "tensor"
    other: bytes = b""

    @property
    def static(self) -> bool:
        """Whether the size of every axis is a number."""
        return self.shape is not None and all(isinstance(size, int) for size in self.shape)


NOTHING = Fact(kind="unknown")


@dataclass(slots=True)
class Call:
    """A node with what is known of its inputs, place by place; an absent input is None in both lists."""

    node: NodeProto
    version: int  # of the default operator set
    symbols: Symbols
    facts: Sequence[Fact | None]
    contents: Sequence[Content | None]
    attributes: dict[str, Any] | None = None

    def attr(self, name: str, default: Any = None) -> Any:
        """Return an attribute's value, ``default`` where the node does not set it."""
        if self.attributes is None:
            self.attributes = {a.name: helper.get_attribute_value(a) for a in self.node.attribute}
        return self.attributes.get(name, default)

    def has(self, place: int) -> bool:
        """Whether an optional input is there."""
        return place < len(self.node.input) and bool(self.node.input[place])

    def dtype(self, place: int = 0) -> int:
        """Return the element type of an input, 0 where it is not known."""
        fact, content = self.facts[place], self.contents[place]
        return fact.dtype if fact is not None and fact.dtype else 0 if content is None else content.dtype

    def shape(self, place: int = 0) -> Sizes:
        """Return the sizes of the axes of an input; raises Unknown."""
        fact = self.facts[place] if place < len(self.facts) else None
        if fact is None or fact.shape is None:
            raise Unknown
        return fact.shape

    def content(self, place: int) -> Content:
        """Return the content of an input; raises Unknown."""
        found = self.contents[place] if place < len(self.contents) else None
        if found is None:
            raise Unknown
        return found

    def array(self, place: int) -> Items:
        """Return the elements of an input as an array of objects; raises Unknown."""
        return self.content(place).array

    def ints(self, place: int) -> tuple[int, ...]:
        """Return the elements of an integer input; raises Unknown unless all are numbers."""
        found = self.content(place).ints
        if found is None:
            raise Unknown
        return found

    def sizes(self, place: int) -> Sizes:
        """Return the elements of a vector of sizes as numbers, symbols or None; raises Unknown for other contents."""
        content = self.content(place)
        if len(content.shape) > 1 or any(isinstance(item, float) for item in content.items):
            raise Unknown
        return tuple(item for item in content.items if not isinstance(item, float))

    def listed(self, name: str, place: int) -> tuple[int, ...] | None:
        """Return integers that are an attribute in old operator sets and an input in new ones; None where absent."""
        if place and self.has(place):
            return self.ints(place)
        found = self.attr(name)
        return None if found is None else tuple(found)


def axis_in(axis: int, rank: int) -> int:
    """Return an axis counted from the front; raises Unknown for one that is not there."""
    if not -rank <= axis < rank:
        raise Unknown
    return axis % rank


def axes_in(axes: Sequence[int], rank: int) -> list[int]:
    """Return axes counted from the front, in ascending order; raises Unknown for one missing or named twice."""
    found = sorted({axis_in(axis, rank) for axis in axes})
    if len(found) != len(axes):
        raise Unknown
    return found
