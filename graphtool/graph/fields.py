"""Repeated protobuf fields, changed by permuting pointers: proxies that callers hold stay valid, nothing is copied.

``del field[:]`` with ``extend``, and ``insert``, copy every message, and an edit through an older proxy is then lost.
Both functions end in one sort and one cut; deleting entries one by one is quadratic.

Where it is hot, fields are read by a slice, ``node.input[:]``: iterating the field itself ends with an IndexError whose
text protobuf formats, which costs more than the names.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any


def arrange(field: Any, wanted: Iterable[Any]) -> None:
    """Leave in ``field`` those of its messages that are ``wanted``, in that order."""
    rank = {id(message): place for place, message in enumerate(wanted)}
    field.sort(key=lambda message: rank.get(id(message), len(rank)))
    del field[len(rank) :]


def keep_only(field: Any, wanted: Callable[[Any], bool]) -> None:
    """Delete the messages in ``field`` for which ``wanted`` does not hold; the others keep their order."""
    gone = [not wanted(message) for message in field]
    count = gone.count(False)
    if count < len(gone):
        marks = iter(gone)
        field.sort(key=lambda _: next(marks))  # list.sort asks for each key once, in order
        del field[count:]
