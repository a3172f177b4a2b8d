"""Profiles: what is to be compiled for which chip, with which options. Data only, one TOML file each.

    extends  = "ascend310"                # a profile whose keys this one adds to or overrides
    summary  = "ICNet on Ascend 310"
    model    = "ICNet"                    # which model it is for; informative
    cann     = "5.0.2.alpha003"           # the CANN release its facts hold for
    install_path = "/usr/local/Ascend/ascend-toolkit/latest"
    batches  = [1, 4]

    [options]                             # of atc; "" drops what the base profile says
    input_shape = "actual_input_1:{batch},3,1024,2048"

    [passes]                              # parameters of passes; `pipeline` is what runs without --passes
    pipeline = "resize_nearest,prune_outputs"
    prune_outputs.keep = ["Resize_317"]

    [budgets]                             # lists of "[OUTPUT:]METRIC=NUMBER", or tables
    min = ["argmax_agreement=0.85"]

Every key and value is checked when the file is read; a mistake is a ProfileError with file, key and reason.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from graphtool.atc import options as atc
from graphtool.atc.values import SpellingError
from graphtool.data import data_dir
from graphtool.errors import ProfileError, UsageError, did_you_mean, quoted, show
from graphtool.parity.budget import Budget, Kind, parse_budget

_KEYS = ("extends", "summary", "model", "cann", "install_path", "batches", "options", "passes", "budgets")
_BOUNDS: tuple[Kind, ...] = ("min", "max")
_LIMIT = 1 << 20  # bytes; a profile has a few hundred


@dataclass(frozen=True, slots=True)
class Profile:
    """A profile with everything it inherits.

    ``options`` holds ATC option values as text, checked one by one and together; ``input_shape`` and ``output`` may
    hold ``{batch}``. ``source`` is the file as messages call it. ``passes`` maps a pass to its parameters.
    """

    name: str
    source: str
    summary: str = ""
    model: str | None = None
    cann: str | None = None
    install_path: str | None = None
    batches: tuple[int, ...] = ()
    options: Mapping[str, str] = field(default_factory=dict)
    passes: Mapping[str, Mapping[str, object]] = field(default_factory=dict)
    pipeline: str | None = None
    budgets: tuple[Budget, ...] = ()

    @property
    def soc(self) -> str:
        """The chip; an empty string where the profile names none."""
        return self.options.get("soc_version", "")


def list_profiles() -> tuple[str, ...]:
    """Return the names of the shipped profiles, sorted."""
    return tuple(sorted(path.stem for path in data_dir("atc_profiles").glob("*.toml")))


def load_profile(name_or_path: str | Path) -> Profile:
    """Read a shipped profile by name, or any other by a path that ends in ``.toml``; raises ProfileError."""
    word = str(name_or_path)
    path = Path(word) if word.endswith(".toml") else _shipped(word)
    return _read(path, ())


def default_profile(soc: str = "Ascend310") -> Profile:
    """Return what holds without a profile: the shipped ``ascend310``, with another chip where one is asked for."""
    base = load_profile("ascend310")
    if soc == base.soc:
        return base
    try:
        atc.check(atc.OPTIONS["soc_version"], soc)
    except SpellingError as why:
        raise ProfileError(f"soc_version: {why}") from None
    return replace(base, name=soc.lower(), cann=None, options={**base.options, "soc_version": soc})


def _shipped(name: str) -> Path:
    known = list_profiles()
    if name not in known:
        raise ProfileError(f"unknown profile {quoted(name)}{did_you_mean(name, known)}  (atc_profiles/)")
    return data_dir("atc_profiles") / f"{name}.toml"


def _read(path: Path, below: tuple[Path, ...]) -> Profile:
    """Read the profile at ``path``; ``below`` are the files that extend it, the first one first."""
    reader = _Reader(_label(path), _table(path))
    base = Profile(name="", source="")
    if (extends := reader.text("extends")) is not None:
        chain = (*below, path.resolve())
        beneath = _base(path, extends, reader)
        if beneath.resolve() in chain:
            steps = " -> ".join(p.stem for p in (*chain, beneath))
            raise reader.error("extends", f"profiles extend each other in a circle: {show(steps)}")
        base = _read(beneath, chain)
    return reader.profile(path.stem, base)


def _label(path: Path) -> str:
    """Return how messages call the file: shipped ones by their folder's name, others as given."""
    shipped = path.parent == data_dir("atc_profiles")
    return show(f"atc_profiles/{path.name}" if shipped else path)


def _base(path: Path, extends: str, reader: _Reader) -> Path:
    """Return the file that ``extends`` names: one beside ``path``, else a shipped one."""
    if not re.fullmatch(r"[\w.-]{1,100}", extends, re.ASCII):
        raise reader.error("extends", f"{quoted(extends)} is not the name of a profile")
    beside = path.with_name(f"{extends.removesuffix('.toml')}.toml")
    known = list_profiles()
    if beside.is_file() and (beside != path or extends not in known):
        return beside
    if extends not in known:
        raise reader.error("extends", f"unknown profile {quoted(extends)}{did_you_mean(extends, known)}")
    return data_dir("atc_profiles") / f"{extends}.toml"


def _table(path: Path) -> dict[str, Any]:
    where = _label(path)
    try:
        with path.open("rb") as file:
            raw = file.read(_LIMIT + 1)
    except (OSError, ValueError) as why:  # ValueError: a NUL in the path
        raise ProfileError(f"{where}: {getattr(why, 'strerror', None) or why}") from None
    if len(raw) > _LIMIT:
        raise ProfileError(f"{where}: larger than {_LIMIT} bytes; not a profile")
    try:
        table = tomllib.loads(raw.decode("utf-8"))
    except RecursionError:
        raise ProfileError(f"{where}: nested too deeply") from None
    except ValueError as why:  # TOMLDecodeError, UnicodeDecodeError, and numbers of thousands of digits
        raise ProfileError(f"{where}: not TOML: {show(why)}") from None
    if _oversized(table):
        raise ProfileError(f"{where}: holds a whole number of more than 64 bits")
    return table


