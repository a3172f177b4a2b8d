"""Ranges of CANN releases, such as ``>=5.0.2,<5.0.4``."""

from __future__ import annotations

import operator
import re
from dataclasses import dataclass

from graphtool.atc.cann import Cann
from graphtool.errors import PassError, ProfileError, quoted

_COMPARE = {">=": operator.ge, "<=": operator.le, ">": operator.gt, "<": operator.lt, "==": operator.eq}
_BOUND = re.compile(r"\s*(>=|<=|==|>|<)\s*(\S+)\s*")


@dataclass(frozen=True, slots=True)
class Range:
    """A range of releases; ``text`` as it is written, empty for all.

    >>> Range.parse(">=5.0.2,<5.1.RC1").holds(Cann.parse("5.0.4"))
    True
    """

    text: str = ""
    bounds: tuple[tuple[str, Cann], ...] = ()

    @classmethod
    def parse(cls, text: str) -> Range:
        """Return the range that ``text`` names; raises PassError."""
        bounds = []
        for part in text.split(",") if text.strip() else []:
            found = _BOUND.fullmatch(part)
            if not found:
                raise PassError(f"{quoted(part)} is not a bound such as '>=5.0.2' or '<6.0.1'")
            try:
                bounds.append((found[1], Cann.parse(found[2])))
            except ProfileError as error:
                raise PassError(str(error)) from None
        return cls(text, tuple(bounds))

    def holds(self, version: Cann) -> bool:
        """Whether a release is in the range."""
        return all(_COMPARE[sign](version, bound) for sign, bound in self.bounds)

    @property
    def ends(self) -> bool:
        """Whether there are later releases for which it does not hold."""
        return any(sign in ("<", "<=", "==") for sign, _ in self.bounds)
