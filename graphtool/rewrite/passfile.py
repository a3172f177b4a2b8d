"""Pass files: TOML read and checked whole, every error with its file and key."""

from __future__ import annotations

import math
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from graphtool.errors import PassError, did_you_mean, show
from graphtool.graph.growth import SLACK, Bound
from graphtool.rewrite.bodies import Body, Requires, read_bodies, read_rule
from graphtool.rewrite.edit import PLACES
from graphtool.rewrite.native import check_native
from graphtool.rewrite.params import TYPES, Param, as_float
from graphtool.rewrite.reader import Reader
from graphtool.rewrite.rule import Rule
from graphtool.rewrite.selection import WORDS

PARITIES = ("exact", "close", "float16", "lossy", "repair")
# those whose map the judge has; no other is accepted
INTERFACES = ("names", "types", "shapes", "order", "subset", "cut", "append", "inputs")
STORED = ("file", "external", "stripped")  # in the model file, in a data file, left in another model file
# that parity/budget.py knows
METRICS = (
    "max_abs", "mean_abs", "median_abs", "q90_abs", "q99_abs", "q999_abs", "max_rel", "mean_rel", "median_rel",
    "q90_rel", "q99_rel", "q999_rel", "cosine", "snr", "psnr", "agreement", "argmax_agreement", "top5_agreement",
    "miou",
)  # fmt: skip
MAX_FILE = 1 << 18  # bytes
_NAME = re.compile(r"[a-z][a-z0-9_]*")
# a.b.c ... of more parts than any key has: tomllib's time is quadratic in them, minutes for a file of this size
_DEEP_KEY = re.compile(r"(?<![^\s.=])(?:[^\s.=]++[ \t]*+\.[ \t]*+){64}")


class Case(NamedTuple):
    """One ``[[case]]``: the graph before, in ONNX text, and after (None: unchanged).

    ``stored`` says where its weights are before, for a pass that is about files; '' where they are in memory.
    """

    name: str
    before: str
    after: str | None
    params: dict[str, object]
    opset: int
    stored: str = ""


class Semantics(NamedTuple):
    """What an op that onnxruntime lacks computes, as a rewrite into ops that it has. Only parity uses it."""

    op: str
    domain: str
    rule: Rule


@dataclass(frozen=True, slots=True)
class Pass:
    """A pass as its file declares it."""

    name: str
    path: Path
    summary: str
    why: str
    parity: str
    interface: frozenset[str]
    requires: Requires
    exact_form: str | None
    budget: Mapping[str, float]  # for a lossy pass: bounds by metric, where the user gives none
    params: tuple[Param, ...]
    bodies: tuple[Body, ...]
    native: str | None
    sequence: tuple[str, ...]
    fixpoint: bool
    growth: Bound | None  # of a sequence: by what its rewrites may make a model larger
    semantics: tuple[Semantics, ...]
    cases: tuple[Case, ...] = field(repr=False)
    held: bool = True  # no file says otherwise: whoever looks for a budget lets a lossy pass do what it does


