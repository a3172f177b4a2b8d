"""The JSON of every command, as a JSON schema: one place, from which docs/report.schema.json is written. Floor 7.

A document says which kind it is in its key ``schema``: ``graphtool/run/1``. The number is raised where a key goes or
changes its meaning; keys may be added without it, so a reader passes over those it does not know.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Schema = Mapping[str, Any]

VERSION = 1
TEXT: Schema = {"type": "string"}
FLAG: Schema = {"type": "boolean"}
COUNT: Schema = {"type": "integer", "minimum": 0}
WHOLE: Schema = {"type": "integer"}
ANY: Schema = {}
# JSON has no infinities and no NaN
NUMBER: Schema = {"anyOf": [{"type": "number"}, {"enum": ["inf", "-inf", "nan"]}]}
WORDS: Schema = {"type": "array", "items": TEXT}


class Optional(dict[str, Any]):
    """The schema of a key that may be absent."""


def optional(schema: Schema) -> Optional:
    """Return the schema of a key that may be absent."""
    return Optional(schema)


def nullable(schema: Schema) -> Schema:
    """Return the schema of what is null where there is nothing to say."""
    return {"anyOf": [schema, {"type": "null"}]}


def many(items: Schema, **more: int) -> Schema:
    """Return the schema of an array."""
    return {"type": "array", "items": items, **more}


def by_name(value: Schema) -> Schema:
    """Return the schema of an object whose keys are names."""
    return {"type": "object", "additionalProperties": value}


def noted(text: str, schema: Schema) -> Schema:
    """Return a schema with a description."""
    return {"description": text, **schema}


def table(**properties: Schema) -> Schema:
    """Return the schema of an object with these keys; a last ``_``, which Python's words need, is no part."""
    found = {key.rstrip("_"): dict(value) for key, value in properties.items()}
    needed = [key.rstrip("_") for key, value in properties.items() if not isinstance(value, Optional)]
    return {"type": "object", "properties": found, "required": needed}


_SHARED: dict[str, Schema] = {}


def _shared(name: str, schema: Schema) -> Schema:
    """Return a reference to a schema that stands once in the document, under ``$defs``."""
    _SHARED[name] = schema
    return {"$ref": f"#/$defs/{name}"}


