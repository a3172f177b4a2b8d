"""What ``optimize`` and a rewrite cost against other tools: see README.md.

    python benchmarks/optimize_speed.py [--nodes 1000,10000,100000] [--kinds convolutional,transformer,messy]
    python benchmarks/optimize_speed.py --rewrites          # rewriting alone, against onnxscript's rewriter

Each figure is the median over fresh processes of CPU seconds (children included) and peak memory: "whole" of the
process, "net" without what it had used when its imports were done. Every tool loads the model, does its work and saves.
"""

from __future__ import annotations

import argparse
import compileall
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from graph_scale import EXPONENT, exponent
from peers import installed
from speed_jobs import HIT, JOBS, REWRITES, TOOLS, cpu_seconds

PACKAGE = Path(__file__).resolve().parents[1] / "graphtool"
Costs = dict[str, dict[str, float]]

KINDS = ("convolutional", "transformer", "messy")
# goal: at most so many times the CPU seconds of a peer, by nodes
GOALS = {1_000: 1.0, 10_000: 0.5, 100_000: 0.5}
HELD_TO = ("onnxsim", "graphsurgeon")
# the package where it is not called like the tool
NEEDS = {"graphsurgeon": "onnx_graphsurgeon", "graphtool command": "graphtool"}
FEW, MOST = 0.2, 1.0  # of onnxscript's rewriter: where nothing matches, where 5,000 places do


def child(job: str, source: str, target: str) -> None:
    """Do one job in this process and print what it cost."""
    work = JOBS[job]()
    start = _usage()
    more = work(source, target)
    end = _usage()
    costs = {"whole": end, "net": {key: end[key] - start[key] for key in end}, "more": more}
    print("\n" + json.dumps(costs))  # a tool may have left half a line


def _usage() -> dict[str, float]:
    own, children = map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return {"cpu": cpu_seconds(), "mib": (own.ru_maxrss + children.ru_maxrss) / 1024}  # as if both peaked at once


# -- measuring


def measure(job: str, source: Path, target: Path, seconds: float) -> Costs | None:
    """Do a job in a fresh process; return its costs, None where it took too long or failed."""
    words = [sys.executable, __file__, "--child", job, str(source), str(target)]
    env = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    env["PYTHONPYCACHEPREFIX"] = str(source.parent / "bytecode")  # compiled once, as if installed
    try:
        done = subprocess.run(words, check=False, capture_output=True, text=True, env=env, timeout=seconds)
    except subprocess.TimeoutExpired:
        print(f"{job}: more than {seconds:.0f} s", file=sys.stderr)
        return None
    if done.returncode:
        last = done.stderr.strip().splitlines()[-1:] or [f"exit code {done.returncode}"]
        print(f"{job}: {last[0]}", file=sys.stderr)
        return None
    costs: Costs = json.loads(done.stdout.strip().splitlines()[-1])
    return costs


def medians(runs: Sequence[Costs]) -> Costs:
    """Return the median of each figure."""
    return {kind: {key: statistics.median(run[kind][key] for run in runs) for key in runs[0][kind]} for kind in runs[0]}


def compare(jobs: Sequence[str], kind: str, nodes: int, repeats: int, seconds: float) -> dict[str, Costs]:
    """Return what each job costs on one model, jobs in turn so that a busy spell of the machine meets all of them."""
    runs: dict[str, list[Costs]] = {}
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder, "in.onnx"), Path(folder, "out.onnx")
        # not in this process: Linux hands a parent's peak memory on to its children
        subprocess.run([sys.executable, __file__, "--make", kind, str(nodes), str(source)], check=True)
        left = list(jobs)
        for turn in range(repeats + 1):  # the first compiles, and warms the page cache
            for job in list(left):
                costs = measure(job, source, target, seconds)
                if costs is None:
                    left.remove(job)
                elif turn or repeats == 0:
                    costs["more"]["left"] = _nodes(target)
                    runs.setdefault(job, []).append(costs)
    return {job: medians(runs[job]) for job in left}


def _nodes(path: Path) -> int:
    import onnx

    return len(onnx.load(path).graph.node)


