"""What ``bisect`` and ``tune`` do with files: from the words of a command line to a bench, and back. Floor 7."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from graphtool.culprit.bench import Bench, Unit
from graphtool.culprit.bisect import Finding, bisect
from graphtool.culprit.rank import Ranking, rank
from graphtool.culprit.tune import Tuned, tune
from graphtool.errors import ModelError, UsageError, quoted, show
from graphtool.graph.save import write_text
from graphtool.parity.budget import METRICS, Budget
from graphtool.parity.feed import Feed
from graphtool.parity.trials import Trial
from graphtool.request import Request, budgets_of, on_feeds, prepare, sound

Watch = Callable[[str], None]
_DRAWN = 2  # feeds that a tuned pipeline is verified on where none is named


@dataclass(frozen=True, slots=True)
class Bisected:
    """A finding, and the commands for each culprit: what shows it, and the pipeline without it."""

    request: Request
    bench: Bench
    finding: Finding
    commands: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Ranks:
    """A ranking of the matches of lossy passes."""

    request: Request
    bench: Bench
    ranking: Ranking


@dataclass(frozen=True, slots=True)
class Tuning:
    """A tuned pipeline; ``feeds`` are the held-out ones, ``command`` runs it, ``path`` is the profile it went to."""

    request: Request
    bench: Bench
    budgets: tuple[Budget, ...]
    feeds: tuple[Feed, ...]
    tuned: Tuned
    command: str
    path: Path | None


def run_bisect(request: Request, watch: Watch) -> Bisected:
    """Search what breaks a pipeline; raises GraphtoolError for whatever does not fit."""
    bench, budgets = _bench(request, watch, held=True)
    found = bisect(bench)
    last = found.whole.stage
    searched = {unit for culprit in found.culprits for unit in culprit.units}
    commands = []
    for culprit in found.culprits:
        stages = {unit.stage for unit in culprit.units}
        kept = [u for u in found.whole.units if u.stage not in stages or u in culprit.units]
        others = [u for u in found.whole.units if u not in searched]
        shows = bench.text(kept if found.whole.kind == "promise" else culprit.alone.units, last)
        commands.append((command(request, budgets, shows), command(request, budgets, bench.text(others))))
    return Bisected(request, bench, found, tuple(commands))


def run_rank(request: Request, watch: Watch) -> Ranks:
    """Rank the matches of the lossy passes; raises GraphtoolError for whatever does not fit."""
    bench, budgets = _bench(request, watch, held=False)
    return Ranks(request, bench, rank(bench, budgets))


def run_tune(request: Request, held_out: Sequence[str], curve: bool, quick: bool, watch: Watch) -> Tuning:
    """Tune a pipeline; ``held_out`` are the words for other feeds: seeds, or files. Writes a profile to ``out``.

    ``curve`` and ``quick`` as :func:`graphtool.culprit.tune.tune` has them; UsageError for both.

    Raises GraphtoolError for whatever does not fit.
    """
    if curve and quick:
        raise UsageError("--plot draws what each match adds, and --quick runs none by itself; leave one out")
    out = request.out
    if out is not None:
        _check_profile(out, request.profile)
    bench, budgets = _bench(request, watch, held=False)
    budgets = budgets or _own(bench)
    if not budgets:
        raise UsageError("tune needs a budget, such as --min argmax_agreement=0.95")
    words = list(held_out)
    if not words and not request.feed:
        words = [str(request.seed + len(bench.feeds) + number) for number in range(_DRAWN)]
    others = [_bench(_with_feed(request, word), watch, held=False)[0] for word in words]
    tuned = tune(bench, budgets, others, curve, quick)
    feeds = tuple(other.feeds[0] for other in others)
    if out is not None:
        write_text(out, _profile(bench, tuned, budgets, [*bench.feeds, *feeds], request.profile))
    return Tuning(request, bench, tuple(budgets), feeds, tuned, command(request, budgets, tuned.text), out)


def _bench(request: Request, watch: Watch, held: bool) -> tuple[Bench, list[Budget]]:
    """Return the bench and the budgets; with ``held`` the bench holds the pipeline to them."""
    watch("loading")
    graph, stages, catalog, profile = prepare(request)
    sound(graph)
    budgets = budgets_of(request.minima, request.maxima, stages) or list(profile.budgets if profile else ())

    def begin(trials: list[Trial]) -> Bench:
        return Bench(graph, stages, catalog, trials, budgets, request.truth, held, watch)

    return on_feeds(graph, request, profile, begin), budgets


def _own(bench: Bench) -> list[Budget]:
    """Return the bounds that lossy passes have of their own."""
    bounds = {metric: bound for spec in bench.specs for metric, bound in spec.budget.items()}
    return [Budget(metric, bound, None, METRICS[metric][0]) for metric, bound in bounds.items()]


def _with_feed(request: Request, word: str) -> Request:
    """Return the request on another feed: a seed, or a file."""
    if not word.isdecimal():
        return request._replace(feed=(word,), feeds=None, extremes=False)
    if len(word) > 10 or int(word) >= 2**31:
        raise UsageError(f"--held-out {show(word)}: a seed is below 2147483648")
    return request._replace(feed=(), feeds=1, extremes=False, seed=int(word))


def command(request: Request, budgets: Sequence[Budget], passes: str) -> str:
    """Return the ``graphtool run`` that judges other passes as the request does."""
    words = ["graphtool", "run", "--passes", passes, str(request.model)]
    for word in request.feed:
        words += ["--feed", word]
    for word in request.shapes:
        words += ["--shape", word]
    if request.seed and not request.feed:
        words += ["--seed", str(request.seed)]
    if request.feeds is not None:
        words += ["--feeds", str(request.feeds)]
    if request.extremes:
        words += ["--extremes"]
    if request.truth:
        words += ["--truth"]
    for budget in budgets:
        words += [f"--{budget.kind}", bound_text(budget)]
    return shlex.join(words)


def bound_text(budget: Budget) -> str:
    """Return a budget as the word after --min or --max, to the last digit."""
    return f"{budget.where()}{budget.metric}={budget.bound!r}"


_HEAD = "# written by graphtool tune\n"


def _check_profile(out: Path, base: str | None) -> None:
    """Raise where a tuned pipeline must not, or cannot, be written to ``out``."""
    if out.suffix != ".toml":
        raise UsageError(f"-o {show(out)}: a tuned pipeline is written as a profile; name a .toml file")
    if out.exists() and not (out.is_file() and out.read_bytes().startswith(_HEAD.encode())):
        raise ModelError(f"{quoted(out)} exists and graphtool tune did not write it; name another file with -o")
    if base is not None and base.endswith(".toml"):
        raise UsageError(f"-o with --profile {show(base)}: only a shipped profile can be extended; give its name")
    if not out.parent.is_dir():
        raise ModelError(f"cannot write {quoted(out)}: there is no folder {quoted(out.parent)}")


def _profile(bench: Bench, tuned: Tuned, budgets: Sequence[Budget], feeds: Sequence[Feed], base: str | None) -> str:
    """Return a profile with the tuned pipeline and the budgets it keeps, for ``graphtool run --profile``."""
    counted = f"{len(tuned.taken)} of {len(tuned.order)} lossy matches, held to {', '.join(map(bound_text, budgets))}"
    lines = [
        _HEAD.rstrip("\n"),
        f"# feeds: {'; '.join(feed.text() for feed in feeds)}",
        f"summary = {_toml(counted)}",
        f"extends = {_toml(base or 'ascend310')}",
        "",
        "[passes]",
        f"pipeline = {_toml(tuned.text)}",
        "",
        "[budgets]",
    ]
    for kind in ("min", "max"):
        bounds = [_toml(bound_text(budget)) for budget in budgets if budget.kind == kind]
        lines += [f"{kind} = [{', '.join(bounds)}]"] if bounds else []
    return "\n".join(lines) + "\n"


def _toml(text: str) -> str:
    """Return a TOML basic string."""
    plain = text.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + "".join(c if c.isprintable() else f"\\U{ord(c):08x}" for c in plain) + '"'


def unit_text(bench: Bench, unit: Unit) -> str:
    """Return a unit in words: ``fuse_conv_bn of optimize at Conv_12``."""
    spec, place = bench.stages[unit.stage].spec, unit.place
    of = f" of {spec.name}" if spec.name != place.spec else ""
    at = f" at {show(bench.item(unit).partition('@')[2] if of else bench.item(unit))}" if place.where else ""
    return f"{place.spec}{of}{at or ' (a native pass: it applies as a whole)'}"
