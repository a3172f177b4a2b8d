"""The ``edit`` body: set or unset attributes of every node of a kind."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase

from onnx import NodeProto

from graphtool.graph import Graph
from graphtool.graph import opset as ops
from graphtool.graph.bodies import walk
from graphtool.rewrite.binding import equal
from graphtool.rewrite.build import Refused, make_attribute
from graphtool.rewrite.expr import Expr, ExprError, TensorRef
from graphtool.rewrite.facts import tensor_ref
from graphtool.rewrite.params import filled
from graphtool.rewrite.result import Applied, Match, Miss, alias, label
from graphtool.rewrite.selection import Offer


@dataclass(frozen=True, slots=True)
class Edit:
    """One ``[[edit]]``: the nodes it selects, in bodies too, and what becomes of their attributes.

    In ``wheres``, ``input0``, ``output0`` ... are the node's values and ``@name`` its attributes. Shapes of values in
    the bodies of If, Loop and Scan are unknown.
    """

    name: str
    ops: tuple[str, ...]
    domain: str
    glob: str
    attributes: tuple[tuple[str, object], ...]
    wheres: tuple[Expr, ...]
    set: tuple[tuple[str, object], ...]
    unset: tuple[str, ...]

    def apply(self, graph: Graph, params: Mapping[str, object], offer: Offer | None = None) -> Applied:
        """Edit every selected node that ``offer`` takes; one that already has the wanted attributes is no match."""
        result = Applied()
        for node, top in self._candidates(graph):
            reason = self._refusal(graph, node, params, top)
            if reason is None:
                try:
                    changed = self._change(graph, node, params, offer)
                except Refused as refusal:
                    reason = str(refusal)
                else:
                    if changed:
                        result.matches.append(Match(label(node), self.name))
                        continue
                    reason = "it already is as wanted"
            result.misses.append(Miss(label(node), self.name, reason))
        return result

    def _candidates(self, graph: Graph) -> Iterator[tuple[NodeProto, bool]]:
        slots = sorted(slot for op in self.ops for slot in graph.index.slots_of_type(op))
        for slot in slots:
            node = graph.node(slot)
            if node is not None and self._same_domain(node):
                yield node, True
        for body in graph.body_graphs():
            for node in walk(body):
                if node.op_type in self.ops and self._same_domain(node):
                    yield node, False

    def _same_domain(self, node: NodeProto) -> bool:
        return node.domain == self.domain or {node.domain, self.domain} == {"", "ai.onnx"}

    def _refusal(self, graph: Graph, node: NodeProto, params: Mapping[str, object], top: bool) -> str | None:
        version = graph.opset(self.domain)
        glob = str(filled(self.glob, params))
        if not fnmatchcase(node.name, glob):
            return f"its name does not match {glob}"
        for name, wanted in self.attributes:
            value, want = ops.effective(node, name, version), filled(wanted, params)
            if not equal(value, want):
                return f"{name} is {value!r}, not {want!r}"
        env = self._environment(graph, node, params, top)
        for number, where in enumerate(self.wheres):
            try:
                if not where.holds(env):
                    return f"where[{number}] does not hold: {where.text}"
            except ExprError as error:
                return f"where[{number}]: {error}"
        return None

    def _environment(self, graph: Graph, node: NodeProto, params: Mapping[str, object], top: bool) -> dict[str, object]:
        version = graph.opset(self.domain)
        env: dict[str, object] = dict(params)
        for where in self.wheres:
            for name in where.attributes:
                env[f"@{name}"] = ops.effective(node, name, version)
        env["op"], env["name"] = node.op_type, node.name
        read = {name for where in self.wheres for name in where.names}
        for word, values in (("input", node.input), ("output", node.output)):
            for position in range(MAX_PLACES):
                value = values[position] if position < len(values) else ""
                known = top or not value
                if f"{word}{position}" in read:  # a look at a shape may cost an inference
                    env[f"{word}{position}"] = tensor_ref(graph, value) if known else TensorRef(value)
        return env

    def _change(self, graph: Graph, node: NodeProto, params: Mapping[str, object], offer: Offer | None) -> bool:
        version = graph.opset(self.domain)
        wanted = {name: filled(value, params) for name, value in self.set}
        made = [make_attribute(node, version, name, value) for name, value in wanted.items()]
        changed = not all(equal(ops.effective(node, name, version), value) for name, value in wanted.items())
        unset = {a.name for a in node.attribute if a.name in self.unset}
        if not (changed or unset):
            return False
        if offer is not None and not offer(label(node), alias(node)):
            raise Refused("it is not selected")
        for position in reversed(range(len(node.attribute))):
            if node.attribute[position].name in unset:
                del node.attribute[position]
        for attribute in made:
            own = ops.attribute_of(node, attribute.name)
            (node.attribute.add() if own is None else own).CopyFrom(attribute)
        return True


MAX_PLACES = 8  # inputs and outputs of a node that conditions can name
PLACES = frozenset(f"{word}{number}" for word in ("input", "output") for number in range(MAX_PLACES)) | {"op", "name"}
