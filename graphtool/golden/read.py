"""outputs.toml read back: every value checked, every error with file, key and reason. Floor 5."""

from __future__ import annotations

import math
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping

from graphtool.errors import GoldenError, did_you_mean, quoted, show
from graphtool.golden.records import (
    ABSENT_TYPE,
    FORMAT,
    LOOSE,
    READABLE,
    SAMPLES,
    SOURCES,
    FeedRecord,
    InputRecord,
    Number,
    OutputRecord,
    Record,
    Source,
    StepRecord,
)
from graphtool.graph.values import dtype_code

_SHA256 = re.compile(r"[0-9a-f]{64}")
_STEP_FILE = re.compile(r"steps/[\w.-]+\.txt", re.ASCII)
_MOST_SIZE = 1 << 40
_WHOLE = range(-(1 << 63), 1 << 64)  # what some element type holds


class Table:
    """A table of outputs.toml at a place such as ``output[0]``; every error is ``file: key: reason``."""

    def __init__(self, file: str, table: Mapping[str, object], place: str = "") -> None:
        self.file = file
        self.table = table
        self.place = place

    def error(self, key: str, reason: str) -> GoldenError:
        """Return the error for a key here."""
        where = show(".".join(part for part in (self.place, key) if part))
        return GoldenError(f"{self.file}: {where}: {reason}")

    def only(self, *known: str) -> None:
        """Raise for a key that is not known."""
        for key in self.table:
            if key not in known:
                raise self.error(key, f"unknown key{did_you_mean(key, known)}")

    def _get(self, key: str, kind: type, what: str) -> object:
        if key not in self.table:
            raise self.error(key, "is missing; is the file truncated?")
        value = self.table[key]
        if not isinstance(value, kind) or isinstance(value, bool):
            raise self.error(key, f"must be {what}")
        return value

    def text(self, key: str) -> str:
        """Return a string."""
        return str(self._get(key, str, "a string"))

    def whole(self, key: str, least: int = 0) -> int:
        """Return an integer of at least ``least``."""
        value = self._get(key, int, "a whole number")
        assert isinstance(value, int)
        if value < least:
            raise self.error(key, f"must be at least {least}")
        return value

    def number(self, key: str, floating: bool) -> Number:
        """Return a number written as text: hexadecimal for a float."""
        return self.parsed(key, self.text(key), floating)

    def parsed(self, key: str, text: str, floating: bool) -> Number:
        """Return the number in ``text``, which stands at ``key``."""
        try:
            if floating:
                return float.fromhex(text)
            if (whole := int(text)) in _WHOLE:
                return whole
        except (ValueError, OverflowError):
            pass
        kind = "hexadecimal float, such as 0x1.8p+1" if floating else "whole number of 64 bits"
        raise self.error(key, f"{quoted(text)} is no {kind}")

    def items(self, key: str) -> list[object]:
        """Return an array."""
        value = self._get(key, list, "an array")
        assert isinstance(value, list)
        return value

    def shape(self, key: str) -> tuple[int, ...]:
        """Return an array of sizes."""
        return tuple(self._sizes(f"{key}[{n}]", item) for n, item in enumerate(self.items(key)))

    def _sizes(self, key: str, item: object) -> int:
        if not isinstance(item, int) or isinstance(item, bool) or not 0 <= item <= _MOST_SIZE:
            raise self.error(key, "must be a size")
        return item

    def sizes(self, key: str) -> dict[str, int]:
        """Return a table of sizes."""
        return {name: self._sizes(f"{key}.{name}", item) for name, item in self.sub(key).table.items()}

    def texts(self, key: str) -> dict[str, str]:
        """Return a table of strings."""
        inner = self.sub(key)
        return {name: inner.text(name) for name in inner.table}

    def digest(self, key: str) -> str:
        """Return a SHA-256."""
        text = self.text(key)
        if not _SHA256.fullmatch(text):
            raise self.error(key, "must be a SHA-256 in 64 hexadecimal digits")
        return text

    def type(self, key: str) -> str:
        """Return the name of an element type."""
        text = self.text(key)
        try:
            dtype_code(text)
        except KeyError:
            raise self.error(key, f"{quoted(text)} is no element type") from None
        return text

    def sub(self, key: str) -> Table:
        """Return a table in this one."""
        value = self._get(key, dict, "a table")
        assert isinstance(value, dict)
        return Table(self.file, value, f"{self.place}.{key}" if self.place else key)

    def array(self, key: str) -> Iterator[Table]:
        """Yield the tables of an array of tables; none where the key is absent."""
        for number, item in enumerate(self.items(key) if key in self.table else ()):
            if not isinstance(item, dict):
                raise self.error(f"{key}[{number}]", "must be a table")
            yield Table(self.file, item, f"{self.place}.{key}[{number}]" if self.place else f"{key}[{number}]")