PAIR = many(COUNT, minItems=2, maxItems=2)
VALUE = _shared("value", table(name=TEXT, type=TEXT, shape=nullable(many(ANY)), out_nodes=optional(nullable(TEXT))))
DETAILS = _shared("details", many(table(what=TEXT, before=nullable(TEXT), after=nullable(TEXT))))
NAMED = _shared("named", many(table(name=TEXT, kind=TEXT)))
CHANGED = many(table(name=TEXT, after=TEXT, kind=TEXT, details=DETAILS))
PART = _shared("part", table(
    added=NAMED, removed=NAMED, changed=CHANGED, renamed=many(table(before=TEXT, after=TEXT)), moved=COUNT
))  # fmt: skip
DIFF = {
    "same": FLAG, "summary": TEXT, "nodes": PART, "values": PART, "weights": PART, "inputs": PART, "outputs": PART,
    "functions": PART, "model": DETAILS, "ops": by_name(PAIR),
}  # fmt: skip
MOVED: dict[str, Schema] = {
    "max_abs": NUMBER, "mean_abs": NUMBER, "max_rel": NUMBER, "cosine": NUMBER, "argmax_agreement": nullable(NUMBER),
    "miou": nullable(NUMBER), "worst_index": nullable(many(COUNT)), "count": COUNT, "changed": COUNT,
    **{f"{share}_{kind}": optional(NUMBER) for kind in ("abs", "rel") for share in ("median", "q90", "q99", "q999")},
    "mean_rel": optional(NUMBER), "snr": optional(noted("dB", NUMBER)), "psnr": optional(noted("dB", NUMBER)),
    "agreement": optional(nullable(NUMBER)), "top5_agreement": optional(nullable(NUMBER)),
    "worst_pair": optional(nullable(many(NUMBER))),
}  # fmt: skip
FIGURES = _shared("figures", noted("How an output moved; see graphtool/parity/metrics.py.", table(**MOVED)))
VERDICT = _shared("verdict", noted("What the judge says; by output name.", table(
    ok=FLAG, rule=TEXT, against=TEXT, reason=TEXT, figures=by_name(FIGURES), since_step_before=by_name(FIGURES),
    tolerance=by_name(NUMBER),
    least_tolerance=optional(noted("The smallest absolute tolerance that accepts an output.", by_name(NUMBER))),
    truth=many(table(match=TEXT, before=NUMBER, after=NUMBER, allowed=NUMBER)), notes=WORDS,
    judged=optional(noted("How much was run: whole, cone of N nodes, or untouched.", TEXT)),
    feed=optional(noted("The feed on which all this is, the worst of several.", TEXT)),
    feeds=optional(many(table(feed=TEXT, ok=FLAG, rule=TEXT, reason=TEXT, figures=by_name(FIGURES)))),
)))  # fmt: skip
COST = many({"anyOf": [COUNT, TEXT]}, minItems=2, maxItems=2)
STEP = _shared("step", table(
    pass_=TEXT, text=TEXT, parity=TEXT, status={"enum": ["applied", "unmatched", "broken", "unchecked"]}, reason=TEXT,
    matches=WORDS, misses=many(table(where=TEXT, reason=TEXT)), nodes=PAIR,
    seconds=optional(noted("Wall time; in no file of --report.", table(apply=NUMBER, judge=NUMBER))),
    cost=nullable(noted("Of all nodes, before and after.", table(madds=COST, bytes=COST))),
    diff=nullable(_shared("difference", table(**DIFF))), verdict=nullable(VERDICT),
))  # fmt: skip
COMMAND = _shared("command", table(
    batch=nullable(COUNT), argv=WORDS, text=TEXT, notes=WORDS,
    files=optional(noted("Files that the options name: path and text.", by_name(TEXT))),
))  # fmt: skip
BATCH = _shared("batch", noted("Items through a batch against runs of one; a row an item, = where they agree.", table(
    batch=COUNT, ok=FLAG, how=TEXT, text=TEXT, reason=TEXT, node=TEXT, constant=TEXT, fix=TEXT,
    cross_match=by_name(WORDS), notes=WORDS,
)))  # fmt: skip
CLASSES = noted("Classes that occur in a class map.", table(before=COUNT, after=COUNT, of=COUNT))
PARAM = _shared("parameter", table(name=TEXT, type=TEXT, default=ANY, help=TEXT, choices=many(ANY)))
CASE = _shared("case", table(name=TEXT, opset=COUNT, before=TEXT, after=nullable(TEXT), params=by_name(ANY)))
PASS = {
    "name": TEXT, "summary": TEXT, "why": TEXT, "parity": TEXT, "interface": WORDS, "requires": WORDS,
    "exact_form": nullable(TEXT), "budget": by_name(NUMBER), "sequence": WORDS, "params": many(PARAM),
    "cases": many(CASE),
}  # fmt: skip
LISTED = {key: optional(value) for key, value in PASS.items() if key != "name"}
PLACE = {"where": TEXT, "op": nullable(TEXT), "body": nullable(TEXT)}
LOOK = table(
    pass_=TEXT,
    unmet=nullable(TEXT),
    idle=WORDS,
    matches=many(table(**PLACE)),
    misses=many(table(**PLACE, reason=TEXT, values=TEXT)),
)
GOLDEN = _shared("golden", noted("A record and how its check went; reason says why it was skipped.", table(
    name=TEXT, ok=FLAG, status={"enum": ["holds", "fails", "skipped"]}, reason=TEXT, faults=WORDS, lines=WORDS,
    outputs=many(table(name=TEXT, error=NUMBER, worst=TEXT, tolerance=NUMBER, flips=nullable(COUNT), may_flip=COUNT)),
    place=nullable(table(file=TEXT, line=COUNT)),
)))  # fmt: skip
RECORD = table(
    name=TEXT, fault=TEXT, model=optional(nullable(TEXT)), source=optional(nullable(table(kind=TEXT, text=TEXT))),
    nodes=optional(COUNT), outputs=optional(WORDS), feed=optional(table(source=TEXT, seed=nullable(WHOLE))),
    pipeline=optional(nullable(TEXT)), versions=optional(by_name(TEXT)),
)  # fmt: skip
ATTEMPTED = {
    "ok": FLAG, "kind": {"enum": ["", "promise", "budget", "error"]}, "reason": TEXT, "figures": by_name(FIGURES),
}  # fmt: skip
ATTEMPT = _shared("attempt", noted("How a pipeline went with some of its matches.", table(**ATTEMPTED)))
UNIT = _shared("unit", noted("What only= and skip= can choose: item is how.", table(
    stage=TEXT, pass_=TEXT, where=TEXT, item=TEXT,
)))  # fmt: skip
BENCH = {"model": TEXT, "passes": WORDS, "feeds": many(by_name(ANY)), "notes": WORDS}

