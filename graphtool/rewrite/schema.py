"""The JSON schema of pass files, for editors: what the keys are and mean. The loader alone decides what is right.

Draft 7, which Even Better TOML (taplo) reads.
"""

from __future__ import annotations

from typing import Any

from graphtool.graph.growth import SLACK
from graphtool.rewrite.params import TYPES
from graphtool.rewrite.passfile import INTERFACES, METRICS, PARITIES, STORED

Schema = dict[str, Any]

_OPSET = r"^\s*(>=|<=|==|>|<)\s*\d{1,4}\s*(,\s*(>=|<=|==|>|<)\s*\d{1,4}\s*)*$"
_NAME = "^[a-z][a-z0-9_]*$"


def _text(description: str, **more: Any) -> Schema:
    return {"type": "string", "description": description, **more}


def _texts(description: str, **item: Any) -> Schema:
    return {"type": "array", "items": {"type": "string", **item}, "description": description}


def _one_or_more(description: str, **item: Any) -> Schema:
    """A string, or a list of them."""
    single = {"type": "string", **item}
    return {"anyOf": [single, {"type": "array", "items": single}], "description": description}


def _table(description: str, keys: Schema, required: tuple[str, ...] = (), **more: Any) -> Schema:
    """A table with these keys and no others."""
    return {
        "type": "object", "description": description, "additionalProperties": False, "properties": keys,
        **({"required": list(required)} if required else {}), **more,
    }  # fmt: skip


def _named(description: str, value: Schema, pattern: str | None = None) -> Schema:
    """A table whose keys the author chooses."""
    names = {"propertyNames": {"pattern": pattern}} if pattern else {}
    return {"type": "object", "description": description, "additionalProperties": value, **names}


def _tables(table: Schema) -> Schema:
    """``[[key]]``; one ``[key]`` is read as a list of one."""
    return {"anyOf": [{"type": "array", "items": table}, table], "description": table["description"]}


_LITERAL: Schema = {
    "anyOf": [
        {"type": ["string", "number", "boolean"]},
        {"type": "array", "items": {"type": ["string", "number", "boolean"]}},
    ],
    "description": "A number, a string, a list of them, or $NAME for a parameter.",
}
_EXPRESSION = {"type": "string", "maxLength": 500}
_OPS = "Op type, or a list of them."
_DOMAIN = _text("Domain of the op; the default one where it is left out.")
_GLOB = _text("Only nodes whose name matches this glob, such as /head/*, or $NAME.")
_ATTRS = _named("Attributes that the node must have, as set or by default.", _LITERAL)
_BODY_OPSET = _text("Opsets of the default domain that this table is for, such as <11.", pattern=_OPSET)
_LET = _named("New constants and attributes by name; a later one may read those before it.", _EXPRESSION)


def _wheres(about: str) -> Schema:
    return _texts(f"Conditions {about}, all of which must hold.", **_EXPRESSION)


_MATCH = (
    "What to look for, in ONNX text; a list has shapes that mean the same. A free name is any value, @name binds an "
    "attribute, one that is not mentioned matches anything."
)


def _rewrite(description: str, required: tuple[str, ...], **more: Schema) -> Schema:
    return _table(description, {
        "match": _one_or_more(_MATCH),
        "where": _wheres("on the values and attributes that were bound"),
        "default": _named("What an optional input is where it is absent, by its name in match.", _EXPRESSION),
        "let": _LET,
        "replace": _text("What takes its place, in ONNX text; y = x forwards a value, like = @y copies attributes."),
        "plain": {"type": "boolean", "description": "Attributes that the match does not mention have their default."},
        "shared": _one_or_more("Values inside the match that others may read too; their nodes stay where they do."),
        **more,
    }, required)  # fmt: skip


_EDIT = _table("Attributes of every node of a kind, in bodies of If, Loop and Scan too.", {
    "select": _table("Which nodes.", {
        "op": _one_or_more(_OPS), "domain": _DOMAIN, "name": _GLOB, "attrs": _ATTRS,
    }, ("op",)),
    "where": _wheres("on the node: input0, output0 ... are its values, @name its attributes, op and name its words"),
    "set": _named("Attributes to set.", _LITERAL),
    "unset": _texts("Attributes to remove."),
    "opset": _BODY_OPSET,
}, ("select",))  # fmt: skip

_MEMBER = _table("Nodes that can be in the region; the first table that fits a node counts.", {
    "op": _one_or_more(f'{_OPS} "*" is any.'),
    "domain": _DOMAIN,
    "name": _GLOB,
    "attrs": _ATTRS,
    "where": _wheres("on the node, as in an edit"),
    "set": _named("An expression for each attribute that changes; None leaves it out.", _EXPRESSION),
    "constants": _named("The other form of a constant input, by place (input1), as an expression over c.", _EXPRESSION,
                        "^input[0-7]$"),
    "core": {"type": "boolean", "description": "Whether regions are converted for the sake of such nodes."},
}, ("op",))  # fmt: skip

