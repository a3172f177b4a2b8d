"""run.txt: a graph as text, a line a node, and how two such texts differ. Floor 5."""

from __future__ import annotations

import difflib
import hashlib
import itertools
import json
import math
import operator
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from onnx import AttributeProto, FunctionProto, GraphProto, NodeProto, helper, numpy_helper

from graphtool.errors import quoted, show
from graphtool.graph import Graph, Value, dtype_name
from graphtool.graph.bodies import bodies, defined, rename_captured, tensors
from graphtool.graph.digests import Contents, Weight, weights_of
from graphtool.graph.text import attribute_text, node_line, tensor_text
from graphtool.graph.values import value_of

_SHOWN = 8  # elements of a weight that are written out
_DIGITS = 16  # of a weight's SHA-256
_LONGEST = 100  # characters or numbers of an attribute that are written out
_DIFF_LINES = 20
_ALIGNED = 4000  # lines up to which an insertion is recognised as one: aligning is quadratic at worst
_PLAIN = re.compile(r"[\w.:/-]+", re.ASCII)
_NUMBER = re.compile(r"%\d+")
_GONE = re.compile(r"%\d+-")
_CONTENT = re.compile(r"\] (?:sha256:[0-9a-f]{16}|\{[^{}]*\})")


@dataclass(frozen=True, slots=True)
class Line:
    """A line of run.txt, and the name of the node that it shows ('' for the interface)."""

    text: str
    node: str = ""


def graph_lines(graph: Graph) -> list[Line]:
    """Return opsets, interface, functions and nodes of ``graph``, in order.

    Names of inputs and outputs are kept, other values are numbered in order of appearance, names of nodes are left out;
    a weight is shown where it is read, by type, shape and values or SHA-256. Weights are read one at a time.
    """
    # no name or attribute can end a line, or reach the terminal raw
    return [Line(show(line.text, len(line.text) + 1), line.node) for line in _Writer(graph).lines()]


class _Writer:
    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.contents = Contents()
        top = graph.proto.graph
        self.interface = {info.name for info in (*top.input, *top.output)}
        self.weights = weights_of(top)
        # a caller may override an initializer that is an input too, so it keeps its name
        self.defaults = {v.name for v in map(value_of, top.input) if v.name in self.weights}
        self.defaults = {name for name in self.defaults if not graph.is_constant(name)}
        self.numbers: dict[str, str] = {}
        self.count = itertools.count()
        self.fresh = itertools.count()

    def lines(self) -> Iterator[Line]:
        proto = self.graph.proto
        for entry in sorted(proto.opset_import, key=lambda entry: entry.domain):
            yield Line(f"opset {_word(entry.domain or 'ai.onnx')} {entry.version}")
        for info in proto.graph.input:
            if info.name in self.defaults:
                yield Line(f"default {_typed(value_of(info))} = {self.weight(self.weights[info.name])}")
            elif info.name not in self.weights:
                yield Line(f"input {_typed(value_of(info))}")
        for value in self.graph.outputs:
            own = self.weights.get(value.name) if value.name not in self.defaults else None
            yield Line(f"output {_typed(value)}" + (f" = {self.weight(own)}" if own else ""))
        for function in sorted(proto.functions, key=lambda f: (f.domain, f.name, f.overload)):
            yield Line(self.function(function))
        for node in self.graph.nodes:
            yield Line(node_line(self.plain(node), self.name), node.name or node.op_type)

    def name(self, value: str) -> str:
        """Return what stands for a value in a line: an interface name, a weight, or a number."""
        if value in self.interface and (value in self.defaults or value not in self.weights):
            return _word(value)
        if value not in self.numbers:
            weight = self.weights.get(value)
            self.numbers[value] = self.weight(weight) if weight else f"%{next(self.count)}"
        return self.numbers[value]

    def weight(self, weight: Weight) -> str:
        if weight.value.kind == "tensor" and math.prod(weight.tensors[0].dims) <= _SHOWN:
            return tensor_text(numpy_helper.from_array(self.graph.array(weight.tensors[0])))
        kind = "sparse " if weight.value.kind == "sparse" else ""
        shape = ",".join(map(str, weight.value.shape or ()))
        digest = "+".join(part[:_DIGITS] for part in weight.digest(self.graph, self.contents).split("+"))
        return f"{kind}{dtype_name(weight.value.dtype)}[{shape}] sha256:{digest}"

    def plain(self, node: NodeProto) -> NodeProto:
        """Return a copy of ``node`` that reads the same however its tensors are stored and its bodies' values named."""
        holder = GraphProto()
        own: NodeProto = holder.node.add()
        own.CopyFrom(node)
        while own.input and not own.input[-1]:  # an absent optional input, written or left out
            own.input.pop()
        for attribute in own.attribute:
            _shorten(attribute)
        for body in bodies(own):
            self.number_body(body)
        for tensor in tensors(holder):
            tensor.CopyFrom(numpy_helper.from_array(self.graph.array(tensor)))
        return own

    def number_body(self, body: GraphProto) -> None:
        """Give what ``body`` defines names that occur nowhere else: bodies may use one name for different values."""
        names = {name: f"\0{next(self.fresh)}" for name in sorted(defined(body))}
        for name, weight in weights_of(body).items():
            self.numbers[names[name]] = self.weight(weight)
        for info in (*body.input, *body.output):
            info.name = names.get(info.name, info.name)
        for node in body.node:
            node.input[:] = [names.get(name, name) for name in node.input]
            node.output[:] = [names.get(name, name) for name in node.output]
            rename_captured(node, names)
            for inner in bodies(node):
                self.number_body(inner)

    def function(self, function: FunctionProto) -> str:
        body = GraphProto(node=function.node)
        for name in function.input:
            body.input.add(name=name)
        for name in function.output:
            body.output.add(name=name)
        text = node_line(self.plain(helper.make_node("If", [], [], body=body)), self.name)
        attributes = [*function.attribute, *(f"{a.name}={attribute_text(a)}" for a in function.attribute_proto)]
        opsets = sorted(f"{entry.domain or 'ai.onnx'} {entry.version}" for entry in function.opset_import)
        name = f"{function.domain}.{function.name}<{', '.join(attributes)}>"
        return f"function {name} [{', '.join(opsets)}] {text.partition('body=')[2].removesuffix('>()')}"


