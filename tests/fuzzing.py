"""Mutated pass files, by number: read, applied to small graphs, their cases run; each in a child with limits.

``python tests/fuzzing.py 100000`` does that with two children; a file is the same whenever seed and shipped passes are.
A hang, a crash, exhausted memory and any error that is not graphtool's own is a failure, and its file is kept. Only a
case may take too long or too much, or end onnxruntime: it holds a graph that is run, and ``passes test`` has a child of
its own for that.
"""

from __future__ import annotations

import argparse
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import traceback
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import redirect_stdout
from dataclasses import dataclass, field
from functools import lru_cache
from io import StringIO
from pathlib import Path

from mutations import Mutations

from graphtool.data import data_dir
from graphtool.rewrite import Catalog, Pass, parse_pipeline

SECONDS = 30  # for one file
MEMORY = 6 << 30  # bytes of address space; onnxruntime and numpy map some two of them
CHUNK = 500  # files of one child
SLOW = frozenset({"onnxsim", "fold_constants"})  # natives that start a process
SEEDS = Path(__file__).with_name("fuzz_passes")  # files with the forms of the language that few shipped passes have
OFTEN = 5  # each of them counts for so many


@lru_cache(maxsize=1)
def texts(folder: Path) -> dict[str, str]:
    """Return the text of every pass file in a folder by name, and those of ``SEEDS``."""
    shipped = {path.stem: path.read_text() for path in sorted(folder.glob("*.toml"))}
    seeds = {f"{path.stem}{n}": path.read_text() for path in sorted(SEEDS.glob("*.toml")) for n in range(OFTEN)}
    return shipped | seeds


def mutated(sources: Path, seed: int, number: int) -> bytes:
    """Return the file of that number, made of the pass files in ``sources``."""
    draw = random.Random(f"{seed}:{number}")
    mutations = Mutations(draw, texts(sources))
    changed = draw.random() < 0.6
    text = mutations.tree() if changed else mutations.any_text()
    if not changed or draw.random() < 0.5:
        for _ in range(draw.choice((1, 1, 1, 2, 3))):
            text = mutations.text(text)[: 1 << 20]
    content = bytearray(text.encode("utf-8", "surrogatepass"))
    if draw.random() < 0.03 and content:
        for _ in range(draw.randint(1, 8)):
            content[draw.randrange(len(content))] = draw.randrange(256)
    return bytes(content)


# -- a child: some files, one after the other


@lru_cache(maxsize=1)
def catalog_for(folder: Path) -> Catalog:
    """Return the catalog of a folder and the shipped passes, which are loaded once."""
    return Catalog([data_dir("passes"), folder])


def natives_of(spec: Pass, catalog: Catalog) -> Iterator[str]:
    """Yield the natives that a pass calls, in sequences at any depth too."""
    if spec.native is not None:
        yield spec.native
    for stage in (stage for word in spec.sequence for stage in parse_pipeline(word, catalog)):
        yield from natives_of(stage.spec, catalog)


def examine(path: Path, before_cases: Callable[[], None]) -> str:
    """Read a pass file, apply it, run its cases; return how far it came. Raises what a user would see as a crash."""
    from fuzz_graphs import graphs

    from graphtool.cases import run_case
    from graphtool.errors import GraphtoolError, PassError
    from graphtool.report.console import print_pass
    from graphtool.report.data import dumps, pass_data
    from graphtool.report.pages import pages
    from graphtool.rewrite import Stage, apply_stage
    from graphtool.rewrite.params import resolve

    catalog = catalog_for(path.parent)
    try:
        spec = catalog.get(f"{path}")
    except PassError as error:
        assert str(error).startswith((str(path), "the sequence contains itself")), f"an error without a place: {error}"
        assert "\n" not in str(error), f"an error of several lines: {error}"
        return "refused"
    thorough = zlib.crc32(path.read_bytes()) % 8 == 0  # what takes long and is none of the language, one time in eight
    natives = set(natives_of(spec, catalog))
    if thorough:
        with redirect_stdout(StringIO()):
            print_pass(spec)
        dumps(pass_data(spec))
        pages([spec], catalog)
    if "onnxsim" in natives or (natives & SLOW and not thorough):
        return "read"
    for graph in graphs(spec):
        before = graph.proto.SerializeToString(deterministic=True)
        try:
            apply_stage(graph, Stage(spec, resolve(spec.params, {}, spec.name), spec.name), catalog)
        except GraphtoolError as error:
            assert "\n" not in str(error), f"an error of several lines: {error}"
            assert graph.proto.SerializeToString(deterministic=True) == before, "an error leaves the graph as it was"
    before_cases()
    for case in spec.cases[:2]:
        try:
            run_case(spec, case, catalog)
        except MemoryError:
            return "stopped"
    return "run" if spec.cases else "applied"


