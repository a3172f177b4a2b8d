"""Run ``optimize`` on every model of a folder and judge each result: see README.md.

python benchmarks/corpus.py [FOLDER]                    # table and lists; exit code 1 where a goal is missed
python benchmarks/corpus.py --sample 200 --seed 1       # a part of it
python benchmarks/corpus.py --only '*slim*' --peers     # by file, source or origin; with what the peers do better
python benchmarks/corpus.py --json rows.json            # a row per model
"""

from __future__ import annotations

import argparse
import json
import os
import random
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from fnmatch import fnmatch
from pathlib import Path

from corpus_worker import SECONDS, Row, judged
from peers import TOOLS
from rich.console import Console
from rich.progress import track
from rich.table import Table

FOLDER = Path(__file__).resolve().parents[2] / "shared" / "corpus"
STATUSES = ("right", "random", "not runnable", "wrong", "refused", "crash", "timeout")
MOST_LISTED = 5  # models of one reason
MOST_REFUSED, LEAST_SHARE, GOAL_SHARE = 0.02, 0.85, 0.95


def index(folder: Path) -> list[Row]:
    """Return the models of a folder: the lines of its index.jsonl, or just its files where there is none."""
    listed = folder / "index.jsonl"
    if listed.is_file():
        rows = [json.loads(line) for line in listed.read_text().splitlines() if line.strip()]
    else:
        rows = [{"file": str(path.relative_to(folder))} for path in sorted(folder.rglob("*.onnx"))]
    keys = ("file", "source", "origin", "nodes", "best_peer_nodes", "peers")
    return [{key: row.get(key) for key in keys} | {"path": str(folder / row["file"])} for row in rows]


def wanted(row: Row, pattern: str) -> bool:
    """Whether a model is meant by ``pattern``: a glob over its file, the file's name, its source or origin."""
    names = (row["file"], Path(row["file"]).name, row["source"] or "", row["origin"] or "")
    return any(fnmatch(name, pattern) for name in names)


@dataclass(slots=True)
class Summary:
    """What the rows come to."""

    counts: Counter[str]
    reducible: list[Row] = field(default_factory=list)  # a peer makes it smaller
    above: list[Row] = field(default_factory=list)  # and we do not get as far
    below: list[Row] = field(default_factory=list)  # we get further than any peer
    grown: list[Row] = field(default_factory=list)  # more nodes than before
    before: int = 0
    after: int = 0
    best: int = 0

    @property
    def share(self) -> float:
        """Return the share of models that a peer makes smaller on which ours has at most as many nodes."""
        reached = len(self.reducible) - sum(row["best_peer_nodes"] < row["nodes"] for row in self.above)
        return reached / len(self.reducible) if self.reducible else 1.0

    def missed(self) -> list[str]:
        """Return the goals that are not met."""
        total = sum(self.counts.values())
        bad = {status: self.counts[status] for status in ("wrong", "crash", "timeout") if self.counts[status]}
        found = [f"{number} {status}" for status, number in bad.items()]
        if self.counts["refused"] > MOST_REFUSED * total:
            found.append(f"{self.counts['refused']} refused, at most {MOST_REFUSED:.0%} of {total}")
        if self.share < LEAST_SHARE:
            found.append(f"as small as the best peer on {self.share:.1%}, at least {LEAST_SHARE:.0%}")
        if self.after > self.best:
            found.append(f"{self.after} nodes in total, the best peers {self.best}")
        return found


def nodes_after(row: Row) -> int:
    """Return the nodes of our result; where there is no right one a user is left with the original's."""
    usable = row["status"] in ("right", "random", "not runnable") and row["after"] is not None
    return int(row["after"] if usable else row["nodes"])


def summarize(rows: list[Row]) -> Summary:
    """Return the figures over all rows; peers are compared on those for which the index has a best one."""
    found = Summary(Counter(row["status"] for row in rows))
    for row in sorted(rows, key=lambda row: row["file"]):
        if row["nodes"] is not None and nodes_after(row) > row["nodes"]:
            found.grown.append(row)
        if row["best_peer_nodes"] is None:
            continue
        ours, best = nodes_after(row), row["best_peer_nodes"]
        found.before, found.after, found.best = found.before + row["nodes"], found.after + ours, found.best + best
        if best < row["nodes"]:
            found.reducible.append(row)
        if ours > best:
            found.above.append(row)
        elif ours < best:
            found.below.append(row)
    return found


# -- print


def ops_text(ops: Counter[str]) -> str:
    """Return operators and how many, most first: ``3 Cast, Shape``."""
    ordered = sorted(ops.items(), key=lambda item: (-item[1], item[0]))
    return ", ".join(f"{number} {op}" if number > 1 else op for op, number in ordered) or "nothing"


