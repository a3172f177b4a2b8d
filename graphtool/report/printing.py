"""Lines and tables on stdout: rich's where that is a terminal, plain text where it is not.

A pipe or a file gets one row a line, whole and without colours, and rich is not loaded for it: its import is a tenth of
a run on a small model.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Collection, Iterable, Sequence
from typing import TYPE_CHECKING
from unicodedata import east_asian_width

from graphtool.errors import show

if TYPE_CHECKING:
    from rich.console import Console

Cell = str | tuple[str, str]  # a text, or a text and its style

_WHOLE = 1 << 20  # characters of a line: no limit
_PIPED_WIDTH = 110  # columns where there is no terminal to ask
_GAP = 2  # columns between those of a table


def line(text: str = "", style: str = "") -> None:
    """Print one line that is not wrapped, so that it can be copied; nothing in it can be an escape sequence."""
    text = show(text, _WHOLE)
    if not _is_terminal():
        print(text, flush=True)
        return
    from rich.text import Text

    _console().print(Text(text, style=style), soft_wrap=True)


def table(headings: Sequence[str], rows: Iterable[Sequence[Cell]], right: Collection[str] = ()) -> None:
    """Print a table; columns in ``right`` are flush right. On a terminal cells are folded to its width."""
    cells = [[(show(text, _WHOLE), style) for text, style in map(_styled, row)] for row in rows]
    if not _is_terminal():
        _print_plain([list(headings), *([text for text, _ in row] for row in cells)], [h in right for h in headings])
        return
    from rich.table import Table
    from rich.text import Text

    made = Table(box=None, pad_edge=False, padding=(0, _GAP, 0, 0))
    for heading in headings:
        made.add_column(heading, justify="right" if heading in right else "left", overflow="fold")
    for row in cells:
        made.add_row(*(Text(text, style=style) for text, style in row))
    _console().print(made)


def _print_plain(rows: Sequence[Sequence[str]], right: Sequence[bool]) -> None:
    widths = [max(map(_columns, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        padded = []
        for text, wide, flush in zip(row, widths, right, strict=True):
            space = " " * (wide - _columns(text))
            padded.append(space + text if flush else text + space)
        print((" " * _GAP).join(padded).rstrip(), flush=True)


def width() -> int:
    """Return how many columns prose is wrapped to."""
    return min(_console().width, _PIPED_WIDTH) if _is_terminal() else _PIPED_WIDTH


def _is_terminal() -> bool:
    """Whether there are colours: on a terminal, or where rich's variables ask for them."""
    return sys.stdout.isatty() or bool(os.environ.get("FORCE_COLOR")) or os.environ.get("TTY_COMPATIBLE") == "1"


def _console() -> Console:
    from rich.console import Console

    columns = None if sys.stdout.isatty() else _PIPED_WIDTH
    return Console(file=sys.stdout, highlight=False, emoji=False, markup=False, width=columns)


def _styled(cell: Cell) -> tuple[str, str]:
    return (cell, "") if isinstance(cell, str) else cell


def _columns(text: str) -> int:
    """Return how many columns a text takes: those of East Asia take two (Unicode Standard Annex 11)."""
    return len(text) if text.isascii() else sum(1 + (east_asian_width(character) in "WF") for character in text)
