"""The passes that can be named: those that ship, and pass files given by path; pipelines as text."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from graphtool.data import data_dir
from graphtool.errors import PassError, UsageError, did_you_mean, quoted, show
from graphtool.rewrite.params import escape, resolve, split_raw, stripped, unescape
from graphtool.rewrite.passfile import Pass, Semantics, load_pass


class Catalog:
    """Pass files by name, each loaded when first asked for."""

    def __init__(self, folders: Iterable[Path] | None = None) -> None:
        self.folders = list(folders) if folders is not None else [data_dir("passes")]
        self._paths = {path.stem: path for folder in self.folders for path in sorted(folder.glob("*.toml"))}
        self._loaded: dict[str, Pass] = {}
        self._open: list[Path] = []  # the sequences being read, outermost first

    @property
    def names(self) -> list[str]:
        """Return the names of all passes, in order."""
        return sorted(self._paths)

    def get(self, name: str) -> Pass:
        """Return a pass by name, or by the path of its file (ending in .toml); raises PassError."""
        if name.endswith(".toml"):
            path = Path(name)
            if not path.is_file():
                raise PassError(f"no pass file {quoted(name)}")
            return self._read(path, show(path))
        if name not in self._paths:
            raise PassError(f"unknown pass {quoted(name)}{did_you_mean(name, self._paths)}  (graphtool passes list)")
        if name not in self._loaded:
            path = self._paths[name]
            self._loaded[name] = self._read(path, f"{path.parent.name}/{path.name}")
        return self._loaded[name]

    def _read(self, path: Path, shown: str) -> Pass:
        """Load a pass file; a sequence must name passes and parameters that exist, and must not contain itself."""
        spec = load_pass(path, shown)
        place = path.resolve()
        if place in self._open:
            chain = " -> ".join(show(p.stem) for p in (*self._open[self._open.index(place) :], place))
            raise PassError(f"the sequence contains itself: {chain}")
        self._open.append(place)
        try:
            for number, word in enumerate(spec.sequence):
                try:
                    parse_pipeline(word, self)
                except (PassError, UsageError) as error:
                    raise PassError(f"{shown}: sequence[{number}]: {error}") from None
        finally:
            self._open.pop()
        return spec

    def semantics(self) -> dict[tuple[str, str], Semantics]:
        """Return the meaning of each op that a pass file gives one, by (op type, domain)."""
        return {(item.op, item.domain): item for name in self.names for item in self.get(name).semantics}


@dataclass(frozen=True, slots=True)
class Stage:
    """A pass and the values of its parameters: one stage of a pipeline."""

    spec: Pass
    params: Mapping[str, object]
    word: str
    given: tuple[str, ...] = ()

    def text(self) -> str:
        """Return the stage as pipeline text, which :func:`parse_pipeline` reads back to the same stage."""
        words = [f"{name}={_value_text(self.params[name])}" for name in self.given]
        return ":".join([escape(self.word), *words])


def _value_text(value: object) -> str:
    if isinstance(value, list):
        return "+".join(escape(str(item)) for item in value)
    return escape(str(value).lower() if isinstance(value, bool) else str(value))


def parse_pipeline(
    text: str, catalog: Catalog, given: Mapping[str, Mapping[str, object]] | None = None,
    fallback: Mapping[str, Mapping[str, object]] | None = None,
) -> list[Stage]:  # fmt: skip
    """Return the stages of ``a,b:param=value``; several parameters are joined by ``:``, list items by ``+``.

    ``given`` (``--set``) overrides the text, the text overrides ``fallback`` (a profile), that the pass's default.
    """
    stages = []
    given = given or {}
    words = [stripped(word) for word in split_raw(text, ",")]
    if not any(words):
        raise UsageError("no pass is named; give --passes NAME,NAME  (graphtool passes list)")
    for word in words:
        name, *assignments = split_raw(word, ":")
        name = unescape(name)
        if not name:
            raise UsageError(f"an empty pass name in {quoted(text)}")
        spec = catalog.get(name)
        own: dict[str, str] = {}
        for assignment in assignments:
            key, *value = split_raw(assignment, "=")
            if not value:
                raise UsageError(f"{quoted(assignment)} in {quoted(word)} is not PARAM=VALUE")
            own[key] = "=".join(value)
        stages.append(_stage(name, spec, own, given.get(spec.name, {}), (fallback or {}).get(spec.name, {})))
    known = {stage.spec.name for stage in stages}
    for name in given:
        if name not in known:
            raise UsageError(f"--set {name}.…: pass {quoted(name)} is not in the pipeline{did_you_mean(name, known)}")
    return stages


def _stage(
    word: str, spec: Pass, own: Mapping[str, str], given: Mapping[str, object], fallback: Mapping[str, object]
) -> Stage:  # fmt: skip
    kinds = {param.name: param.type for param in spec.params}
    values: dict[str, object] = dict(fallback)
    for name, text in own.items():
        # a list keeps its escapes until its type splits it
        values[name] = text if kinds.get(name) in ("names", "ints") else unescape(text)
    values.update(given)
    resolved = resolve(spec.params, values, spec.name)
    return Stage(spec, resolved, word, tuple(name for name in kinds if name in values))
