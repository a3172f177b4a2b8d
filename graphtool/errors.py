"""Every error a user can cause. Floor 0.

A message is one line that says what is wrong, where, and what to do. Names that come out of a model or a file
pass through :func:`show`, so that a name can never carry an escape sequence to the terminal.
"""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable


class GraphtoolError(Exception):
    """Base of all errors that graphtool raises on purpose; ``exit_code`` is what the command line ends with."""

    exit_code = 2


class UsageError(GraphtoolError):
    """Words on the command line, or arguments of a Python call, that do not fit."""


class ModelError(GraphtoolError):
    """A model file that cannot be read or written, or that is not a sound graph."""


class PassError(GraphtoolError):
    """A pass, its parameters or its file is wrong."""


class FeedError(GraphtoolError):
    """Inputs for a run that do not fit the model, or a model that cannot run on them."""


class ProfileError(GraphtoolError):
    """A profile, or an ATC option, that does not hold for the graph."""


class GoldenError(GraphtoolError):
    """A golden record that is missing or broken."""


class PromiseError(GraphtoolError):
    """A pass broke its promise, or a budget or golden did not hold."""

    exit_code = 1


def show(name: object, limit: int = 120) -> str:
    """Return ``name`` fit for a terminal: control, bidirectional and unprintable characters escaped, long ones cut."""
    text = name.decode("utf-8", "backslashreplace") if isinstance(name, bytes) else str(name)
    if len(text) > limit:
        text = text[: limit - 1] + "…"
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


def quoted(name: object) -> str:
    """Return ``name`` in single quotes, fit for a terminal."""
    return f"'{show(name)}'"


def nearest(word: str, known: Iterable[str]) -> str | None:
    """Return the known word closest to ``word``, or None where nothing is close."""
    found = difflib.get_close_matches(word, list(known), n=1, cutoff=0.6)
    return found[0] if found else None


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return ``"; did you mean 'x'?"`` where a known word is close, else an empty string."""
    found = nearest(word, known)
    return f"; did you mean {quoted(found)}?" if found else ""


def which_it_has(word: str, known: Collection[str]) -> str:
    """Return the same, or where no known word is close ``"; it has 'a', 'b'"``, the first eight of them."""
    more = f" and {len(known) - 8} more" if len(known) > 8 else ""
    names = ", ".join(quoted(name) for name in list(known)[:8]) or "none"
    return did_you_mean(word, known) or f"; it has {names}{more}"