def child(sources: Path, seed: int, numbers: range, seconds: float, memory: int) -> None:
    """Examine files and say on stdout, line by line, which one is next and how the last one went."""
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    signal.signal(signal.SIGALRM, signal.SIG_DFL)  # ends the process, wherever it is
    out = sys.stdout
    sys.stdout = sys.stderr
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "x.toml")
        path.touch()  # so that the catalog knows the name, which a sequence may say
        for number in numbers:
            print(number, "next", file=out, flush=True)
            path.write_bytes(mutated(sources, seed, number))
            signal.setitimer(signal.ITIMER_REAL, seconds)
            try:
                word = examine(path, lambda number=number: print(number, "cases", file=out, flush=True))  # type: ignore[misc]
            except Exception as error:
                frames = traceback.extract_tb(error.__traceback__)
                place = f"{Path(frames[-1].filename).name}:{frames[-1].lineno}"
                word = f"FAILED {type(error).__name__} at {place}: {str(error)[:300]!r}"
            signal.setitimer(signal.ITIMER_REAL, 0)
            print(number, word, file=out, flush=True)


# -- the parent


@dataclass(slots=True)
class Fuzzed:
    """What became of the files: counts by outcome, and the failures by number."""

    counts: Counter[str] = field(default_factory=Counter)
    failures: dict[int, str] = field(default_factory=dict)


def fuzz(
    sources: Path, seed: int, first: int, count: int, jobs: int = 1, seconds: float = SECONDS, memory: int = MEMORY
) -> Fuzzed:
    """Examine ``count`` files from number ``first`` on, made of those in ``sources``, in children.

    ``seconds`` is the wall time of one file, ``memory`` the bytes of addresses of a child.
    """
    chunks = [range(at, min(at + CHUNK, first + count)) for at in range(first, first + count, CHUNK)]
    found = Fuzzed()
    with ThreadPoolExecutor(jobs) as pool:
        for done in pool.map(lambda chunk: list(_chunk(sources, seed, chunk, seconds, memory)), chunks):
            for number, word in done:
                found.counts[word.partition(" ")[0]] += 1
                if word.startswith("FAILED"):
                    found.failures[number] = word.removeprefix("FAILED ")
    return found


def _chunk(sources: Path, seed: int, numbers: range, seconds: float, memory: int) -> Iterator[tuple[int, str]]:
    """Yield how each file went; one that ends the child is told by how it ended, and a new child goes on behind it."""
    left = numbers
    while left:
        command = [sys.executable, __file__, "--child", str(left.start), "--seed", str(seed)]
        command += ["--sources", str(sources), "--seconds", str(seconds), "--memory", str(memory), str(len(left))]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        said = [(int(number), word) for number, _, word in (line.partition(" ") for line in done.stdout.splitlines())]
        yield from ((number, word) for number, word in said if word not in ("next", "cases"))
        number, phase = said[-1] if said else (left.start, "next")
        if number == left[-1] and phase not in ("next", "cases"):
            return
        name = signal.Signals(-done.returncode).name if done.returncode < 0 else f"exit code {done.returncode}"
        last = (done.stderr.strip().splitlines() or [""])[-1]
        # a case's graph may run for ever, or end onnxruntime: the command runs cases in a child for that reason
        if phase == "cases" and done.returncode < 0:
            yield number, "stopped"
        else:
            yield number, "FAILED it takes too long" if name == "SIGALRM" else f"FAILED {name}: {last[:300]}"
        left = range(number + 1, left.stop)


def main() -> int:
    """Fuzz from the command line; the files that failed are kept. Exit code 1 where there are any."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("count", type=int)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--keep", type=Path, default=Path(tempfile.gettempdir(), "graphtool-fuzz"))
    parser.add_argument("--sources", type=Path, help="pass files to mutate; those that ship by default")
    parser.add_argument("--seconds", type=float, default=SECONDS, help="wall time of one file")
    parser.add_argument("--memory", type=int, default=MEMORY, help="bytes of addresses of a child")
    parser.add_argument("--child", type=int, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.child is not None:
        numbers = range(given.child, given.child + given.count)
        child(given.sources, given.seed, numbers, given.seconds, given.memory)
        return 0
    with tempfile.TemporaryDirectory() as folder:  # a copy: the files stay the same while they are worked on
        sources = Path(shutil.copytree(given.sources or data_dir("passes"), Path(folder, "passes")))
        total = Fuzzed()
        step = CHUNK * given.jobs * 4
        for first in range(given.first, given.first + given.count, step):
            count = min(step, given.first + given.count - first)
            found = fuzz(sources, given.seed, first, count, given.jobs, given.seconds, given.memory)
            total.counts += found.counts
            total.failures |= found.failures
            for number, word in sorted(found.failures.items()):
                given.keep.mkdir(parents=True, exist_ok=True)
                (given.keep / f"{given.seed}-{number}.toml").write_bytes(mutated(sources, given.seed, number))
                print(f"{number}: {word}", flush=True)
            print(f"{sum(total.counts.values())} files: {dict(sorted(total.counts.items()))}", flush=True)
    if total.failures:
        print(f"{len(total.failures)} failures, the files are in {given.keep}")
    return 1 if total.failures else 0


if __name__ == "__main__":
    sys.exit(main())
