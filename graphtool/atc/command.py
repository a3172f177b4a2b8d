"""ATC command lines for a graph: one per batch, checked against the graph, quoted for the shell. ATC is never run.

The graph is the one that is compiled, after all passes. Nothing said here was tried on a device: options and limits
come from :mod:`graphtool.atc.options`, devices and models from the profiles.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from onnx import TensorProto

from graphtool.atc import findings, outputs, values
from graphtool.atc import options as atc
from graphtool.atc.against import opset_findings
from graphtool.atc.attached import Wishes, config_files
from graphtool.atc.profile import Profile, default_profile
from graphtool.atc.shapes import Dims, Request, Shapes, plan
from graphtool.atc.shell import quote
from graphtool.atc.values import BATCH, SpellingError
from graphtool.atc.words import NEEDED, checked
from graphtool.errors import ProfileError, did_you_mean, quoted
from graphtool.graph import Graph

# GE, reason "The path can only contain 'a-z' 'A-Z' '0-9' '-' '.' '_' and chinese character" (E10001), 2020 to 2025
_ATC_PATH = re.compile(r"[A-Za-z0-9._/\u4e00-\u9fff-]+")

_STEM = "{stem}"


@dataclass(frozen=True, slots=True)
class Command:
    """One ATC command: its words, the batch it compiles for (0: the inputs have none), and what to know about it.

    ``files`` are the files that its options name and the profile describes: path and text.
    """

    words: tuple[str, ...]
    batch: int
    notes: tuple[str, ...] = ()
    files: tuple[tuple[str, str], ...] = ()

    def text(self) -> str:
        """Return the command as one line for a shell; ``shlex.split`` gives the words back."""
        return " ".join(map(quote, self.words))

    def value(self, option: str) -> str | None:
        """Return the value of an option; None where the command does not have it."""
        head = f"--{option}="
        return next((word[len(head) :] for word in self.words if word.startswith(head)), None)


def emit(
    graph: Graph,
    model_path: str,
    profile: Profile | None = None,
    batches: Sequence[int] | None = None,
    shapes: Mapping[str, Sequence[int]] | None = None,
    overrides: Mapping[str, str] | None = None,
) -> list[Command]:
    """Return the ATC commands that compile ``graph``, saved at ``model_path``: one per batch.

    ``batches`` win over the profile's, these over the graph's own. ``shapes`` (input name to sizes) win over the
    profile's input_shape, ``overrides`` (ATC option to value; an empty one drops the option) over its options.
    Without a profile the target is Ascend310.

    Raises ProfileError where a name, rank, size, type or option does not hold for the graph, and where a name cannot
    be written in ATC's grammar or on a command line.
    """
    wishes = _wished(profile or default_profile(), overrides or {})
    try:
        shaped = plan(graph, _request(wishes, batches or (), shapes or {}))
        out, output_type = _outputs(graph, wishes)
        _check_fp16_inputs(graph, wishes)
        model = _model_word(model_path)
        options = {
            **wishes.options,
            "model": model,
            "out_nodes": values.format_nodes(out.nodes),
            "output_type": output_type,
            "input_format": wishes.options.get("input_format") or _input_format(shaped.inputs),
        }
        files, file_notes = config_files(wishes, graph, Path(model_path).stem, options)
        notes = (*shaped.notes, *out.notes, *_format_notes(shaped, options), *file_notes, *_opset_notes(wishes, graph))
        commands = []
        for batch in shaped.batches:
            options["output"] = _output_word(wishes, model_path, batch, len(shaped.batches))
            options["input_shape"] = shaped.text(batch)
            words = [f"--{name}={options[name]}" for name in atc.OPTIONS if options.get(name)]
            known = (*_path_notes(model, options["output"]), *_batch_notes(shaped, batch), *_held(wishes, options))
            commands.append(Command(("atc", *words), batch, (*notes, *known), files))
    except SpellingError as why:  # a name without a spelling
        raise ProfileError(str(why)) from None
    return commands


def told_shapes(graph: Graph, profile: Profile, shapes: Mapping[str, Sequence[int]]) -> Shapes:
    """Return the shapes that the commands of :func:`emit` tell ATC; raises ProfileError as it does."""
    return plan(graph, _request(_wished(profile, {}), (), shapes))


def _wished(profile: Profile, overrides: Mapping[str, str]) -> Wishes:
    try:
        own = dict(checked(name, value) for name, value in overrides.items())
    except SpellingError as why:
        raise ProfileError(f"--atc: {why}") from None
    options = {name: value for name, value in {"framework": "5", **profile.options, **own}.items() if value}
    options = atc.completed(options)
    wishes = Wishes(profile, options, own)
    if (clash := atc.conflict(options)) is not None:
        raise ProfileError(f"{wishes.where(clash[0])}: {clash[1]}")
    for name in NEEDED:
        if name not in options:
            raise ProfileError(f"{wishes.where(name)}: missing; ATC needs it")
    return wishes


def _held(wishes: Wishes, options: Mapping[str, str]) -> list[str]:
    """Hold the finished options against all of ATC's rules; what only some releases refuse is a note."""
    found = findings.inspect({name: text for name, text in options.items() if text}, wishes.cann)
    # what a path may hold is a note of its own
    found = [one for one in found if one.code != "E10001" or atc.OPTIONS[one.option].kind != "path"]
    for one in found:
        if one.level == "error":
            code = f" (ATC: {one.code})" if one.code else ""
            fix = f"; {one.fix}" if one.fix else ""
            raise ProfileError(f"{wishes.where(one.option)}: {one.reason}{code}{fix} [{one.source}]")
    return [f"{one.text()} ({one.source})" for one in found]


