"""The options of ATC: what each takes, its default, ATC's error code, which releases have it, and by which source.

The facts are data, ``atc_profiles/tables/options.toml`` and ``relations.toml``; the first of them names the sources.
Nothing there was tried on a device.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase

from graphtool.atc import values
from graphtool.atc.cann import Cann
from graphtool.atc.tables import fault, fields, table
from graphtool.atc.values import SpellingError
from graphtool.errors import did_you_mean, quoted

Kind = str
"""One of the keys of ``_CHECKS`` below."""


@dataclass(frozen=True, slots=True)
class Later:
    """Values that an option takes from a later release on."""

    values: tuple[str, ...]
    since: Cann
    source: str


@dataclass(frozen=True, slots=True)
class Option:
    """One option of ATC.

    ``values`` lists what an ``enum`` or ``enums`` (comma-separated) takes, ``writes`` what graphtool writes of it.
    ``default`` is what ATC does without the option, None where that is nothing or unknown. ``error`` is the code that
    ATC reports for a bad value, empty where none is known. ``since`` and ``until`` are the first release with the
    option and the first without it; with ``ge`` they are inferred from a tag of the open sources. ``foreign`` options
    are read and explained, never written.
    """

    name: str
    kind: Kind
    help: str
    source: str
    values: tuple[str, ...] = ()
    writes: tuple[str, ...] = ()
    later: Later | None = None
    default: str | None = None
    error: str = ""
    since: Cann | None = None
    until: Cann | None = None
    ge: str = ""
    foreign: bool = False

    @property
    def listing(self) -> bool:
        """Whether the value is a list that ATC's help wants in double quotes."""
        return self.kind in _LISTS

    @property
    def written(self) -> tuple[str, ...]:
        """The values that graphtool writes."""
        return self.writes or (*self.values, *(self.later.values if self.later else ()))


@dataclass(frozen=True, slots=True)
class Relation:
    """An exclusion (``terms`` do not go together) or a need (``terms[0]`` needs one of the others)."""

    terms: tuple[str, ...]
    excludes: bool
    error: str
    fix: str
    source: str
    note: str = ""


_LISTS = ("nodes", "shapes", "ranges", "names", "gears", "image_gears", "dim_gears", "types", "enums")


def _read() -> Iterator[Option]:
    known = {
        **dict.fromkeys(
            ("kind", "help", "default", "error", "since", "until", "ge", "foreign", "source"),
            str,
        ),
        "values": list,
        "writes": list,
        "later": dict,
    }
    for name, entry in table("options").items():
        one = fields("options", name, entry, known, ("kind", "help", "source"))
        if one["kind"] not in _CHECKS:
            raise fault("options", f"{name}.kind", f"unknown kind{did_you_mean(one['kind'], _CHECKS)}")
        later = None
        if "later" in one:
            extra = {"values": list, "since": str, "source": str}
            more = fields("options", f"{name}.later", one["later"], extra, ("values", "since", "source"))
            later = Later(tuple(more["values"]), Cann.parse(more["since"]), more["source"])
        listed = tuple(one.get("values", ()))
        default = one.get("default")
        if listed and default is not None and default not in listed:
            raise fault("options", f"{name}.default", f"{quoted(default)} is none of the values")
        yield Option(
            name=name,
            kind=one["kind"],
            help=one["help"],
            source=one["source"],
            values=listed,
            writes=tuple(one.get("writes", ())),
            later=later,
            default=default,
            error=one.get("error", ""),
            since=Cann.parse(one["since"]) if "since" in one else None,
            until=Cann.parse(one["until"]) if "until" in one else None,
            ge=one.get("ge", ""),
            foreign=one.get("foreign") == "yes",
        )


def _read_relations() -> Iterator[Relation]:
    known = {"options": list, "option": str, "any": list, "error": str, "fix": str, "note": str, "source": str}
    for kind in ("excludes", "requires"):
        needed = ("options",) if kind == "excludes" else ("option", "any")
        for place, entry in enumerate(table("relations").get(kind, ())):
            where = f"{kind}[{place}]"
            one = fields("relations", where, entry, known, (*needed, "error", "fix", "source"))
            terms = tuple(one["options"] if kind == "excludes" else [one["option"], *one["any"]])
            for term in terms:
                if (name := _term(term)[0]) not in OPTIONS:
                    raise fault("relations", where, f"unknown option {quoted(name)}{did_you_mean(name, OPTIONS)}")
            yield Relation(terms, kind == "excludes", one["error"], one["fix"], one["source"], one.get("note", ""))


def find(name: str) -> Option:
    """Return the option of that name; raises SpellingError for an unknown one.

    Leading dashes and ``-`` for ``_`` are fine, as they are for ATC (gflags).
    """
    word = name.lstrip("-").replace("-", "_")
    if word not in OPTIONS:
        raise SpellingError(f"unknown ATC option {quoted(name)}{did_you_mean(word, OPTIONS)}")
    return OPTIONS[word]


