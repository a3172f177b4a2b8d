"""One record, all records, or ONNX's own test data sets: what ``golden check`` and ``golden list`` look at. Floor 5."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from graphtool.errors import FeedError, GoldenError, quoted
from graphtool.golden.checking import GivenFeed, Options, check_record, loaded
from graphtool.golden.children import check_all
from graphtool.golden.data_set import check_test_data_set
from graphtool.golden.entry import entry_of
from graphtool.golden.files import list_goldens, read_record
from graphtool.golden.records import Record
from graphtool.golden.store import Checked

_SET = re.compile(r"test_data_set_\d+")
_MODEL = "model.onnx"  # beside the data sets, as in ONNX's own tests


def check_goldens(
    name: str | None,
    folder: Path,
    model: Path | None,
    feed: GivenFeed,
    options: Options,
    jobs: int | None = None,
    watch: Callable[[str], None] = lambda _: None,
) -> tuple[Path, list[dict[str, Any]]]:
    """Return how each record went, as plain data, and the folder that they lie in.

    All in ``folder`` where no name is given, each in its own process. A ``name`` that is no record's may be a folder
    that holds data sets. Raises GoldenError where there is nothing to check.
    """
    if name is None:
        names = list_goldens(folder)
        if not names:
            raise GoldenError(f"no records in {quoted(folder)}; `graphtool golden record NAME MODEL` makes one")
        watch(f"golden records: {len(names)}")
        return folder, check_all(names, folder, options, jobs, watch=watch)
    watch("running the model")
    if name not in list_goldens(folder) and (sets := _data_sets(Path(name))):
        return sets[0].parent, [entry_of(found) for found in _check_sets(Path(name), sets, model)]
    return folder, [entry_of(check_record(name, folder, model, feed, options))]


def read_all(folder: Path) -> list[tuple[str, Record | str]]:
    """Return every record in ``folder`` by name; for one that cannot be read, why."""
    found: list[tuple[str, Record | str]] = []
    for name in list_goldens(folder):
        try:
            found.append((name, read_record(folder / name)[0]))
        except GoldenError as error:
            found.append((name, str(error)))
    return found


def _data_sets(path: Path) -> list[Path]:
    """Return the data sets in a folder, or the folder itself where it is one."""
    if not path.is_dir():
        return []
    if any(path.glob("output_*.pb")):
        return [path]
    own = [inner for inner in path.iterdir() if _SET.fullmatch(inner.name) and inner.is_dir()]
    return sorted(own, key=lambda inner: int(inner.name.rpartition("_")[2]))


def _check_sets(path: Path, sets: list[Path], model: Path | None) -> list[Checked]:
    beside = (path if sets != [path] else path.parent) / _MODEL
    if model is None and not beside.is_file():
        raise GoldenError(f"{quoted(path)} holds data sets and no {_MODEL}; name the model: MODEL")
    graph = loaded(model or beside)
    found = []
    for one in sets:
        try:
            found.append(check_test_data_set(graph, one))
        except FeedError as error:
            raise GoldenError(f"{quoted(one)}: {error}") from None
    return found
