"""Rule files: ``atc_profiles/rules/*.toml``, read and checked whole, every error with its file and key."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Sequence
from functools import lru_cache
from pathlib import Path

from graphtool.data import data_dir
from graphtool.errors import ProfileError, UsageError, did_you_mean, quoted, show
from graphtool.lint.releases import Range
from graphtool.lint.rule import CONSEQUENCES, LEVELS, Case, Message, Rule
from graphtool.rewrite.edit import PLACES
from graphtool.rewrite.expr import Expr
from graphtool.rewrite.pattern import Pattern, check_match, parse_pattern
from graphtool.rewrite.reader import Reader

_ID = re.compile(r"[A-Z]{2,4}[0-9]{3}")
_NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
_BRACE = re.compile(r"\{([^{}]*)\}")
_MOST = 1 << 20
_KEYS = (
    "id", "name", "summary", "why", "consequence", "level", "source", "date", "cann", "basis", "devices", "op", "match",
    "native", "let", "where", "message", "fix", "advice", "case",
)  # fmt: skip


def rules_dir() -> Path:
    """Return the folder of the shipped rules."""
    return data_dir("atc_profiles") / "rules"


@lru_cache(maxsize=1)
def shipped_rules() -> tuple[Rule, ...]:
    """Return every shipped rule, by id."""
    return load_rules(rules_dir())


def load_rules(folder: Path) -> tuple[Rule, ...]:
    """Return the rules in the files of a folder, by id; raises GraphtoolError for a bad file, or one id used twice."""
    found: dict[str, Rule] = {}
    for path in sorted(folder.glob("*.toml")):
        for rule in load_file(path):
            if rule.id in found:
                raise ProfileError(f"{show(path.name)}: rule {rule.id} is in {found[rule.id].path} too")
            found[rule.id] = rule
    if not found:
        raise ProfileError(f"no rule files (*.toml) in {quoted(folder)}")
    return tuple(found[name] for name in sorted(found))


def load_file(path: Path) -> tuple[Rule, ...]:
    """Return the rules of one file."""
    file = f"rules/{path.name}"
    try:
        if path.stat().st_size > _MOST:
            raise ProfileError(f"{show(file)}: larger than {_MOST} bytes")
        table = tomllib.loads(path.read_text())
    except OSError as error:
        raise ProfileError(f"{show(file)}: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        raise ProfileError(f"{show(file)}: not TOML: {show(error)}") from None
    reader = Reader(show(file), table)
    reader.only("rule")
    return tuple(_rule(inner, file) for inner in reader.array("rule"))


def _rule(reader: Reader, file: str) -> Rule:
    reader.only(*_KEYS)
    name = _line(reader, "id")
    if not _ID.fullmatch(name):
        raise reader.error("id", f"{quoted(name)} is not letters and three digits, such as AVG001")
    word = _line(reader, "name")
    if not _NAME.fullmatch(word):
        raise reader.error("name", f"{quoted(word)} is not lower case words with hyphens")
    ops = tuple(reader.texts("op", default=[], single=True))
    match = reader.text("match", default=None)
    native = reader.text("native", default=None)
    if sum((bool(ops), match is not None, native is not None)) != 1:
        raise reader.error("op", "a rule has one of op, match and native")
    if native is not None:
        _check_native(reader, native)
    pattern = None if match is None else reader.guarded("match", lambda: _pattern(match))
    known = _known(pattern)
    lets = []
    for key, text in reader.table_of("let").items():
        lets.append((key, _expression(reader, f"let.{key}", text, known)))
        known = None if known is None else known | {key}
    places = PLACES | TARGET | {key for key, _ in lets} if known is None else known
    wheres = tuple(
        _expression(reader, f"where[{n}]", text, known, places)
        for n, text in enumerate(reader.texts("where", default=[]))
    )
    consequence = reader.choice("consequence", tuple(CONSEQUENCES))
    level = CONSEQUENCES[consequence][0]
    if "level" in reader.table:
        level = LEVELS[LEVELS.index(reader.choice("level", LEVELS))]
    cann = reader.guarded("cann", lambda: Range.parse(reader.text("cann", default="") or ""))
    if cann.text and not reader.text("basis", default=None):
        raise reader.error("basis", "is missing: say how the releases are known")
    message = _message(reader, None if native else known, frozenset() if native else places)
    advice = " ".join((reader.text("advice", default="") or "").split())
    return Rule(
        name, word, file, _line(reader, "summary"), _line(reader, "why"), consequence, level, _line(reader, "source"),
        _line(reader, "date"), cann, reader.text("basis", default="") or "",
        tuple(reader.texts("devices", default=[])), ops, pattern, native, tuple(lets), wheres, message,
        tuple(reader.texts("fix", default=[], single=True)), advice,
        tuple(_case(inner) for inner in reader.array("case")),
    )  # fmt: skip


# what expressions can ask of the target
TARGET = frozenset({"float16"})


def _known(pattern: Pattern | None) -> frozenset[str] | None:
    """Return the names that conditions of a pattern read; None for a rule on ops, where any attribute may be one."""
    if pattern is None:
        return None
    values = {*pattern.free, *pattern.made}
    return frozenset(values | set(pattern.variables) | {f"@{name}" for name in pattern.variables} | TARGET)


def _expression(
    reader: Reader, key: str, text: object, known: frozenset[str] | None, places: frozenset[str] = PLACES | TARGET
) -> Expr:
    if known is not None:
        return reader.expression(key, text, known)
    attributes = {f"@{name}" for name in reader.guarded(key, lambda: Expr.parse(str(text))).attributes}
    return reader.expression(key, text, places | attributes | set(reader.table_of("let")))


def _pattern(text: str) -> Pattern:
    found = parse_pattern(text)
    check_match(found)
    return found


def _message(reader: Reader, known: frozenset[str] | None, places: frozenset[str]) -> Message:
    """Read the message; that of a native condition (no ``places``) is filled by name from what the condition found."""
    text = _line(reader, "message")
    parts: list[str | Expr] = []
    end = 0
    for found in _BRACE.finditer(text) if places else ():
        parts += [text[end : found.start()], _expression(reader, "message", found[1], known, places)]
        end = found.end()
    return Message(text, (*parts, text[end:]))


def _line(reader: Reader, key: str) -> str:
    text = " ".join((reader.text(key) or "").split())
    if not text:
        raise reader.error(key, "must not be empty")
    return text


def _case(reader: Reader) -> Case:
    reader.only("name", "graph", "found", "opset", "target")
    reader.onnx_graph("graph")
    target = reader.table_of("target")
    for key in target:
        if key not in ("soc", "cann", "options", "batches", "keep", "feed"):
            raise reader.error(f"target.{key}", "is not known")
    return Case(
        _line(reader, "name"), reader.text("graph") or "", tuple(reader.texts("found", default=[])),
        reader.number("opset", default=11), target,
    )  # fmt: skip


def _check_native(reader: Reader, name: str) -> None:
    from graphtool.lint.natives import NATIVES

    if name not in NATIVES:
        raise reader.error("native", f"no condition {quoted(name)} is registered{did_you_mean(name, NATIVES)}")


def selected(rules: Sequence[Rule], select: Iterable[str], ignore: Iterable[str]) -> tuple[Rule, ...]:
    """Return the rules whose id begins with one of ``select`` (all where that is empty) and with none of ``ignore``.

    As in ruff the longest prefix decides where a rule is both. Raises UsageError for a prefix of no rule.
    """
    chosen, dropped = list(select), list(ignore)
    for word in (*chosen, *dropped):
        if word != "ALL" and not any(rule.id.startswith(word) for rule in rules):
            hint = did_you_mean(word, [rule.id for rule in rules])
            raise UsageError(f"no rule {quoted(word)}{hint}  (graphtool rules list)")
    return tuple(rule for rule in rules if _length(rule.id, chosen or ["ALL"]) > _length(rule.id, dropped))


def _length(name: str, words: Sequence[str]) -> int:
    """Return the length of the longest of ``words`` that a rule's id begins with; -1 for none."""
    prefixes = ["" if word == "ALL" else word for word in words]
    return max((len(word) for word in prefixes if name.startswith(word)), default=-1)


def find(rules: Sequence[Rule], word: str) -> Rule:
    """Return the rule with an id or a name; raises UsageError."""
    for rule in rules:
        if word.upper() == rule.id or word == rule.name:
            return rule
    known = [text for rule in rules for text in (rule.id, rule.name)]
    raise UsageError(f"unknown rule {quoted(word)}{did_you_mean(word, known)}  (graphtool rules list)")
