"""What a log means for a model, and what is patched in a vendor file: behind ``atc diagnose`` and ``atc patch``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from graphtool.atc import logs, patch
from graphtool.atc.logs import Log, Seen
from graphtool.atc.profile import Profile, load_profile
from graphtool.atc.suspects import Suspect, suspects
from graphtool.atc.words import parse_batches
from graphtool.errors import UsageError
from graphtool.graph import Graph


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """A log, the candidates for each of its messages, and the batches that a five_2_four patch is confirmed for."""

    log: Log
    nodes: tuple[tuple[Seen, tuple[Suspect, ...]], ...]
    patched: tuple[tuple[tuple[int, ...], int], ...] = ()
    notes: tuple[str, ...] = ()


def diagnose(text: str, model: Path | None, profile: str | None, batch: str | None) -> Diagnosis:
    """Read a log, for a model where one is given."""
    found = logs.read(text)
    named = load_profile(profile) if profile is not None else None
    if model is None:
        shapes = sorted(found.shapes)
        return Diagnosis(found, tuple((one, ()) for one in found.seen), tuple(logs.confirmed(found, shapes)))
    graph = Graph.load(model)
    nodes = tuple((one, tuple(suspects(one, graph))) for one in found.seen)
    wanted, notes = patch.shapes_of(graph, _batches(batch, named), _kept(named)) if found.shapes else ([], [])
    other = [shape for shape in sorted(found.shapes) if shape not in wanted]
    if other:
        text = ", ".join(str(list(shape)) for shape in other)
        notes = [*notes, f"shapes of no output at these batches: {text}"]
    return Diagnosis(found, nodes, tuple(logs.confirmed(found, [*wanted, *other])), tuple(notes))


def _batches(text: str | None, profile: Profile | None) -> tuple[int, ...]:
    return parse_batches(text) if text is not None else profile.batches if profile is not None else ()


def _kept(profile: Profile | None) -> list[str]:
    """Return the outputs, or the nodes that make them, that a profile keeps; none where it says nothing."""
    if profile is None:
        return []
    nodes = [word.partition(":")[0] for word in profile.options.get("out_nodes", "").split(";") if word]
    keep = profile.passes.get("prune_outputs", {}).get("keep", [])
    return [*nodes, *(str(one) for one in (keep if isinstance(keep, list) else [keep]))]


@dataclass(frozen=True, slots=True)
class Patched:
    """What was done, or is to be done, with a vendor file."""

    file: Path
    diff: str = ""
    added: Sequence[tuple[int, ...]] = ()
    there: Sequence[tuple[int, ...]] = ()
    kept: Path | None = None
    done: str = "planned"
    notes: Sequence[str] = field(default_factory=tuple)


def run_patch(
    model: Path,
    file: Path,
    profile: str | None,
    batch: str | None,
    cann: str | None,
    write: bool,
    revert: bool,
    tell: bool = False,
) -> Patched:
    """Plan, apply or take back a five_2_four patch."""
    if write and revert:
        raise UsageError("--write and --revert exclude each other")
    if revert:
        return Patched(file, kept=patch.revert(file), done="reverted")
    named = load_profile(profile) if profile is not None else None
    release = cann or (named.cann if named is not None else None)
    if reason := patch.applicable(release):
        raise UsageError(reason)
    shapes, notes = patch.shapes_of(Graph.load(model), _batches(batch, named), _kept(named))
    if not shapes:
        raise UsageError(f"no output that the list is for: {'; '.join(notes) or 'none is kept'}")
    found = patch.plan(file, shapes, release, tell)
    kept = patch.apply(file, found) if write else None
    done = "written" if kept is not None else "there already" if found.after == found.before else "planned"
    if release is None:
        notes.append(f"no CANN release was named: the list is consulted in 5.0.1 and 5.0.2 only ({patch.SOURCE})")
    diff = found.diff(file.name)
    return Patched(file, diff, found.added, found.there, kept, done, (*notes, *found.notes))
