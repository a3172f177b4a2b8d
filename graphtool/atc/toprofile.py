"""Turn atc commands that exist into a profile: the batch becomes ``{batch}``, what cannot be kept is said in it."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import PurePath

from graphtool.atc import options as atc
from graphtool.atc import values
from graphtool.atc.explain import Explained
from graphtool.atc.findings import known
from graphtool.atc.profile import list_profiles, load_profile
from graphtool.atc.values import BATCH, SpellingError
from graphtool.errors import ProfileError, UsageError, quoted, show

_OWN = ("framework", "model", "output", "input_shape", "soc_version")


def to_profile(commands: Sequence[Explained]) -> str:
    """Return the text of a profile that says what the first command says.

    Further commands that differ from it in the batch only add to its ``batches``; others are named in a comment.
    Raises UsageError where the first command is not for an ONNX model.
    """
    first = _filled(commands[0])
    if known(first.get("framework", "5")) and first.get("framework", "5") != "5":
        raise UsageError(f"line {commands[0].line}: framework {quoted(first['framework'])}; profiles are for ONNX (5)")
    alike: list[Explained] = []
    other: list[Explained] = []
    for one in commands:
        options = _filled(one)
        (alike if _rest(options) == _rest(first) and _form(options) == _form(first) else other).append(one)
    remarks = [f"not in here, line {one.line}: {one.text}" for one in other]
    lines = [f"summary = {_text('from the atc commands of a script')}"]
    batches = list(dict.fromkeys(size for one in alike for size in _sizes(one)))
    body, base = _options(first, remarks, len(batches) == 1)
    if base:
        lines.append(f"extends = {_text(base)}")
    model = PurePath(first.get("model", "")).stem
    if model and known(model) and model.isprintable():
        lines.append(f"model = {_text(model)}")
    if batches and BATCH in _form(first):
        lines.append(f"batches = [{', '.join(map(str, batches))}]")
    elif BATCH in _form(first):
        remarks.append("the batch came from a variable: give batches here, or --batch")
    lines += ["", "[options]", *body]
    return "\n".join([*(f"# {show(remark, 1000)}" for remark in remarks), *lines, ""])


def _filled(one: Explained) -> dict[str, str]:
    """Return the options with the variables that a script gives a single literal value filled in."""
    single = {name: values[0] for name, values in one.variables.items() if len(values) == 1}

    def fill(match: re.Match[str]) -> str:
        return single.get(match[1] or match[2], match[0])

    return {name: re.sub(r"\$\{(\w+)\}|\$(\w+)", fill, text) for name, text in one.options.items()}


def _sizes(one: Explained) -> list[int]:
    """Return the batches of a command: the first size, or what a loop gives the variable that stands there."""
    lead = _lead(_filled(one).get("input_shape", "")) or ""
    name = re.fullmatch(r"\$\{?(\w+)\}?", lead)
    words = one.variables.get(name[1], ()) if name else (lead,)
    return [int(word) for word in words if re.fullmatch(r"\d{1,9}", word, re.ASCII) and int(word)]


def _rest(options: dict[str, str]) -> dict[str, str]:
    return {name: text for name, text in options.items() if name not in ("output", "input_shape", "model")}


def _lead(text: str) -> str | None:
    """Return the first dimension of the first input, as written."""
    match = re.match(r"[^;]*:\s*\[?\s*([^,;\]\s]+)", text)
    return match[1] if match else None


def _form(options: dict[str, str]) -> str:
    """Return input_shape with ``{batch}`` for the first dimension of the first input and those like it."""
    text = options.get("input_shape", "")
    lead = _lead(text)
    if lead is None or lead == "-1" or "~" in lead:
        return text
    parts = []
    for part in text.split(";"):
        name, colon, dims = part.rpartition(":")
        words = [word.strip() for word in dims.split(",")]
        if colon and words[0] == lead:
            words[0] = BATCH
        parts.append(f"{name.strip()}{colon}{','.join(words)}")
    return ";".join(parts)


def _options(options: dict[str, str], remarks: list[str], single: bool) -> tuple[list[str], str | None]:
    """Return the lines of ``[options]`` and the profile to extend; what cannot be kept goes to ``remarks``."""
    soc = options.get("soc_version", "")
    base = next((name for name in list_profiles() if _is_device(name, soc)), None)
    kept = {"framework": "5"} if base is None else {}
    wanted = {**options, "input_shape": _form(options), "output": _output(options, remarks, single)}
    for name in atc.OPTIONS:
        text = wanted.get(name, "")
        if not text or name in ("framework", "model") or (name == "soc_version" and base is not None):
            continue
        if not known(text.replace(BATCH, "1")) and name != "output":
            remarks.append(f"left out: {name} = {text}, which is not known before the script runs")
            continue
        try:
            atc.check(atc.OPTIONS[name], text)
            kept[name] = text
        except SpellingError as why:
            remarks.append(f"left out: {name} = {text}: {why}")
    while (clash := atc.conflict(kept)) is not None:
        remarks.append(f"left out: {clash[0]} = {kept.pop(clash[0])}: {clash[1]}")
    if base is not None:
        kept |= {name: "" for name in load_profile(base).options if name not in options and name != "framework"}
    return [f"{name} = {_text(text)}" for name, text in kept.items()], base


def _is_device(name: str, soc: str) -> bool:
    try:
        profile = load_profile(name)
    except ProfileError:
        return False
    return profile.soc == soc and profile.model is None and "input_shape" not in profile.options


def _output(options: dict[str, str], remarks: list[str], single: bool) -> str:
    """Return the output with ``{batch}`` for the batch; empty where graphtool's own name is as good."""
    text = options.get("output", "")
    lead = _lead(options.get("input_shape", "")) or ""
    if BATCH not in _form(options) or not text:
        return text if known(text) else ""
    pattern = rf"(?<=bs){re.escape(lead)}(?!\d)" if known(lead) else re.escape(lead)
    found = re.sub(pattern, BATCH, text)
    if BATCH in found and known(found.replace(BATCH, "1")):
        return found
    if single and known(text):
        return text
    if not known(text):
        remarks.append(f"left out: output = {text}, which is not known before the script runs")
    else:
        remarks.append(f"left out: output = {text}, which says nothing of the batch; it is named after the model here")
    return ""


def _text(value: str) -> str:
    """Return a TOML string."""
    values.check_printable(value)
    return json.dumps(value, ensure_ascii=False)
