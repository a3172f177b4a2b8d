"""A graph as a comparison sees it: nodes by position, who makes and who reads a value."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property

from onnx import StringStringEntryProto

from graphtool.diff.forms import Form, Forms
from graphtool.diff.result import Renamed
from graphtool.graph import Graph
from graphtool.graph.bodies import bodies
from graphtool.graph.counts import op_label
from graphtool.graph.digests import Contents, weights_of


class View:
    """One side of a comparison.

    Nodes are numbers here: positions in ``graph.nodes``. The values that a node's bodies capture count as inputs
    behind its own; what costs time (attributes, readers) is made when first asked for.
    """

    def __init__(self, graph: Graph, contents: Contents) -> None:
        self.graph = graph
        self.contents = contents
        self.forms = Forms(graph, contents)
        self.nodes = graph.nodes
        self.ops = [op_label(node) for node in self.nodes]
        self.names: list[str] = [node.name for node in self.nodes]
        self.outputs: list[list[str]] = [node.output[:] for node in self.nodes]
        self.reads: list[list[str]] = [node.input[:] for node in self.nodes]
        self._forms: dict[int, Form] = {}
        self._attributes: list[int] = [-1] * len(self.nodes)
        self.holders = [i for i, node in enumerate(self.nodes) if any(True for _ in bodies(node))]
        for i in self.holders:
            own = self.reads[i]
            while own and not own[-1]:  # an absent input may be written or not; captures must have one place
                own.pop()
            self.reads[i] = own + self.form(i).captures
        # (node, number of its output) by value
        self.makers = {name: (i, k) for i, names in enumerate(self.outputs) for k, name in enumerate(names) if name}
        self.weights = weights_of(graph.proto.graph)
        # since IR 4 an initializer that is an input too is a default that a caller may override
        proto = graph.proto
        self.defaults = (
            {info.name for info in proto.graph.input} & self.weights.keys() if proto.ir_version >= 4 else set()
        )
        self.inputs = {value.name: value for value in graph.inputs}
        self.results = {value.name: value for value in graph.outputs}

    def form(self, i: int) -> Form:
        """Return the attributes of node ``i``."""
        if i not in self._forms:
            self._forms[i] = self.forms.node(self.nodes[i])
        return self._forms[i]

    def attributes(self, i: int) -> int:
        """Return a number that is equal for two nodes, also of the two sides, with the same attributes."""
        if self._attributes[i] < 0:
            self._attributes[i] = self.contents.number(tuple(self.form(i).key.items()))
        return self._attributes[i]

    @cached_property
    def readers(self) -> dict[str, list[tuple[int, int]]]:
        """The readers of each value: (node, number of its input)."""
        found: dict[str, list[tuple[int, int]]] = {}
        for i, names in enumerate(self.reads):
            for position, name in enumerate(names):
                if name:
                    found.setdefault(name, []).append((i, position))
        return found

    @cached_property
    def unique_names(self) -> dict[str, int]:
        """Nodes by name, for names that exactly one node has."""
        counts = Counter(self.names)
        return {name: i for i, name in enumerate(self.names) if name and counts[name] == 1}

    def defines(self, name: str) -> bool:
        """Whether ``name`` is a value of this graph."""
        return name in self.makers or name in self.weights or name in self.inputs

    def label(self, i: int) -> str:
        """Return what a report calls node ``i``: its name, with position and output where that does not say which."""
        name = self.names[i]
        if name and self.unique_names.get(name) == i:
            return name
        output = next(iter(self.outputs[i]), "")
        return f"{name}#{i}({output})"

    def describe(self, name: str) -> str:
        """Return a value's name and where it comes from."""
        if name in self.makers:
            return f"{name} of {self.label(self.makers[name][0])}"
        for kind, names in (("input", self.inputs), ("weight", self.weights)):
            if name in names:
                return f"{kind} {name}"
        return name


def padded(names: Sequence[str], length: int) -> list[str]:
    """Return ``names`` with absent optional ones up to ``length``: a trailing one may be left out or empty."""
    return [*names, *[""] * (length - len(names))]


def properties(entries: Iterable[StringStringEntryProto]) -> dict[str, str]:
    """Return metadata_props as a dict."""
    return {entry.key: entry.value for entry in entries}


def renamed_inside(label: str, before: Iterable[str], after: Iterable[str]) -> Iterator[Renamed]:
    """Yield the differences between the names inside equal bodies or functions."""
    for x, y in zip(before, after, strict=True):
        if x != y:
            yield Renamed(f"{label}/{x}", f"{label}/{y}")
