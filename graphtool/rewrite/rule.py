"""The ``rewrite`` body: a pattern, its conditions, and what takes its place."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from functools import partial

import numpy as np
from onnx import NodeProto

from graphtool.errors import PassError
from graphtool.graph import Graph
from graphtool.graph import opset as ops
from graphtool.graph.rows import Row
from graphtool.graph.sort import drop_unread, needed_names, remove_nodes, sort_nodes
from graphtool.rewrite.binding import Binding, Bound, Operand
from graphtool.rewrite.build import Builder, Constants, Plan, Refused
from graphtool.rewrite.copies import TOO_LARGE, Copies
from graphtool.rewrite.endless import FEW_MATCHES, most_matches
from graphtool.rewrite.expr import Expr, ExprError
from graphtool.rewrite.expr_compile import ABSENT
from graphtool.rewrite.facts import Environment, View, told
from graphtool.rewrite.forwarding import Forwards, forwarding
from graphtool.rewrite.matcher import Matcher, Then
from graphtool.rewrite.pattern import FORWARD, Pattern
from graphtool.rewrite.result import Applied, Match, Miss, alias, label
from graphtool.rewrite.selection import Offer

Params = Mapping[str, object]
_NO_REASON = ("", -1, "")
NO_CHANGE = "it would change nothing"
MAX_AROUND = 2_000  # nodes looked at for a way from one root of a match back into it


@dataclass(frozen=True, slots=True)
class Rule:
    """One ``[[rewrite]]``: any of ``patterns``, when every ``where`` holds, becomes ``replacement``.

    ``defaults`` gives the values of optional inputs that are absent, ``lets`` names new constants and attributes.
    Nodes that make ``shared`` values stay where something outside the match reads those.
    """

    name: str
    patterns: tuple[Pattern, ...]
    wheres: tuple[Expr, ...]
    defaults: tuple[tuple[str, Expr], ...]
    lets: tuple[tuple[str, Expr], ...]
    replacement: Pattern
    shared: frozenset[str] = frozenset()
    # types of the nodes that are looked at first, and how many nodes above one a match reaches: None without a bound
    anchors: tuple[str, ...] = field(init=False, repr=False, compare=False)
    depth: int | None = field(init=False, repr=False, compare=False)

    @property
    def roots(self) -> tuple[str, ...]:
        """Return the values that the replacement makes in the place of the match."""
        roots = set(self.patterns[0].roots)
        return tuple(name for name in self.replacement.made if name in roots)

    def __post_init__(self) -> None:
        """Work out what is asked of a rule in every sweep."""
        anchors = {op_type for pattern in self.patterns for op_type in pattern.nodes[-1].op_types}
        object.__setattr__(self, "anchors", tuple(sorted(anchors)))
        far = any(e.looks_far for e in (*self.wheres, *(e for _, e in self.lets)))
        object.__setattr__(self, "depth", None if far else _depth(self.patterns))

    def apply(
        self, graph: Graph, params: Params, tell: bool = True, record: bool = True, offer: Offer | None = None
    ) -> Applied:
        """Sweep over the graph and the bodies in it until nothing matches; return every match.

        With ``tell`` the misses of the last look at each node, and why, are returned too; with ``record`` the matches
        of the main graph say which nodes they replaced. ``offer`` says which matches are wanted; None: all.
        """
        journal = graph.journal
        known = (id(self), repr(sorted(params.items()))) if journal is not None else None
        if journal is not None and not journal.is_new(graph, known):
            return Applied()  # nothing has changed since the last time, here or in a body
        result, types = Applied(), graph.index.types
        if any(op_type in types for op_type in self.anchors):
            with np.errstate(all="ignore"):
                result = _Sweep(self, graph, params, tell, record, offer).run(known)
        elif journal is not None:
            journal.look(graph, known)
        for body in graph.bodies():
            # a value of a body cannot be looked at from outside: parity judges such a match with the whole graph
            result.add(self.apply(body, params, tell, record=False, offer=offer))
        return result


def _depth(patterns: Sequence[Pattern]) -> int | None:
    depth = 0
    for pattern in patterns:
        sideways = len(pattern.ends) > 1 or pattern.ends.isdisjoint(pattern.nodes[-1].outputs)
        if sideways or any(node.chain for node in pattern.nodes):
            return None
        depth = max(depth, len(pattern.nodes) - 1)
    return depth


class _Sweep:
    """One application of a rule: a worklist of anchors, so that a chain of n matches costs n, not n restarts."""

    def __init__(self, rule: Rule, graph: Graph, params: Params, tell: bool, record: bool, offer: Offer | None) -> None:
        self.rule = rule
        self.graph = graph
        self.params = params
        self.tell = tell
        self.record = record
        self.offer = offer
        self.result = Applied()
        self.anchors = rule.anchors
        self.roots = rule.roots
        self.matchers: list[tuple[Matcher, Then]] = []  # with what becomes of what they find
        self.by_type: dict[str, list[tuple[Matcher, Then]]] = {}  # of the node to begin at
        self.again: dict[int, None] = {}  # nodes that edits of this round touched, to be looked at in the next
        self.refusal = self.values = ""  # why what the matcher found was not replaced, where somebody asks
        self.lets = frozenset(name for name, _ in rule.lets)
        expressions = (*rule.wheres, *(e for _, e in (*rule.defaults, *rule.lets)))
        self.read = frozenset(name for expression in expressions for name in expression.names)
        self.constants = Constants(graph)
        self.outputs = frozenset(info.name for info in graph.header.output)
        self.view = View(graph, self.outputs)
        self.needed = needed_names(graph)
        self.forwards = Forwards(graph, self.outputs)
        self.freed: set[str] = set()  # values that removed nodes read: initializers among them may be unused now
        self.unsorted = False
        bound = graph.budget.copies
        self.copies = None if bound is None else Copies(graph, bound, self.needed, self.anchors)

    def run(self, known: Hashable = None) -> Applied:
        """Sweep; with a journal only over what has changed since the sweep that was ``known`` by the same key."""
        queue = [slot for op_type in self.anchors for slot in self.graph.index.slots_of_type(op_type)]
        queue.sort()
        if self.graph.journal is not None:
            queue = list(self.graph.journal.again(self.graph, known, queue, self.rule.depth))
        if not queue:
            return self.result
        optional = frozenset(name for name, _ in self.rule.defaults)
        open_names = self.rule.shared.union(self.roots)
        conditions = (*self.rule.wheres, *(expression for _, expression in self.rule.lets))
        constants = frozenset().union(*(expression.constants for expression in conditions))
        for pattern in self.rule.patterns:
            matcher = Matcher(self.graph, pattern, optional, self.params, open_names, constants, self.tell)
            plan = Plan(self.graph, pattern, self.rule.replacement, self.lets, self.roots)
            self.matchers.append((matcher, partial(self._accept, matcher, plan)))
        self.by_type = {
            op: [found for found in self.matchers if op in found[0].pattern.nodes[-1].op_types] for op in self.anchors
        }
        if any(pattern.nodes[-1].chain for pattern in self.rule.patterns):
            queue.sort(key=self.graph.rank, reverse=True)  # from its last link on a chain is found whole
        allowed, at_first = 0, self.graph.node_count
        rows = self.graph.index.rows
        misses: dict[int, Miss] = {}
        while queue:
            self.again = {}
            for slot in queue:
                row = rows[slot]
                if row is None:
                    continue
                name = label(self.graph.node_at(slot)) if self.tell else ""
                reason = self._try(slot, row)
                if self.tell:
                    misses.pop(slot, None)
                    if reason[0]:
                        misses[slot] = Miss(name, self.rule.name, *reason)
                count = len(self.result.matches)
                if count > FEW_MATCHES and count > (allowed := allowed or most_matches(self.graph, at_first)):
                    raise PassError(f"{self.rule.name} matches its own result without end; it was stopped")
            queue = sorted(slot for slot in self.again if self._is_anchor(slot))
            if not queue and self.copies is not None and self.copies.waiting:
                queue = self.copies.grant()
        if self.copies is not None and self.copies.waiting and self.graph.journal is not None:
            self.graph.journal.forget(known)  # together with others they may fit the next time
        if self.result.matches:
            self._import_domains()
            self.forwards.move_notes()
            if self.unsorted:
                sort_nodes(self.graph)
        drop_unread(self.graph, self.freed)
        self.result.misses = [misses[slot] for slot in sorted(misses) if self.graph.node(slot) is not None]
        return self.result

    def _import_domains(self) -> None:
        """Let the model import the domains of new operators that it does not know yet."""
        for node in self.rule.replacement.nodes:
            if node.op_type != FORWARD and node.op_of is None:
                ops.import_domain(self.graph.proto, node.domain, node.op_type)

    def _is_anchor(self, slot: int) -> bool:
        row = self.graph.row(slot)
        return row is not None and row.op_type in self.anchors

    def _try(self, slot: int, row: Row) -> tuple[str, int, str]:
        """Apply the rule at ``slot`` in the first way that holds; return why none does: reason, reach and values."""
        if not self.tell:
            for matcher, accept in self.by_type.get(row.op_type, ()):
                if matcher.screen.passes(row.inputs) and matcher.attempt(slot, accept):
                    break
            return _NO_REASON
        reason = _NO_REASON
        for matcher, accept in self.matchers:  # each has a reason
            self.refusal = self.values = ""
            if matcher.attempt(slot, accept):
                return _NO_REASON
            reach = len(matcher.pattern.nodes) + 1 if self.refusal else matcher.reach
            if reach > reason[1]:
                reason = (self.refusal or matcher.reason, reach, self.values)
        return reason

    def _accept(self, matcher: Matcher, plan: Plan) -> bool:
        """Replace what the matcher has found where the conditions hold, else note why not."""
        binding = matcher.binding
        try:
            env = self._environment(binding, plan)
            if env is None:
                return False
            match, touched = self._replace(plan, binding, env)
        except (Refused, ExprError) as refusal:
            if self.tell:
                self.refusal = str(refusal)
            return False
        self.result.matches.append(match)
        self.again.update(dict.fromkeys(touched))
        return True

    def _environment(self, binding: Binding, plan: Plan) -> dict[str, object] | None:
        """Return what the replacement reads; None, and why, where a condition does not hold."""
        env: dict[str, object] = Environment(self.view, binding.values, self.read, plan.sources)
        if self.params:
            env.update(self.params)
        for name, value in binding.attributes.items():
            # a body or tensor as attribute can be asked for with has(), not read
            env["@" + name] = value if _is_plain(value) else True
        for name, expression in self.rule.defaults:
            if not binding.values.get(name):
                env[name] = expression.quiet(env)
                env[ABSENT + name] = True
        for number, expression in enumerate(self.rule.wheres):
            value = expression.quiet(env)
            if value is False or (value is not True and not expression.decides(value)):
                if self.tell:
                    self.refusal = f"where[{number}] does not hold: {expression.text}"
                    self.values = told((*expression.names, *("@" + name for name in expression.attributes)), env)
                return None
        for name, expression in self.rule.lets:
            env[name] = expression.quiet(env)
        return env

    def _replace(self, plan: Plan, binding: Binding, env: dict[str, object]) -> tuple[Match, list[int]]:
        graph = self.graph
        index = graph.index
        old_slots = binding.all_slots()
        outputs = [value for name in self.roots if (value := binding.made(name))]
        makers = (index.producer_slot(value) for value in outputs)
        roots = list(dict.fromkeys(slot for slot in makers if slot is not None))
        if not roots:  # a node may name none of its outputs
            raise Refused("it makes nothing that has a name")
        if len(roots) > 1:
            self._check_acyclic(old_slots, roots)
        build = Builder(graph, self.constants, plan, binding, env)
        built = [build.node(node) for node in build.statements()]
        forwards = [(made, build.forward(source)) for name, source in plan.forwards if (made := binding.made(name))]
        if forwards:
            built, forwards = self.forwards.settled(forwards, built, build, old_slots, roots)
        elif len(built) == len(old_slots) and build.is_there(built, outputs):
            raise Refused(NO_CHANGE)
        if build.new and self.copies is not None and not self.copies.allow(build, old_slots, roots):
            raise Refused(TOO_LARGE)
        if self.offer is not None and not self.offer(build.label, alias(build.root)):
            raise Refused("it is not selected")

        # from here on nothing refuses: the graph changes
        old = tuple(_copy(graph.node_at(slot)) for slot in old_slots) if self.record else ()
        rows = [graph.row_at(slot) for slot in old_slots]
        read = [name for row in rows for name in row.inputs]
        readers = [slot for name in outputs for slot in index.reader_slots(name)]
        build.add_constants()
        for slot, row in zip(reversed(old_slots), reversed(rows), strict=True):
            if slot in roots or not self._is_read(row, build.used):
                graph.remove_node(slot)
        place = old_slots[-1] if len(roots) == 1 else max(roots, key=graph.rank)
        if len(roots) > 1:
            self.unsorted |= any(graph.rank(reader) < graph.rank(place) for reader in readers)
        added = [graph.add_node(node, place, step if len(built) > 1 else None) for step, node in enumerate(built)]
        for made, source in forwards:
            self.forwards.forward(made, source)
        self._drop_unread(read)
        if not self.record:
            return Match(build.label, self.rule.name), added + readers
        copies = [_copy(graph.node_at(slot)) for slot in added]
        new = (*copies, *(forwarding(made, source) for made, source in forwards))
        inputs = (value for name in plan.free for value in _operands(binding.values.get(name)))
        given = dict.fromkeys(value for value in inputs if isinstance(value, str) and value)
        return Match(build.label, self.rule.name, old, new, tuple(given), tuple(outputs)), added + readers

    def _drop_unread(self, names: Sequence[str]) -> None:
        """Remove the nodes that make those of ``names`` which nothing reads now; initializers wait for the end."""
        producers, readers = self.graph.index.producers, self.graph.index.readers
        unread = [name for name in dict.fromkeys(names) if name and name not in readers]
        makers = [slot for name in unread if (slot := producers.get(name)) is not None]
        if makers:
            remove_nodes(self.graph, makers, self.freed, self.needed)
        self.freed.update(unread)

    def _is_read(self, row: Row, new: AbstractSet[str]) -> bool:
        """Whether a node of the match must stay: a shared value it makes, or one under that, is read by others."""
        names = [name for name in row.outputs if name]
        return any(name in new or name in self.outputs or self.graph.index.uses(name) for name in names)

    def _check_acyclic(self, old_slots: Sequence[int], roots: Sequence[int]) -> None:
        """Raise Refused where one root leads, around the outside, back into the match: it would become a cycle."""
        graph = self.graph
        inside = set(old_slots)
        last = max(map(graph.rank, old_slots))
        pending = [slot for root in roots for slot in self._readers(root) if slot not in inside]
        seen = set(pending)
        while pending:
            slot = pending.pop()
            if graph.rank(slot) > last and not self.unsorted:
                continue
            for reader in self._readers(slot):
                if reader in inside:
                    raise Refused("one of its values is made out of another by nodes outside of the match")
                if reader not in seen:
                    seen.add(reader)
                    pending.append(reader)
            if len(seen) > MAX_AROUND:
                raise Refused(f"its statements lie more than {MAX_AROUND} nodes apart")

    def _readers(self, slot: int) -> list[int]:
        return [s for name in self.graph.row_at(slot).outputs if name for s in self.graph.index.reader_slots(name)]


def _is_plain(value: object) -> bool:
    return value is None or isinstance(value, (bool, int, float, str, list))


def _operands(value: Bound | None) -> tuple[Operand, ...]:
    return value if isinstance(value, tuple) else () if value is None else (value,)


def _copy(node: NodeProto) -> NodeProto:
    own = NodeProto()
    own.CopyFrom(node)
    return own
