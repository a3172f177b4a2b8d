"""ATC commands only for batches at which the graph runs and agrees with itself item by item. Floor 7."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from numpy.typing import NDArray

from graphtool.atc.command import Command
from graphtool.atc.values import parse_shapes
from graphtool.errors import GraphtoolError
from graphtool.graph import Graph
from graphtool.parity.batch import BatchResult, gate
from graphtool.parity.feed import draw
from graphtool.parity.runnable import Meanings

Array = NDArray[Any]


@dataclass(frozen=True, slots=True)
class Gated:
    """The commands that may be printed, each with a note on how its batch was checked, and what the gate found."""

    commands: list[Command]
    batches: list[BatchResult]

    @property
    def fault(self) -> str:
        """Return why batches got no command; an empty string where all have one."""
        refused = [result for result in self.batches if not result.ok]
        if not refused:
            return ""
        more = f", and none for batch {', '.join(str(result.batch) for result in refused[1:])}" if refused[1:] else ""
        return f"no ATC command for {refused[0].text()}{more}"


def gated(
    commands: Sequence[Command], graph: Graph, meanings: Meanings, feed: Mapping[str, Array] | None = None
) -> Gated:
    """Return the commands whose batch the graph bears. ``feed`` has its inputs at some batch; by default one is drawn.

    The batch that the graph declares as its own is not looked at: the judge runs it.
    """
    own = _own_batch(graph, commands)
    asked = [command for command in commands if _batches(command) - {own}]
    if not asked:
        return Gated(list(commands), [])
    shapes = _shapes(asked)
    carriers = _carriers(graph, asked)
    wanted = sorted({batch for command in asked for batch in _batches(command)} - {own})
    if not carriers:
        return Gated(list(commands), [])
    try:
        arrays = feed if feed is not None else _drawn(graph, shapes)
    except GraphtoolError as error:
        rest = [command for command in commands if command not in asked]
        return Gated(rest, [BatchResult(batch, False, "run", str(error)) for batch in wanted])
    found = {result.batch: result for result in gate(graph, wanted, arrays, meanings, carriers, shapes)}
    kept = []
    for command in commands:
        results = [found[batch] for batch in sorted(_batches(command)) if batch in found]
        if all(result.ok for result in results):
            notes = (note for result in results for note in (result.text(), *result.notes))
            kept.append(_noted(command, notes))
    return Gated(kept, list(found.values()))


def unchecked(commands: Sequence[Command], graph: Graph) -> list[Command]:
    """Return the commands with a note on those whose batch was not run because ``--no-check`` was given."""
    own = _own_batch(graph, commands)
    return [
        _noted(command, [f"batch {command.batch}: not run (--no-check)"]) if _batches(command) - {own} else command
        for command in commands
    ]


def _noted(command: Command, notes: Iterable[str]) -> Command:
    """Return a command with notes; that its batch was not run, which the emitter says, is now known better."""
    kept = [note for note in command.notes if not note.startswith(f"not run at batch {command.batch}")]
    return replace(command, notes=(*kept, *notes))


def _drawn(graph: Graph, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Array]:
    """Return inputs at some batch, of the sizes asked for where the graph leaves them open."""
    fixed = {value.name for value in graph.inputs if value.static}
    return draw(graph, 0, {n: [max(size, 1) for size in s] for n, s in shapes.items() if n not in fixed}).arrays


def _batches(command: Command) -> set[int]:
    """Return the batches that a command compiles for: its own, or the sizes of a dynamic one; 0 is no batch."""
    gears = command.value("dynamic_batch_size")
    if gears:
        return {int(word) for word in gears.split(",") if word.strip().isdecimal()}
    return {command.batch} - {0}


def _shapes(commands: Sequence[Command]) -> dict[str, tuple[int, ...]]:
    """Return the input shapes that a command states; one of a dynamic batch has -1 there."""
    text = commands[0].value("input_shape")
    shapes = parse_shapes(text) if text else {}
    return {name: tuple(dim for dim in dims if isinstance(dim, int)) for name, dims in shapes.items()}


def _carriers(graph: Graph, commands: Sequence[Command]) -> list[str]:
    """Return the inputs whose first size is the batch, as the emitter took them: in every command, and in the graph."""
    declared = {value.name: value.shape for value in graph.inputs}
    lead = next((shape[0] for shape in declared.values() if shape), None)
    found = []
    for name in _shapes(commands):
        first = [_shapes([command])[name][0] for command in commands]
        sized = all(size in (-1, command.batch) for size, command in zip(first, commands, strict=True))
        shape = declared.get(name)
        if sized and shape and (not isinstance(shape[0], int) or shape[0] == lead):
            found.append(name)
    return found


def _own_batch(graph: Graph, commands: Sequence[Command]) -> int:
    """Return the batch that the graph declares, 0 where that is open."""
    names = _shapes(commands) if commands else {}
    first = next((value.shape[0] for value in graph.inputs if value.name in names and value.shape), None)
    return first if isinstance(first, int) else 0
