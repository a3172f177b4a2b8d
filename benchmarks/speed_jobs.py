"""The jobs of ``optimize_speed.py``, each for a process of its own: imports first, then load, work and save."""

from __future__ import annotations

import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

Job = Callable[[], Callable[[str, str], dict[str, float]]]  # imports, and returns what works: source, target to figures

NONE, MISS, HIT = "nothing to look at", "5,000 near misses", "5,000 matches"
REWRITES = {NONE: ("convolutional", 20_000), MISS: ("gated", 20_000), HIT: ("turned", 20_000)}
SWISH = """
summary = "a gate and its argument, in one"
why     = "a benchmark"
parity  = "exact"
[[rewrite]]
match   = 's = Sigmoid(x)  y = Mul(s, x)'
replace = 'g = Sigmoid(x)  y = Mul(x, g)'
"""
TURN = """
summary = "two Transposes that cancel"
why     = "a benchmark"
parity  = "exact"
[[rewrite]]
match   = 'a = Transpose<perm = [1, 0]>(x)  y = Transpose<perm = [1, 0]>(a)'
replace = 'y = x'
"""


def _graphtool() -> Callable[[str, str], dict[str, float]]:
    from graphtool import api

    def work(source: str, target: str) -> dict[str, float]:
        api.run(api.load(source), "optimize", checked=False).graph.save(target)
        return {}

    return work


def _command() -> Callable[[str, str], dict[str, float]]:
    words = [sys.executable, "-m", "graphtool.cli.main", "optimize", "--no-check"]

    def work(source: str, target: str) -> dict[str, float]:
        subprocess.run([*words, source, "-o", target], check=True, stdout=subprocess.DEVNULL)
        return {}

    return work


def _tool(name: str) -> Callable[[str, str], dict[str, float]]:
    import onnx
    from peers import TOOLS

    __import__(name)

    def work(source: str, target: str) -> dict[str, float]:
        onnx.save(TOOLS[name](onnx.load(source)), target)
        return {}

    return work


def _onnxsim() -> Callable[[str, str], dict[str, float]]:
    import onnx
    import onnxsim

    def work(source: str, target: str) -> dict[str, float]:
        onnx.save(onnxsim.simplify(onnx.load(source), check_n=0)[0], target)
        return {}

    return work


def _graphsurgeon() -> Callable[[str, str], dict[str, float]]:
    import onnx
    import onnx_graphsurgeon as gs

    def work(source: str, target: str) -> dict[str, float]:
        graph = gs.import_onnx(onnx.load(source))
        graph.cleanup().toposort().fold_constants().cleanup()
        onnx.save(gs.export_onnx(graph), target)
        return {}

    return work


def _graphtool_rewrite(kind: str) -> Callable[[str, str], dict[str, float]]:
    import tomllib

    from graphtool.graph import Graph
    from graphtool.rewrite import Catalog, Stage, apply_stage
    from graphtool.rewrite.passfile import parse_pass

    spec = parse_pass(tomllib.loads(TURN if kind == HIT else SWISH), Path("passes/x.toml"), "passes/x.toml")
    stage, catalog = Stage(spec, {}, spec.name), Catalog()

    def work(source: str, target: str) -> dict[str, float]:
        graph = Graph.load(source)
        started = cpu_seconds()
        found = apply_stage(graph, stage, catalog, record=False, tell=False).applied.matches
        spent = cpu_seconds() - started
        graph.save(target)
        return {"matches": len(found), "rewrite": spent}

    return work


def _onnxscript_rewrite(kind: str) -> Callable[[str, str], dict[str, float]]:
    import onnx_ir as ir
    from onnxscript.rewriter import pattern

    def gate(op: Any, x: Any) -> Any:
        return op.Mul(op.Sigmoid(x), x)

    def gated(op: Any, x: Any) -> Any:
        return op.Mul(x, op.Sigmoid(x))

    def turns(op: Any, x: Any) -> Any:
        return op.Transpose(op.Transpose(x, perm=[1, 0]), perm=[1, 0])

    def same(op: Any, x: Any) -> Any:
        return op.Identity(x)

    rule = pattern.RewriteRule(turns, same) if kind == HIT else pattern.RewriteRule(gate, gated)
    rules = pattern.RewriteRuleSet([rule])

    def work(source: str, target: str) -> dict[str, float]:
        model = ir.load(source)
        started = cpu_seconds()
        found = rules.apply_to_model(model)
        spent = cpu_seconds() - started
        ir.save(model, target)
        return {"matches": found, "rewrite": spent}

    return work


JOBS: dict[str, Job] = {
    "graphtool": _graphtool,
    "graphtool command": _command,
    "onnxsim": _onnxsim,
    "graphsurgeon": _graphsurgeon,
    "onnxslim": lambda: _tool("onnxslim"),
    "onnxscript": lambda: _tool("onnxscript"),
    **{f"graphtool {kind}": lambda kind=kind: _graphtool_rewrite(kind) for kind in REWRITES},
    **{f"onnxscript {kind}": lambda kind=kind: _onnxscript_rewrite(kind) for kind in REWRITES},
}
TOOLS = ("graphtool", "graphtool command", "onnxsim", "graphsurgeon", "onnxslim", "onnxscript")


def cpu_seconds() -> float:
    """Return the CPU seconds of this process and of its children that ended."""
    return sum(
        usage.ru_utime + usage.ru_stime
        for usage in map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    )
