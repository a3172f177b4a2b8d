"""Mutated models on the commands, each in a guarded worker; run by hand, it prints counts and keeps what fails.

    python tests/fuzz_models.py COUNT [--seed N] [--first N]    mutated bytes of ICNet's skeleton and of small models
    python tests/fuzz_models.py --kinds                         every hostile kind on every command

A command must end with exit code 0, 1 or 2, with one line where it is 2, and leave no file where it is not 0. A worker
that dies is counted as ``guarded``: the command itself would say so in one line and go on living.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import sys
import tempfile
from collections import Counter
from pathlib import Path

from clirun import RELU, Cli, fit_for_a_terminal
from hostile import KINDS, parsed

from graphtool.guard import Limits, Worker
from graphtool.guard.worker import GuardError

COMMANDS = {
    "run": ["run", "-p", "remove_identity", "m.onnx", "-o", "r.onnx"],
    "unchecked": ["run", "-p", "optimize", "--no-check", "m.onnx", "-o", "r.onnx"],
    "optimize": ["optimize", "m.onnx", "-o", "r.onnx", "--json"],
    "inspect": ["inspect", "m.onnx", "--json"],
    "diff": ["diff", "m.onnx", "good.onnx"],
    "compare": ["compare", "good.onnx", "m.onnx"],
    "atc": ["atc", "emit", "m.onnx", "--soc", "Ascend310"],
    "golden": ["golden", "record", "new", "m.onnx"],
    "explain": ["passes", "explain", "fold_constants", "m.onnx"],
}
LIMITS = Limits(memory=4 << 30, seconds=20)


def examine(command: str, data: bytes, kind: str) -> str:
    """Run a command on a model, given as bytes or as a kind; return ``exit N``, or ``FAILED`` and why."""
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        os.environ["XDG_STATE_HOME"] = f"{folder}/state"
        place = Path(folder, "work")
        place.mkdir()
        os.chdir(place)
        cli = Cli(place)
        cli.save("good.onnx", RELU)
        name = "m.onnx"
        if kind:
            path = KINDS[kind](place)
            name = os.path.relpath(path) if path.is_relative_to(place) else str(path)
        else:
            Path(name).write_bytes(data)
        before = {path.name for path in place.iterdir()}
        ended = cli(*(name if word == "m.onnx" else word for word in COMMANDS[command]))
        new = {path.name for path in place.iterdir()} - before
        said = ended.err.removesuffix("\n")
        if ended.code not in (0, 1, 2):
            return f"FAILED exit code {ended.code}: {said[-300:]}"
        if "internal error" in said or "Traceback" in said:
            return f"FAILED {said[-400:]}"
        if not fit_for_a_terminal(said) or (ended.code == 2 and ("\n" in said or not said.startswith("graphtool: "))):
            return f"FAILED it is no line: {said[-300:]!r}"
        if ended.code == 2 and new:
            return f"FAILED it wrote {sorted(new)}"
        return f"exit {ended.code}"


def bases() -> list[bytes]:
    """Return the models to mutate: ICNet without its weights, and small ones that use much of the format."""
    from graphtool.graph import Graph
    from graphtool.graph.shapes import weightless
    from graphtool.zoo.icnet import write_icnet

    with tempfile.TemporaryDirectory() as folder:
        write_icnet(Path(folder, "icnet.onnx"), 192, 192, 1, "avg")
        found = [weightless(Graph.load(Path(folder, "icnet.onnx")).proto).SerializeToString()]
        for kind in ("15 Ifs in each other", "a function", "Dropout in training", "a text tensor", "Tile -1 times"):
            found.append(KINDS[kind](Path(folder)).read_bytes())
    return [*found, parsed().SerializeToString(), *found[1:], parsed().SerializeToString()]


def mutated(data: bytes, draw: random.Random) -> bytes:
    """Return ``data`` with one to six bytes or ranges changed, or cut."""
    out = bytearray(data)
    for _ in range(draw.choice((1, 1, 1, 2, 3, 6))):
        at, size = draw.randrange(len(out) or 1), draw.choice((1, 1, 2, 8, 40))
        match draw.randrange(7):
            case 0 | 1:
                out[at : at + 1] = bytes([draw.randrange(256)])
            case 2:
                out[at : at + 1] = bytes([(out[at] if out else 0) ^ 1 << draw.randrange(8)])
            case 3:
                del out[at : at + size]
            case 4:
                out[at:at] = out[at : at + size]
            case 5:
                out[at : at + size] = draw.choice(
                    (b"\xff" * 9 + b"\x01", b"\x00", b"\x80\x80\x80\x80\x08", b"\xfe\xff")
                )
            case 6 if not draw.randrange(4):
                del out[at:]
    return bytes(out)


def main() -> int:
    """Print counts by command and outcome. Exit code 1 where something failed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("count", type=int, nargs="?", default=0)
    parser.add_argument("--kinds", action="store_true")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--keep", type=Path, default=Path(tempfile.gettempdir(), "graphtool-fuzz-models"))
    given = parser.parse_args()
    import fuzz_models  # by its own name, which the worker can import

    counts: Counter[str] = Counter()
    failed = 0
    jobs: list[tuple[str, bytes, str]] = []
    if given.kinds:
        jobs = [(command, b"", kind) for kind in KINDS for command in COMMANDS]
    elif given.count:
        models, names = bases(), list(COMMANDS)
        for number in range(given.first, given.first + given.count):
            draw = random.Random(f"{given.seed} {number}")
            jobs.append((names[number % len(names)], mutated(draw.choice(models), draw), ""))
    with Worker(LIMITS) as worker:
        for number, (command, data, kind) in enumerate(jobs, given.first):
            try:
                word = worker.call(fuzz_models.examine, command, data, kind)
            except GuardError as error:
                word = f"guarded: {error}"
                print(f"{kind or number} on {command}: {word}", flush=True)
            counts[f"{command}: {word.partition(':')[0].partition(' ')[0] if word[0] != 'e' else word}"] += 1
            if number % 500 == 499:
                print(f"{sum(counts.values())} commands, {failed} failed so far", flush=True)
            if word.startswith("FAILED"):
                failed += 1
                given.keep.mkdir(parents=True, exist_ok=True)
                (given.keep / f"{given.seed}-{number}-{command}.onnx").write_bytes(data)
                print(f"{kind or number} on {command}: {word}", flush=True)
    for word, count in sorted(counts.items()):
        print(f"{count:6} {word}")
    print(f"{len(jobs)} commands, {failed} failed" + (f", kept in {given.keep}" if failed else ""))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