_REGION = _table("The largest connected sets of nodes that can compute in another form.", {
    "values": _text("Whether a value v is one that changes form, as an expression.", maxLength=500),
    "dtype": _text("The element type of the other form, where that is what changes."),
    "constants": _text("The other form of a constant c, an expression; without it its node stays out.", maxLength=500),
    "enter": _text("ONNX text that makes the other form of v, once for each value that comes in."),
    "leave": _text("ONNX text that makes v of it, for each value that is read outside or is an output."),
    "let": _LET,
    "where": _wheres("on a region as a whole: nodes, core, enters, leaves, constants are counts"),
    "member": _tables(_MEMBER),
    "opset": _BODY_OPSET,
}, ("values", "enter", "leave", "member"))  # fmt: skip

_BOUNDARY = _table("The model's inputs or outputs: those to keep, or a cast.", {
    "at": {"enum": ["inputs", "outputs"], "description": "Which side."},
    "keep": _one_or_more("Outputs to keep, by name of output, value or node, or $NAME of a parameter of type names."),
    "when": _table("Which ones to cast.", {
        "dtype": _text("Element type, such as int64, or $NAME."),
        "name": _text("Only those whose name matches this glob, or $NAME."),
    }, ("dtype",)),
    "cast": _text("The element type that they get, or $NAME."),
}, ("at",), oneOf=[{"required": ["keep"]}, {"required": ["cast", "when"]}])  # fmt: skip

_PARAM = _table("A parameter: $NAME in a table, NAME in an expression, --set PASS.NAME=VALUE on the command line.", {
    "type": {"enum": list(TYPES), "description": "names and ints are lists, written a+b on the command line."},
    "default": {"description": "Its value where none is given."},
    "help": _text("One line on what it is for.", minLength=1),
    "choices": _texts("The values that a string may have."),
}, ("type", "default", "help"))  # fmt: skip

_CASE = _table("An example, and a test: the graph before and after, in ONNX text.", {
    "name": _text("What it shows.", minLength=1),
    "before": _text("A declared value that nothing makes is a weight with random values."),
    "after": _text('The graph after, or "unchanged".'),
    "params": {"type": "object", "description": "Parameters of the pass, by name."},
    "opset": {"type": "integer", "minimum": 1, "maximum": 10000, "default": 17, "description": "Opset of the graph."},
    "stored": {"enum": list(STORED), "description": "Where the weights are before, for a pass that is about files."},
}, ("name", "before", "after"))  # fmt: skip

_RULE = ("match", "replace")
_PARITY = (
    "The promise about numbers. exact: the same values; close: the same function, other rounding; float16: an input or "
    "output is cast; lossy: numbers move on purpose; repair: the graph before cannot run."
)
_KEYS: Schema = {
    "summary": _text("One line without a full stop: what changes.", minLength=1),
    "why": _text("Why it is worth doing; names the source and date of any claim about hardware.", minLength=1),
    "parity": {"enum": list(PARITIES), "description": _PARITY},
    "requires": _table("Models that the pass is for.", {
        "opset": _text("Bounds on the opset of the default domain, such as >=11,<18.", pattern=_OPSET),
    }),
    "interface": _one_or_more(
        "What changes in inputs and outputs; a boundary implies its own.", **{"enum": list(INTERFACES)}
    ),
    "exact_form": _text("For a lossy pass, the pass that does the same job without changing numbers."),
    "budget": _table(
        "For a lossy pass: bounds by metric that hold where the user gives none for it.",
        {metric: {"type": "number"} for metric in METRICS},
    ),
    "params": _named("Parameters by name.", _PARAM, _NAME),
    "edit": _tables(_EDIT),
    "rewrite": _tables(_rewrite("A pattern of nodes and what takes its place.", _RULE, opset=_BODY_OPSET)),
    "region": _tables(_REGION),
    "boundary": _tables(_BOUNDARY),
    "native": _text("A function of the package, or of an installed distribution (entry points graphtool.natives)."),
    "sequence": _texts('Passes in order as one step, with parameters as in "prune_outputs:keep=y".'),
    "fixpoint": {"type": "boolean", "default": False, "description": "Repeat the sequence until nothing matches."},
    "growth": {
        "type": "number",
        "minimum": 0,
        "description": f"Of a sequence: by what part of its size, and {SLACK >> 10} KiB, the model may grow where "
        "rewrites put constants beside those that others read. Left out: no bound.",
    },
    "semantics": _tables(_rewrite("What an op that onnxruntime lacks computes; only parity uses it.", _RULE)),
    "case": _tables(_CASE),
}  # fmt: skip


def schema() -> Schema:
    """Return the schema: a pass has what it must say of itself, and exactly one kind of body."""
    bodies: list[Schema] = [{"anyOf": [{"required": [key]} for key in ("edit", "rewrite", "region", "boundary")]}]
    bodies += [{"required": ["native"]}, {"required": ["sequence"]}]
    return {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "graphtool pass",
        **_table("A change to ONNX graphs, see docs/pass_language.md.", _KEYS, ("summary", "why", "parity")),
        "oneOf": bodies,
    }
