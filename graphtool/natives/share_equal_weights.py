"""Equal weights become one: initializers and Constant nodes of the same type, shape and bytes, bodies included."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from onnx import NodeProto, TensorProto, numpy_helper

from graphtool.errors import ModelError, quoted
from graphtool.graph import Graph
from graphtool.graph.digests import Contents
from graphtool.graph.weights import LAZY_BYTES, is_external, payload_bytes
from graphtool.graph.wire import Buffer
from graphtool.natives._joining import Joiner
from graphtool.rewrite.result import Applied, Match
from graphtool.rewrite.selection import Offer, everywhere

TRACKED = True  # edits go through methods of Graph: whoever keeps a journal sees them
UNITS = True  # each weight that is dropped

_PROBE = 32  # bytes at each end of a large weight that are compared before all of them are

Shape = tuple[int, ...]  # element type, then dimensions


@dataclass(slots=True)
class _Weight:
    """A constant of one level: its name, its tensor, and the slot of its Constant node (None: an initializer)."""

    name: str
    tensor: TensorProto
    slot: int | None
    shape: Shape = ()

    def __post_init__(self) -> None:
        self.shape = self.tensor.data_type, *self.tensor.dims[:]


def apply(graph: Graph, params: Mapping[str, object], offer: Offer = everywhere) -> Applied:
    """Let the readers of equal weights read one of them and drop the others.

    Weights of one graph or body are shared with each other. One above 1 KiB is also shared with a graph around it;
    a small one is not: it may be a shape, which inference sees in a body only where it is defined there. A model that
    carries its training is left alone: two variables that start equal are two variables.
    """
    if graph.proto.training_info:
        return Applied()
    sharing = _Sharing(graph, offer)
    if sharing.shapes:
        sharing.level(graph, [])
    return Applied([Match(f"weight {name}", "native") for name in sharing.gone])


class _Sharing:
    """Equal weights of a model. Bytes are read only where type and shape occur twice, all of them where the ends do."""

    def __init__(self, graph: Graph, offer: Offer) -> None:
        self.offer = offer
        self.contents = Contents()
        self.gone: list[str] = []
        self.main = list(_weights(graph))
        counts = Counter(weight.shape for level in graph.levels() for weight in self._weights(level))
        self.shapes = {shape: _is_large(shape) for shape, count in counts.items() if count > 1}
        self.probes: Counter[Hashable] = Counter()
        if any(self.shapes.values()):
            large = (w for level in graph.levels() for w in self._weights(level) if self.shapes.get(w.shape))
            self.probes.update(self._probe(graph, weight) for weight in large)

    def _weights(self, graph: Graph) -> Iterable[_Weight]:
        return self.main if graph.parent is None else _weights(graph)

    def level(self, graph: Graph, around: list[tuple[Graph, dict[Hashable, str]]]) -> None:
        """Share the weights of one graph with each other and with those ``around`` it, then those of its bodies."""
        joiner = Joiner(graph)
        groups: dict[Hashable, list[_Weight]] = {}
        for weight in self._weights(graph):
            key = self._key(graph, weight)
            if key is not None:
                groups.setdefault((key, joiner.note(weight.name)), []).append(weight)
        known: dict[Hashable, str] = {}
        dropped = []
        for key, group in groups.items():
            large = self.shapes[group[0].shape]
            outer = _seen(graph, around, key) if large else None
            kept = _first(group, joiner) if outer is None else _Weight(outer, group[0].tensor, None)
            dropped += [
                weight for weight in group if weight is not kept and _join(graph, kept, weight, joiner, self.offer)
            ]
            if large and kept.slot is None:  # a Constant node may come after the node that holds the body
                known[key] = kept.name
        weights = [weight.name for weight in dropped if weight.slot is None]
        if weights:
            graph.drop_initializers(weights)
        joiner.finish()
        self.gone += [weight.name for weight in dropped]
        for body in graph.bodies():
            self.level(body, [(graph, known), *around])

    def _key(self, graph: Graph, weight: _Weight) -> Hashable | None:
        """Return what equal weights have in common; None for one that no other equals."""
        large = self.shapes.get(weight.shape)
        if large is None:
            return None
        if not large:
            return weight.shape, bytes(_raw(graph, weight.tensor))
        if self.probes[self._probe(graph, weight)] < 2:
            return None  # most large ones
        return weight.shape, self.contents.digest(graph, weight.tensor)

    def _probe(self, graph: Graph, weight: _Weight) -> Hashable:
        data = _raw(graph, weight.tensor)
        return weight.shape, bytes(data[:_PROBE]), bytes(data[-_PROBE:])


def _weights(graph: Graph) -> Iterator[_Weight]:
    """Yield the weights that one level defines and no caller can override: initializers, then Constants in order."""
    overridable: set[str] = set()
    if graph.parent is not None or graph.proto.ir_version >= 4:
        overridable = {info.name for info in graph.header.input}
    for name, tensor in graph.initializers.items():
        if name not in overridable:
            yield _Weight(name, tensor, None)
    slots = set(graph.index.slots_of_type("Constant"))
    for slot in graph.live_slots() if slots else ():
        node = graph.node(slot)
        if slot in slots and node is not None and node.domain in ("", "ai.onnx"):
            made = _made_by(node)
            if made is not None and node.output[0]:
                yield _Weight(node.output[0], made, slot)


def _made_by(node: NodeProto) -> TensorProto | None:
    """Return what a Constant makes as a tensor; None for a sparse one."""
    for attribute in node.attribute:
        match attribute.name:
            case "value":
                value: TensorProto = attribute.t
                return value
            case "value_float":
                return numpy_helper.from_array(np.array(attribute.f, np.float32))
            case "value_floats":
                return numpy_helper.from_array(np.array(attribute.floats, np.float32))
            case "value_int":
                return numpy_helper.from_array(np.array(attribute.i, np.int64))
            case "value_ints":
                return numpy_helper.from_array(np.array(attribute.ints, np.int64))
            case "value_string":
                return TensorProto(data_type=TensorProto.STRING, string_data=[attribute.s])
            case "value_strings":
                strings = attribute.strings
                return TensorProto(data_type=TensorProto.STRING, dims=[len(strings)], string_data=strings)
    return None


def _is_large(shape: Shape) -> bool:
    size = payload_bytes(TensorProto(data_type=shape[0], dims=shape[1:]))
    return size is not None and size > LAZY_BYTES


def _raw(graph: Graph, tensor: TensorProto) -> Buffer:
    """Return the bytes of a tensor as little-endian ``raw_data`` has them, however they are stored."""
    if is_external(tensor) or tensor.raw_data:
        return graph.weights.payload(tensor)
    if tensor.data_type == TensorProto.STRING:
        # lengths keep ("ab", "c") apart from ("a", "bc")
        return memoryview(b"".join(b"%d:%b" % (len(text), text) for text in tensor.string_data))
    try:
        return memoryview(numpy_helper.from_array(np.asarray(numpy_helper.to_array(tensor))).raw_data)
    except (TypeError, ValueError, KeyError) as error:
        raise ModelError(f"tensor {quoted(tensor.name)} does not hold what its type and shape say: {error}") from None


def _first(group: list[_Weight], joiner: Joiner) -> _Weight:
    """Return the weight that stands for all: an initializer, if possible one that stays anyway, or else the first.

    The first Constant node comes before all readers of the others, an initializer before every node.
    """
    initializers = [weight for weight in group if weight.slot is None]
    stays = [weight for weight in initializers if weight.name in joiner.stays]
    return (stays or initializers or group)[0]


def _join(graph: Graph, kept: _Weight, weight: _Weight, joiner: Joiner, offer: Offer) -> bool:
    """Let ``kept`` stand for ``weight``; return False where that must stay, or is not taken."""
    old, new = weight.name, kept.name
    where = f"weight {old}"
    if old not in joiner.stays:
        if not joiner.may_stand_for(new, old) or not offer(where, where):
            return False
        if weight.slot is not None:
            graph.remove_node(weight.slot)
        joiner.redirect(old, new)
        return True
    if kept.slot is None or weight.slot is None or new in joiner.stays or not joiner.may_stand_for(old, new):
        return False
    if not offer(where, where):
        return False
    # two Constant nodes: the first one takes over the name that stays
    graph.remove_node(weight.slot)
    joiner.redirect(new, old)
    graph.rename_output(kept.slot, 0, old)
    kept.name = old
    return True


def _seen(graph: Graph, around: list[tuple[Graph, dict[Hashable, str]]], key: Hashable) -> str | None:
    """Return the weight of a graph around ``graph`` that holds the same, if it has no other meaning in between."""
    levels = [graph]
    for outer, known in around:
        name = known.get(key)
        if name is not None and not any(level.defines(name) for level in levels):
            return name
        levels.append(outer)
    return None