FINDING = _shared("atc-finding", noted("What ATC would say; code is ATC's own, or empty.", table(
    option=TEXT, level={"enum": ["error", "warning", "note"]}, code=TEXT, reason=TEXT, fix=TEXT, source=TEXT,
)))  # fmt: skip
GIVEN = table(name=TEXT, value=TEXT, known=FLAG, help=TEXT, source=TEXT)
EXPLAINED = table(
    line=COUNT, text=TEXT, ok=FLAG, options=many(GIVEN), findings=many(FINDING), variables=by_name(WORDS)
)  # fmt: skip
PAIRED: dict[str, Schema] = {
    "before": TEXT, "after": TEXT,
    "paired_by": {"enum": ["map", "name", "structure", "type", "values", "position"]},
}  # fmt: skip
LAYER: dict[str, Schema] = {
    **PAIRED, **MOVED, "nodes": WORDS, "ops": WORDS, "explained": nullable(NUMBER), "noise_measured": FLAG,
    "verdict": {"enum": ["equal", "agrees", "diverges"]}, "passed_on": FLAG,
}  # fmt: skip
FILE = _shared("board-file", noted("One output of one sample, against onnxruntime.", table(
    sample=TEXT, output=TEXT, file=TEXT, dtype=TEXT, fault=TEXT, beyond=FLAG, belongs_to=TEXT, notes=WORDS,
    figures=nullable(FIGURES),
)))  # fmt: skip
OTHERWISE = _shared("computed-otherwise", noted("Nodes that a plugin computes in another way than ONNX says.", many(
    table(node=TEXT, onnx=TEXT, ascend=TEXT, id=TEXT, says=TEXT, source=TEXT, date=TEXT)
)))  # fmt: skip
EXPLAINS = noted("Shares of an output's largest value, and of its labels.", table(
    largest=NUMBER, mean=NUMBER, labels=NUMBER
))  # fmt: skip
AMOUNT = _shared("amount", noted("A number; text where it depends on open sizes; null where it is not known.", {
    "anyOf": [COUNT, TEXT, {"type": "null"}]
}))  # fmt: skip
COSTS = _shared("costs", noted("See docs/inspect.md.", table(
    parameters=AMOUNT, weight_bytes=AMOUNT, notes=WORDS, by={"enum": ["node", "op", "scope"]}, rows=many(by_name(ANY)),
    total=table(key=TEXT, nodes=COUNT, madds=AMOUNT, bytes_in=AMOUNT, bytes_out=AMOUNT, weights=AMOUNT, unknown=COUNT),
    peak=table(bytes=AMOUNT, at=nullable(TEXT), candidates=many(table(bytes=AMOUNT, at=TEXT)), unknown_values=COUNT),
    bounds=nullable(table(
        what=TEXT, device=TEXT, float16_flops=NUMBER, bandwidth=NUMBER, sources=by_name(TEXT),
        model_seconds=nullable(NUMBER), model_bound_by=nullable(TEXT), sum_of_nodes_seconds=NUMBER,
        conversions=many(by_name(ANY)), against_measured=WORDS,
    )),
)))  # fmt: skip
LEVEL: Schema = {"enum": ["error", "warning", "note"]}
LINT = _shared("finding", noted("A rule that holds at a place; only_cann: the releases it is for.", table(
    rule=TEXT, name=TEXT, level=LEVEL, consequence=TEXT, kind=TEXT, where=TEXT, op=nullable(TEXT), message=TEXT,
    only_cann=nullable(TEXT), fix=WORDS, source=TEXT, date=TEXT,
)))  # fmt: skip
TALLY = _shared("tally", table(error=COUNT, warning=COUNT, note=COUNT, fixable=COUNT))
FIX = table(
    passes=many(table(pass_=TEXT, status=TEXT, matches=COUNT, reason=TEXT)), result=nullable(TEXT), fault=TEXT,
    before=TALLY, after=TALLY, float32=by_name(FIGURES), float16=by_name(FIGURES), float16_fault=TEXT,
    left=by_name(TEXT),
)  # fmt: skip
RULE = {
    "id": TEXT, "name": TEXT, "file": TEXT, "summary": TEXT, "why": TEXT, "consequence": TEXT, "level": LEVEL,
    "source": TEXT, "date": TEXT, "cann": nullable(TEXT), "basis": nullable(TEXT), "devices": WORDS, "ops": WORDS,
    "native": nullable(TEXT), "where": WORDS, "message": TEXT, "fix": WORDS, "advice": TEXT,
    "cases": many(table(name=TEXT, graph=TEXT, found=WORDS, opset=COUNT, target=by_name(ANY))),
}  # fmt: skip
SIZES = _shared("sizes", noted("Nodes, elements of weights and of inputs.", table(
    nodes=COUNT, weights=COUNT, inputs=COUNT,
)))  # fmt: skip