def from_toml(text: str, file: str) -> Record:
    """Return the record in ``text``, called ``file`` in errors; raises GoldenError for what to_toml does not write."""
    try:
        top = Table(file, tomllib.loads(text))
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise GoldenError(f"{file}: not TOML: {show(error) or 'nested too deep'}") from None
    if (found := top.whole("format")) not in READABLE:
        raise top.error("format", f"{found} is not known to this graphtool, which writes {FORMAT}")
    top.only("format", "outputs", "graph", "model", "versions", "feed", "pipeline", "output")
    graph, model, feed = top.sub("graph"), top.sub("model"), top.sub("feed")
    graph.only("nodes", "sha256")
    model.only("file", "sha256", *SOURCES)
    outputs = tuple(_read_output(table) for table in top.array("output"))
    names = [output.name for output in outputs]
    if names != top.items("outputs"):
        raise top.error(
            "outputs", f"names {len(top.items('outputs'))}, and there are {len(names)}; truncated or edited?"
        )
    _unique(top, "output", names)
    return Record(
        graph.whole("nodes"),
        graph.digest("sha256"),
        model.text("file") if "file" in model.table else None,
        model.texts("sha256"),
        top.texts("versions"),
        _read_feed(feed),
        outputs,
        _read_source(model),
        *(_read_pipeline(top.sub("pipeline")) if "pipeline" in top.table else (None, ())),
    )


def _unique(table: Table, key: str, names: Iterable[str]) -> None:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise table.error(key, f"{quoted(name)} is there twice")
        seen.add(name)


def _read_source(model: Table) -> Source | None:
    kinds = [kind for kind in SOURCES if kind in model.table]
    if len(kinds) > 1:
        raise model.error(kinds[1], f"the model has one source, and {kinds[0]} is there too")
    if not kinds:
        return None
    text = model.text(kinds[0])
    if not text or "\0" in text:
        raise model.error(kinds[0], "is empty or holds a NUL")
    return Source(kinds[0], text)


def _read_pipeline(table: Table) -> tuple[str, tuple[StepRecord, ...]]:
    table.only("passes", "step")
    steps = []
    for number, step in enumerate(table.array("step")):
        step.only("pass", "matches", "nodes", "file", "sha256")
        file = step.text("file") if "file" in step.table else ""
        if file and not _STEP_FILE.fullmatch(file):
            raise step.error("file", f"{quoted(file)} is no file of a record")
        text = step.text("pass") if number else ""  # the first is the model itself
        steps.append(
            StepRecord(text, step.whole("matches"), step.whole("nodes"), file, step.digest("sha256") if file else "")
        )
    if not steps:
        raise table.error("step", "is missing; is the file truncated?")
    return table.text("passes"), tuple(steps)


def _read_feed(feed: Table) -> FeedRecord:
    feed.only("source", "seed", "dims", "input")
    inputs = []
    for table in feed.array("input"):
        table.only("name", "type", "shape", "sha256")
        kind = ABSENT_TYPE if table.text("type") == ABSENT_TYPE else table.type("type")
        inputs.append(InputRecord(table.text("name"), kind, table.shape("shape"), table.digest("sha256")))
    _unique(feed, "input", (given.name for given in inputs))
    seed = feed.whole("seed", -(2**63)) if "seed" in feed.table else None
    return FeedRecord(feed.text("source"), seed, feed.sizes("dims"), tuple(inputs))


def _read_output(table: Table) -> OutputRecord:
    table.only(
        "name", "type", "shape", "tolerance", "may_flip", "nonfinite", "min", "max", "mean", "samples", "classes",
        "histogram",
    )  # fmt: skip
    kind, shape = table.type("type"), table.shape("shape")
    floating = "float" in kind
    tolerance = float(table.number("tolerance", True))
    if not 0 <= tolerance < math.inf:
        raise table.error("tolerance", "must be finite and not negative")
    classes = table.whole("classes", 1) if "classes" in table.table else None
    if classes is not None and (len(shape) < 2 or shape[1] != classes):
        raise table.error("classes", "must be the size of axis 1")
    output = OutputRecord(
        table.text("name"),
        kind,
        shape,
        tolerance,
        table.whole("may_flip"),
        table.whole("nonfinite"),
        table.number("min", floating),
        table.number("max", floating),
        float(table.number("mean", True)),
        tuple(_samples(table, floating)),
        classes,
        _histogram(table) if "histogram" in table.table else None,
    )
    if len(output.samples) != min(output.count, SAMPLES):
        raise table.error("samples", f"must be {min(output.count, SAMPLES)}, found {len(output.samples)}")
    if output.histogram is not None and sum(output.histogram.values()) != output.positions:
        raise table.error("histogram", f"must add up to {output.positions}")
    return output


def _samples(table: Table, floating: bool) -> Iterator[Number | None]:
    for number, item in enumerate(table.items("samples")):
        if not isinstance(item, str):
            raise table.error(f"samples[{number}]", "must be a string")
        yield None if item == LOOSE else table.parsed(f"samples[{number}]", item, floating)


def _histogram(table: Table) -> dict[int, int]:
    found: dict[int, int] = {}
    for number, pair in enumerate(table.items("histogram")):
        sound = isinstance(pair, list) and len(pair) == 2 and all(type(item) is int for item in pair)
        if not sound or pair[1] < 0 or pair[0] in found:  # type: ignore[index]
            raise table.error(f"histogram[{number}]", "must be [class, members], each class once")
        found[pair[0]] = pair[1]  # type: ignore[index]
    return found
