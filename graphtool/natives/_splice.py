"""The nodes of a body or a local function put into the graph around it, in place of the node that holds or calls it."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from onnx import FunctionProto, GraphProto, NodeProto, TensorProto, helper

from graphtool.errors import quoted
from graphtool.graph import Graph
from graphtool.graph import opset as ops
from graphtool.graph.bodies import bodies, defined, defined_below, has_bodies, rename_captured
from graphtool.graph.names import Names


@dataclass(slots=True)
class Splicer:
    """Puts nodes in place of the node in slot ``at``, which is to be removed before; ``added`` are their slots.

    ``ir_version`` is that of the model; to ask it for each node would bring the model in order each time.
    """

    graph: Graph
    at: int
    ir_version: int
    added: list[int] = field(default_factory=list)

    def add(self, node: NodeProto) -> int:
        """Add a node behind those added before and return its slot."""
        slot = self.graph.add_node(node, self.at, len(self.added))
        self.added.append(slot)
        return slot

    def splice(
        self,
        body: GraphProto | FunctionProto,
        formal: Mapping[str, str],
        results: Sequence[tuple[str, str]],
        prefix: str,
        shared: Mapping[str, str] | None = None,
    ) -> dict[str, str]:
        """Put the nodes and initializers of ``body`` into the graph; return what its values are called there.

        ``formal`` says what its inputs are outside (``""``: absent), ``results`` which of its values make which values
        outside; the latter must be free. All other names are new ones, those of nodes after ``prefix``. With
        ``shared`` its initializers are in the graph already, under those names.
        """
        graph = self.graph
        names = {**formal, **(shared or {})}
        outputs = {info.name for info in graph.header.output}
        weights = defined_weights(body)
        inner = {name for node in body.node for name in node.output if name} | weights.keys()
        forwards = []
        for name, outside in results:
            # an initializer is no good as an output: it keeps a name of its own and an Identity makes the output
            if name in inner and name not in names and not (name in weights and outside in outputs):
                names[name] = outside
            else:
                forwards.append((name, outside))
        if shared is None:
            self.move_initializers(body, names)
        called = isinstance(body, FunctionProto)
        for node in body.node:
            for name in filter(None, node.output):
                if name not in names:
                    names[name] = graph.names.fresh_value(f"{prefix}/{name}" if called else name)
        for node in body.node:
            self.add(self._renamed(node, names, prefix, called))
        if isinstance(body, GraphProto):
            self._move_notes(body, names)
        for name, outside in forwards:
            self.forward(names.get(name, name), outside, prefix)
        return names

    def move_initializers(self, body: GraphProto | FunctionProto, names: dict[str, str]) -> None:
        """Put the initializers of ``body`` into the graph; ``names`` takes up what they are called there."""
        if isinstance(body, FunctionProto):
            return
        graph = self.graph
        for name in defined_weights(body):
            if name not in names:
                names[name] = graph.names.fresh_value(name)
        for tensor in body.initializer:
            self._put(tensor, names[tensor.name])
        for sparse in body.sparse_initializer:
            own = graph.header.sparse_initializer.add()
            own.CopyFrom(sparse)
            own.values.name = names[sparse.values.name]

    def _put(self, tensor: TensorProto, name: str) -> None:
        """Add a copy of an initializer of the same model, its bytes left where they are, under a name that is free."""
        graph = self.graph
        own = graph.header.initializer.add()
        own.CopyFrom(tensor)
        own.name = name
        graph.initializers[name] = own
        if graph.parent is None and self.ir_version < 4:  # there an initializer must be an input too
            graph.header.input.append(helper.make_tensor_value_info(name, own.data_type, list(own.dims)))

    def _move_notes(self, body: GraphProto, names: Mapping[str, str]) -> None:
        for note in body.quantization_annotation:
            own = self.graph.header.quantization_annotation.add()
            own.CopyFrom(note)
            own.tensor_name = names.get(own.tensor_name, own.tensor_name)
            for entry in own.quant_parameter_tensor_names:
                entry.value = names.get(entry.value, entry.value)

    def forward(self, source: str, outside: str, prefix: str) -> None:
        """Let what reads ``outside`` read ``source``, by an Identity where it is an output or has two meanings."""
        graph = self.graph
        if any(info.name == outside for info in graph.header.output) or any(
            graph.hides(source, reader) for reader in graph.index.reader_slots(outside)
        ):
            self.add(helper.make_node("Identity", [source], [outside], graph.names.fresh_node(f"{prefix}/Identity")))
        else:
            graph.replace_uses(outside, source)

    def keep_scalars(self, results: Iterable[tuple[str, str]], names: Mapping[str, str], prefix: str) -> None:
        """Squeeze what a body made for those Range nodes outside that read it and whose shape is known now.

        Range takes scalars only. Behind an If or a Loop nobody sees that a value has one dimension of 1, and
        onnxruntime runs it; once the dimension is known, it refuses to load the model.
        """
        graph = self.graph
        for inner, outside in results:
            made = outside in graph.initializers or graph.index.producer_slot(outside) is not None
            name = outside if made else names.get(inner, inner)  # one that was forwarded
            readers = [slot for slot in graph.index.reader_slots(name) if _is_range(graph.node(slot))]
            if not readers:
                continue
            graph.refine_shapes()
            value = graph.value(name)
            if value is None or value.shape is None or value.shape == ():
                continue
            scalar = graph.names.fresh_value(f"{name}/scalar")
            self.add(helper.make_node("Squeeze", [name], [scalar], graph.names.fresh_node(f"{prefix}/Squeeze")))
            for slot in readers:
                node = graph.node(slot)
                for position, read in enumerate(node.input if node is not None else ()):
                    if read == name:
                        graph.set_input(slot, position, scalar)

    def _renamed(self, node: NodeProto, names: Mapping[str, str], prefix: str, renew: bool) -> NodeProto:
        own = NodeProto()
        own.CopyFrom(node)
        for part in (own.input, own.output):
            for position, name in enumerate(part):
                if name:
                    part[position] = names.get(name, name)
        known = ops.schema(own.op_type, own.domain, self.graph.opset(own.domain))
        least = len(own.input) if known is None else known.min_input  # Loop has two, be they absent
        while len(own.input) > least and not own.input[-1]:
            del own.input[-1]
        own.name = self.graph.names.fresh_node(f"{prefix}/{node.name or node.op_type}")
        if has_bodies(own):
            for body in bodies(own):
                inside = defined_below(body)
                # a function's inner names are in no scope of the model yet
                clash = inside if renew else inside.intersection(names.values())
                _rename_defined(body, _fresh(self.graph.names, clash))
            rename_captured(own, names)
        return own


def _is_range(node: NodeProto | None) -> bool:
    return node is not None and node.op_type == "Range" and node.domain in ("", "ai.onnx")


def identity_fault(graph: Graph, results: Iterable[tuple[str, str]], made: Collection[str]) -> str:
    """Return why an output of the graph could not be forwarded by an Identity; empty where it can, or need not.

    ``results`` are as for :meth:`Splicer.splice`, ``made`` the values that nodes of the body make.
    """
    outputs = {info.name for info in graph.header.output}
    seen: set[str] = set()
    for name, outside in results:
        if outside in outputs and (name not in made or name in seen):
            value = graph.value(outside)
            if value is not None and value.kind != "tensor" and (graph.opset() or 0) < 16:
                return f"output {quoted(outside)} is a {value.kind}, which Identity takes from opset 16 on"
        seen.add(name)
    return ""


def defined_weights(body: GraphProto | FunctionProto) -> dict[str, None]:
    """Return the names of the initializers of a body, dense and sparse."""
    if isinstance(body, FunctionProto):
        return {}
    dense = (tensor.name for tensor in body.initializer)
    return dict.fromkeys((*dense, *(tensor.values.name for tensor in body.sparse_initializer)))


def _fresh(names: Names, wishes: Iterable[str]) -> dict[str, str]:
    return {wish: name for wish in sorted(wishes) if (name := names.fresh_value(wish)) != wish}


def _rename_defined(body: GraphProto, names: Mapping[str, str]) -> None:
    """Rename what ``body``, or a body below it, defines, and what reads it there."""
    if not names:
        return
    own = {old: names[old] for old in defined(body) if old in names}
    for node in body.node:
        for part in (node.input, node.output):
            for position, name in enumerate(part):
                if name in own:
                    part[position] = own[name]
        rename_captured(node, own)
        for inner in bodies(node):
            _rename_defined(inner, names)
    sparse = (tensor.values for tensor in body.sparse_initializer)
    for item in (*body.input, *body.output, *body.value_info, *body.initializer, *sparse):
        if item.name in own:
            item.name = own[item.name]
    for note in body.quantization_annotation:
        note.tensor_name = own.get(note.tensor_name, note.tensor_name)
        for entry in note.quant_parameter_tensor_names:
            entry.value = own.get(entry.value, entry.value)
