"""The catalogue of profiles: the shipped ones and a project's own, tried out, and a template to start from."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from graphtool.atc.allowed import refuse
from graphtool.atc.cann import Cann, operators, plugins, release
from graphtool.atc.profile import Profile, list_profiles, load_profile
from graphtool.data import data_dir
from graphtool.errors import GraphtoolError, ModelError, ProfileError, UsageError, quoted
from graphtool.graph.save import write_text
from graphtool.rewrite import Catalog, parse_pipeline

OWN = Path("atc_profiles")
"""The folder of a project's own profiles."""

_NAME = re.compile(r"[a-z][a-z0-9_]{0,60}")


@dataclass(frozen=True, slots=True)
class Listed:
    """One profile of the catalogue: how ``--profile`` names it, and the profile or why it cannot be read."""

    word: str
    profile: Profile | None
    fault: str = ""


def listing(folder: Path | None = None) -> list[Listed]:
    """Return the profiles of a folder, or the shipped ones and those in ``./atc_profiles``, in order of their names."""
    if folder is not None:
        if not folder.is_dir():
            raise UsageError(f"{quoted(folder)} is not a folder of profiles")
        words = [str(path) for path in sorted(folder.glob("*.toml"))]
        if not words:
            raise UsageError(f"{quoted(folder)} holds no .toml")
    else:
        own = OWN.is_dir() and OWN.resolve() != data_dir("atc_profiles").resolve()
        words = [*list_profiles(), *(str(path) for path in sorted(OWN.glob("*.toml")) if own)]
    return [_listed(word) for word in words]


def _listed(word: str) -> Listed:
    try:
        return Listed(word, load_profile(word))
    except ProfileError as why:
        return Listed(word, None, str(why))


@dataclass(frozen=True, slots=True)
class Tried:
    """What trying a profile came to; ``fault`` is empty where it holds."""

    word: str
    fault: str = ""
    facts: tuple[str, ...] = ()


def tried(found: Listed) -> Tried:
    """Try a profile: its file, its options together, its passes and parameters, and that its release takes them."""
    if found.profile is None:
        return Tried(found.word, found.fault)
    profile = found.profile
    try:
        if not profile.soc:
            raise ProfileError(f"{profile.source}: options.soc_version: missing; ATC needs it: extends = 'ascend310'")
        catalog = Catalog()
        for name, params in profile.passes.items():
            known = {param.name for param in catalog.get(name).params}
            for param in params:
                if param not in known:
                    raise ProfileError(f"{profile.source}: passes.{name}.{param}: the pass has no such parameter")
        if profile.pipeline:
            refuse(parse_pipeline(profile.pipeline, catalog, {}, profile.passes), catalog, profile)
    except GraphtoolError as why:
        text = str(why)
        return Tried(found.word, text if text.startswith(profile.source) else f"{profile.source}: {text}")
    return Tried(found.word, "", tuple(facts(profile)))


def facts(profile: Profile) -> Iterator[str]:
    """Yield what is known of a profile's target: release, opsets, operator tables, each with its date."""
    if profile.cann is None:
        yield "CANN: none named, so nothing is said of opsets"
    else:
        cann = Cann.parse(profile.cann)
        known = release(cann)
        if known is None or known.opsets is None:
            yield f"CANN {cann}: no opsets documented in the sources at hand"
        else:
            low, high = known.opsets
            span = f"opset {low}" if low == high else f"opsets {low} to {high}"
            yield f"CANN {cann}: {span} as of {known.date} ({known.source})"
        table = plugins(cann)
        if table is not None:
            count = len(table.opsets)
            yield f"ONNX operators: at most the {count} of {table.date} ({table.source})"
        else:
            yield "ONNX operators: no table for that release"
    if profile.operators is None:
        yield f"operators of {profile.soc or 'the chip'}: no table"
    else:
        table = operators(profile.operators)
        yield f"operators of {profile.soc}: {len(table.opsets)} on the AI Core as of {table.date} ({table.source})"


_TEMPLATE = """# {name}: try it with   graphtool profiles test {folder}
#                       graphtool run --profile {folder}/{name}.toml MODEL.onnx
# The keys are described in docs/profiles.md, the options in docs/atc_options.md.

# One line without a full stop, which `graphtool profiles list` shows.
summary = "{name}: what is to be compiled for which chip"

# A shipped profile, or one in this folder, whose keys this one adds to: ascend310, ascend310p3, ...
extends = "ascend310"

# The CANN release that ATC is of; with it options, opsets and passes are held against what that release takes.
# cann = "5.0.2"

# How a script finds atc: set_env (the toolkit's file), exports (as in the ICNet guide), auto (either).
# environment = "auto"

# What to compile for; without it the batch of the model.
batches = [1]

[options]
# Options of atc by name; "" drops what the base profile says. Say where each value is from.
# input_shape = "image:{{batch}},3,224,224"
# output_type = "FP16"

# [files]
# keep_dtype = ["Pow_458", "OpType::InstanceNorm"]

[passes]
# What runs without --passes, and parameters of passes.
pipeline = "optimize"
# prune_outputs.keep = ["output"]

# [budgets]
# min = ["cosine=0.999"]
"""


def create(name: str, folder: Path) -> Path:
    """Write the template of a new profile into ``folder``, made where it is missing; nothing is overwritten."""
    if not _NAME.fullmatch(name):
        raise UsageError(f"{quoted(name)} is no name for a profile: lower case letters, digits and underscores")
    if name in list_profiles():
        raise UsageError(f"{quoted(name)} is a shipped profile; give yours another name  (graphtool profiles list)")
    path = folder / f"{name}.toml"
    if path.exists() or path.is_symlink():
        raise UsageError(f"{quoted(path)} is there already; nothing was written")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ModelError(f"cannot make folder {quoted(folder)}: {error.strerror}") from None
    write_text(path, _TEMPLATE.format(name=name, folder=folder))
    return path