def _opset_notes(wishes: Wishes, graph: Graph) -> list[str]:
    return [f"{one.reason}; {one.fix} ({one.source})" for one in opset_findings(graph, wishes.cann)]


def _request(wishes: Wishes, batches: Sequence[int], shapes: Mapping[str, Sequence[int]]) -> Request:
    for number in (*batches, *(dim for dims in shapes.values() for dim in dims)):
        if type(number) is not int or number < 1:
            raise ProfileError(f"batches and shapes are whole numbers above 0, not {quoted(number)}")
    template = wishes.options.get("input_shape")
    return Request(
        template=values.parse_shapes(template) if template else {},
        where=wishes.where("input_shape"),
        given={name: tuple(dims) for name, dims in shapes.items()},
        asked=tuple(dict.fromkeys(batches)),
        planned=wishes.profile.batches,
        gears=next((name for name in atc.GEARS if name in wishes.options), None),
    )


def _outputs(graph: Graph, wishes: Wishes) -> tuple[outputs.OutNodes, str]:
    """Return what out_nodes is to name, and output_type with its nodes, if any, renamed alike."""
    text = wishes.options.get("out_nodes")
    wanted = values.parse_nodes(text) if text else []
    kind = values.parse_output_type(wishes.options["output_type"]) if "output_type" in wishes.options else ""
    for node, _ in kind if isinstance(kind, list) else ():
        if node not in wanted:
            word = quoted(values.format_nodes([node]))
            raise ProfileError(
                f"{wishes.where('output_type')}: {word} must be in out_nodes too (ATC: E10001)"
                " [GE omg.cc, v2.0.0, 2023-03]"
            )
    where = wishes.where("out_nodes")
    if "out_nodes" in wishes.overrides:
        out = outputs.named(graph, wanted, where)
    else:
        needed = isinstance(kind, list) or "is_output_adjust_hw_layout" in wishes.options
        out = outputs.follow(graph, wanted, where, needed) if wanted else outputs.OutNodes((), {})
    if isinstance(kind, str):
        return out, kind
    return out, ";".join(f"{values.format_nodes([out.moved[node]])}:{one}" for node, one in kind)


def _check_fp16_inputs(graph: Graph, wishes: Wishes) -> None:
    inputs = {value.name: value for value in graph.inputs}
    where = wishes.where("input_fp16_nodes")
    for name in wishes.options.get("input_fp16_nodes", "").split(";"):
        if name and name not in inputs:
            raise ProfileError(f"{where}: the graph has no input {quoted(name)}{did_you_mean(name, inputs)}")
        if name and inputs[name].dtype not in (TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.UNDEFINED):
            raise ProfileError(f"{where}: input {quoted(name)} is {inputs[name].type_text()}, not float")


def _model_word(path: str) -> str:
    values.check_printable(path)
    if not Path(path).name:
        raise ProfileError(f"{quoted(path)} is not the name of a model file")
    return f"./{path}" if path.startswith("-") else path


def _output_word(wishes: Wishes, model_path: str, batch: int, count: int) -> str:
    """Return the value of output: by the option, else the model's stem, with the batch, in the current folder."""
    default = f"{_STEM}_bs{BATCH}" if batch else _STEM
    form = wishes.options.get("output", default)
    if BATCH not in form and count > 1:
        raise ProfileError(f"{wishes.where('output')}: {quoted(form)} is the same for every batch; put {BATCH} in it")
    if BATCH in form and not batch:
        raise ProfileError(f"{wishes.where('output')}: {quoted(form)}: the inputs have no batch")
    return form.replace(BATCH, str(batch)).replace(_STEM, Path(model_path).stem)


def _input_format(inputs: Mapping[str, Dims]) -> str:
    """Return the layout by the largest rank: in ModelZoo commands (2022-03) a model with any 4-D input has NCHW."""
    return {4: "NCHW", 5: "NCDHW"}.get(max(map(len, inputs.values()), default=0), "ND")


def _format_notes(shaped: Shapes, options: Mapping[str, str]) -> list[str]:
    rank = {"NCHW": 4, "NCDHW": 5}.get(options["input_format"])
    if rank is None or any(len(dims) == rank for dims in shaped.inputs.values()):
        return []
    return [f"input_format is {options['input_format']}, but no input has {rank} dimensions"]


def _path_notes(*paths: str) -> list[str]:
    refused = [path for path in paths if not _ATC_PATH.fullmatch(path)]
    # the output takes its name from the model: one of the two is enough
    return [
        f"ATC refuses {quoted(p)}: a path may hold letters, digits, '-', '.', '_', Chinese (E10001) [GE, 2020 to 2025]"
        for p in refused[:1]
    ]


def _batch_notes(shaped: Shapes, batch: int) -> list[str]:
    if shaped.fixed in (None, batch):
        return []
    return [f"not run at batch {batch}: the graph has batch {shaped.fixed}, input_shape overrides it"]
