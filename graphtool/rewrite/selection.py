"""Which matches of a pass are applied: ``only=`` and ``skip=`` of a pipeline's text.

``resize_nearest:skip=Resize_229+Resize_212`` leaves two matches out, ``:only=Resize_229`` applies that one alone. An
item is where a match is: the name of its node as ``--dry-run`` lists it, or ``OP(OUTPUT)`` where a name is not unique.
In a sequence an item is ``PASS@WHERE``, or ``PASS`` for all that one of its passes does. A native pass that does not
work match by match has none to choose from: it is one unit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

from graphtool.errors import PassError, did_you_mean, quoted

WORDS = ("only", "skip")  # parameters that no pass file may declare
Offer = Callable[[str, str], bool]  # a match's label and alias -> whether it is to be applied


def everywhere(where: str, alias: str) -> bool:
    """Take every match: what is offered where nothing is selected."""
    return True


class Place(NamedTuple):
    """One unit that can be left out: where pass ``spec`` matched; ``where`` is empty for a native pass in one piece.

    ``alias`` is the place as ``OP(OUTPUT)``, which tells nodes of one name apart.
    """

    spec: str
    where: str
    alias: str = ""


class Selection(NamedTuple):
    """Items of ``only`` (None: all matches) and ``skip``. With ``strict`` an item that matches nowhere is an error."""

    only: tuple[str, ...] | None = None
    skip: tuple[str, ...] = ()
    strict: bool = True


class Chooser:
    """One application of a pass under a selection; ``taken`` are the places where it was applied, in order."""

    def __init__(self, selection: Selection, spec: str, is_sequence: bool) -> None:
        self.taken: dict[Place, None] = {}
        self._selection = selection
        self._spec = spec
        self._is_sequence = is_sequence
        self._only = None if selection.only is None else frozenset(selection.only)
        self._skip = frozenset(selection.skip)
        self._hit: set[str] = set()
        self._seen: dict[str, None] = {}  # items that could have been named
        self._whole = 0  # how many passes around the one at hand were taken whole

    def enters(self, spec: str, is_sequence: bool) -> bool:
        """Whether anything that a pass of the sequence does can be taken."""
        self._seen.setdefault(spec)
        self._hit.add(spec)
        if spec in self._skip:
            return False
        if self._only is None or self._whole or is_sequence:
            return True
        return self.names(spec) or any(item.startswith(f"{spec}@") for item in self._only)

    def names(self, spec: str) -> bool:
        """Whether ``only`` asks by name for all that a pass of the sequence does."""
        return self._only is not None and spec in self._only

    @contextmanager
    def whole(self) -> Iterator[None]:
        """Take all that the passes of a sequence inside the sequence do."""
        self._whole += 1
        try:
            yield
        finally:
            self._whole -= 1

    def did(self, spec: str) -> None:
        """Note that a native pass in one piece changed something."""
        self.taken.setdefault(Place(spec, ""))

    def takes(self, spec: str, where: str, alias: str) -> bool:
        """Whether the match of pass ``spec`` at a place is applied."""
        names = {where, alias}
        if self._is_sequence:
            names = {spec, *(f"{spec}@{name}" for name in names)}
        for name in (where, alias):
            self._seen.setdefault(f"{spec}@{name}" if self._is_sequence else name)
        self._hit |= names
        if (self._only is not None and not self._whole and not names & self._only) or names & self._skip:
            return False
        self.taken.setdefault(Place(spec, where, alias))
        return True

    def finish(self) -> tuple[str, ...]:
        """Return the items that no match answered to; with ``strict`` raise PassError: a misspelt name must be said."""
        wanted = [*(self._selection.only or ()), *self._selection.skip]
        missing = [item for item in wanted if item not in self._hit]
        if missing and self._selection.strict:
            what = "PASS@NODE or PASS" if self._is_sequence and "@" not in missing[0] else "a place where it matches"
            near = did_you_mean(missing[0], self._seen)
            raise PassError(f"{self._spec}: {quoted(missing[0])} is not {what}{near or '; run --dry-run lists them'}")
        return tuple(missing)
