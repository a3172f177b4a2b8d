"""ONNX's own golden records, ``test_data_set_N/input_i.pb`` and ``output_i.pb``: written, and checked. Floor 5."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from numpy.typing import NDArray
from onnx import ValueInfoProto

from graphtool.errors import GoldenError, quoted, show
from graphtool.golden import Checked
from graphtool.golden.outputs import OutputFigures, type_name
from graphtool.graph import Graph
from graphtool.parity.containers import Held, held_of, is_absent, is_sequence, joined
from graphtool.parity.eps import eps_of
from graphtool.parity.feed import Feed
from graphtool.parity.feed_files import feed_from
from graphtool.parity.metrics import compare
from graphtool.parity.protos import from_pb, to_pb
from graphtool.parity.runerror import RunError
from graphtool.parity.runnable import Meanings, runnable
from graphtool.parity.session import Session
from graphtool.parity.ties import Loose, loose_labels
from graphtool.parity.tolerance import close_tolerance
from graphtool.rewrite import Catalog

Array = NDArray[Any]


def write_test_data_set(folder: Path, graph: Graph, feed: Feed, outputs: Mapping[str, Array]) -> None:
    """Write the folder ``test_data_set_N`` itself: inputs and outputs numbered in the order the graph declares them.

    Raises GoldenError where the folder exists and is not empty, where an output is missing, or for what has no file: a
    map.
    """
    if folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
        raise GoldenError(f"{quoted(folder)} exists; a test data set is written to a new folder")
    inputs = graph.proto.graph.input
    files = {f"input_{n}.pb": (i, feed.arrays[i.name]) for n, i in enumerate(inputs) if i.name in feed.arrays}
    for number, info in enumerate(graph.proto.graph.output):
        if info.name not in outputs:
            raise GoldenError(f"nothing is given for output {quoted(info.name)}")
        files[f"output_{number}.pb"] = (info, outputs[info.name])
    part = folder.with_name(f".graphtool-{os.urandom(8).hex()}.part")
    try:
        part.mkdir(parents=True)
        for file, (info, array) in files.items():
            (part / file).write_bytes(_bytes(info, array))
        part.rename(folder)
    except OSError as error:
        raise GoldenError(f"cannot write {quoted(folder)}: {error.strerror}") from None
    finally:
        shutil.rmtree(part, ignore_errors=True)


def check_test_data_set(graph: Graph, folder: Path, meanings: Meanings | None = None) -> Checked:
    """Run ``graph`` on a test data set and compare every element of its outputs.

    A data set holds no tolerance: ``close``'s is computed for this graph on these inputs, which takes four runs more.
    Raises FeedError for inputs and GoldenError for outputs that cannot be used.
    """
    feed = feed_from(folder, graph).arrays
    expected = _read_outputs(folder, graph)
    own = runnable(graph, Catalog().semantics() if meanings is None else meanings)
    try:
        outputs = Session(own, outputs=list(expected)).run(feed)
    except RunError as error:
        return Checked(folder.name, (str(error),), ())
    tolerance = close_tolerance(own, feed, outputs)
    loose = loose_labels(own, feed, outputs)
    figures = {
        name: _judged(name, was, outputs[name], tolerance[name], loose.get(name)) for name, was in expected.items()
    }
    faults = tuple(fault for found in figures.values() for fault in found.faults)
    return Checked(folder.name, faults, tuple(found.text() for found in figures.values()), figures)


def _bytes(info: ValueInfoProto, array: Array) -> bytes:
    held = held_of(info)
    if held.item.kind != "tensor":
        raise GoldenError(f"{quoted(info.name)} is of type {held.text()}, which no test data set holds")
    return to_pb(info.name, array, held)


def _read_outputs(folder: Path, graph: Graph) -> dict[str, Array]:
    holds = [held_of(info) for info in graph.proto.graph.output]
    numbers = ((re.fullmatch(r"output_(\d+)\.pb", file.name), file) for file in folder.iterdir())
    files = {int(found[1]): file for found, file in numbers if found}
    if not files:
        raise GoldenError(f"{quoted(folder)} holds no output_0.pb; there is nothing to check against")
    for number, file in files.items():
        if number >= len(holds):
            raise GoldenError(f"{show(file)}: the model has only {len(holds)} outputs")
    return {holds[number].item.name: _read(file, holds[number]) for number, file in sorted(files.items())}


def _read(file: Path, held: Held) -> Array:
    try:
        return from_pb(file.read_bytes(), held)
    except OSError as error:
        raise GoldenError(f"{show(file)}: cannot be read: {error.strerror}") from None
    except ValueError as error:
        raise GoldenError(f"{show(file)}: {show(str(error))}") from None


def _judged(name: str, was: Array, now: Array, tolerance: float, loose: Loose | None) -> OutputFigures:
    """Return how all elements of an output compare; labels must agree but at ties."""
    head = f"output {quoted(name)}"
    pair = [_type(array) for array in (now, was)]
    if pair[0] != pair[1]:
        fault = f"{head} is {pair[0]}, in the data set {pair[1]}"
        return OutputFigures(name, float("inf"), "type or shape", tolerance, faults=(fault,))
    if is_absent(was):
        return OutputFigures(name, 0.0, "", tolerance)
    was, now = joined(was), joined(now)  # a sequence is held end to end
    found = compare(was, now)
    worst = "" if found.worst_index is None else f"the value at {list(found.worst_index)}"
    if eps_of(now.dtype) and found.max_abs > tolerance:
        error = found.max_abs / tolerance if tolerance else float("inf")
        fault = f"{head}: {worst} is {found.max_abs:.3g} off: {error:.3g} times what is allowed"
        return OutputFigures(name, error, worst, tolerance, faults=(fault,))
    if eps_of(now.dtype):
        return OutputFigures(name, found.max_abs / tolerance if tolerance else 0.0, worst, tolerance)
    free = 0 if loose is None else loose.count
    astray = (was != now) & ~loose.at if loose is not None else was != now
    fault = f"{head}: {int(astray.sum())} values differ that are not near a tie"
    return OutputFigures(name, 0.0, worst, 0.0, found.changed, free, (fault,) if astray.any() else ())


def _type(array: Array) -> str:
    if is_absent(array):
        return "absent"
    if is_sequence(array) and array.size:
        return f"a sequence of {', '.join(map(_type, array))}"
    return f"{type_name(array)}{list(array.shape)}"