def show(console: Console, rows: list[Row], found: Summary, seconds: float, theirs: dict[str, Row]) -> None:
    """Print counts by status, sizes against the peers, and every model that is not as it should be.

    ``theirs`` are, by path, the nodes of the peer that is best on a model.
    """
    table = Table(title=f"optimize on {len(rows)} models, {seconds:.0f} s", title_justify="left")
    table.add_column("source")
    for status in STATUSES:
        table.add_column(status, justify="right")
    for source in (*sorted({row["source"] or "-" for row in rows}), "all"):
        here = Counter(row["status"] for row in rows if source in (row["source"] or "-", "all"))
        table.add_row(source, *(str(here[status] or "") for status in STATUSES), end_section=source == "all")
    console.print(table)
    for status in STATUSES[2:]:
        reasons: dict[str, list[Row]] = {}
        for row in rows:
            if row["status"] == status:
                reasons.setdefault(row["reason"], []).append(row)
        for reason, those in reasons.items():
            more = f" and {len(those) - MOST_LISTED} more" if len(those) > MOST_LISTED else ""
            _line(console, f"{status}: {', '.join(map(_name, those[:MOST_LISTED]))}{more}: {reason}")
    if found.best:
        _show_sizes(console, found, theirs)
    slow = sorted((row for row in rows if row.get("seconds", 0) > 1), key=lambda row: -row["seconds"])[:10]
    for row in slow:
        _line(console, f"slow: {_name(row)}: {row['seconds']:.1f} s for {row['nodes']} nodes")
    for goal in found.missed():
        _line(console, f"MISSED: {goal}")


def _show_sizes(console: Console, found: Summary, theirs: dict[str, Row]) -> None:
    left: Counter[str] = Counter()
    for row in found.above:
        ours = Counter(row.get("ops") or {})
        text = f"above: {_name(row)}: {row['nodes']} nodes, ours {nodes_after(row)}, best {row['best_peer_nodes']}"
        peer = theirs.get(row["path"], {})
        if peer.get("tool") and ours:
            ops = Counter(peer["ops"])
            text += f" by {peer['tool']}; only ours: {ops_text(ours - ops)}; only its: {ops_text(ops - ours)}"
        elif ours:
            text += f"; left: {ops_text(ours)}"
        _line(console, text)
        left += ours - Counter(peer.get("ops") or ours)
    if left:
        _line(console, f"above, only ours in total: {ops_text(left)}")
    for row in found.grown:
        _line(console, f"grown: {_name(row)}: {row['nodes']} nodes, now {nodes_after(row)}")
    more = sum(nodes_after(row) - row["best_peer_nodes"] for row in found.above)
    reached = round(found.share * len(found.reducible))
    _line(
        console,
        f"nodes: {found.before} before, {found.after} after, {found.best} by the best peer of each model; of "
        f"{len(found.reducible)} models that a peer makes smaller, ours is as small on {reached}, {found.share:.1%} "
        f"(at least {LEAST_SHARE:.0%}, goal {GOAL_SHARE:.0%}); above the best on {len(found.above)} by {more} nodes, "
        f"below it on {len(found.below)}",
    )


def _name(row: Row) -> str:
    return f"{row['file']} ({row['origin']})" if row["origin"] else str(row["file"])


def _line(console: Console, text: str) -> None:
    console.print(text, markup=False, highlight=False, soft_wrap=True)


def chosen(rows: list[Row], options: argparse.Namespace) -> list[Row]:
    """Return the models that the options ask for."""
    if options.only:
        rows = [row for row in rows if any(wanted(row, pattern) for pattern in options.only)]
    if options.sample is not None and options.sample < len(rows):
        rows = sorted(random.Random(options.seed).sample(rows, options.sample), key=lambda row: row["file"])
    return rows[: options.limit]


def main() -> None:
    """Read the command line and run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", type=Path, default=FOLDER, help="a folder with index.jsonl")
    parser.add_argument("--only", action="append", metavar="GLOB", help="over file, source and origin; can be repeated")
    parser.add_argument("--limit", type=int, help="the first N")
    parser.add_argument("--sample", type=int, help="N at random")
    parser.add_argument("--seed", type=int, default=0, help="of --sample")
    parser.add_argument("--jobs", type=int, default=min(2, os.cpu_count() or 1), help="worker processes")
    parser.add_argument("--timeout", type=float, default=SECONDS, metavar="S", help="for one model")
    parser.add_argument("--checked", action="store_true", help="optimize with graphtool's own judge on")
    parser.add_argument("--tool", choices=sorted(TOOLS), help="judge another tool in place of graphtool")
    parser.add_argument("--peers", action="store_true", help="run the peers where they are better, and say where")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write a row per model")
    options = parser.parse_args()
    if not options.folder.is_dir():
        parser.error(f"no folder {options.folder}")
    more = {"checked": options.checked, "tool": options.tool}
    requests = [row | more for row in chosen(index(options.folder), options)]
    if not requests:
        parser.error("no model is meant")
    console = Console(width=None if sys.stdout.isatty() else 160)
    started = time.perf_counter()

    def worked(requests: list[Row], what: str) -> list[Row]:
        results = judged(requests, options.jobs, options.timeout)
        shown = track(results, what, len(requests), console=Console(stderr=True), transient=True)
        return sorted(shown, key=lambda row: row["file"])

    rows = worked(requests, "optimize")
    seconds, found = time.perf_counter() - started, summarize(rows)
    asked = [row | {"best_of": row["best_peer_nodes"]} for row in found.above] if options.peers else []
    theirs = {row["path"]: row for row in worked(asked, "peers")}
    show(console, rows, found, seconds, theirs)
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1) + "\n")
    sys.exit(1 if found.missed() else 0)


if __name__ == "__main__":
    main()
