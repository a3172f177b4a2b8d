"""One thing that ATC would say to a command."""

from __future__ import annotations

from dataclasses import dataclass

UNKNOWN = "\ufffc"
"""Stands for a piece of text that is not known until a script runs."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing to know about a command.

    ``level`` is ``error`` (ATC refuses it), ``warning`` (it does so in some releases, or ignores what was asked for)
    or ``note``. ``code`` is ATC's own, empty where it has none.
    """

    option: str
    level: str
    code: str
    reason: str
    fix: str = ""
    source: str = ""

    def text(self) -> str:
        """Return the finding as one line."""
        code = f" ({self.code})" if self.code else ""
        fix = f"; {self.fix}" if self.fix else ""
        return f"{self.option}: {self.reason}{code}{fix}"
