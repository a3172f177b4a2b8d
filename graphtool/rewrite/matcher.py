"""Finding a pattern in a graph: backtracking from the last statement, towards the inputs and to the other roots.

The search is written in continuations: each step binds what it can, calls ``then`` for the rest, and takes its own
bindings back where the rest fails. Nothing is copied, and most attempts end at the first look at a producer.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial

from graphtool.errors import quoted, show
from graphtool.graph import Graph
from graphtool.graph import opset as ops
from graphtool.graph.forms import moved, takes_moved, virtual_inputs
from graphtool.graph.rows import Row
from graphtool.rewrite.binding import Binding, Bound, Operand, equal, not_default, same_op, shown
from graphtool.rewrite.pattern import Pattern, PatternNode
from graphtool.rewrite.result import label
from graphtool.rewrite.screen import Screen

MAX_LOOKS = 2_000  # nodes looked at for one anchor
MAX_LINKS = 1_000  # of one chain

Then = Callable[[], bool]


class Matcher:
    """Matches one pattern at one place. With ``tell``, keeps the reason of the attempt that got furthest.

    ``optional`` values may be absent; ``open_names`` may have readers outside the match; ``constants`` must be known;
    ``fixed`` are the parameters, which a pattern may read as @name.
    """

    def __init__(
        self,
        graph: Graph,
        pattern: Pattern,
        optional: frozenset[str],
        fixed: Mapping[str, object],
        open_names: frozenset[str],
        constants: frozenset[str] = frozenset(),
        tell: bool = True,
    ) -> None:
        self.graph = graph
        self.pattern = pattern
        self.optional = optional
        self.fixed = fixed
        self.tell = tell
        self.last = len(pattern.nodes) - 1
        self.binding = Binding()
        self.reason, self.reach = "", -1  # of the attempt that got furthest, and how many statements that found
        self._rows = graph.index.rows
        self.outputs = frozenset(info.name for info in graph.header.output)
        self._versions = {node.domain: graph.opset(node.domain) for node in pattern.nodes}
        self._makers = {
            name: (number, position)
            for number, node in enumerate(pattern.nodes)
            for position, name in enumerate(node.outputs)
            if name
        }
        self._open = open_names
        self.constants = constants
        self._has_inner = any(n.chain or not open_names.issuperset(filter(None, n.outputs)) for n in pattern.nodes)
        self.screen = Screen(graph, pattern, optional, constants, self._versions)  # for the caller, who has no reason
        self._trail: list[tuple[dict[str, Bound] | dict[int, int], str | int]] = []
        self._looks = 0

    def attempt(self, slot: int, accept: Then) -> bool:
        """Try the last statement at the node in ``slot``; ``accept`` is called for each way until it returns True."""
        self.reason, self.reach, self._looks = "", -1, 0
        self.binding = Binding()
        self._trail = []
        then = partial(self._rest, accept) if self.last or self._has_inner else accept
        return self._node(self.last, slot, then)

    def _rest(self, accept: Then) -> bool:
        """Find the statements that the last one does not lead to, through the readers of a value that is bound."""
        slots = self.binding.slots
        if len(slots) == len(self.pattern.nodes):
            return self._whole(accept)
        for number, wanted in enumerate(self.pattern.nodes):
            if number in slots:
                continue
            for name in wanted.inputs:
                value = self.binding.values.get(name) if name not in wanted.many else None
                if isinstance(value, str) and value:
                    readers = [s for s in self.graph.index.reader_slots(value) if s not in slots.values()]
                    if not readers and self.tell:
                        self._miss(f"no other {wanted.text()} reads {quoted(value)}")
                    return any(self._node(number, slot, partial(self._rest, accept)) for slot in readers)
        self._miss("a statement reads no value that is known here")  # its readers are elsewhere: no connection upward
        return False

    def _whole(self, accept: Then) -> bool:
        if self._has_inner:
            fault = self._inner()
            if fault is not None:
                self._miss(fault, bonus=1)
                return False
        return accept()

    def _node(self, number: int, slot: int, then: Then) -> bool:
        wanted = self.pattern.nodes[number]
        row = self._rows[slot]
        binding = self.binding
        self._looks += 1
        if self._looks > MAX_LOOKS:  # commutative operators that lead to the same nodes again: 2^depth ways
            self.reason, self.reach = f"given up after a look at {MAX_LOOKS} nodes", len(self.pattern.nodes) + 2
            return False
        if row is None or not self._is_op(number, slot, row):
            return False
        if number in binding.slots:
            return binding.slots[number] == slot and then()
        if slot in binding.slots.values():
            self._miss(f"one node cannot be two statements of the match{self._at(slot)}" if self.tell else "")
            return False
        mark = len(self._trail)
        known = dict(binding.attributes) if wanted.variables else None
        binding.slots[number] = slot
        self._trail.append((binding.slots, number))
        fault = self._attributes(wanted, slot) if wanted.literals or wanted.variables or wanted.plain else None
        if fault is None:
            fault = self._outputs(wanted, row)
        if fault is not None:
            if self.tell:
                self._miss(f"{fault}{self._at(slot)}")
        elif self._operands(number, wanted, slot, row, then):
            return True
        self._undo(mark)
        if known is not None:
            binding.attributes = known
        return False

    def _operands(self, number: int, wanted: PatternNode, slot: int, row: Row, then: Then) -> bool:
        """Match the inputs of a node that fits in all else."""
        inputs = self._inputs_of(number, slot, row)
        while inputs and not inputs[-1]:
            inputs.pop()
        if wanted.many:
            if self.tell and len(inputs) < (least := len(wanted.inputs) - len(wanted.many)):
                self._miss(f"{len(inputs)} inputs where at least {least} are wanted{self._at(slot)}")
            return self._parted(wanted, wanted.inputs, inputs, then)
        if len(inputs) > len(wanted.inputs):
            if self.tell:
                self._miss(f"{len(inputs)} inputs where at most {len(wanted.inputs)} are wanted{self._at(slot)}")
            return False
        inputs += [""] * (len(wanted.inputs) - len(inputs))
        if wanted.chain and self._longer(number, wanted, slot, inputs, then):
            return True
        if self._inputs(wanted.inputs, inputs, 0, then):
            return True
        commutes = len(inputs) == 2 and row.op_type in ops.COMMUTATIVE and wanted.domain in ("", "ai.onnx")
        return commutes and inputs[0] != inputs[1] and self._inputs(wanted.inputs, inputs[::-1], 0, then)

    def _inputs(self, wanted: Sequence[str], given: Sequence[Operand], place: int, then: Then) -> bool:
        """Bind the inputs from ``place`` on, then go on."""
        values = self.binding.values
        mark = len(self._trail)
        while place < len(wanted):
            name, value = wanted[place], given[place]
            place += 1
            if name in values:
                if values[name] == value:
                    continue
                if self.tell:
                    self._miss(f"{name} is {shown(values[name])} in one place, {shown(value)} in another")
            elif not name:
                if not value:
                    continue
                self._miss(f"input {shown(value)} is there where none is wanted" if self.tell else "")
            elif not value and name not in self.optional:
                self._miss(f"input {name} is absent")
            elif name not in self._makers:
                if name in self.constants and isinstance(value, str) and value and not self.graph.is_constant(value):
                    self._miss(f"{shown(value)} is not a constant" if self.tell else "")
                    self._undo(mark)
                    return False
                values[name] = value
                self._trail.append((values, name))
                continue
            elif self._made(name, value, partial(self._inputs, wanted, given, place, then)):
                return True
            self._undo(mark)
            return False
        if then():
            return True
        self._undo(mark)
        return False

    def _made(self, name: str, value: Operand, then: Then) -> bool:
        """Match the statement that makes ``name`` at the producer of ``value``."""
        slot = self._maker(name, value)
        return slot is not None and self._node(self._makers[name][0], slot, then)

    def _maker(self, name: str, value: Operand) -> int | None:
        """Return where ``value`` is made, if at the output at which a statement makes ``name``."""
        number, position = self._makers[name]
        slot = self.graph.index.producer_slot(value) if isinstance(value, str) else None
        if slot is None:
            if self.tell:
                wanted = self.pattern.nodes[number].text()
                self._miss(f"{name} is to come from {wanted}, but {shown(value)} is an input or a constant")
            return None
        row = self._rows[slot]
        if row is None or position >= len(row.outputs) or row.outputs[position] != value:
            if self.tell:
                self._miss(f"{name} is to be output {position}, but {shown(value)} is another{self._at(slot)}")
            return None
        return slot

    def _is_op(self, number: int, slot: int, row: Row) -> bool:
        if same_op(self.pattern.nodes[number], row):
            return True
        if self.tell:
            wanted = self.pattern.nodes[number]
            found = f"{row.domain}.{row.op_type}" if row.op_type in wanted.op_types else row.op_type
            self._miss(f"{wanted.text()} is wanted where {show(found.removeprefix('.'))} is{self._at(slot)}")
        return False

    def _parted(self, wanted: PatternNode, names: Sequence[str], given: Sequence[Operand], then: Then) -> bool:
        """Match inputs some of which stand for any number of values; the shortest stretch of each is tried first."""
        first = next((place for place, name in enumerate(names) if name in wanted.many), None)
        if first is None:
            return len(names) == len(given) and self._inputs(names, given, 0, then)
        if first:
            if len(given) < first:
                return False
            rest = partial(self._parted, wanted, names[first:], given[first:], then)
            return self._inputs(names[:first], given[:first], 0, rest)
        least = sum(name not in wanted.many for name in names[1:])
        many = len(wanted.many & set(names[1:]))
        longest = len(given) - least
        next_made = bool(many) and names[1] in self._makers and names[1] not in wanted.many
        for length in range(longest + 1) if many else [longest] * (longest >= 0):
            # nearly all of a thousand inputs are made by another operator: no stretch is cut off for those
            if next_made:
                slot = self._maker(names[1], given[length])
                row = None if slot is None else self._rows[slot]
                if slot is None or row is None or not self._is_op(self._makers[names[1]][0], slot, row):
                    continue
            mark = len(self._trail)
            self._set(self.binding.values, names[0], tuple(given[:length]))
            if self._parted(wanted, names[1:], given[length:], then):
                return True
            self._undo(mark)
        return False

    def _longer(self, number: int, wanted: PatternNode, slot: int, inputs: list[Operand], then: Then) -> bool:
        """Let more links of a chain take part: the longest chain is tried first, each shorter one after it."""
        links: list[tuple[int, list[Operand]]] = []  # with their inputs, upwards
        own = inputs
        while len(links) < MAX_LINKS and (above := self._link(wanted, slot, own[0])) is not None:
            slot, own = above, self._inputs_of(number, above, self.graph.row_at(above))
            if own[1:] != inputs[1:]:
                break
            links.append((slot, own))
        for length in range(len(links), 0, -1):
            self.binding.links[number] = tuple(link for link, _ in reversed(links[:length]))
            if self._inputs(wanted.inputs, links[length - 1][1], 0, then):
                return True
        self.binding.links.pop(number, None)
        return False

    def _link(self, wanted: PatternNode, slot: int, value: Operand) -> int | None:
        """Return the node before the one in ``slot`` in a chain; None where ``value`` comes from no node like it."""
        above = self.graph.index.producer_slot(value) if isinstance(value, str) else None
        row = self._rows[above] if above is not None else None
        if above is None or row is None or not same_op(wanted, row) or len(row.outputs) != 1:
            return None
        if above in self.binding.slots.values() or self._attributes(wanted, above) is not None:
            return None
        if fault := self._read_outside(above, {slot}, ()):
            self._miss(fault, bonus=1)
        return None if fault else above

    def _inputs_of(self, number: int, slot: int, row: Row) -> list[Operand]:
        wanted = self.pattern.nodes[number]
        version = self._versions[wanted.domain]
        if not takes_moved(row.op_type, version) or not {
            name for name, _ in (*wanted.literals, *wanted.variables)
        }.isdisjoint(moved(row.op_type, version).values()):
            return [*row.inputs]  # also where the statement names an attribute that is an input today: for old opsets
        return list(virtual_inputs(self.graph.node_at(slot), version, self.graph.constant))

    def _attributes(self, wanted: PatternNode, slot: int) -> str | None:
        """Return why attributes do not fit ('' where nobody asks), or None."""
        node = self.graph.node_at(slot)
        version = self._versions[wanted.domain]
        for name, literal in wanted.literals:
            value = ops.effective(node, name, version)
            if not equal(value, literal):
                return f"{name} is {value!r}, {literal!r} is wanted" if self.tell else ""
        for name, variable in wanted.variables:
            value = ops.effective(node, name, version)
            known = self.fixed if variable in self.fixed else self.binding.attributes
            if variable in known and not equal(known[variable], value):
                return f"{name} is {value!r}, {known[variable]!r} is wanted" if self.tell else ""
            self.binding.attributes[variable] = value
        return not_default(wanted, node, version) if wanted.plain else None

    def _outputs(self, wanted: PatternNode, row: Row) -> str | None:
        for position, value in enumerate(row.outputs):
            name = wanted.outputs[position] if position < len(wanted.outputs) else ""
            if name:
                if self.binding.values.get(name, value) != value:
                    return f"{name} is another value"
                self._set(self.binding.values, name, value)
            elif value and (value in self.outputs or self.graph.index.uses(value)):
                return f"output {quoted(value)} is read, but the pattern does not name it"
        return None

    def _inner(self) -> str | None:
        """Return why inner values of a match must stay: they are read from outside of it."""
        slots = set(self.binding.all_slots())
        for number in self.binding.slots:
            places = self.pattern.nodes[number].outputs
            inner = not self._open.issuperset(filter(None, places))
            if inner and (fault := self._read_outside(self.binding.slots[number], slots, places)):
                return fault
        return None

    def _read_outside(self, slot: int, slots: set[int], places: Sequence[str]) -> str | None:
        for position, value in enumerate(self.graph.row_at(slot).outputs):
            if position < len(places) and places[position] in self._open:
                continue
            if value in self.outputs:
                return f"{quoted(value)} is a graph output too"
            for reader in self.graph.index.reader_slots(value):
                if reader not in slots and (other := self.graph.node(reader)) is not None:
                    return f"{quoted(value)} is also read by {quoted(label(other))}"
        return None

    def _set(self, where: dict[str, Bound] | dict[int, int], key: str | int, value: object) -> None:
        if key not in where:
            where[key] = value  # type: ignore[index,assignment]  # each dictionary with its own kind of key
            self._trail.append((where, key))

    def _undo(self, mark: int) -> None:
        while len(self._trail) > mark:
            where, key = self._trail.pop()
            del where[key]  # type: ignore[arg-type]  # each dictionary with its own kind of key

    def _at(self, slot: int) -> str:
        return f" (at {quoted(label(self.graph.node_at(slot)))})"

    def _miss(self, reason: str, bonus: int = 0) -> None:
        reach = len(self.binding.slots) + bonus
        if self.tell and reach > self.reach:
            self.reach, self.reason = reach, reason
