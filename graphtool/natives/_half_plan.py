"""Which nodes of a model compute in float16, which values that concerns, and where a Cast is needed between them."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterator, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

from onnx import NodeProto, TensorProto

from graphtool.graph import Graph
from graphtool.graph import opset as ops
from graphtool.graph.bodies import bodies, defined, has_bodies
from graphtool.natives._half_types import Slots, slots_of
from graphtool.rewrite.result import label

Key = tuple[int, str]  # a value: the number of the level that defines it, and its name
# they move or copy numbers: worth nothing in float16 between two nodes that are not
_MOVES = frozenset(
    """Compress Concat DepthToSpace Expand Flatten Gather GatherElements GatherND Identity Reshape ReverseSequence Slice
    SpaceToDepth Split Squeeze Tile Transpose Unsqueeze""".split()
)
_HOLDERS = frozenset({"If", "Loop", "Scan"})
_SUMS = frozenset({"ConvInteger", "MatMulInteger"})  # of products of bytes, int32: most are beyond float16


@dataclass(slots=True)
class Level:
    """One graph, the main one (number 0) or a body, and what is decided of its nodes, by slot."""

    number: int
    graph: Graph
    outer: int | None
    frozen: bool  # its holder stays float32, and everything in it
    names: set[str]
    half: dict[int, Slots] = field(default_factory=dict)
    floats: dict[int, tuple[tuple[int, ...], tuple[int, ...]]] = field(default_factory=dict)


class Plan:
    """The decisions for a model.

    ``blocked`` are op types and ``names`` globs of node names that stay float32; ``keep_io`` keeps the types of inputs
    and outputs; ``too_large`` says of a constant whether float16 cannot hold it and its reader should stay float32;
    ``left`` are nodes that stay float32, by level and slot.
    """

    def __init__(
        self, graph: Graph, blocked: frozenset[str], names: Sequence[str], keep_io: bool,
        too_large: Callable[[Graph, str], bool], left: Container[tuple[int, int]] = (),
    ) -> None:  # fmt: skip
        self.left = left
        self.blocked, self.globs, self.keep_io, self.too_large = blocked, names, keep_io, too_large
        self.version = graph.opset()
        self.levels: list[Level] = []
        self._below: dict[tuple[int, int], list[int]] = {}  # (level, slot) of a holder -> its bodies
        self._outside: dict[int, set[str]] = {}
        self._collect(graph, None, False)
        for level in reversed(self.levels):  # bodies first: what they hold decides on what they read outside
            self._settle(level)

    # -- levels and values

    def _collect(self, graph: Graph, outer: int | None, frozen: bool) -> int:
        number = len(self.levels)
        level = Level(number, graph, outer, frozen, defined(graph.header) if outer is not None else set())
        self.levels.append(level)
        self._decide(level)
        holders = [slot for slot in graph.live_slots() if (node := graph.node(slot)) is not None and has_bodies(node)]
        if holders:
            inner = iter(graph.bodies())  # of all holders, in the order of slots
            for slot in sorted(holders):
                node = graph.node(slot)
                assert node is not None
                kept = frozen or slot not in level.half
                self._below[number, slot] = [
                    self._collect(next(inner), number, kept) for _ in range(sum(1 for _ in bodies(node)))
                ]
        return number

    def home(self, level: Level, name: str) -> int:
        """Return the number of the level that defines a value which ``level`` reads."""
        while level.outer is not None and name not in level.names:
            level = self.levels[level.outer]
        return level.number

    def below(self, level: Level, slot: int) -> list[Level]:
        """Return the bodies of the node in a slot."""
        return [self.levels[number] for number in self._below.get((level.number, slot), ())]

    def is_float(self, level: Level, name: str) -> bool:
        """Whether a value is a tensor of float32."""
        value = level.graph.value(name) if name else None
        return value is not None and value.kind == "tensor" and value.dtype == TensorProto.FLOAT

    # -- nodes

    def _decide(self, level: Level) -> None:
        graph = level.graph
        for slot in graph.live_slots():
            node = graph.node(slot)
            assert node is not None
            floats = (
                tuple(k for k, name in enumerate(node.input) if self.is_float(level, name)),
                tuple(k for k, name in enumerate(node.output) if self.is_float(level, name)),
            )
            if not any(floats) and not has_bodies(node):
                continue
            level.floats[slot] = floats
            if level.frozen or self._is_blocked(level, slot) or self._has_no_tensor(level, node):
                continue
            if any(_is_raw(graph, node.input[k]) for k in floats[0]):
                continue
            slots = self._slots(node, *floats)
            if slots is not None and not any(self.too_large(graph, node.input[k]) for k in slots.inputs):
                level.half[slot] = slots

    def _is_blocked(self, level: Level, slot: int) -> bool:
        node = level.graph.node(slot)
        assert node is not None
        if (level.number, slot) in self.left:
            return True
        return node.op_type in self.blocked or any(fnmatchcase(label(node), glob) for glob in self.globs)

    def _has_no_tensor(self, level: Level, node: NodeProto) -> bool:
        """Whether a node reads or makes a sequence or an optional value: what is in it keeps its type."""
        values = (level.graph.value(name) for name in (*node.input, *node.output) if name)
        return any(value is not None and value.kind not in ("tensor", "unknown") for value in values)

    def _slots(self, node: NodeProto, inputs: tuple[int, ...], outputs: tuple[int, ...]) -> Slots | None:
        if node.op_type in _HOLDERS and node.domain in ("", "ai.onnx"):
            if node.op_type == "Scan" and (self.version or 1) < 9:  # its inputs are numbered another way
                return None
            return Slots(inputs, outputs)
        if node.op_type in ("Constant", "Cast") or has_bodies(node):
            return None  # constants are converted by their readers, Casts are settled at the end
        if node.op_type == "ConstantOfShape" and node.domain in ("", "ai.onnx"):
            return Slots((), outputs) if outputs else None
        return slots_of(node, self.version, inputs, outputs)

    def _settle(self, level: Level) -> None:
        """Leave nodes that only move float32 from and to others of it as they are; let Casts make what is read."""
        graph = level.graph
        slots = graph.live_slots()
        single: set[str] = set()  # values that come from float32
        for slot in slots:
            node = graph.node(slot)
            assert node is not None
            inputs, outputs = level.floats.get(slot, ((), ()))
            moves = node.op_type in _MOVES and slot in level.half
            fed = [name for k in inputs if not graph.is_constant(name := node.input[k])]
            if slot not in level.half or (moves and fed and all(self._single(level, n, single) for n in fed)):
                single.update(node.output[k] for k in outputs)
        for slot in reversed(slots):
            node = graph.node(slot)
            assert node is not None
            made = [node.output[k] for k in level.floats.get(slot, ((), ()))[1]]
            if slot in level.half and node.op_type in _MOVES and made:
                if all(name in single and not self.wants_half(level, name) for name in made):
                    del level.half[slot]
            elif _makes_float(node) and made and not level.frozen and not self._is_blocked(level, slot):
                source = graph.value(node.input[0])
                if source is not None and source.dtype != TensorProto.FLOAT and self.wants_half(level, made[0]):
                    level.half[slot] = Slots((), (0,))

    def _single(self, level: Level, name: str, single: set[str]) -> bool:
        if name in single:
            return True
        return level.number == 0 and self.keep_io and level.graph.index.producer(name) is None

    def wants_half(self, level: Level, name: str) -> bool:
        """Whether something reads a value of this level as float16."""
        graph = level.graph
        for slot in graph.index.reader_slots(name):
            node = graph.node(slot)
            assert node is not None
            slots = level.half.get(slot)
            if slots is not None and any(node.input[k] == name for k in slots.inputs):
                return True
            if any(name in self._read_half(body) for body in self.below(level, slot)):
                return True
        if any(info.name == name for info in graph.header.output):
            return not self.keep_io if level.outer is None else not level.frozen
        return False

    def _read_half(self, level: Level) -> set[str]:
        """Return the outer values that a body, which is settled, reads as float16, at any depth."""
        if level.number not in self._outside:
            found = {name for name in self.half_reads(level) if name not in level.names}
            for (owner, _), numbers in self._below.items():
                if owner == level.number:
                    found |= set().union(*(self._read_half(self.levels[n]) for n in numbers)) - level.names
            self._outside[level.number] = found
        return self._outside[level.number]

    def half_reads(self, level: Level) -> Iterator[str]:
        """Yield the values that nodes of a level, and its own outputs, read as float16."""
        for slot, slots in level.half.items():
            node = level.graph.node(slot)
            assert node is not None
            yield from (node.input[k] for k in slots.inputs)
        if level.outer is not None and not level.frozen:
            for info in level.graph.header.output:
                if self.is_float(level, info.name):
                    yield info.name


def _is_raw(graph: Graph, name: str) -> bool:
    """Whether a value is a sum of quantized products that nothing has scaled yet, or what it is to be scaled with.

    The sum may be two billion, and a step of the input by one of the weights is below what float16 holds well.
    """
    maker = graph.index.producer(name)
    while maker is not None and (maker.op_type in ("Cast", "Add") and maker.domain in ("", "ai.onnx")):
        sums = [graph.index.producer(read) for read in maker.input]
        maker = next((node for node in sums if node is not None and node.op_type in _SUMS), None)
    if maker is None:
        return False
    return maker.op_type in _SUMS or (maker.op_type == "DynamicQuantizeLinear" and name == maker.output[1])


def _makes_float(node: NodeProto) -> bool:
    own = ops.attribute_of(node, "to") if node.op_type == "Cast" and node.domain in ("", "ai.onnx") else None
    return own is not None and own.i == TensorProto.FLOAT
