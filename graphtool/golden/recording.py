"""A record made, or made anew, from a model and where that comes from: everything but the writing. Floor 5."""

from __future__ import annotations

import difflib
import itertools
import re
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar

from graphtool.errors import FeedError, GoldenError, PromiseError, UsageError, quoted
from graphtool.golden.checking import kept_feed, loaded, model_for
from graphtool.golden.data_set import write_test_data_set
from graphtool.golden.feed import redrawn
from graphtool.golden.files import DATA_SET, OUTPUTS, RUN, STEPS, existing, read_record, read_text
from graphtool.golden.graph import changes
from graphtool.golden.make import Made, Origin, make
from graphtool.golden.outputs import judge_output
from graphtool.golden.records import Record, Source
from graphtool.golden.source import command_source, found, path_source, variable_source
from graphtool.golden.steps import replay_stages
from graphtool.golden.store import new_place, write
from graphtool.graph import Graph
from graphtool.parity.feed import Feed, draw
from graphtool.parity.trials import Trial, on_sizes_that_run
from graphtool.rewrite import Catalog, parse_pipeline

_NUMBERS = re.compile(r"@@|[+-](  |sha256|samples|histogram|min|max|mean|\\]|$)")
_SHOWN = 30  # lines of a file's difference

_Result = TypeVar("_Result")
Settings = Mapping[str, Mapping[str, object]]


@dataclass(frozen=True, slots=True)
class Asked:
    """What a record is to be made from.

    One of ``model``, ``variable`` and ``command`` names the model (for an update: or none). ``passes`` is a pipeline to
    run first, with ``settings`` by pass and parameter. ``feed`` gives the feed for a graph, of a variant where it is
    drawn (:func:`graphtool.parity.feed.draw`), or None for the default: drawn with seed 0, and in an update the
    recorded one. ``data_set`` keeps inputs and outputs beside the record. ``commands`` allows any command to run.
    """

    model: Path | None = None
    variable: str | None = None
    command: str | None = None
    passes: str | None = None
    settings: Settings | None = None
    feed: Callable[[Graph, int], Feed | None] = lambda *_: None
    data_set: bool = False
    commands: bool = False


@dataclass(frozen=True, slots=True)
class Prepared:
    """A record that is ready to be written to ``target``; ``warning`` is a line the user should see."""

    target: Path
    made: Made
    graph: Graph
    feed: Feed
    data_set: bool
    warning: str = ""

    def write(self) -> Path:
        """Write the record, all of it or nothing; return its folder."""
        return write(self.target, self.made.texts, self._also)

    def _also(self, folder: Path) -> None:
        if self.data_set:
            write_test_data_set(folder / DATA_SET, self.graph, self.feed, self.made.outputs)

    def changes(self) -> list[str]:
        """Return how the record differs from what is there: lines of text, none where nothing does.

        Of the graphs the first that differs is shown (those behind it follow from it), of the outputs how far they are
        from the record.
        """
        names = {f"{STEPS}/{path.name}" for path in (self.target / STEPS).glob("*.txt")} | {RUN, OUTPUTS}
        files = {}
        for name in sorted(names | self.made.texts.keys(), key=lambda name: (name == OUTPUTS, name == RUN, name)):
            path = self.target / name
            old = read_text(path).splitlines() if path.is_file() else []
            new = self.made.texts.get(name, "").splitlines()
            if old != new:
                files[name] = (old, new)
        shown: list[str] = []
        told = False
        for name, (old, new) in files.items():
            if not old or not new:
                shown.append(f"{name}: is {'new' if new else 'gone'}, {len(old or new)} lines")
            elif name == OUTPUTS:
                shown += [f"{name}:", *_cut(_toml_changes(old, new)), *self._moved()]
            else:
                found = changes(old, new)
                shown += [f"{name}: differs too"] if told else [f"{name}:", *_cut(found)]
                told = True
        if self.data_set != (self.target / DATA_SET).is_dir():
            shown.append(f"{DATA_SET}: is {'new' if self.data_set else 'gone'}")
        return shown

    def _moved(self) -> list[str]:
        """Return how far each output is from the record that is there."""
        try:
            kept, _ = read_record(self.target)
        except GoldenError:
            return []
        pairs = [(was, self.made.outputs.get(was.name)) for was in kept.outputs]
        return [f"  {judge_output(was, now).text()}" for was, now in pairs if now is not None]


