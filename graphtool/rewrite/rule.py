"""The ``rewrite`` body: a pattern, its conditions, and what takes its place."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from onnx import NodeProto

from graphtool.errors import PassError, quoted
from graphtool.graph import Graph
from graphtool.graph import opset as ops
from graphtool.graph.bodies import bodies, defined_below
from graphtool.graph.sort import drop_unread, remove_nodes
from graphtool.rewrite.build import Builder, Constants, Refused
from graphtool.rewrite.expr import Expr, ExprError
from graphtool.rewrite.facts import tensor_ref
from graphtool.rewrite.matcher import Binding, Matcher
from graphtool.rewrite.pattern import FORWARD, Pattern
from graphtool.rewrite.result import Applied, Match, Miss, label

Params = Mapping[str, object]


def most_matches(graph: Graph) -> int:
    """Return how many matches are too many: rules that match their own results without end are stopped there."""
    return 4 * len(graph.live_slots()) + 1000


@dataclass(frozen=True, slots=True)
class Rule:
    """One ``[[rewrite]]``: any of ``patterns``, when every ``where`` holds, becomes ``replacement``.

    ``defaults`` gives the values of optional inputs that are absent, ``lets`` names new constants and attributes.
    """

    name: str
    patterns: tuple[Pattern, ...]
    wheres: tuple[Expr, ...]
    defaults: tuple[tuple[str, Expr], ...]
    lets: tuple[tuple[str, Expr], ...]
    replacement: Pattern

    def apply(self, graph: Graph, params: Params) -> Applied:
        """Sweep over the graph until nothing matches; return every match, and the misses of the last look at a node."""
        return _Sweep(self, graph, params).run()


class _Sweep:
    """One application of a rule: a worklist of anchors, so that a chain of n matches costs n, not n restarts."""

    def __init__(self, rule: Rule, graph: Graph, params: Params) -> None:
        self.rule = rule
        self.graph = graph
        self.params = params
        self.result = Applied()
        self.matchers = [
            Matcher(graph, pattern, frozenset(name for name, _ in rule.defaults), params) for pattern in rule.patterns
        ]
        self.anchors = {pattern.nodes[-1].op_type for pattern in rule.patterns}
        self.lets = frozenset(name for name, _ in rule.lets)
        expressions = (*rule.wheres, *(e for _, e in (*rule.defaults, *rule.lets)))
        self.read = frozenset(name for expression in expressions for name in expression.names)
        self.constants = Constants(graph)
        self.forwarded: dict[str, str] = {}  # names that are gone, and those that stand for the same value now
        self.freed: set[str] = set()  # values that removed nodes read: initializers among them may be unused now

    def run(self) -> Applied:
        allowed = most_matches(self.graph)
        queue = self._anchored(self.graph.live_slots())
        misses: dict[int, Miss] = {}
        while queue:
            again: dict[int, None] = {}
            for slot in queue:
                node = self.graph.node(slot)
                if node is None:
                    continue
                misses.pop(slot, None)
                reason = self._try(slot, again)
                if reason:
                    misses[slot] = Miss(label(node), self.rule.name, reason)
                if len(self.result.matches) > allowed:
                    raise PassError(f"{self.rule.name} matches its own result without end; it was stopped")
            queue = sorted(self._anchored(again))
        if self.result.matches:
            self._import_domains()
            self._move_notes()
        drop_unread(self.graph, self.freed)
        self.result.misses = [misses[slot] for slot in sorted(misses) if self.graph.node(slot) is not None]
        return self.result

    def _import_domains(self) -> None:
        """Let the model import the domains of new operators that it does not know yet."""
        for node in self.rule.replacement.nodes:
            if node.op_type != FORWARD:
                ops.import_domain(self.graph.proto, node.domain, node.op_type)

    def _move_notes(self) -> None:
        """Let quantization annotations follow values that were forwarded, where the other name has none."""
        notes = self.graph.header.quantization_annotation
        noted = {note.tensor_name for note in notes}
        for note in notes:
            name = self._now(note.tensor_name)
            if name not in noted:
                note.tensor_name = name
                noted.add(name)
            for entry in note.quant_parameter_tensor_names:
                if entry.value in self.forwarded:
                    entry.value = self._now(entry.value)

    def _now(self, name: str) -> str:
        while name in self.forwarded:
            name = self.forwarded[name]
        return name

    def _anchored(self, slots: Iterable[int]) -> list[int]:
        return [slot for slot in slots if (node := self.graph.node(slot)) is not None and node.op_type in self.anchors]

    def _try(self, slot: int, again: dict[int, None]) -> str:
        """Apply the rule at ``slot`` in the first way that holds; return why none does."""
        reason = ""
        for matcher in self.matchers:
            for binding in matcher.matches(slot):
                try:
                    env = self._environment(matcher.pattern, binding)
                    match, touched = self._replace(matcher.pattern, binding, env)
                except (Refused, ExprError) as refusal:
                    reason = str(refusal)
                    continue
                self.result.matches.append(match)
                again.update(dict.fromkeys(touched))
                return ""
            reason = reason or matcher.reason
        return reason

    def _environment(self, pattern: Pattern, binding: Binding) -> dict[str, object]:
        env: dict[str, object] = dict(self.params)
        # a body or tensor as attribute can be asked for with has(), not read
        env.update((f"@{n}", v if _is_plain(v) else True) for n, v in binding.attributes.items())
        for name, value in binding.values.items():
            if name in self.read:  # a look at a shape may cost an inference
                env[name] = tensor_ref(self.graph, value)
        for name, expression in self.rule.defaults:
            if not binding.values.get(name):
                env[name] = expression.evaluate(env)
        for number, expression in enumerate(self.rule.wheres):
            if not expression.holds(env):
                raise Refused(f"where[{number}] does not hold: {expression.text}")
        for name, expression in self.rule.lets:
            env[name] = expression.evaluate(env)
        return env

    def _replace(self, pattern: Pattern, binding: Binding, env: dict[str, object]) -> tuple[Match, list[int]]:
        graph = self.graph
        old_slots = [binding.slots[number] for number in sorted(binding.slots)]
        old = tuple(_copy(graph.node(slot)) for slot in old_slots)
        root = old[-1]
        build = Builder(graph, self.constants, pattern, binding, env, self.lets)
        built = [build.node(node) for node in self.rule.replacement.nodes if node.op_type != FORWARD]
        forwards = [
            (binding.values.get(node.outputs[0], ""), build.input(node.inputs[0]))
            for node in self.rule.replacement.nodes
            if node.op_type == FORWARD
        ]
        forwards = self._ordered(forwards, {name for node in built for name in node.output})

        # from here on nothing refuses: the graph changes
        read = sorted({name for node in old for name in node.input if name})
        feeders = [slot for name in read if (slot := graph.index.producer_slot(name)) is not None]
        readers = [slot for name in root.output if name for slot in graph.index.reader_slots(name)]
        build.add_constants()
        for slot in reversed(old_slots):
            graph.remove_node(slot)
        place = old_slots[-1]
        added = [graph.add_node(node, place, step if len(built) > 1 else None) for step, node in enumerate(built)]
        for made, source in forwards:
            self._forward(made, source)
        remove_nodes(graph, [slot for slot in feeders if slot not in old_slots], self.freed)
        self.freed.update(name for node in old for name in node.input)
        match = Match(
            label(root),
            self.rule.name,
            old,
            (*(_copy(graph.node(slot)) for slot in added), *(_forwarding(made, source) for made, source in forwards)),
            tuple(dict.fromkeys(binding.values[n] for n in pattern.free if binding.values.get(n))),
            tuple(name for name in root.output if name),
        )
        return match, added + readers

    def _ordered(self, forwards: list[tuple[str, str]], new: set[str]) -> list[tuple[str, str]]:
        """Return the forwards with each source under the name that those before leave it; raises Refused."""
        renamed: dict[str, str] = {}
        result = []
        for made, first in forwards:
            source = renamed.get(first, first)
            self._check_forward(made, source, new)
            if made in self.matchers[0].outputs:
                renamed[first] = made
            result.append((made, source))
        return result

    def _check_forward(self, made: str, source: str, new: set[str]) -> None:
        """Raise Refused where ``made`` cannot become another name for ``source``; ``new`` values are yet to be made."""
        graph = self.graph
        outputs = self.matchers[0].outputs
        if not source:
            raise Refused("the input to forward is absent")
        keep, gone = (made, source) if made in outputs else (source, made)
        if made in outputs:
            if source in outputs:
                raise Refused(f"it would join two graph outputs, {quoted(made)} and {quoted(source)}")
            if source not in new and graph.index.producer_slot(source) is None:
                raise Refused(f"it would join graph output {quoted(made)} with input or constant {quoted(source)}")
        for reader in graph.index.consumers(gone):
            if any(keep in defined_below(body) for body in bodies(reader)):
                raise Refused(f"{quoted(keep)} has another meaning in a body of {quoted(label(reader))}")

    def _forward(self, made: str, source: str) -> None:
        graph = self.graph
        if made not in self.matchers[0].outputs:
            self.forwarded[made] = source
            graph.replace_uses(made, source)
            return
        self.forwarded[source] = made
        slot = graph.index.producer_slot(source)
        node = graph.node(slot) if slot is not None else None
        assert slot is not None and node is not None, "checked before the graph was changed"
        graph.replace_uses(source, made)
        graph.rename_output(slot, list(node.output).index(source), made)


def _forwarding(made: str, source: str) -> NodeProto:
    """Return the Identity that a forwarded value amounts to, for the record of the match."""
    return NodeProto(op_type="Identity", input=[source], output=[made])


def _is_plain(value: object) -> bool:
    return value is None or isinstance(value, (bool, int, float, str, list))


def _copy(node: NodeProto | None) -> NodeProto:
    assert node is not None
    own = NodeProto()
    own.CopyFrom(node)
    return own
