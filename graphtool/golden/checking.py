"""A record checked from nothing but itself: its model found or made again, its pipeline run again. Floor 5."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from graphtool.errors import GoldenError, GraphtoolError, ModelError, quoted
from graphtool.golden.files import DATA_SET, FOLDER, existing, read_record
from graphtool.golden.make import model_files
from graphtool.golden.records import FeedRecord, Record
from graphtool.golden.source import MissingModelError, found
from graphtool.golden.steps import judge_steps, replay
from graphtool.golden.store import Checked, check
from graphtool.graph import Graph
from graphtool.graph import check as check_graph
from graphtool.parity.feed import Feed
from graphtool.parity.feed_files import feed_from
from graphtool.rewrite import Catalog

GivenFeed = Callable[[Graph], Feed | None]


@dataclass(frozen=True, slots=True)
class Options:
    """``allow_missing``: a record whose model is not here is skipped. ``commands``: any command may make a model."""

    allow_missing: bool = False
    commands: bool = False


def check_record(
    name: str,
    folder: Path = FOLDER,
    model: Path | None = None,
    feed: GivenFeed = lambda _: None,
    options: Options | None = None,
) -> Checked:
    """Check the record ``name``: of ``model``, or of the model that the record names.

    Where the record has a pipeline it is run again, and the first graph that differs is shown. Raises GoldenError for a
    broken record and for a model that is not here.
    """
    target = existing(name, folder)
    kept, _ = read_record(target)
    options = options or Options()
    try:
        with model_for(kept, target, model, options.commands) as path:
            return _checked(name, kept, target, folder, path, feed)
    except MissingModelError as error:
        if not options.allow_missing:
            raise MissingModelError(f"golden {quoted(name)}: {error}; --allow-missing skips it") from None
        return Checked(name, (), (), reason=str(error))


@contextmanager
def model_for(kept: Record, target: Path, model: Path | None, commands: bool) -> Iterator[Path]:
    """Give the model that is named, or the one that the record names."""
    if model is not None:
        yield model
    elif kept.source is None:
        raise GoldenError(f"golden {quoted(target.name)} does not say where its model is; name it: MODEL")
    else:
        with found(kept.source, target, commands) as path:
            yield path


def loaded(path: Path) -> Graph:
    """Return a model that is sound; ModelError says which file is not."""
    graph = Graph.load(path)
    try:
        check_graph(graph)
    except ModelError as error:
        raise ModelError(f"{quoted(path)}: {error}") from None
    return graph


def kept_feed(kept: FeedRecord, target: Path, graph: Graph) -> Feed | None:
    """Return the feed that lies in the record as a test data set; None where the record draws its own."""
    return feed_from(target / DATA_SET, graph) if kept.seed is None and (target / DATA_SET).is_dir() else None


def _checked(name: str, kept: Record, target: Path, folder: Path, path: Path, feed: GivenFeed) -> Checked:
    graph = loaded(path)
    lines = _moved(kept, path)
    catalog = Catalog()
    if kept.passes is None:
        given = feed(graph) or kept_feed(kept.feed, target, graph)
        done = check(name, graph, folder, given, catalog.semantics())
        return replace(done, lines=(*done.lines, *lines))
    try:
        now = replay(graph, kept.passes, catalog)
    except GraphtoolError as error:
        return Checked(name, (f"the pipeline {quoted(kept.passes)} cannot be run again: {error}",), tuple(lines))
    steps = judge_steps(kept, target, now)
    done = check(name, graph, folder, feed(graph) or kept_feed(kept.feed, target, graph), catalog.semantics())
    # the graph that the pipeline ends with differs because a step does, and that was shown
    faults = [f for f in done.faults if not (steps.place and f.startswith("run.txt: "))]
    return replace(
        done,
        faults=(*steps.faults, *faults),
        lines=(*steps.lines, *done.lines, *lines),
        place=steps.place or done.place,
    )


def _moved(kept: Record, path: Path) -> list[str]:
    """Say where the model's files are not the recorded ones; the name of the file itself does not matter."""
    if not kept.model_files:
        return []
    now = model_files(path)
    was = {path.name if name == kept.model else name: digest for name, digest in kept.model_files.items()}
    changed = [name for name in sorted(now.keys() | was.keys()) if now.get(name) != was.get(name)]
    return [f"the model is not the recorded file: {', '.join(map(quoted, changed))} has another SHA-256"] * bool(
        changed
    )