def _cut(lines: list[str]) -> list[str]:
    more = [f"  ... and {len(lines) - _SHOWN} more lines"] * (len(lines) > _SHOWN)
    return [*(f"  {text}" for text in lines[:_SHOWN]), *more]


def prepare_record(name: str, folder: Path, asked: Asked) -> Prepared:
    """Return a new record; raises GoldenError where there is one, PromiseError where a pass breaks its promise."""
    target = new_place(name, folder)
    with ExitStack() as stack:
        source, path = _source(asked, target, stack)
        if path is None:
            raise GoldenError("no model is named; give MODEL, --from-env NAME or --from-command COMMAND")
        return _prepared(target, asked, source, path, None)


def prepare_update(name: str, folder: Path, asked: Asked) -> Prepared:
    """Return a record in place of one that there is: from the same model, pipeline and feed where none is named."""
    target = existing(name, folder)
    with ExitStack() as stack:
        source, path = _source(asked, target, stack)
        kept: Record | None = None
        try:
            kept, _ = read_record(target)
        except GoldenError:
            if path is None:  # a broken record cannot say what it was made from
                raise
        if path is None and kept is not None:
            source, path = kept.source, stack.enter_context(model_for(kept, target, None, asked.commands))
        assert path is not None
        return _prepared(target, asked, source, path, kept)


def _source(asked: Asked, target: Path, stack: ExitStack) -> tuple[Source | None, Path | None]:
    named = [word for word in (asked.model, asked.variable, asked.command) if word is not None]
    if len(named) > 1:
        raise GoldenError("MODEL, --from-env and --from-command exclude each other: a model has one source")
    if asked.model is not None:
        return path_source(asked.model, target), asked.model
    if not named:
        return None, None
    source = command_source(asked.command) if asked.command is not None else variable_source(asked.variable or "")
    # whoever types a command wants it to run
    return source, stack.enter_context(found(source, target, commands=True))


def _prepared(target: Path, asked: Asked, source: Source | None, path: Path, kept: Record | None) -> Prepared:
    graph = loaded(path)
    catalog = Catalog()
    if asked.settings and not asked.passes:
        raise UsageError("--set is for a pass of --from-run, and none is given")
    passes = asked.passes or (kept.passes if kept is not None else None)
    run = None
    if passes is not None:
        stages = parse_pipeline(passes, catalog, asked.settings)
        run = _on_feed(asked, graph, None, target, partial(replay_stages, graph, stages, catalog))
        if run.fault:
            raise PromiseError(f"{run.fault}; nothing is recorded")
    origin = Origin(path, source, run)
    made, feed = _on_feed(
        asked, graph, kept, target, lambda feed: (make(graph, origin, feed, meanings=catalog.semantics()), feed)
    )
    data_set = asked.data_set or (kept is not None and (target / DATA_SET).is_dir())
    warning = ""
    if source is None:
        warning = "the model lies outside this folder, so the record does not say where; `golden check` needs MODEL"
    elif kept is None and "seed" not in feed.recipe and not data_set:
        warning = "the feed came from a file, which `golden check` needs again; --data-set keeps it beside the record"
    return Prepared(target, made, graph, feed, data_set, warning)


def _on_feed(asked: Asked, graph: Graph, kept: Record | None, target: Path, run: Callable[[Feed], _Result]) -> _Result:
    """Return what ``run`` makes of the feed, drawn with other sizes where the graph runs only on those."""

    def drawn(variant: int) -> list[Trial]:
        feed = asked.feed(graph, variant) or draw(graph, variant=variant)
        if variant and "items" in feed.recipe:  # a record does not say of how many tensors a drawn sequence is
            raise FeedError("sequences and optionals are drawn in one way only")
        if "integers" in feed.recipe:  # nor of which numbers integers are drawn
            raise FeedError("integers are drawn in one way only")
        return [Trial(feed)]

    if kept is None or asked.feed(graph, 0) is not None:
        return on_sizes_that_run(lambda trials: run(trials[0].feed), drawn)[0]
    if kept.feed.seed is not None:
        return run(redrawn(kept.feed, graph))
    if (feed := kept_feed(kept.feed, target, graph)) is not None:
        return run(feed)
    raise GoldenError(f"the record was made on the feed {quoted(kept.feed.source)}; give it with --feed")


def _toml_changes(old: list[str], new: list[str]) -> list[str]:
    """Return what differs in outputs.toml but for hashes and sampled numbers, which nobody reads."""
    found = itertools.islice(difflib.unified_diff(old, new, n=0, lineterm=""), 2, None)
    return [line for line in found if not _NUMBERS.match(line)]