def load_pass(path: Path, shown: str | None = None, late: bool = False) -> Pass:
    """Read the pass file at ``path``, called ``shown`` in errors; raises PassError ``file: key: reason``.

    ``late`` is for a shipped file that is to be run: its cases are left out, and its rewrites are read when a graph has
    operators for them.
    """
    file = shown or show(path)
    try:
        if path.exists() and not path.is_file():
            raise PassError(f"{file}: not a regular file")
        if path.stat().st_size > MAX_FILE:
            raise PassError(f"{file}: larger than {MAX_FILE} bytes")
        text = path.read_bytes().decode("utf-8-sig")  # some editors put a mark in front
        if not late and _DEEP_KEY.search(text):
            raise PassError(f"{file}: not TOML: nested too deep")
        if late:
            text = text.partition("\n[[case]]")[0]  # they come last
        table = tomllib.loads(text)
    except OSError as error:
        raise PassError(f"{file}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise PassError(f"{file}: not UTF-8 text") from None
    except (ValueError, RecursionError) as error:  # ValueError: an integer of thousands of digits too
        raise PassError(f"{file}: not TOML: {_reason(error)}") from None
    return parse_pass(table, path, file, late)


def _reason(error: Exception) -> str:
    return "nested too deep" if isinstance(error, RecursionError) else show(error)


def parse_pass(table: dict[str, object], path: Path, file: str, late: bool = False) -> Pass:
    """Return the pass in a parsed TOML table; for ``late`` see :func:`load_pass`."""
    reader = Reader(file, table)
    name = path.stem
    if not _NAME.fullmatch(name):
        raise PassError(f"{file}: a pass file is named in lower case with underscores, such as fuse_gelu.toml")
    reader.only(
        "summary", "why", "parity", "interface", "requires", "exact_form", "budget", "params", "edit", "rewrite",
        "region", "boundary", "native", "sequence", "fixpoint", "growth", "semantics", "case",
    )  # fmt: skip
    params = tuple(_param(name, inner) for name, inner in reader.tables("params"))
    bodies = read_bodies(reader, params, late)
    native = reader.text("native", default=None)
    if native is not None:
        reader.guarded("native", lambda: check_native(native))
    sequence = tuple(reader.texts("sequence", default=[]))
    kinds = [kind for kind, there in (("rules", bodies), ("native", native), ("sequence", sequence)) if there]
    if len(kinds) != 1:
        what = "both " + " and ".join(kinds) if kinds else "no edit, rewrite, region, boundary, native or sequence"
        raise PassError(f"{file}: the pass has {what}; it needs exactly one kind of body")
    if "fixpoint" in table and not sequence:
        raise PassError(f"{file}: fixpoint: only a sequence repeats")
    if "growth" in table and not sequence:
        raise PassError(f"{file}: growth: only a sequence bounds it")
    interface = reader.texts("interface", default=[], choices=INTERFACES, single=True)
    return Pass(
        name,
        path,
        _line(reader, "summary"),
        _line(reader, "why"),
        reader.choice("parity", PARITIES),
        frozenset(interface) | {kind for body in bodies for kind in _implied(body)},
        Requires.read(reader, "requires"),
        reader.text("exact_form", default=None),
        _budget(reader),
        params,
        bodies,
        native,
        sequence,
        reader.flag("fixpoint"),
        _growth(reader) if "growth" in table else None,
        tuple(_semantics(inner) for inner in reader.array("semantics")),
        tuple(_case(inner, params) for inner in reader.array("case")),
    )


def _implied(body: Body) -> tuple[str, ...]:
    boundary = body.boundary
    if boundary is None:
        return ()
    return ("subset", "cut") if boundary.keep is not None else ("types",)


def _line(reader: Reader, key: str) -> str:
    text = " ".join((reader.text(key) or "").split())
    if not text:
        raise reader.error(key, "must not be empty")
    return text


def _budget(reader: Reader) -> dict[str, float]:
    bounds: dict[str, float] = {}
    for metric, bound in reader.table_of("budget").items():
        key = f"budget.{metric}"
        if metric not in METRICS:
            raise reader.error(key, f"unknown metric{did_you_mean(metric, METRICS)}  (one of {', '.join(METRICS)})")
        number = as_float(bound)
        if isinstance(bound, bool) or number is None or not math.isfinite(number):
            raise reader.error(key, "must be a finite number")
        bounds[metric] = number
    if bounds and reader.choice("parity", PARITIES) != "lossy":
        raise reader.error("budget", "is for a lossy pass: the other classes promise more than a bound")
    return bounds


def _growth(reader: Reader) -> Bound:
    part = as_float(reader.table["growth"])
    if isinstance(reader.table["growth"], bool) or part is None or not part >= 0:
        raise reader.error("growth", "must be a number, at least 0")
    return Bound(part, SLACK)


def _param(name: str, reader: Reader) -> Param:
    reader.only("type", "default", "help", "choices")
    if not _NAME.fullmatch(name):
        raise reader.error("", "a parameter is named in lower case with underscores")
    if name in WORDS:
        raise reader.error("", "every pass has it: it chooses among the matches; name it otherwise")
    if name in PLACES:
        raise reader.error("", "has another meaning in the conditions of an edit; name it otherwise")
    kind = reader.choice("type", TYPES)
    param = Param(name, kind, None, _line(reader, "help"), tuple(reader.texts("choices", default=[])))
    if param.choices and kind != "string":
        raise reader.error("choices", "are for parameters of type string")
    if "default" not in reader.table:
        raise reader.error("default", "is missing: a pass must run without being given anything")
    default = reader.guarded("default", lambda: param.checked(reader.table["default"]))
    return Param(name, kind, default, param.help, param.choices)


def _semantics(reader: Reader) -> Semantics:
    rule = read_rule(reader, "semantics", frozenset(), extra=())  # an op means the same whatever the pass is given
    ops = {(node.op_type, node.domain) for pattern in rule.patterns for node in pattern.nodes}
    if len(ops) != 1 or any(
        len(pattern.nodes) != 1 or len(pattern.nodes[0].op_types) != 1 for pattern in rule.patterns
    ):
        raise reader.error("match", "semantics are those of one op: match one statement")
    op, domain = ops.pop()
    return Semantics(op, domain, rule)


def _case(reader: Reader, params: tuple[Param, ...]) -> Case:
    reader.only("name", "before", "after", "params", "opset", "stored")
    given = reader.table.get("params", {})
    if not isinstance(given, dict):
        raise reader.error("params", "must be a table")
    known = {param.name: param for param in params}
    for name, value in given.items():
        if name not in known:
            raise reader.error(f"params.{name}", "the pass has no such parameter")
        reader.guarded(f"params.{name}", lambda p=known[name], v=value: p.checked(v))  # type: ignore[misc]
    before, after = reader.text("before") or "", reader.text("after") or ""
    reader.onnx_graph("before")
    if after != "unchanged":
        reader.onnx_graph("after")
    opset = reader.number("opset", default=17)
    stored = reader.choice("stored", STORED) if "stored" in reader.table else ""
    return Case(_line(reader, "name"), before, None if after == "unchanged" else after, dict(given), opset, stored)
