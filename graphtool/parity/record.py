"""A run that records: the graph in pieces, one after the other, so that no more than one piece's tensors are alive.

What is recorded is what is dear to compute again: the outputs of convolutions, matrix products and the like, and any
tensor behind more than a few cheap nodes. The rest is a few element-wise nodes away from those. Where that is more than
memory is meant to hold, somebody may say what of it all will be asked for (:mod:`forecast`), and only that is recorded.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any

from numpy.typing import NDArray

from graphtool.errors import GraphtoolError
from graphtool.parity.parts import View, is_constant, reads, run_part, weigh
from graphtool.parity.tape import Tape

Array = NDArray[Any]
Needed = Callable[[], Collection[str] | None]  # tensors that will be asked for; None where nobody knows

_PIECE = 4.0  # heavy nodes in a piece
_MOST_PIECES = 40
HELD = 64 << 20  # bytes of tensors for later pieces that are kept in memory; more are read back
_BEHIND = 4  # cheap nodes behind which a tensor is recorded


class CannotRecordError(GraphtoolError):
    """A tensor between two pieces is of a type that cannot be handed from one to the next."""


def record(
    view: View, feed: Mapping[str, Array], tape: Tape, outputs: Sequence[str], needed: Needed | None = None
) -> dict[str, Array]:
    """Run the graph piece by piece, record on the way, and return ``outputs`` (names of graph outputs).

    ``needed`` is asked once, as soon as memory does not hold what is dear. The tape says what was recorded of the
    graph: its ``recorded`` is the view where that is all that is dear. Raises RunError or CannotRecordError
    where a piece cannot run; what was recorded until then is right.
    """
    last = _last_reads(view, outputs)
    dear, whole = _dear(view), True
    alive = dict(feed)  # tensors that later pieces read, but for those on the tape
    found = {name: alive[name] for name in outputs if name in alive}
    for start, end in _pieces(view):
        places = [place for place in range(start, end) if not is_constant(view.nodes[place])]
        made = [name for place in places for name in view.nodes[place].output if name]
        wanted = [name for name in made if name in dear or last.get(name, -1) >= end]
        read = {name for place in places for name in reads(view.nodes[place])} - set(made)
        given = {name: array for name in read if (array := _value(view, name, alive, tape)) is not None}
        ran = run_part(view, places, given, wanted) if wanted else {}
        del given
        for name in list(alive):
            if last.get(name, -1) < end:
                del alive[name]
        held = sum(array.nbytes for array in alive.values())
        for name in wanted:
            array = ran.pop(name)
            if array.dtype.kind == "O":
                raise CannotRecordError(f"{name} is no tensor of numbers")
            later = last.get(name, -1)
            if needed is not None and name in dear and not tape.fits(array):
                known, needed = needed(), None
                if known is not None:
                    dear, whole = set(known), False
                    awaited = [one for one, place in last.items() if place >= start and one not in alive]
                    gone = [one for one in (*known, *awaited) if one != name and one not in ran]
                    tape.keep(_roots(view, gone, end, tape))
            recorded = name in dear and tape.put(_own(view, name), array)
            if later >= len(view.nodes):
                found[name] = array
            if later >= end and (held + array.nbytes <= HELD or not (recorded or tape.put(_own(view, name), array))):
                alive[name] = array
                held += array.nbytes
    tape.recorded = view if whole else None
    missing = [name for name in outputs if name not in found]
    found |= {name: view.graph.array(view.graph.initializers[name]) for name in missing if name not in view.makers}
    constants = [name for name in missing if name in view.makers]
    found |= run_part(view, [view.makers[name] for name in constants], {}, constants) if constants else {}
    return {name: found[name] for name in outputs}


def _own(view: View, name: str) -> int:
    number = view.numbered.number(name)
    assert number is not None, f"{name} has no number"
    return number


def _value(view: View, name: str, alive: Mapping[str, Array], tape: Tape) -> Array | None:
    """Return a tensor that an earlier piece made or the feed has; None for a constant."""
    return alive[name] if name in alive else None if view.is_constant(name) else tape.get(_own(view, name))


def _roots(view: View, names: Iterable[str], end: int, tape: Tape) -> set[int]:
    """Return the numbers of what is recorded, and what tensors that nodes before ``end`` make are computed from."""
    found, names = set(), [name for name in names if view.makers.get(name, end) < end]
    seen = set(names)
    for name in names:  # grows on the way
        number = _own(view, name)
        if number in tape:
            found.add(number)
            continue
        more = {one for one in reads(view.nodes[view.makers[name]]) if one in view.makers} - seen
        seen |= more
        names += more
    return found


def _last_reads(view: View, outputs: Sequence[str]) -> dict[str, int]:
    """Return the place of the last node that reads a value; past the end for an output."""
    last = {name: place for place, node in enumerate(view.nodes) for name in reads(node)}
    return last | dict.fromkeys(outputs, len(view.nodes))


def _dear(view: View) -> set[str]:
    """Return the tensors that are worth recording."""
    found: set[str] = set()
    behind: dict[str, int] = {}  # cheap nodes between a tensor and what is recorded
    for node in view.nodes:
        if is_constant(node):
            continue
        count = 1 + sum(behind.get(name, 0) for name in node.input)
        names = [name for name in node.output if name]
        if weigh(node) >= 1 or count > _BEHIND:
            found.update(names)
            count = 0
        behind.update(dict.fromkeys(names, count))
    return found


def _pieces(view: View) -> list[tuple[int, int]]:
    """Return the places at which pieces begin and end."""
    most = max(_PIECE, view.weight / _MOST_PIECES)
    found, start, filled = [], 0, 0.0
    for place, node in enumerate(view.nodes):
        filled += weigh(node)
        if filled >= most:
            found.append((start, place + 1))
            start, filled = place + 1, 0.0
    return [*found, (start, len(view.nodes))] if start < len(view.nodes) else found