def check(option: Option, text: str) -> None:
    """Raise SpellingError with the reason where ``text`` is no value of the option that graphtool could write."""
    values.check_printable(text)
    if option.foreign:
        raise SpellingError(f"is for another framework or use of ATC; graphtool converts ONNX models ({option.help})")
    _CHECKS[option.kind](option, text)


def _enum(option: Option, text: str) -> None:
    if text not in option.written:
        hint = did_you_mean(text, option.written)
        raise SpellingError(f"{quoted(text)} is not {_one_of(option.written)}{hint}")


def _one_of(words: tuple[str, ...]) -> str:
    return words[0] if len(words) == 1 else f"one of {', '.join(words)}"


def _enums(option: Option, text: str) -> None:
    for word in text.split(","):
        _enum(option, word)


def _form(pattern: str, form: str) -> Callable[[Option, str], None]:
    compiled = re.compile(pattern, re.ASCII)

    def run(_: Option, text: str) -> None:
        if not compiled.fullmatch(text):
            raise SpellingError(f"{quoted(text)} is not {form}")

    return run


_RANGES = r"[^;\[\]]*:?\[\s*[^\[\];]+\]"
_CHECKS: Mapping[Kind, Callable[[Option, str], object]] = {
    "enum": _enum,
    "enums": _enums,
    "flag": _enum,
    "nodes": lambda _, text: values.parse_nodes(text),
    "output_type": lambda _, text: values.parse_output_type(text),
    "shapes": lambda _, text: values.parse_shapes(text),
    "ranges": _form(rf"{_RANGES}([;,]{_RANGES})*", "NAME:[1~20,3,-1];NAME:[...]"),
    "path": _form(r"(?s).*\S.*", "a file name"),
    "text": _form(r"(?s).*\S.*", "text"),
    "number": _form(r"\d{1,9}", "a whole number"),
    "names": _form(r"[^;]+(;[^;]+)*", "NAME;NAME;..."),
    "types": _form(r"\w+(,\w+)*", "TYPE,TYPE,..."),
    "gears": _form(r"\d{1,9}(,\d{1,9})*", "batch sizes split by ','"),
    "dim_gears": _form(r"\d{1,9}(,\d{1,9})*(;\d{1,9}(,\d{1,9})*)*", "numbers split by ',' (and sets of them by ';')"),
    "image_gears": _form(r"\d{1,9},\d{1,9}(;\d{1,9},\d{1,9})*", "HEIGHT,WIDTH;HEIGHT,WIDTH;..."),
    "soc": _form(r"Ascend\d{3}\w*", "a chip such as Ascend310 or Ascend310P3"),
}

OPTIONS: Mapping[str, Option] = {option.name: option for option in _read()}
"""Every known option by name, in the order of the command line."""

GEARS = ("dynamic_batch_size", "dynamic_image_size", "dynamic_dims")
"""The options that say which sizes a -1 in input_shape may have."""


def _term(term: str) -> tuple[str, str]:
    name, _, pattern = term.lstrip("!").partition("=")
    return name, pattern or "*"


def holds(term: str, options: Mapping[str, str], known: Callable[[str], bool] = lambda _: True) -> bool | None:
    """Whether ``NAME``, ``NAME=PATTERN`` or ``!NAME`` holds for options; None where a value is not known yet."""
    name, pattern = _term(term)
    if term.startswith("!") or name not in options:
        return (name not in options) == term.startswith("!")
    if pattern == "*" or known(options[name]):
        return fnmatchcase(options[name], pattern)
    return None


RELATIONS: tuple[Relation, ...] = tuple(_read_relations())
"""What excludes and what needs what."""


def conflicts(
    options: Mapping[str, str], known: Callable[[str], bool] = lambda _: True
) -> Iterator[tuple[str, str, Relation]]:
    """Yield each option that does not go with the others, and why; values that are not ``known`` do not count."""
    for relation in RELATIONS:
        if relation.excludes:
            there = [term for term in relation.terms if holds(term, options, known)]
            for term in there[1:]:
                note = f", {relation.note}" if relation.note else ""
                yield _term(term)[0], f"does not go with {there[0]} (ATC: {relation.error}{note})", relation
        elif holds(relation.terms[0], options, known) and not any(
            holds(term, options, known) in (True, None) for term in relation.terms[1:]
        ):
            wanted = relation.terms[1].removesuffix("*")
            yield _term(relation.terms[0])[0], f"needs {wanted} (ATC: {relation.error})", relation


def completed(options: Mapping[str, str]) -> dict[str, str]:
    """Return options with what they imply: dynamic_dims is for the layout ND (DOC 6.0.1 atctool_0056)."""
    implied = {"input_format": "ND"} if "dynamic_dims" in options else {}
    return {**implied, **options}


def conflict(options: Mapping[str, str]) -> tuple[str, str] | None:
    """Return the first option that does not go with the others, and why; None where all go together.

    These are options that graphtool writes, so there is an input_shape even where none is given.
    """
    implied = {"input_shape": "{shapes}", **completed(options)}
    return next(((name, f"{why} [{relation.source}]") for name, why, relation in conflicts(implied)), None)
