"""Small graphs and their differences, for the tests of ``diff``."""

from __future__ import annotations

from collections.abc import Callable

import onnx
from conftest import graph_of as of
from onnx import ModelProto

from graphtool.diff import Diff, diff
from graphtool.graph import Graph

NET = """
agraph (float[1,4] x, float[1,4] mask) => (float[1,4] y, float[1,4] z)
  <float[1,4] w = {1, 2, 3, 4}, float[1,4] unread = {0, 0, 0, 0}>
{
  [first] a = LeakyRelu <alpha = 0.1> (x)
  [second] b = Add (a, w)
  [third] c = Mul (b, mask)
  [left] y = Relu (c)
  [right] z = Neg (c)
}
"""


def edited(text: str, *changes: tuple[str, str]) -> Diff:
    """The difference between a graph in ONNX text and the same text with parts replaced."""
    after = text
    for old, new in changes:
        assert old in after
        after = after.replace(old, new)
    return diff(of(text), of(after))


def proto_edited(edit: Callable[[ModelProto], object], text: str = NET) -> Diff:
    before = of(text)
    proto = before.full_proto()
    edit(proto)
    return diff(before, Graph.from_proto(proto))


def details(found: Diff) -> dict[str, dict[str, tuple[str | None, str | None]]]:
    """The changed nodes: by name, what changed and how."""
    return {item.name: {d.what: (d.before, d.after) for d in item.details} for item in found.nodes.changed}


def names(entries: tuple[object, ...]) -> list[str]:
    return [entry.name for entry in entries]  # type: ignore[attr-defined]


def only(found: Diff, *parts: str) -> bool:
    """Whether nothing but the named parts differs."""
    differing = {f"{noun}s" for noun, part in found.parts() if part} | ({"model"} if found.model else set())
    return differing == set(parts)


def entry(key: str, value: str) -> onnx.StringStringEntryProto:
    return onnx.StringStringEntryProto(key=key, value=value)
