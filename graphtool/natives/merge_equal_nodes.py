"""Common subexpressions: nodes that compute the same from the same become one."""

from __future__ import annotations

import heapq
from collections.abc import Hashable, Iterable, Mapping
from functools import lru_cache

from onnx import AttributeProto, NodeProto

from graphtool.graph import Graph
from graphtool.graph import opset as ops
from graphtool.graph.digests import Contents
from graphtool.graph.rows import Row
from graphtool.natives._joining import Joiner
from graphtool.rewrite.result import Applied, Match, alias, label
from graphtool.rewrite.selection import Offer, everywhere

TRACKED = True  # edits go through methods of Graph: whoever keeps a journal sees them
UNITS = True  # each node that is dropped

# a Dropout may be in training; a Constant is a weight, and share_equal_weights is for those
_LEFT_ALONE = ops.RANDOM | {"Dropout", "Constant"}
# onnxruntime's operators whose definition makes the outputs a function of inputs and attributes alone
# (https://github.com/microsoft/onnxruntime, docs/ContribOperators.md at commit 004b79eda305). Not here are
# what draws numbers (Dropout, Sampling), searches that run a body, and attention and convolution with a state, whose
# past and present may be one buffer.
_MICROSOFT = frozenset(
    """
    BiasAdd BiasGelu BiasSoftmax BiasSplitGelu CDist ComplexMul ComplexMulConj ConvTransposeWithDynamicPads
    CropAndResize DequantizeLinear DynamicQuantizeMatMul EmbedLayerNormalization ExpandDims FastGelu FusedConv FusedGemm
    FusedMatMul FusedMatMulActivation GatedRelativePositionBias GatherBlockQuantized GatherND Gelu GemmFastGelu
    GemmaRotaryEmbedding GridSample GroupNorm Inverse Irfft MatMulBnb4 MatMulFpQ4 MatMulInteger16 MatMulIntegerToFloat
    MatMulNBits MaxpoolWithMask MulInteger MurmurHash3 NGramRepeatBlock NhwcConv NhwcFusedConv NhwcMaxPool Pad QGemm
    QLinearAdd QLinearAveragePool QLinearConcat QLinearConv QLinearGlobalAveragePool QLinearLeakyRelu QLinearMul
    QLinearReduceMean QLinearSigmoid QLinearSoftmax QLinearWhere QOrderedGelu QOrderedLayerNormalization QOrderedMatMul
    QuantizeLinear QuickGelu Range ReduceSumInteger RelativePositionBias Rfft RotaryEmbedding SkipGroupNorm
    SkipLayerNormalization SkipSimplifiedLayerNormalization SparseToDenseMatMul TransposeMatMul Trilu UnfoldTensor
    Unique
    """.split()
)
_READ_NOTHING = ("SequenceEmpty",)  # the other operators without inputs are random, or constants


def apply(graph: Graph, params: Mapping[str, object], offer: Offer = everywhere) -> Applied:
    """Drop each node that equals an earlier one of its level: op, inputs, effective attributes, number of outputs."""
    calls = {(function.domain, function.name) for function in graph.proto.functions}
    matches: list[Match] = []
    for level in graph.levels():
        matches += _Level(level, calls, offer).run()
    return Applied(matches)