def _oversized(table: object) -> bool:
    """Whether a number is beyond what TOML promises; Python cannot even print one of thousands of digits."""
    rest = [table]
    while rest:
        value = rest.pop()
        if isinstance(value, int) and value.bit_length() > 64:
            return True
        rest += value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return False


class _Reader:
    """Takes one file's table apart, key by key."""

    def __init__(self, where: str, table: dict[str, Any]) -> None:
        self.where = where
        self.table = table
        self.known("", table, _KEYS)

    def error(self, key: str, reason: object) -> ProfileError:
        return ProfileError(f"{self.where}: {show(key)}: {reason}")

    def known(self, prefix: str, table: Mapping[str, Any], keys: tuple[str, ...]) -> None:
        for key in table:
            if key not in keys:
                hint = did_you_mean(key, keys) or f"; the keys here are {', '.join(keys)}"
                raise self.error(f"{prefix}{key}", f"unknown key{hint}")

    def text(self, key: str) -> str | None:
        value = self.table.get(key)
        if value is None:
            return None
        if not isinstance(value, str) or not value or not value.isprintable():
            raise self.error(key, f"{_shown(value)} is not a line of text")
        return value

    def section(self, key: str, value: object) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise self.error(key, f"{_shown(value)} is not a table")
        return value

    def profile(self, name: str, base: Profile) -> Profile:
        """Return the profile of this file on top of ``base``."""
        options = self.options(base.options)
        passes, pipeline = self.passes(base.passes)
        return Profile(
            name=name,
            source=self.where,
            summary=self.text("summary") or "",
            model=self.text("model") or base.model,
            cann=self.text("cann") or base.cann,
            install_path=self.text("install_path") or base.install_path,
            batches=self.batches() or base.batches,
            options=options,
            passes=passes,
            pipeline=pipeline or base.pipeline,
            budgets=self.budgets(base.budgets),
        )

    def batches(self) -> tuple[int, ...]:
        value = self.table.get("batches", [])
        if not isinstance(value, list) or ("batches" in self.table and not value):
            raise self.error("batches", f"{_shown(value)} is not a list of batch sizes")
        for place, batch in enumerate(value):
            if type(batch) is not int or not 0 < batch < 10**9:
                raise self.error(f"batches[{place}]", f"{_shown(batch)} is not a whole number above 0")
            if batch in value[:place]:
                raise self.error(f"batches[{place}]", f"{batch} is there twice")
        return tuple(value)

    def options(self, base: Mapping[str, str]) -> dict[str, str]:
        found: dict[str, str] = {}
        for key, value in self.section("options", self.table.get("options", {})).items():
            where = f"options.{key}"
            try:
                option = atc.find(key)
                if option.name in found:
                    raise SpellingError(f"{option.name} is there twice")
                if option.name == "model":
                    raise SpellingError("the model is named on the command line")
                found[option.name] = _option_text(value)
                if found[option.name]:
                    atc.check(option, found[option.name])
            except SpellingError as why:
                raise self.error(where, why) from None
        merged = {name: text for name, text in {**base, **found}.items() if text}
        if (clash := atc.conflict(merged)) is not None:
            raise self.error(f"options.{clash[0]}", clash[1])
        return merged

    def passes(self, base: Mapping[str, Mapping[str, object]]) -> tuple[dict[str, Mapping[str, object]], str | None]:
        merged = dict(base)
        pipeline = None
        for key, value in self.section("passes", self.table.get("passes", {})).items():
            if key == "pipeline":
                if not isinstance(value, str) or not value.strip():
                    raise self.error("passes.pipeline", f"{_shown(value)} is not a list of passes such as 'a,b:key=1'")
                pipeline = value
                continue
            if not isinstance(value, dict):
                raise self.error(f"passes.{key}", f"{_shown(value)} is not a table of parameters (PASS.PARAM = VALUE)")
            for param, given in value.items():
                scalars = given if isinstance(given, list) else [given]
                if not all(isinstance(one, str | bool | int | float) for one in scalars):
                    raise self.error(f"passes.{key}.{param}", "takes text, a number, true, false, or a list of them")
            merged[key] = {**merged.get(key, {}), **value}
        return merged, pipeline

    def budgets(self, base: tuple[Budget, ...]) -> tuple[Budget, ...]:
        table = self.section("budgets", self.table.get("budgets", {}))
        self.known("budgets.", table, _BOUNDS)
        merged = {(b.kind, b.output, b.metric): b for b in base}
        for kind in _BOUNDS:
            given = table.get(kind, [])
            words = (
                given
                if isinstance(given, list)
                else [f"{k}={v}" for k, v in self.section(f"budgets.{kind}", given).items()]
            )
            for word in words:
                if not isinstance(word, str):
                    raise self.error(f"budgets.{kind}", f"{_shown(word)} is not METRIC=NUMBER")
                try:
                    budget = parse_budget(word, kind)
                except UsageError as why:
                    raise self.error(f"budgets.{kind}", why) from None
                merged[budget.kind, budget.output, budget.metric] = budget
        return tuple(merged.values())


def _option_text(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | str):
        return str(value)
    raise SpellingError(f"{_shown(value)} is not text or a whole number")


def _shown(value: object) -> str:
    """Return a TOML value for a message."""
    if isinstance(value, str):
        return quoted(value)
    return show(str(value).lower() if isinstance(value, bool) else value, 40)
