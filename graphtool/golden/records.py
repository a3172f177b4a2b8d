"""What a golden record says of a run, and how outputs.toml is written. Floor 5.

Every float is text in hexadecimal (C's ``%a``): it is read back to the last bit, and nobody rounds it by hand.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass

FORMAT = 2
READABLE = (1, 2)  # 1 had neither source nor pipeline
SAMPLES = 64
ABSENT_TYPE = "absent"  # of an optional input that was not given
LOOSE = "loose"  # in place of a sampled label that may be another one on another machine
Number = int | float

_HEADER = "# A golden record of graphtool. Written by `graphtool golden record` and `golden update`, not by hand.\n"


@dataclass(frozen=True, slots=True)
class InputRecord:
    """An input of the recorded run: element type, shape and SHA-256 of its numbers; of a sequence those of its first.

    The hash is of all tensors of a sequence. ``type`` is ``absent`` for an optional that was not given.
    """

    name: str
    type: str
    shape: tuple[int, ...]
    sha256: str


@dataclass(frozen=True, slots=True)
class FeedRecord:
    """Where the inputs come from: ``source`` and, for a drawn feed, ``seed``; ``dims`` are its sizes by symbol."""

    source: str
    seed: int | None
    dims: Mapping[str, int]
    inputs: tuple[InputRecord, ...]


@dataclass(frozen=True, slots=True)
class OutputRecord:
    """An output of the recorded run.

    ``tolerance``: how far any value of it may move, in its units; 0 for what is no float. ``may_flip``: at how many
    positions the label (of a class map, or the output itself where it is no float) may be another.
    ``nonfinite``: how many NaN and infinities; ``minimum``, ``maximum``, ``mean`` are of the other values, NaN where
    there are none. ``samples``: values at 64 places that follow from the name (all in order where there are no more);
    None for a loose one. ``classes``: of a class map, else None. ``histogram``: members of each class that has any, or
    of each value of an output that is no float and has few; else None.
    """

    name: str
    type: str
    shape: tuple[int, ...]
    tolerance: float
    may_flip: int
    nonfinite: int
    minimum: Number
    maximum: Number
    mean: float
    samples: tuple[Number | None, ...]
    classes: int | None
    histogram: Mapping[int, int] | None

    @property
    def count(self) -> int:
        """Return the number of elements."""
        return math.prod(self.shape)

    @property
    def positions(self) -> int:
        """Return over how many labels the histogram is: of a class map one for all its classes."""
        return self.count // self.classes if self.classes else self.count


@dataclass(frozen=True, slots=True)
class Source:
    """Where the model of a record comes from.

    ``kind`` is ``path`` (``text`` is relative to the record's folder, with slashes), ``variable`` (the environment
    variable that holds its path) or ``command`` (which writes it to ``{model}``).
    """

    kind: str
    text: str

    def __str__(self) -> str:
        return self.text if self.kind == "path" else f"${self.text}" if self.kind == "variable" else f"`{self.text}`"


SOURCES = ("path", "variable", "command")


@dataclass(frozen=True, slots=True)
class StepRecord:
    """One pass of a recorded pipeline: its text, matches, and the graph after it.

    ``file`` holds that graph, beside outputs.toml, and has ``sha256``; both are empty where the pass changed nothing.
    The model itself is a step without a text.
    """

    text: str
    matches: int
    nodes: int
    file: str
    sha256: str


@dataclass(frozen=True, slots=True)
class Record:
    """A golden record but for the graph itself, of which it holds the number of nodes and run.txt's SHA-256.

    ``model`` is the source's file name (None: not given) and ``model_files`` the SHA-256 of it and of its external
    data by name, ``versions`` those of the packages that made the record: to be read, not judged. ``source`` says where
    to find the model again, ``passes`` is the pipeline that makes the recorded graph of it (None: the model is it), and
    ``steps`` the graphs on the way.
    """

    nodes: int
    run_sha256: str
    model: str | None
    model_files: Mapping[str, str]
    versions: Mapping[str, str]
    feed: FeedRecord
    outputs: tuple[OutputRecord, ...]
    source: Source | None = None
    passes: str | None = None
    steps: tuple[StepRecord, ...] = ()


def to_toml(record: Record) -> str:
    """Return the text of outputs.toml: the same record, the same bytes."""
    feed = record.feed
    parts = [
        _HEADER + _table({"format": FORMAT, "outputs": [output.name for output in record.outputs]}),
        "[graph]\n" + _table({"nodes": record.nodes, "sha256": record.run_sha256}),
        "[model]\n" + _table({"file": record.model, "sha256": dict(record.model_files)} | _source_table(record)),
        "[versions]\n" + _table(record.versions),
        "[feed]\n" + _table({"source": feed.source, "seed": feed.seed, "dims": dict(feed.dims)}),
    ]
    for given in feed.inputs:
        table = {"name": given.name, "type": given.type, "shape": list(given.shape), "sha256": given.sha256}
        parts.append("[[feed.input]]\n" + _table(table))
    if record.passes is not None:
        parts.append("[pipeline]\n" + _table({"passes": record.passes}))
    parts += ["[[pipeline.step]]\n" + _table(_step_table(step)) for step in record.steps]
    parts += ["[[output]]\n" + _table(_output_table(output)) for output in record.outputs]
    return "\n".join(parts)


def _source_table(record: Record) -> dict[str, object]:
    return {} if record.source is None else {record.source.kind: record.source.text}


def _step_table(step: StepRecord) -> dict[str, object]:
    kept: dict[str, object] = {"pass": step.text or None, "matches": step.matches, "nodes": step.nodes}
    return kept | ({"file": step.file, "sha256": step.sha256} if step.file else {})


def _output_table(output: OutputRecord) -> dict[str, object]:
    return {
        "name": output.name,
        "type": output.type,
        "shape": list(output.shape),
        "tolerance": _number_text(output.tolerance),
        "may_flip": output.may_flip,
        "nonfinite": output.nonfinite,
        "min": _number_text(output.minimum),
        "max": _number_text(output.maximum),
        "mean": _number_text(output.mean),
        "samples": [LOOSE if value is None else _number_text(value) for value in output.samples],
        "classes": output.classes,
        "histogram": None if output.histogram is None else [[k, n] for k, n in sorted(output.histogram.items())],
    }


def _number_text(number: Number) -> str:
    return re.sub(r"\.?0*p", "p", number.hex()) if isinstance(number, float) else str(number)


def _table(table: Mapping[str, object]) -> str:
    return "".join(f"{_key(key)} = {_value(value)}\n" for key, value in table.items() if value is not None)


def _value(value: object) -> str:
    if isinstance(value, str):
        return _string(value)
    if isinstance(value, dict):
        return f"{{{', '.join(f'{_key(key)} = {_value(item)}' for key, item in value.items())}}}"
    if isinstance(value, list):
        items = [_value(item) for item in value]
        line = f"[{', '.join(items)}]"
        if len(line) <= 100:
            return line
        rows = [", ".join(items[n : n + 4]) for n in range(0, len(items), 4)]
        return "[\n" + "".join(f"  {row},\n" for row in rows) + "]"
    return str(value)


def _key(key: str) -> str:
    return key if re.fullmatch(r"[A-Za-z0-9_-]+", key) else _string(key)


def _string(text: str) -> str:
    """Return a basic string of TOML; a file name that is no Unicode keeps a mark in place of its bytes."""
    text = text.encode("utf-8", "replace").decode()
    escaped = ("\\" + c if c in '"\\' else c if c.isprintable() else f"\\U{ord(c):08x}" for c in text)
    return f'"{"".join(escaped)}"'
