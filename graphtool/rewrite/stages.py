"""Pipelines as text: passes by name, each with its parameters and what is chosen among its matches."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

from graphtool.errors import PassError, UsageError, did_you_mean, quoted
from graphtool.rewrite.native import Native
from graphtool.rewrite.params import Param, escape, resolve, split_raw, stripped, unescape
from graphtool.rewrite.passfile import Pass
from graphtool.rewrite.selection import WORDS, Selection

if TYPE_CHECKING:
    from graphtool.rewrite.catalog import Catalog


class Stage(NamedTuple):
    """A pass and the values of its parameters: one stage of a pipeline; with a ``selection`` not everywhere."""

    spec: Pass
    params: Mapping[str, object]
    word: str
    given: tuple[str, ...] = ()
    selection: Selection | None = None

    def text(self) -> str:
        """Return the stage as pipeline text, which :func:`parse_pipeline` reads back to the same stage."""
        words = [f"{name}={_value_text(self.params[name])}" for name in self.given]
        if self.selection is not None:
            items = dict(zip(WORDS, (self.selection.only, self.selection.skip), strict=True))
            words += [f"{word}={_value_text(list(found))}" for word, found in items.items() if found]
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
    Every pass takes ``only`` and ``skip``, which choose among its matches (see ``selection``).
    """
    stages: list[Stage] = []
    given = given or {}
    words = [stripped(word) for word in split_raw(text, ",")]
    if not any(words):
        raise UsageError("no pass is named; give --passes NAME,NAME  (graphtool passes list)")
    for word in words:
        name, *assignments = split_raw(word, ":")
        name = unescape(name)
        if not name:
            raise UsageError(f"an empty pass name in {quoted(text)}")
        try:
            spec = catalog.get(name)
        except PassError as error:
            if stages and stages[-1].given and name.lstrip("+-").isdecimal():
                raise UsageError(f"{error}; items of a list are joined by '+', as in 'sizes=1+2'") from None
            raise
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
        values[name] = text if kinds.get(name) in ("names", "ints") or name in WORDS else unescape(text)
    values.update(given)
    selection = _selection(spec, {name: values.pop(name) for name in WORDS if name in values})
    resolved = resolve(spec.params, values, spec.name)
    return Stage(spec, resolved, word, tuple(name for name in kinds if name in values), selection)


def _selection(spec: Pass, given: Mapping[str, object]) -> Selection | None:
    """Return what ``only`` and ``skip`` select; None where neither is given."""
    items = resolve([Param(name, "names", [], "") for name in WORDS], given, spec.name)
    only, skip = (tuple(map(str, found)) for found in items.values() if isinstance(found, list))
    for name in given:
        if not items[name]:
            raise PassError(f"{spec.name}: {name}= names no match; write {name}=NODE+NODE")
    if not given:
        return None
    if spec.native is not None and not Native(spec.native).chooses:
        raise PassError(f"{spec.name} is a native pass and applies as a whole, without {next(iter(given))}=")
    return Selection(only or None, skip)
