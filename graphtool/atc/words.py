"""The words of graphtool's own command line that say what ATC is told: --batch, --shape and --atc."""

from __future__ import annotations

from graphtool.atc import options as atc
from graphtool.atc import values
from graphtool.atc.values import SpellingError
from graphtool.errors import UsageError, quoted, show

NEEDED = ("framework", "soc_version")
"""What ATC cannot do without, beside what graphtool fills in itself."""


def parse_batches(text: str) -> tuple[int, ...]:
    """Read the argument of ``--batch``: ``1,4,8,16``."""
    try:
        found = tuple(values.parse_number(word.strip()) for word in text.split(","))
    except SpellingError as why:
        raise UsageError(f"--batch: {why}; give numbers such as 1,4,8") from None
    if len(set(found)) < len(found):
        raise UsageError(f"--batch: {quoted(text)} names a batch twice")
    return found


def parse_shape(text: str) -> tuple[str, tuple[int, ...]]:
    """Read the argument of ``--shape``: ``NAME:DIM,DIM,...``; the name ends at the last ``:``."""
    name, colon, dims = text.rpartition(":")
    if not colon or not name:
        raise UsageError(f"--shape: {quoted(text)} is not NAME:DIM,DIM,... such as image:1,3,224,224")
    try:
        return name, tuple(values.parse_number(word.strip()) for word in dims.split(","))
    except SpellingError as why:
        raise UsageError(f"--shape {show(name)}: {why}") from None


def parse_option(text: str) -> tuple[str, str]:
    """Read the argument of ``--atc``: ``OPTION=VALUE``, checked; ``OPTION=`` drops what the profile says."""
    name, equals, value = text.partition("=")
    if not equals:
        raise UsageError(f"--atc: {quoted(text)} is not OPTION=VALUE")
    try:
        return checked(name, value)
    except SpellingError as why:
        raise UsageError(f"--atc: {why}") from None


def checked(name: str, value: str) -> tuple[str, str]:
    """Return option and value of an override; raises SpellingError where one of them is wrong."""
    option = atc.find(name)
    if option.name == "model":
        raise SpellingError("model: the model is named by itself")
    if not value and option.name in NEEDED:
        raise SpellingError(f"{option.name}: ATC needs it")
    try:
        if value:
            atc.check(option, value)
    except SpellingError as why:
        raise SpellingError(f"{option.name}: {why}") from None
    return option.name, value