def optimizing(tools: list[str], sizes: list[int], kinds: list[str], repeats: int, seconds: float) -> dict[str, Any]:
    """Measure and print the tools on each kind and size; return all figures."""
    figures: dict[str, Any] = {}
    for kind in kinds:
        by_job: dict[str, dict[int, float]] = {}
        for nodes in sizes:
            jobs = [job for job in tools if _usable(job) and (nodes == sizes[0] or job in by_job)]
            found = compare(jobs, kind, nodes, repeats if nodes < 50_000 else max(1, repeats // 2), seconds)
            by_job = {job: by_job.get(job, {}) | {nodes: costs["net"]["cpu"]} for job, costs in found.items()}
            figures[f"{kind} {nodes}"] = found
            print(f"{kind}, {nodes} nodes")
            _table(found)
            _goals(found, next((share for size, share in GOALS.items() if nodes <= size), 0.5))
        for job, points in by_job.items():
            if len(points) > 1:
                grown = exponent(points)
                goal = f", at most {EXPONENT}: {_met(grown <= EXPONENT)}" if job == "graphtool" else ""
                print(f"growth of {job} on {kind}: {grown:.2f}{goal}")
    return figures


def rewriting(repeats: int, seconds: float) -> dict[str, Any]:
    """Measure and print one rule in graphtool and in onnxscript; return all figures."""
    figures: dict[str, Any] = {}
    for what, (kind, nodes) in REWRITES.items():
        jobs = [f"{tool} {what}" for tool in ("graphtool", "onnxscript") if _usable(tool)]
        found = figures[what] = compare(jobs, kind, nodes, repeats, seconds)
        print(f"{what} among {nodes} nodes")
        _table(found)
        if len(found) == 2:
            ours, theirs = (found[job] for job in jobs)
            most = MOST if what == HIT else FEW
            net = ours["net"]["cpu"] / theirs["net"]["cpu"]
            alone = ours["more"]["rewrite"] / theirs["more"]["rewrite"]
            print(f"  {net:.2f} times onnxscript with load and save, at most {most}: {_met(net <= most)}")
            print(
                f"  {alone:.2f} times onnxscript in rewriting alone, at most {most}: {_met(alone <= most)}", flush=True
            )
    return figures


def _table(found: dict[str, Costs]) -> None:
    print("                                    whole            net          of graphtool   nodes")
    print("                                CPU s    MiB    CPU s    MiB      CPU   memory    left")
    base = next((costs for job, costs in found.items() if job.startswith("graphtool")), None)
    for job, costs in found.items():
        whole, net, more = costs["whole"], costs["net"], costs["more"]
        line = f"  {job:<28} {whole['cpu']:7.2f} {whole['mib']:6.0f}  {net['cpu']:7.2f} {net['mib']:6.0f}"
        if base is not None:
            line += f"   {whole['cpu'] / base['whole']['cpu']:6.2f}   {whole['mib'] / base['whole']['mib']:6.2f}"
        line += f"{'' if base else ' ' * 18}  {more['left']:6.0f}"
        if "rewrite" in more:
            line += f"   rewriting alone {more['rewrite']:.3f} s, {more['matches']:.0f} matches"
        print(line, flush=True)


def _goals(found: dict[str, Costs], most: float) -> None:
    for peer in HELD_TO:
        for job, part in (("graphtool", "whole"), ("graphtool command", "net")):  # a process of its own, in another
            if peer in found and job in found:
                share = found[job][part]["cpu"] / found[peer]["whole"]["cpu"]
                print(f"  {job} {share:.2f} times the CPU of {peer}, at most {most}: {_met(share <= most)}", flush=True)


def _met(yes: bool) -> str:
    return "met" if yes else "MISSED"


def _usable(tool: str) -> bool:
    return installed(NEEDS.get(tool, tool))


def main() -> None:
    """Read the command line and run."""
    if sys.argv[1:2] == ["--child"]:
        child(*sys.argv[2:])
        return
    if sys.argv[1:2] == ["--make"]:
        from speed_models import write

        write(sys.argv[2], int(sys.argv[3]), Path(sys.argv[4]))
        return
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nodes", default="1000,10000,100000", help="sizes, with commas")
    parser.add_argument("--kinds", default=",".join(KINDS), help="of models, with commas")
    parser.add_argument("--tools", default=",".join(TOOLS), help="with commas")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--timeout", type=float, default=600, metavar="S", help="for one process")
    parser.add_argument("--rewrites", action="store_true", help="only rewriting")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures")
    options = parser.parse_args()
    compileall.compile_dir(PACKAGE, quiet=1)  # as pip has done with the others, also where Python may write no bytecode
    for tool in TOOLS:
        if not _usable(tool):
            print(f"{tool} is not installed and left out")
    figures = {}
    if not options.rewrites:
        sizes = sorted(int(word) for word in options.nodes.split(","))
        figures = optimizing(
            options.tools.split(","), sizes, options.kinds.split(","), options.repeats, options.timeout
        )
    figures |= rewriting(options.repeats, options.timeout)
    if options.json:
        options.json.write_text(json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__":
    main()
