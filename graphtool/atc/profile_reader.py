"""Takes the table of one profile file apart, key by key; every mistake is a ProfileError with file, key and reason."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from graphtool.atc import configs
from graphtool.atc import options as atc
from graphtool.atc.cann import Cann, operators
from graphtool.atc.values import SpellingError
from graphtool.errors import ProfileError, UsageError, did_you_mean, quoted, show
from graphtool.parity.budget import Budget, Kind, parse_budget
from graphtool.parity.feed_images import Preprocess, parse_preprocess

if TYPE_CHECKING:
    from graphtool.atc.profile import Profile

KEYS = (
    "extends", "summary", "model", "cann", "install_path", "environment", "set_env", "operators", "batches", "options",
    "files", "passes", "budgets", "images",
)  # fmt: skip
ENVIRONMENTS = ("auto", "set_env", "exports")
_BOUNDS: tuple[Kind, ...] = ("min", "max")
_IMAGES = ("mean", "std", "bgr")


class Reader:
    """Takes one file's table apart, key by key."""

    def __init__(self, where: str, table: dict[str, Any]) -> None:
        self.where = where
        self.table = table
        self.known("", table, KEYS)

    def error(self, key: str, reason: object) -> ProfileError:
        """Return the error for a key."""
        return ProfileError(f"{self.where}: {show(key)}: {reason}")

    def known(self, prefix: str, table: Mapping[str, Any], keys: tuple[str, ...]) -> None:
        """Refuse keys that are none of ``keys``."""
        for key in table:
            if key not in keys:
                hint = did_you_mean(key, keys) or f"; the keys here are {', '.join(keys)}"
                raise self.error(f"{prefix}{key}", f"unknown key{hint}")

    def text(self, key: str) -> str | None:
        """Return a line of text; None where the key is absent."""
        value = self.table.get(key)
        if value is None:
            return None
        if not isinstance(value, str) or not value or not value.isprintable():
            raise self.error(key, f"{_shown(value)} is not a line of text")
        return value

    def section(self, key: str, value: object) -> dict[str, Any]:
        """Return a table."""
        if not isinstance(value, dict):
            raise self.error(key, f"{_shown(value)} is not a table")
        return value

    def profile(self, name: str, base: Profile) -> Profile:
        """Return the profile of this file on top of ``base``."""
        from graphtool.atc.profile import Profile

        files = self.files(base.files)
        options = self.options(base.options, files)
        passes, pipeline = self.passes(base.passes)
        same_chip = options.get("soc_version") == base.soc
        return Profile(
            name=name,
            source=self.where,
            summary=self.text("summary") or "",
            model=self.text("model") or base.model,
            cann=self.release() or base.cann,
            install_path=self.text("install_path") or base.install_path,
            environment=self.choice("environment", ENVIRONMENTS) or base.environment,
            set_env=self.text("set_env") or base.set_env,
            operators=self.operators() or (base.operators if same_chip else None),
            batches=self.batches() or base.batches,
            options=options,
            files=files,
            passes=passes,
            pipeline=pipeline or base.pipeline,
            budgets=self.budgets(base.budgets),
            images=self.images() or base.images,
        )

    def choice(self, key: str, words: tuple[str, ...]) -> str | None:
        """Return one of ``words``."""
        value = self.text(key)
        if value is not None and value not in words:
            raise self.error(key, f"{quoted(value)} is not one of {', '.join(words)}{did_you_mean(value, words)}")
        return value

    def release(self) -> str | None:
        """Return the CANN version, checked."""
        value = self.text("cann")
        try:
            return value and Cann.parse(value).text
        except ProfileError as why:
            raise self.error("cann", why) from None

    def operators(self) -> str | None:
        """Return the name of the device's operator table, checked."""
        value = self.text("operators")
        try:
            return value and operators(value).name
        except ProfileError as why:
            raise self.error("operators", why) from None

    def files(self, base: Mapping[str, str]) -> dict[str, str]:
        """Return the text of each file that options name, by option; ``""`` drops what the base profile says."""
        found = dict(base)
        for key, value in self.section("files", self.table.get("files", {})).items():
            if key not in configs.FILES:
                hint = did_you_mean(key, configs.FILES) or f"; the files here are {', '.join(configs.FILES)}"
                raise self.error(f"files.{key}", f"unknown file{hint}")
            if value == "":
                found.pop(key, None)
                continue
            try:
                found[key] = configs.write(key, value, f"files.{key}")
            except ProfileError as why:
                raise ProfileError(f"{self.where}: {why}") from None
            wrong = [one for one in configs.check(key, found[key]) if one.level == "error"]
            if wrong:
                raise self.error(f"files.{key}", wrong[0].text())
        return found

    def batches(self) -> tuple[int, ...]:
        """Return the batches; none where the key is absent."""
        value = self.table.get("batches", [])
        if not isinstance(value, list) or ("batches" in self.table and not value):
            raise self.error("batches", f"{_shown(value)} is not a list of batch sizes")
        for place, batch in enumerate(value):
            if type(batch) is not int or not 0 < batch < 10**9:
                raise self.error(f"batches[{place}]", f"{_shown(batch)} is not a whole number above 0")
            if batch in value[:place]:
                raise self.error(f"batches[{place}]", f"{batch} is there twice")
        return tuple(value)

    def options(self, base: Mapping[str, str], files: Mapping[str, str]) -> dict[str, str]:
        """Return the options on top of ``base``; a file that is written here has a name, or gets one."""
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
        named = {name: f"{{stem}}.{configs.SUFFIXES[name]}" for name in files}
        merged = {name: text for name, text in {**named, **base, **found}.items() if text}
        if (clash := atc.conflict(merged)) is not None:
            raise self.error(f"options.{clash[0]}", clash[1])
        return merged

    def passes(self, base: Mapping[str, Mapping[str, object]]) -> tuple[dict[str, Mapping[str, object]], str | None]:
        """Return parameters by pass on top of ``base``, and the pipeline."""
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
        """Return the budgets on top of ``base``."""
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

    def images(self) -> Preprocess | None:
        """Return how images become inputs; None where the key is absent."""
        if "images" not in self.table:
            return None
        table = self.section("images", self.table["images"])
        self.known("images.", table, _IMAGES)
        words = {key: None if key not in table else self.numbers(f"images.{key}", table[key]) for key in _IMAGES[:2]}
        bgr = table.get("bgr", False)
        if not isinstance(bgr, bool):
            raise self.error("images.bgr", f"{_shown(bgr)} is neither true nor false")
        try:
            return parse_preprocess(words["mean"], words["std"], bgr)
        except UsageError as why:
            raise self.error("images", str(why).replace("--image-", "")) from None

    def numbers(self, key: str, value: object) -> str:
        """Return a list of numbers as the text of an option."""
        items = value if isinstance(value, list) else [value]
        if not items or any(isinstance(item, bool) or not isinstance(item, int | float) for item in items):
            raise self.error(key, f"{_shown(value)} is not a number, or a list of one for each channel")
        return ",".join(map(str, items))


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
