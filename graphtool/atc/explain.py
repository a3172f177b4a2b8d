"""Explain atc commands that exist: what each option is, and what ATC would say to it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from graphtool.atc import findings
from graphtool.atc import options as atc
from graphtool.atc.cann import Cann
from graphtool.atc.finding import UNKNOWN, Finding
from graphtool.atc.options import Option
from graphtool.atc.shellread import Read, Word, assigned, commands
from graphtool.errors import UsageError, did_you_mean, quoted

_FORM = re.compile(r"(--?)([A-Za-z][\w-]*)(=?)(.*)", re.DOTALL)
_NAME = re.compile(r"\$\{?([A-Za-z_]\w*)")
_SHELL = "shell"
_UNKNOWN_FLAG = "GE, v2.0.0, 2023-03: gflags ends with 'unknown command line flag'"


@dataclass(slots=True)
class Given:
    """One option of a command with its value as written; ``option`` is None for one that ATC does not know."""

    name: str
    value: str
    option: Option | None = None


@dataclass(slots=True)
class Explained:
    """One command, taken apart: its options in order, what is wrong with it, and the line it starts on.

    ``variables`` are those of the script that it uses, with the literal values that they are given there.
    """

    line: int
    text: str
    given: list[Given] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    variables: dict[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def options(self) -> dict[str, str]:
        """The options that ATC knows; of one that is given twice the last counts."""
        return {one.name: one.value for one in self.given if one.option is not None}

    @property
    def wrong(self) -> bool:
        """Whether ATC refuses the command."""
        return any(one.level == "error" for one in self.findings)


def explain(text: str, cann: Cann | None = None) -> list[Explained]:
    """Return every atc command of a script, readme or line, explained; UsageError where there is none.

    ``cann`` is the release to judge by; without one only what all releases refuse is an error.
    """
    found = [_explained(read, cann) for read in commands(text)]
    if not found:
        hint = "; those in comments do not count" if re.search(r"^\s*#.*\batc\b", text, re.MULTILINE) else ""
        raise UsageError(f"no atc command found{hint}")
    values = assigned(text)
    for one in found:
        used = [name for given in one.given for name in _NAME.findall(given.value)]
        one.variables = {name: values[name] for name in dict.fromkeys(used) if name in values}
    return found


def explain_words(words: Sequence[str], cann: Cann | None = None) -> Explained:
    """Return one command given as its words, ``atc`` left out."""
    return _explained(Read(1, [Word(word, True) for word in words], " ".join(["atc", *words])), cann)


def _explained(read: Read, cann: Cann | None) -> Explained:
    one = Explained(read.line, read.text)
    for reason, fix in read.faults:
        level = "warning" if reason.startswith(("a line ends", "a comment")) else "error"  # readmes wrap lines
        one.findings.append(Finding(_SHELL, level, "", reason, fix, "POSIX shell, 2018"))
    whole = _take_apart(list(read.words), one) and not read.partial
    seen: set[str] = set()
    for given in one.given:
        if given.option is None:
            hint = _meant(given.name)
            reason = f"ATC has no such option{hint}"
            one.findings.append(Finding(given.name, "error", "", reason, "", _UNKNOWN_FLAG))
        elif given.name in seen:
            reason = "given twice; the last one counts"
            one.findings.append(Finding(given.name, "warning", "", reason, "give it once", "gflags, 2.2"))
        seen.add(given.name)
    # what a misspelt option was to say is not missing as well
    meant = {word for given in one.given if given.option is None and (word := _nearest(given.name))}
    checked = findings.inspect(one.options, cann, whole)
    one.findings += [fault for fault in checked if fault.option not in meant or "missing" not in fault.reason]
    return one


def _take_apart(words: list[Word], one: Explained) -> bool:
    """Fill ``one.given``; return whether all options are known (none comes from a variable)."""
    whole = True
    place = 0
    while place < len(words):
        word = words[place]
        place += 1
        form = _FORM.fullmatch(word.text)
        if form is None:
            if not findings.mask(word.text).replace(UNKNOWN, ""):
                whole = False
            else:
                _stray(word, one)
            continue
        _, name, equals, value = form.groups()
        if not equals and place < len(words) and not _is_option(words[place]):
            value = words[place].text
            place += 1
            if value == "=" and place < len(words):
                reason = f"blanks around '=' make three words of --{name}"
                one.findings.append(Finding(name, "error", "", reason, f"write --{name}=VALUE", "POSIX shell, 2018"))
                value = words[place].text
                place += 1
        elif not value and equals and place < len(words) and not _is_option(words[place]) and not word.quoted:
            reason = f"a blank after '=': the value is empty, and {quoted(words[place].text)} a word of its own"
            one.findings.append(
                Finding(_normal(name), "error", "E10004", reason, "remove the blank", "GE, v2.0.0, 2023-03")
            )
            value = words[place].text
            place += 1
        value, rest = _unglued(value)
        if rest:
            reason = f"no blank before {quoted(rest.partition('=')[0])}: it is part of the value"
            one.findings.append(Finding(_normal(name), "error", "", reason, "put a blank there", "POSIX shell, 2018"))
            words.insert(place, Word(rest))
        normal = _normal(name)
        one.given.append(Given(normal if normal in atc.OPTIONS else name, value, atc.OPTIONS.get(normal)))
    return whole


def _is_option(word: Word) -> bool:
    form = _FORM.fullmatch(word.text)
    return form is not None and not word.text.lstrip("-")[:1].isdigit()


def _normal(name: str) -> str:
    return name.replace("-", "_")


def _unglued(value: str) -> tuple[str, str]:
    """Split a value that runs into the next option: ``..224"--output=x``."""
    for match in re.finditer(r"--([A-Za-z][\w-]*)=", value):
        if match.start() and _normal(match[1]) in atc.OPTIONS:
            return value[: match.start()], value[match.start() :]
    return value, ""


def _stray(word: Word, one: Explained) -> None:
    reason = f"{quoted(word.text)} belongs to no option"
    last = one.given[-1] if one.given else None
    goes_on = last and last.option and last.option.listing and (last.value[-1:] in ";,:" or word.text[:1] in ";,:")
    if last and goes_on:
        fix = f"put the value of {last.name} in double quotes"
        last.value += word.text
    else:
        fix = "remove it"
    one.findings.append(Finding(_SHELL, "error", "", reason, fix, "GE 2025: Non-option parameter"))


_ALIASES = {"device": "device_id", "op_precision": "op_precision_mode", "out_node": "out_nodes"}


def _nearest(name: str) -> str | None:
    word = _normal(name)
    if word in _ALIASES:
        return _ALIASES[word]
    hint = did_you_mean(word, atc.OPTIONS)
    return hint.split("'")[1] if hint else None


def _meant(name: str) -> str:
    found = _nearest(name)
    return f"; did you mean {quoted(found)}?" if found else ""