class _Level:
    """One forward pass over a graph or body, in topological order.

    Only nodes that share an input with another, or have none, can equal it, so those are looked at, and the readers of
    values that turn out to be equal on the way. A value is known by the first one that equals it (``same``): names
    change when a graph output is joined, and equal graph outputs stay two nodes whose readers are merged all the same.
    """

    def __init__(self, graph: Graph, calls: set[tuple[str, str]], offer: Offer) -> None:
        self.graph = graph
        self.offer = offer
        self.calls = calls
        self.joiner = Joiner(graph)
        self.contents = Contents()
        self.first: dict[Hashable, int | dict[Hashable, int]] = {}  # by op and inputs; attributes once two share those
        self.same: dict[str, str] = {}
        self.spread: set[int] = set()  # nodes kept whose readers are all looked at
        self.order = graph.live_slots()
        self.place = {slot: place for place, slot in enumerate(self.order)}
        self.queue: list[int] = []
        self.queued: set[int] = set()

    def run(self) -> list[Match]:
        """Merge what is equal; return a match for each node dropped."""
        shared = [f.reads for f in self.graph.index.readers.values() if not isinstance(f, int) and len(f.reads) > 1]
        journal = self.graph.journal
        if journal is not None and self.graph.parent is None:
            # two nodes that were not equal are so only once one of them has changed
            slots = list(dict.fromkeys(slot for reads in shared for slot in reads))
            new = frozenset(journal.again(self.graph, _Level, slots, 0))
            shared = [reads for reads in shared if not new.isdisjoint(reads)] if len(new) < len(slots) else shared
        for reads in (*shared, *map(self.graph.index.slots_of_type, _READ_NOTHING)):
            self.queued.update(reads)
        self.queue = sorted(self.place[slot] for slot in self.queued)  # a sorted list is a heap
        matches = []
        while self.queue:
            slot = self.order[heapq.heappop(self.queue)]
            row = self.graph.row(slot)
            assert row is not None, "a node is removed when its turn comes, and not before"
            kept = self._twin(slot, row)
            if kept != slot:
                name = label(self.graph.node_at(slot))
                if self._join(kept, slot):
                    matches.append(Match(name, "native"))
        self.joiner.finish()
        return matches

    def _mergeable(self, row: Row) -> bool:
        """Whether the node computes the same from the same inputs, as far as its definition says what it computes."""
        if row.op_type in _LEFT_ALONE or row.holds or (row.domain, row.op_type) in self.calls:
            return False
        if row.domain == "com.microsoft":
            return row.op_type in _MICROSOFT
        return ops.schema(row.op_type, row.domain, self.graph.opset(row.domain)) is not None

    def _twin(self, slot: int, row: Row) -> int:
        """Return the slot of the first node that equals the one in ``slot``: its own where no other does."""
        key = self._key(row)
        known = self.first.setdefault(key, slot)
        if known == slot or not self._mergeable(row):  # nearly always the first, so the cheaper question comes first
            return slot
        if isinstance(known, int):
            known = self.first[key] = {self._details(self.graph.node_at(known)): known}
        return known.setdefault(self._details(self.graph.node_at(slot)), slot)

    def _key(self, row: Row) -> Hashable:
        inputs = [self.same.get(name, name) for name in row.inputs] if self.same else row.inputs[:]
        domain = "" if row.domain == "ai.onnx" else row.domain
        if len(inputs) == 2 and not domain and row.op_type in ops.COMMUTATIVE:
            inputs.sort()
        while inputs and not inputs[-1]:
            inputs.pop()
        return row.op_type, domain, len(row.outputs), *inputs

    def _details(self, node: NodeProto) -> Hashable:
        """Return the attributes that differ from their defaults, and what is noted of the outputs."""
        defaults = _defaults(node.op_type, node.domain, self.graph.opset(node.domain))
        found: list[Hashable] = []
        for attribute in node.attribute:
            if attribute.type == AttributeProto.TENSOR:
                found.append((attribute.name, self.contents.key(self.graph, attribute.t)))
            elif (plain := _bytes(attribute)) not in defaults:
                found.append((attribute.name, plain))
        return frozenset(found), tuple(self.joiner.note(name) for name in node.output[:])

    def _join(self, kept: int, slot: int) -> bool:
        """Let the node in ``kept`` make what the one in ``slot`` makes; return False where that one must stay."""
        graph, stays = self.graph, self.joiner.stays
        own, other = self.graph.node_at(kept), self.graph.node_at(slot)
        pairs = [(a, b) for a, b in zip(own.output, other.output, strict=True) if b]
        joinable = all(self._joinable(a, b) for a, b in pairs)
        if joinable and not self.offer(label(other), alias(other)):
            return False
        if kept not in self.spread:
            self.spread.add(kept)
            self._look_at_readers(a for a, _ in pairs)
        self._look_at_readers(b for _, b in pairs)
        if not joinable:
            self.same.update((b, self.same.get(a, a)) for a, b in pairs if a)
            return False
        graph.remove_node(slot)
        for position, name in enumerate(list(other.output)):
            mine = own.output[position]
            if name and not mine:
                graph.rename_output(kept, position, name)
            elif name in stays:
                self.same[name] = mine
                self.joiner.redirect(mine, name)
                graph.rename_output(kept, position, name)
            elif name:
                self.joiner.redirect(name, mine)
        return True

    def _joinable(self, own: str, other: str) -> bool:
        stays = self.joiner.stays
        if not own:
            return True
        if other in stays:
            return own not in stays and self.joiner.may_stand_for(other, own)
        return self.joiner.may_stand_for(own, other)

    def _look_at_readers(self, names: Iterable[str]) -> None:
        for name in names:
            for slot in self.graph.index.reader_slots(name):
                if slot not in self.queued:
                    self.queued.add(slot)
                    heapq.heappush(self.queue, self.place[slot])


@lru_cache(maxsize=1024)
def _defaults(op_type: str, domain: str, version: int | None) -> frozenset[bytes]:
    """Return the attributes of an op at an opset as they are when set to their defaults."""
    known = ops.schema(op_type, domain, version)
    if known is None:
        return frozenset()
    values = (attribute.default_value for attribute in known.attributes.values())
    return frozenset(_bytes(value) for value in values if value.type != AttributeProto.UNDEFINED)


def _bytes(attribute: AttributeProto) -> bytes:
    """Return an attribute without its documentation as bytes, the same for the same value."""
    if attribute.doc_string:
        own = AttributeProto()
        own.CopyFrom(attribute)
        own.ClearField("doc_string")
        attribute = own
    plain: bytes = attribute.SerializeToString(deterministic=True)
    return plain
