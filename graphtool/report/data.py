"""Results as plain data for ``--json``; keys are part of the interface."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

from graphtool.atc.command import Command
from graphtool.cases import Result as CaseResult
from graphtool.job import Result
from graphtool.parity.batch import BatchResult
from graphtool.parity.metrics import Figures
from graphtool.parity.verdict import Verdict
from graphtool.rejudge import Rejudged
from graphtool.report.schema import KINDS, name_of
from graphtool.rewrite import Pass
from graphtool.step import Step


def dumps(data: object) -> str:
    """Return JSON text; infinities and NaN, which JSON lacks, become strings.

    It is ASCII: JSON lets bidirectional and 8-bit control characters stand as they are, and a terminal obeys them.
    """
    return json.dumps(_plain(data), indent=2, allow_nan=False)


def _plain(data: object) -> object:
    if isinstance(data, float) and not math.isfinite(data):
        return str(data)
    if isinstance(data, dict):
        return {str(key): _plain(value) for key, value in data.items()}
    if isinstance(data, (list, tuple)):
        return [_plain(item) for item in data]
    return data


def document(kind: str, data: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``data`` with the key ``schema``, which says what it is: a kind of graphtool/report/schema.py."""
    assert kind in KINDS, f"no schema for {kind!r} in graphtool/report/schema.py"
    return {"schema": name_of(kind), **data}


def untimed(data: object) -> object:
    """Return ``data`` without any key ``seconds``: what two runs of one command have in common."""
    if isinstance(data, dict):
        return {key: untimed(value) for key, value in data.items() if key != "seconds"}
    return [untimed(item) for item in data] if isinstance(data, (list, tuple)) else data


def figures_data(figures: Figures) -> dict[str, Any]:
    """Return the figures of one output."""
    return {
        "max_abs": figures.max_abs,
        "mean_abs": figures.mean_abs,
        "max_rel": figures.max_rel,
        "cosine": figures.cosine,
        **{f"{share}_abs": getattr(figures.abs, share) for share in ("median", "q90", "q99", "q999")},
        **{f"{share}_rel": getattr(figures.rel, share) for share in ("mean", "median", "q90", "q99", "q999")},
        "snr": figures.snr,
        "psnr": figures.psnr,
        "agreement": figures.agreement,
        "argmax_agreement": figures.argmax_agreement,
        "top5_agreement": figures.top5_agreement,
        "miou": figures.miou,
        "worst_index": figures.worst_index,
        "worst_pair": figures.worst_pair,
        "count": figures.count,
        "changed": figures.changed,
    }


def verdict_data(verdict: Verdict) -> dict[str, Any]:
    """Return what the judge said of one step."""
    return {
        "ok": verdict.ok,
        "rule": verdict.rule,
        "against": verdict.against,
        "judged": verdict.judged,
        "reason": verdict.reason,
        "figures": {name: figures_data(found) for name, found in verdict.figures.items()},
        "since_step_before": {name: figures_data(found) for name, found in verdict.step.items()},
        "tolerance": dict(verdict.tolerance),
        "least_tolerance": {name: found.max_abs for name, found in verdict.figures.items()},
        "truth": [
            {"match": t.where, "before": t.before, "after": t.after, "allowed": t.allowed} for t in verdict.truths
        ],
        "notes": list(verdict.notes),
        "feed": verdict.feed,
        "feeds": [
            {
                "feed": heard.feed,
                "ok": heard.ok,
                "rule": heard.rule,
                "reason": heard.reason,
                "figures": {name: figures_data(found) for name, found in heard.figures.items()},
            }
            for heard in verdict.feeds
        ],
    }


def step_data(step: Step) -> dict[str, Any]:
    """Return one step."""
    return {
        "pass": step.name,
        "text": step.stage.text(),
        "parity": step.stage.spec.parity,
        "status": step.status,
        "reason": step.reason,
        "matches": [match.where for match in step.matches],
        "misses": [{"where": miss.where, "reason": miss.reason} for miss in step.misses],
        "nodes": list(step.nodes),
        "seconds": {"apply": round(step.apply_seconds, 4), "judge": round(step.judge_seconds, 4)},
        "cost": _cost_data(step),
        "diff": step.diff.to_json() if step.diff is not None else None,
        "verdict": verdict_data(step.verdict) if step.verdict is not None else None,
    }


def _cost_data(step: Step) -> dict[str, Any] | None:
    if step.changes is None:
        return None
    (madds, moved), (madds_after, moved_after) = step.changes.costs()
    pairs = {"madds": (madds, madds_after), "bytes": (moved, moved_after)}
    return {key: [a if isinstance(a, int) else str(a) for a in pair] for key, pair in pairs.items()}


def command_data(command: Command) -> dict[str, Any]:
    """Return one ATC command: the argument vector, and as one line for a shell."""
    return {
        "batch": command.batch,
        "argv": list(command.words),
        "text": command.text(),
        "notes": list(command.notes),
        "files": dict(command.files),
    }


def batch_data(found: BatchResult) -> dict[str, Any]:
    """Return what the batch gate found of one batch."""
    return {
        "batch": found.batch,
        "ok": found.ok,
        "how": found.how,
        "text": found.text(),
        "reason": found.reason,
        "node": found.node,
        "constant": found.constant,
        "fix": found.fix,
        "cross_match": {match.output: match.lines() for match in found.matches},
        "notes": list(found.notes),
    }


def result_data(result: Result) -> dict[str, Any]:
    """Return a whole run."""
    run = result.run
    return {
        "model": str(result.request.model),
        "result": str(result.path) if result.path else None,
        "ok": not result.fault,
        "fault": result.fault,
        "feed": run.feed.recipe if run.feed else None,
        "feeds": [seat.feed.recipe for seat in run.judge.seats] if run.judge is not None else [],
        "notes": run.notes,
        "steps": [step_data(step) for step in run.steps],
        "closed": None if run.closed is None else {n: figures_data(f) for n, f in run.closed.figures.items()},
        "classes": {
            name: {"before": before, "after": after, "of": total}
            for name, (before, after, total) in result.classes().items()
        },
        "atc": [command_data(command) for command in result.commands],
        "atc_fault": result.atc_fault,
        "batches": [batch_data(found) for found in result.batches],
        "reproduce": result.reproduce,
        "hints": result.hints,
    }


def rejudged_data(found: Rejudged) -> dict[str, Any]:
    """Return how saved outputs compare."""
    return {
        "ok": not found.broken,
        "reasons": list(found.broken),
        "feeds": [
            {"feed": feed, "outputs": {name: figures_data(moved) for name, moved in figures.items()}}
            for feed, figures in found.feeds
        ],
        "notes": list(found.notes),
    }


def pass_data(spec: Pass) -> dict[str, Any]:
    """Return what a pass file says."""
    return {
        "name": spec.name,
        "summary": spec.summary,
        "why": spec.why,
        "parity": spec.parity,
        "interface": sorted(spec.interface),
        "requires": [f"opset {sign}{bound}" for sign, bound in spec.requires.opset],
        "exact_form": spec.exact_form,
        "budget": dict(spec.budget),
        "sequence": list(spec.sequence),
        "params": [
            {"name": p.name, "type": p.type, "default": p.default, "help": p.help, "choices": list(p.choices)}
            for p in spec.params
        ],
        "cases": [
            {"name": c.name, "opset": c.opset, "before": c.before, "after": c.after, "params": c.params}
            for c in spec.cases
        ],
    }


def case_data(result: CaseResult) -> dict[str, Any]:
    """Return how one case went."""
    return {"pass": result.spec, "case": result.case, "ok": not result.fault, "fault": result.fault}
