"""Graph: an ONNX model in memory, close to its protobuf. The one mutable thing in graphtool.

Why not an object graph of our own: at 100,000 nodes such a round trip costs 8 to 11 times the CPU of the protobuf.
Nodes stay ``NodeProto``; an edit marks a removed node dead and appends a new one, and :meth:`Graph.commit` puts the
protobuf's node list in order with one sort, which moves pointers and copies nothing.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import onnx
from onnx import GraphProto, NodeProto

from graphtool.graph.bodies import bodies, captures, has_bodies
from graphtool.graph.constants import Constants
from graphtool.graph.contents import Content
from graphtool.graph.facts import Facts
from graphtool.graph.growth import Budget
from graphtool.graph.journal import Held
from graphtool.graph.load import load_model
from graphtool.graph.names import Names
from graphtool.graph.values import Value, value_of
from graphtool.graph.weights import Source, Weights, filled, skeleton_of


class Snapshot(NamedTuple):
    """A model at one moment: its serialised skeleton. Weights stay in their files."""

    skeleton: bytes


class Graph(Constants):
    """A model, an index over it, and the edits that keep both right.

    ``proto`` is the skeleton: ``raw_data`` above 1 KiB of a loaded model stays in the file and is seen through
    :meth:`array` and :meth:`constant` only.

    A body of If, Loop or Scan is a Graph too, see :meth:`bodies`: its nodes, initializers and outputs are those of the
    body, ``parent`` is the graph around it, and look-ups of values and constants go outward.
    """

    parent: Graph | None = None
    outside: int | None = None  # bytes: weights of that many or more go to a data file when the model is saved

    def __init__(self, proto: onnx.ModelProto, weights: Weights | None = None, path: Path | None = None) -> None:
        self._proto = proto
        self._graph = proto.graph
        self._budget: Budget | None = None
        self.weights = weights or Weights(None, path.parent if path else None)
        self.path = path
        self._start()

    def _start(self) -> None:
        self._start_nodes()
        self._start_constants()
        self._facts: Facts | None = None
        self.names = Names(self) if self.parent is None else self.parent.names
        self.journal = self._journal
        if self._journal is not None:
            self._journal.everything()

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
        graph = Graph(own, self.weights, self.path)
        graph.outside = self.outside
        return graph

    def snapshot(self) -> Snapshot:
        """Return the state to which :meth:`restore` returns."""
        return Snapshot(self.proto.SerializeToString(deterministic=True))

    def restore(self, snapshot: Snapshot) -> None:
        """Return to a snapshot of this graph."""
        self._become(onnx.ModelProto.FromString(snapshot.skeleton))

    def reindex(self) -> None:
        """Forget every look-up, after an edit that went to the protobuf directly."""
        self._start()

    def become(self, other: Graph) -> None:
        """Take over the model of ``other``, which must not be used afterwards."""
        self.weights.adopt(other.weights)
        self._become(other.proto)

    def _become(self, proto: onnx.ModelProto) -> None:
        assert self.parent is None, "a body is restored with the model it belongs to"
        self._proto = proto
        self._graph = proto.graph
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
        """The skeleton of the whole model, with its node list in order."""
        self.root.commit()
        return self._proto

    @property
    def header(self) -> GraphProto:
        """This graph for all but its nodes: unlike ``proto``, free of cost between edits."""
        return self._graph

    # -- bodies

    @property
    def root(self) -> Graph:
        """The main graph of the model."""
        return self if self.parent is None else self.parent.root

    @property
    def budget(self) -> Budget:
        """What the model may grow by, the same for this graph and its bodies, and over restored snapshots."""
        root = self.root
        if root._budget is None:
            root._budget = Budget(root)
        return root._budget

    def bodies(self) -> Iterator[Graph]:
        """Yield a graph for each body that a node of this graph holds, to be edited in place.

        When the iterator moves on, the body's node list is put in order and this graph's readers follow what the body
        captures now. While there is a journal, a body is the same graph each time, with its look-ups and what it knows
        of its values, until something that it is given changes.
        """
        for slot in self.index.holders():
            node = self._slots[slot]
            if node is None:
                continue
            held = self._held(slot, node)
            for own in held.graphs:
                before = None if own.journal is None else own.journal.edits
                yield own
                own.commit()
                if own.journal is None or own.journal.edits != before:
                    self._follow(slot, node, own, held)

    def _held(self, slot: int, node: NodeProto) -> Held:
        """Return the bodies of a node, as they were when somebody looked last where a journal knows them."""
        journal = self._journal
        held = None if journal is None else journal.held.get(slot)
        if held is None:
            held = Held([self._body(body) for body in bodies(node)], captures(node))
            if journal is not None:
                journal.held[slot] = held
                journal.again(self, (Held, slot), (slot,), 0)
        elif journal is not None:
            around = journal.again(self, (Held, slot), (slot,), 0)
            for own in held.graphs:
                if around:
                    own.forget_shapes()
                elif own._rewired:
                    own.refine_shapes()
        return held

    def _body(self, body: GraphProto) -> Graph:
        own = Graph.__new__(Graph)
        own.parent, own.weights, own.path = self, self.weights, self.path
        own._proto, own._graph = self._proto, body
        own._start()
        if self._journal is not None:
            own.journal = type(self._journal)()
        return own

    def _follow(self, slot: int, node: NodeProto, own: Graph, held: Held) -> None:
        """Follow what edits in a body of ``node`` may have changed outside: what it captures, and what it makes."""
        own.refine_shapes()
        self._rewired.append(slot)
        before, held.captured = held.captured, captures(node)
        self._recount(slot, before, held.captured)
        if self._journal is not None:
            self._touch(["", *node.output[:]])
            self._journal.again(self, (Held, slot), (slot,), 0)  # the body knows of its own edits

    def _replace_captured(self, slot: int, node: NodeProto, old: str, new: str) -> None:
        if self._journal is None:
            super()._replace_captured(slot, node, old, new)
            return
        held = self._held(slot, node)
        before = held.captured
        for own in held.graphs:
            if old not in before or own.defines(old):
                continue  # hidden there
            own.replace_uses(old, new)
            for info in own.header.output:
                if info.name == old:
                    info.name = new
            held.captured = held.captured - {old} if own.defines(new) else (held.captured - {old}) | {new}
        self._recount(slot, before, held.captured)
        self._journal.again(self, (Held, slot), (slot,), 0)  # that the bodies have seen

    def hides(self, name: str, slot: int) -> bool:
        """Whether a body of the node in ``slot``, at any depth, has a value of its own of that name."""
        node = self._slots[slot]
        graphs = [] if node is None or not has_bodies(node) else self._held(slot, node).graphs
        return any(own.defines(name) or any(own.hides(name, inner) for inner in own.index.holders()) for own in graphs)

    def levels(self) -> Iterator[Graph]:
        """Yield this graph and every body below it, a graph before the bodies in it; see :meth:`bodies`."""
        yield self
        for body in self.bodies():
            yield from body.levels()

    def kinds(self) -> frozenset[frozenset[str]]:
        """The op types of this graph and of each body below it, a set for each: thousands of bodies are of a few kinds.

        May name types of which all nodes are removed. A journal keeps it until the next edit.
        """
        journal = self._journal
        if journal is not None and journal.kinds is not None and journal.kinds[0] == journal.edits:
            return journal.kinds[1]
        found = frozenset(frozenset(level.index.types) for level in self.levels())
        if journal is not None:
            journal.kinds = journal.edits, found
        return found

    # -- interface

    @property
    def inputs(self) -> tuple[Value, ...]:
        """Graph inputs that a run must be given: those that are not initializers."""
        given = self.initializers.keys() | {t.values.name for t in self._graph.sparse_initializer}
        return tuple(value_of(info) for info in self._graph.input if info.name not in given)

    @property
    def outputs(self) -> tuple[Value, ...]:
        """Graph outputs as declared."""
        return tuple(value_of(info) for info in self._graph.output)

    def opset(self, domain: str = "") -> int | None:
        """Return the version of a domain's operator set; ``ai.onnx`` is another spelling of the default domain."""
        same = ("", "ai.onnx") if domain in ("", "ai.onnx") else (domain,)
        return next((entry.version for entry in self._proto.opset_import if entry.domain in same), None)

    @property
    def facts(self) -> Facts:
        """What is known of the values in this graph; inferred at the first question."""
        if self._facts is None:
            self._facts = Facts(self, len(self._slots))
        return self._facts

    def value(self, name: str) -> Value | None:
        """Return type and shape of a tensor as inferred; None where nothing is known.

        A value that keeps its name keeps its facts until :meth:`forget_shapes`; one that a new node makes is inferred
        when it is asked for. A body looks outward for what it does not define.
        """
        return self.facts.value(name)

    def content(self, name: str) -> Content | None:
        """Return what is known of the elements of a small tensor, above all one of sizes; None where nothing is."""
        return self.facts.content(name)

    def learn_shapes(self, other: Graph) -> None:
        """Take over what is known of values in ``other``, the same graph with some operators written out."""
        self.facts.learn(other.facts)

    def forget_shapes(self) -> None:
        """Infer shapes anew at the next question: for edits that change the type, the shape or the opset of values."""
        self._facts = None
        if self._journal is not None:
            self._journal.everything()

    def facts_changed(self) -> list[str]:
        """Return the values of which more is known than at an earlier question, since this was asked last."""
        return [] if self._facts is None else self._facts.changed()

    def refine_shapes(self) -> None:
        """Look again at shapes that are not known, after edits that may have made constants or known shapes."""
        if self._facts is not None:
            self._facts.refine(len(self._slots), self._rewired)
        self._rewired.clear()