KINDS: Mapping[str, Mapping[str, Schema]] = {
    "run": {
        "model": TEXT, "result": nullable(TEXT), "ok": FLAG, "fault": TEXT, "feed": nullable(by_name(ANY)),
        "feeds": optional(many(by_name(ANY))),
        "notes": WORDS, "steps": many(STEP), "classes": by_name(CLASSES), "atc": many(COMMAND), "atc_fault": TEXT,
        "batches": optional(many(BATCH)),
        "reproduce": TEXT, "hints": WORDS,
        "closed": optional(nullable(by_name(FIGURES))),
    },
    "dry-run": {"model": TEXT, "dry_run": FLAG, "steps": many(STEP)},
    "inspect": {
        "model": TEXT, "nodes": COUNT, "opsets": by_name(WHOLE), "inputs": many(VALUE), "outputs": many(VALUE),
        "ops": by_name(COUNT), "costs": COSTS,
    },
    "check": {
        "model": TEXT, "ok": FLAG, "soc": TEXT, "cann": nullable(TEXT), "rules": WORDS, "not_for_target": by_name(TEXT),
        "sizes": noted("The shapes at which inputs with open sizes were looked at.", by_name(many(COUNT))),
        "no_command": noted("Why atc emit has no command for the model.", nullable(TEXT)),
        "findings": many(LINT), "undecided": many(table(rule=TEXT, where=TEXT, reason=TEXT)), "counts": TALLY,
        "fixes": WORDS, "fix": nullable(FIX),
    },
    "rules-list": {"rules": many(table(**RULE))},
    "rules-show": RULE,
    "rules-test": {"ok": FLAG, "cases": many(table(rule=TEXT, case=TEXT, ok=FLAG, fault=TEXT))},
    "diff": DIFF,
    "compare": {
        "ok": FLAG, "reasons": WORDS, "inputs": many(table(**PAIRED)),
        "outputs": by_name(table(**PAIRED, **MOVED, explained=nullable(NUMBER), diverges=FLAG)),
        "first_divergence": nullable(table(**LAYER, before_nodes=WORDS, after_nodes=WORDS, details=WORDS)),
        "tensors": table(before=COUNT, after=COUNT, compared=COUNT, agree=COUNT), "notes": WORDS,
        "layers": optional(many(table(**LAYER))),
        "feed": optional(noted("The feed on which all this is, the worst of several.", TEXT)),
        "feeds": optional(many(table(
            feed=TEXT, ok=FLAG, reasons=WORDS, diverging=WORDS, outputs=by_name(FIGURES),
        ))),
    },
    "compare-board": {
        "ok": FLAG, "verdict": TEXT, "at_fault": {"enum": ["conversion", "export", "both", "files", "neither"]},
        "complete": FLAG, "folder": TEXT, "numbering": TEXT, "samples": COUNT, "rows": many(FILE),
        "pytorch": many(FILE), "float16_explains": by_name(EXPLAINS), "float32_explains": by_name(EXPLAINS),
        "reasons": WORDS, "notes": WORDS,
        "as_ascend": optional(table(label=TEXT, changes=OTHERWISE, at_fault=TEXT, rows=many(FILE))),
    },
    "compare-ascend": {
        "ok": FLAG, "reasons": WORDS, "label": TEXT, "as_of": TEXT,
        "changes": OTHERWISE,
        "outputs": by_name(table(
            semantics=nullable(FIGURES), float16=FIGURES, both=nullable(FIGURES), shapes=many(many(COUNT)),
        )),
        "overflows": many(table(node=TEXT, tensor=TEXT, value=NUMBER)),
        "weights": many(table(name=TEXT, node=TEXT, over=COUNT, lost=COUNT)), "fault": TEXT, "unmodelled": WORDS,
        "layers": optional(many(table(tensor=TEXT, node=TEXT, op=TEXT, figures=FIGURES))),
    },
    "judge": {
        "ok": FLAG, "reasons": WORDS, "feeds": many(table(feed=TEXT, outputs=by_name(FIGURES))), "notes": WORDS,
    },
    "golden-check": {"ok": FLAG, "records": many(GOLDEN)},
    "golden-list": {"dir": TEXT, "records": many(RECORD)},
    "passes-list": {"passes": many(table(name=TEXT, error=optional(TEXT), origin=TEXT, word=TEXT, **LISTED))},
    "passes-show": PASS,
    "passes-test": {"ok": FLAG, "cases": many(table(pass_=TEXT, case=TEXT, ok=FLAG, fault=TEXT))},
    "bisect": {
        **BENCH, "ok": FLAG, "broken": nullable(TEXT), "whole": ATTEMPT, "complete": FLAG, "monotone": FLAG,
        "searched": COUNT, "runs": COUNT,
        "culprits": many(table(units=many(UNIT), alone=ATTEMPT, without=ATTEMPT, reproduce=TEXT, leave_out=TEXT)),
    },
    "rank": {
        **BENCH, "metric": TEXT, "output": nullable(TEXT), "whole": ATTEMPT, "runs": COUNT,
        "matches": many(table(unit=UNIT, alone=ATTEMPT, without=ATTEMPT)),
    },
    "reduce": {
        "model": TEXT, "failure": TEXT, "sign": TEXT, "before": SIZES, "after": SIZES, "nodes": WORDS,
        "attempts": COUNT, "spent": FLAG, "folder": TEXT, "command": TEXT, "notes": WORDS,
    },
    "tune": {
        **BENCH, "metric": TEXT, "output": nullable(TEXT), "budgets": WORDS, "order": many(UNIT),
        "alone": many(NUMBER), "taken": many(UNIT), "result": ATTEMPT, "pipeline": TEXT, "command": TEXT,
        "given_back": many(table(unit=UNIT, held_out=COUNT, reason=TEXT)), "profile": nullable(TEXT),
        "held_out": many(table(feed=by_name(ANY), **ATTEMPTED)), "curve": many(NUMBER), "runs": COUNT,
    },
    "passes-explain": {
        "model": TEXT, "stages": many(table(pass_=TEXT, text=TEXT, unmet=nullable(TEXT), passes=many(LOOK))),
    },
    "atc-emit": {"commands": many(COMMAND), "batches": optional(many(BATCH))},
    "atc-aipp-check": {
        "file": TEXT, "ok": FLAG, "findings": many(FINDING),
        "ops": many(table(line=COUNT, fields=by_name(many(ANY)), steps=WORDS)),
    },
    "atc-diagnose": {
        "log": TEXT, "model": nullable(TEXT), "ended": TEXT, "notes": WORDS,
        "patched": many(table(shape=many(COUNT), count=COUNT)),
        "messages": many(table(
            code=TEXT, line=COUNT, count=COUNT, text=TEXT, op=TEXT, op_type=TEXT, known=FLAG, title=TEXT, cause=TEXT,
            fix=TEXT, passes=WORDS, source=TEXT,
            nodes=many(table(node=TEXT, op=TEXT, certainty=TEXT, reason=TEXT, passes=WORDS)),
        )),
    },
    "atc-patch": {
        "file": TEXT, "done": TEXT, "diff": TEXT, "added": many(many(COUNT)), "there": many(many(COUNT)),
        "kept": nullable(TEXT), "notes": WORDS, "source": TEXT,
    },
    "profiles-list": {"profiles": many(table(
        name=TEXT, error=optional(TEXT), summary=optional(TEXT), soc=optional(TEXT), cann=optional(nullable(TEXT)),
        model=optional(nullable(TEXT)), operators=optional(nullable(TEXT)),
    ))},
    "profiles-show": {
        "name": TEXT, "source": TEXT, "summary": TEXT, "model": nullable(TEXT), "cann": nullable(TEXT),
        "install_path": nullable(TEXT), "environment": TEXT, "set_env": nullable(TEXT), "operators": nullable(TEXT),
        "batches": many(COUNT), "options": by_name(TEXT), "files": by_name(TEXT), "pipeline": nullable(TEXT),
        "passes": by_name(by_name(ANY)), "budgets": WORDS, "facts": WORDS,
    },
    "profiles-test": {"ok": FLAG, "profiles": many(table(name=TEXT, ok=FLAG, fault=TEXT))},
    "atc-explain": {"file": TEXT, "ok": FLAG, "cann": nullable(TEXT), "commands": many(EXPLAINED)},
}  # fmt: skip


def name_of(kind: str) -> str:
    """Return what stands in the key ``schema`` of a document of this kind."""
    return f"graphtool/{kind}/{VERSION}"


def schema() -> dict[str, Any]:
    """Return the schema of every document (JSON Schema, draft 2020-12)."""
    found = {}
    for kind, properties in KINDS.items():
        found[kind] = table(schema={"const": name_of(kind)}, **properties)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "What graphtool prints with --json and writes with --report json:FILE",
        "description": "Keys may be added without another number in 'schema'; a reader passes over those it lacks.",
        "oneOf": [{"$ref": f"#/$defs/{kind}"} for kind in found],
        "$defs": {**found, **_SHARED},
    }