def _shorten(attribute: AttributeProto) -> None:
    """Let a digest stand for a long text or list."""
    if len(attribute.s) > _LONGEST:
        attribute.s = _cut(attribute.s)
    attribute.strings[:] = [_cut(text) if len(text) > _LONGEST else text for text in attribute.strings]
    for kind, values in ((np.float32, attribute.floats), (np.int64, attribute.ints)):
        if len(values) > _LONGEST:
            attribute.type = AttributeProto.TENSOR
            attribute.t.CopyFrom(numpy_helper.from_array(np.array(values, kind)))


def _cut(text: bytes) -> bytes:
    return text[: _LONGEST // 2] + f"... sha256:{hashlib.sha256(text).hexdigest()[:_DIGITS]}".encode()


def _word(name: str) -> str:
    """Return a name as it is where it is plain, else quoted, so that it cannot be mistaken for a number."""
    return name if _PLAIN.fullmatch(name) else json.dumps(name)


def _typed(value: Value) -> str:
    return f"{_word(value.name)}: {value.type_text()}"


def graph_fault(recorded: Sequence[str], lines: Sequence[Line], what_it_is: str = "run.txt") -> str | None:
    """Return how the graph differs from the recorded lines: what, at which node, and a short diff; None where not."""
    new = [line.text for line in lines]
    old = list(recorded)
    if old == new:
        return None
    if _without_contents(old) == _without_contents(new):
        count = sum(map(operator.ne, old, new))
        what = f"the same nodes and wiring, but constants have other values in {count} line{'s'[: count > 1]}"
    else:
        what = "another graph"
        old = _renumbered(old, new)
    first = first_difference(old, new)
    node = lines[first].node if first < len(lines) else ""
    where = f"line {first + 1}" + (f", node {quoted(node)}" if node else "")
    changes = list(itertools.islice(difflib.unified_diff(old, new, n=1, lineterm=""), 2, None))
    more = [f"... and {len(changes) - _DIFF_LINES} more lines"] if len(changes) > _DIFF_LINES else []
    return "\n    ".join([f"{what_it_is}: {what}, first at {where}", *changes[:_DIFF_LINES], *more])


def first_difference(old: Sequence[str], new: Sequence[str]) -> int:
    """Return the first line, from 0, in which two texts differ; the length of the shorter where none does."""
    return next((n for n, (a, b) in enumerate(zip(old, new, strict=False)) if a != b), min(len(old), len(new)))


def inherited(before: Sequence[str], lines: Sequence[Line]) -> list[Line]:
    """Return ``lines`` with the numbers that their values have in ``before``, the graph before a pass; new ones above.

    So a line that the pass did not touch stays as it is, and a change of the pass moves few lines of its text.
    """
    old, new = list(before), [line.text for line in lines]
    if (found := _numbered_like(new, old)) is None:
        return list(lines)
    fresh: dict[str, str] = {}
    start = 1 + max((int(word[1:]) for line in old for word in _NUMBER.findall(line)), default=-1)

    def number(match: re.Match[str]) -> str:
        return fresh.setdefault(match[0], f"%{start + len(fresh)}")

    return [Line(_GONE.sub(number, text), line.node) for text, line in zip(found, lines, strict=True)]


def changes(old: list[str], new: list[str]) -> list[str]:
    """Return a unified diff of two texts of graphs without its head; values keep their numbers across it."""
    return list(itertools.islice(difflib.unified_diff(_renumbered(old, new), new, n=1, lineterm=""), 2, None))


def _without_contents(lines: Sequence[str]) -> list[str]:
    return [_CONTENT.sub("]", line) for line in lines]


def _renumbered(old: list[str], new: list[str]) -> list[str]:
    """Return the old lines with the numbers of the new ones, or as they are where that would hide the difference.

    A node put in or taken out shifts every number behind it; this keeps those lines out of the diff.
    """
    found = _numbered_like(old, new)
    return old if found is None or found == new else found


def _numbered_like(old: list[str], new: list[str]) -> list[str] | None:
    """Return the old lines with the numbers that their values have in the new ones; a value that is gone is ``%N-``.

    None where there are too many lines to align.
    """
    a, b = ([_NUMBER.sub("%", line) for line in lines] for lines in (old, new))
    start = first_difference(a, b)
    if max(len(a), len(b)) - start > _ALIGNED:
        return None
    pairs = [(n, n) for n in range(start)]
    for block in difflib.SequenceMatcher(None, a[start:], b[start:], autojunk=False).get_matching_blocks():
        pairs += [(start + block.a + n, start + block.b + n) for n in range(block.size)]
    numbers: dict[str, str] = {}
    taken: set[str] = set()
    for x, y in pairs:
        # what makes a value comes before what reads it; a reader alone pairs the values of a changed node
        for was, now in zip(_NUMBER.findall(old[x]), _NUMBER.findall(new[y]), strict=True):
            if was not in numbers and now not in taken:
                numbers[was] = now
                taken.add(now)
    return [_NUMBER.sub(lambda match: numbers.get(match[0], f"{match[0]}-"), line) for line in old]
