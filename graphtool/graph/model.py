"""Graph: an ONNX model in memory, close to its protobuf. The one mutable thing in graphtool.

Why not an object graph of our own: at 100,000 nodes such a round trip costs 8 to 11 times the CPU of the protobuf.
Nodes stay ``NodeProto``; an edit marks a removed node dead and appends a new one, and :meth:`Graph.commit` puts the
protobuf's node list in order with one sort, which moves pointers and copies nothing.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import GraphProto, NodeProto, TensorProto, numpy_helper

from graphtool.graph.bodies import bodies, captures, has_bodies, rename_captured
from graphtool.graph.fields import arrange, keep_only
from graphtool.graph.index import Index
from graphtool.graph.load import load_model
from graphtool.graph.names import Names
from graphtool.graph.shapes import infer
from graphtool.graph.values import Value, value_of
from graphtool.graph.weights import LAZY_BYTES, Source, Weights, filled, skeleton_of


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A model at one moment: its serialised skeleton. Weights stay in their files."""

    skeleton: bytes


class Graph:
    """A model, an index over it, and the edits that keep both right.

    ``proto`` is the skeleton: ``raw_data`` above 1 KiB of a loaded model stays in the file and is seen through
    :meth:`array` and :meth:`constant` only.
    """

    def __init__(self, proto: onnx.ModelProto, weights: Weights | None = None, path: Path | None = None) -> None:
        self._proto = proto
        self.weights = weights or Weights(None, path.parent if path else None)
        self.path = path
        self._start()

    def _start(self) -> None:
        self._slots: list[NodeProto | None] = list(self._proto.graph.node)
        self._rank: dict[int, tuple[float, ...]] = {}  # of the slots that are not where their number says
        self._pending = False  # the protobuf's node list is behind the slots
        self.index = Index(self._slots)
        self._values: dict[str, Value] | None = None
        self._initializers: dict[str, TensorProto] | None = None
        self.names = Names(self)

    # -- whole models

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Graph:
        """Read the model at ``path``; raises ModelError where the file is not an ONNX model."""
        where = Path(path)
        proto, source = load_model(where)
        return cls(proto, Weights(source, source.path.parent), where)

    @classmethod
    def from_proto(cls, proto: onnx.ModelProto) -> Graph:
        """Wrap a copy of ``proto``, which may be the skeleton of another graph."""
        chunks, _ = filled(proto.SerializeToString(deterministic=True))
        source = Source(memoryview(b"".join(chunks)))
        return cls(skeleton_of(source), Weights(source, None))

    def copy(self) -> Graph:
        """Return an independent graph; weights in files are shared."""
        own = onnx.ModelProto()
        own.CopyFrom(self.proto)
        return Graph(own, self.weights, self.path)

    def snapshot(self) -> Snapshot:
        """Return the state to which :meth:`restore` returns."""
        return Snapshot(self.proto.SerializeToString(deterministic=True))

    def restore(self, snapshot: Snapshot) -> None:
        """Return to a snapshot of this graph."""
        self._proto = onnx.ModelProto.FromString(snapshot.skeleton)
        self._start()

    def reindex(self) -> None:
        """Forget every look-up, after an edit that went to the protobuf directly."""
        self._start()

    def become(self, other: Graph) -> None:
        """Take over the model of ``other``, which must not be used afterwards."""
        self.weights.adopt(other.weights)
        self._proto = other.proto
        self._start()

    def at(self, snapshot: Snapshot) -> Graph:
        """Return a new graph in the state of a snapshot."""
        return Graph(onnx.ModelProto.FromString(snapshot.skeleton), self.weights, self.path)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the model atomically: a temporary file in the same folder, then renamed. Same graph, same bytes."""
        from graphtool.graph.save import save_model

        save_model(self, Path(path))

    def full_proto(self) -> onnx.ModelProto:
        """Return a copy with every weight inline; raises ModelError above protobuf's 2 GiB."""
        from graphtool.graph.save import full_model

        return full_model(self)

    @property
    def proto(self) -> onnx.ModelProto:
        """The skeleton, with its node list in order."""
        self.commit()
        return self._proto

    @property
    def header(self) -> GraphProto:
        """The main graph for all but its nodes: unlike ``proto``, free of cost between edits."""
        return self._proto.graph

    def commit(self) -> None:
        """Bring the protobuf's node list in line with the edits. Proxies that callers hold stay valid."""
        if not self._pending:
            return
        arrange(self._proto.graph.node, (self._slots[slot] for slot in self.live_slots()))
        self._pending = False

    # -- interface

    @property
    def inputs(self) -> tuple[Value, ...]:
        """Graph inputs that a run must be given: those that are not initializers."""
        given = self.initializers.keys() | {t.values.name for t in self._proto.graph.sparse_initializer}
        return tuple(value_of(info) for info in self._proto.graph.input if info.name not in given)

    @property
    def outputs(self) -> tuple[Value, ...]:
        """Graph outputs as declared."""
        return tuple(value_of(info) for info in self._proto.graph.output)

    def opset(self, domain: str = "") -> int | None:
        """Return the version of a domain's operator set; ``ai.onnx`` is another spelling of the default domain."""
        same = ("", "ai.onnx") if domain in ("", "ai.onnx") else (domain,)
        return next((entry.version for entry in self._proto.opset_import if entry.domain in same), None)

    def value(self, name: str) -> Value | None:
        """Return type and shape of a tensor as inferred; None where nothing is known.

        Facts stay those of the last inference until :meth:`forget_shapes`: an edit does not change the type or shape
        of a value that keeps its name, and values made since are unknown.
        """
        if self._values is None:
            self._values = infer(self)
        return self._values.get(name)

    def learn_shapes(self, other: Graph) -> None:
        """Take over what is known of values in ``other``, the same graph with some operators written out."""
        self._values = infer(self) | infer(other)

    def forget_shapes(self) -> None:
        """Infer shapes anew at the next question."""
        self._values = None

    # -- constants

    @property
    def initializers(self) -> dict[str, TensorProto]:
        """Dense initializers by name."""
        if self._initializers is None:
            self._initializers = {tensor.name: tensor for tensor in self._proto.graph.initializer}
        return self._initializers

    def array(self, tensor: TensorProto) -> NDArray[np.generic]:
        """Return the value of a tensor of this model, a read-only view of the file where possible."""
        return self.weights.array(tensor)

    def is_constant(self, name: str) -> bool:
        """Whether ``name`` is an initializer no caller can override, or made by a Constant node."""
        if name in self.initializers:
            # since IR 4 an initializer that is also an input is only its default value
            return self._proto.ir_version < 4 or all(info.name != name for info in self._proto.graph.input)
        node = self.index.producer(name)
        return node is not None and node.op_type == "Constant" and node.domain in ("", "ai.onnx")

    def constant(self, name: str) -> NDArray[np.generic] | None:
        """Return the value of a constant; None where ``name`` is not one (or is sparse)."""
        if not name or not self.is_constant(name):
            return None
        tensor = self.initializers.get(name)
        if tensor is not None:
            return self.array(tensor)
        node = self.index.producer(name)
        return None if node is None else self.weights.constant(node)

    def add_initializer(self, name: str, array: NDArray[np.generic]) -> str:
        """Add a constant under a name like ``name`` and return the name it got."""
        name = self.names.fresh_value(name)
        self.put_initializer(name, array)
        return name

    def put_initializer(self, name: str, array: NDArray[np.generic]) -> None:
        """Add a constant under a name that is known to be free."""
        tensor = self._proto.graph.initializer.add()
        tensor.CopyFrom(numpy_helper.from_array(np.ascontiguousarray(array).reshape(array.shape), name))
        if len(tensor.raw_data) > LAZY_BYTES:
            tensor.raw_data = self.weights.hold(tensor.raw_data)  # snapshots and copies stay small
        self.initializers[name] = tensor
        if self._proto.ir_version < 4:  # there an initializer must be an input too
            info = onnx.helper.make_tensor_value_info(name, tensor.data_type, list(tensor.dims))
            self._proto.graph.input.append(info)

    def drop_initializers(self, names: Iterable[str]) -> None:
        """Remove initializers that nobody reads; overridable ones keep their input and stay."""
        gone = set(names)
        graph = self._proto.graph
        if self._proto.ir_version >= 4:
            gone -= {info.name for info in graph.input}
        else:
            keep_only(graph.input, lambda info: info.name not in gone or info.name not in self.initializers)
        keep_only(graph.initializer, lambda tensor: tensor.name not in gone)
        keep_only(graph.sparse_initializer, lambda tensor: tensor.values.name not in gone)
        keep_only(graph.quantization_annotation, lambda note: note.tensor_name not in gone)
        self._initializers = None

    # -- nodes

    @property
    def nodes(self) -> list[NodeProto]:
        """The live nodes of the main graph, in order."""
        if not self._pending:
            return list(self._proto.graph.node)
        return [node for slot in self.live_slots() if (node := self._slots[slot]) is not None]

    def live_slots(self) -> list[int]:
        """Return the slots of live nodes in graph order."""
        live = [slot for slot, node in enumerate(self._slots) if node is not None]
        if self._rank:
            live.sort(key=lambda slot: self._rank.get(slot, (slot,)))
        return live

    def node(self, slot: int) -> NodeProto | None:
        """Return the node in a slot; None once it is removed."""
        return self._slots[slot]

    def add_node(self, node: NodeProto, at: int, step: int | None = None) -> int:
        """Add a copy of ``node`` at the place of slot ``at`` and return its slot.

        Several nodes that take one place are numbered by ``step``; a single one (None) takes the place itself.
        """
        place = self._rank.get(at, (at,))
        return self._add(node, place if step is None else (*place, step))

    def append_node(self, node: NodeProto) -> int:
        """Add a copy of ``node`` behind all others and return its slot."""
        return self._add(node, (float("inf"), len(self._slots)))

    def prepend_node(self, node: NodeProto) -> int:
        """Add a copy of ``node`` before all others (but after those put there earlier) and return its slot."""
        return self._add(node, (-1.0, len(self._slots)))

    def _add(self, node: NodeProto, rank: tuple[float, ...]) -> int:
        own = self._proto.graph.node.add()
        own.CopyFrom(node)
        slot = len(self._slots)
        self._slots.append(own)
        self._rank[slot] = rank
        self._pending = True
        self.index.added(slot, own)
        self.names.added(own)
        return slot

    def reorder(self, slots: Sequence[int]) -> None:
        """Put the live nodes in the order of ``slots``."""
        self._rank = {slot: (place,) for place, slot in enumerate(slots)}
        self._pending = True

    def remove_node(self, slot: int) -> None:
        """Remove the node in ``slot``."""
        node = self._slots[slot]
        assert node is not None, "removed twice"
        self.index.removed(slot, node)
        self._slots[slot] = None
        self._pending = True

    def set_input(self, slot: int, position: int, value: str) -> None:
        """Let input ``position`` of a node read ``value``."""
        node = self._slots[slot]
        assert node is not None
        self.index.unread(node.input[position], slot)
        node.input[position] = value
        self.index.read(value, slot)

    def rename_output(self, slot: int, position: int, value: str) -> None:
        """Rename an output of a node; its readers are not touched."""
        node = self._slots[slot]
        assert node is not None
        self.index.unmade(node.output[position])
        node.output[position] = value
        self.index.made(value, slot)

    def replace_uses(self, old: str, new: str) -> None:
        """Let every node that reads ``old``, in bodies too, read ``new`` instead; graph outputs are not touched."""
        for slot in self.index.reader_slots(old):
            node = self._slots[slot]
            assert node is not None
            for position, name in enumerate(node.input):
                if name == old:
                    self.set_input(slot, position, new)
            if has_bodies(node):
                before = captures(node)
                rename_captured(node, {old: new})
                after = captures(node)
                for name in before - after:
                    self.index.unread(name, slot)
                for name in after - before:
                    self.index.read(name, slot)

    def body_graphs(self) -> Iterator[GraphProto]:
        """Yield the bodies that nodes of the main graph hold, outermost only."""
        for node in self._slots:
            if node is not None:
                yield from bodies(node)
