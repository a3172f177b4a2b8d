"""Profiles: what is to be compiled for which chip, with which options. Data only, one TOML file each.

    extends  = "ascend310"                # a profile whose keys this one adds to or overrides
    summary  = "ICNet on Ascend 310"
    model    = "ICNet"                    # which model it is for; informative
    cann     = "5.0.2.alpha003"           # the CANN release its facts hold for
    install_path = "/usr/local/Ascend/ascend-toolkit/latest"
    environment = "auto"                  # how a script finds atc: set_env, exports or auto (either)
    operators = "ascend310_2022_06"       # the device's operator table; without one nothing is said of its operators
    batches  = [1, 4]

    [options]                             # of atc; "" drops what the base profile says
    input_shape = "actual_input_1:{batch},3,1024,2048"

    [images]                              # how images become inputs: (pixel / 255 - mean) / std
    mean = [0.485, 0.456, 0.406]

    [files]                               # the content of files that options name
    keep_dtype = ["Pow_458", "OpType::InstanceNorm"]

    [passes]                              # parameters of passes; `pipeline` is what runs without --passes
    pipeline = "resize_nearest,prune_outputs"
    prune_outputs.keep = ["Resize_317"]

    [budgets]                             # lists of "[OUTPUT:]METRIC=NUMBER", or tables
    min = ["argmax_agreement=0.85"]

Every key and value is checked when the file is read; a mistake is a ProfileError with file, key and reason.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from graphtool.atc import options as atc
from graphtool.atc.profile_reader import Reader
from graphtool.atc.values import SpellingError
from graphtool.data import data_dir
from graphtool.errors import ProfileError, did_you_mean, quoted, show
from graphtool.parity.budget import Budget
from graphtool.parity.feed_images import Preprocess

_LIMIT = 1 << 20  # bytes; a profile has a few hundred


@dataclass(frozen=True, slots=True)
class Profile:
    """A profile with everything it inherits.

    ``options`` holds ATC option values as text, checked one by one and together; ``input_shape`` and ``output`` may
    hold ``{batch}``. ``files`` holds the text of files that options name, by option. ``operators`` is the device's
    operator table, None where there is none: nothing is known of its operators then. ``source`` is the file as
    messages call it. ``passes`` maps a pass to its parameters. ``images`` says how images become inputs.
    """

    name: str
    source: str
    summary: str = ""
    model: str | None = None
    cann: str | None = None
    install_path: str | None = None
    environment: str = "auto"
    set_env: str | None = None
    operators: str | None = None
    batches: tuple[int, ...] = ()
    options: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)
    passes: Mapping[str, Mapping[str, object]] = field(default_factory=dict)
    pipeline: str | None = None
    budgets: tuple[Budget, ...] = ()
    images: Preprocess | None = None

    @property
    def soc(self) -> str:
        """The chip; an empty string where the profile names none."""
        return self.options.get("soc_version", "")


def list_profiles() -> tuple[str, ...]:
    """Return the names of the shipped profiles, sorted."""
    return tuple(sorted(path.stem for path in data_dir("atc_profiles").glob("*.toml")))


def load_profile(name_or_path: str | Path) -> Profile:
    """Read a shipped profile by name, or any other by a path that ends in ``.toml``; raises ProfileError."""
    word = str(name_or_path)
    path = Path(word) if word.endswith(".toml") else _shipped(word)
    return _read(path, ())


def default_profile(soc: str = "Ascend310") -> Profile:
    """Return what holds without a profile: the shipped ``ascend310``, with another chip where one is asked for."""
    base = load_profile("ascend310")
    if soc == base.soc:
        return base
    try:
        atc.check(atc.OPTIONS["soc_version"], soc)
    except SpellingError as why:
        raise ProfileError(f"soc_version: {why}") from None
    options = {**base.options, "soc_version": soc}
    known = next((one for one in map(load_profile, list_profiles()) if one.soc == soc and one.model is None), None)
    return replace(base, name=soc.lower(), cann=None, options=options, operators=known.operators if known else None)


def _shipped(name: str) -> Path:
    known = list_profiles()
    if name not in known:
        raise ProfileError(f"unknown profile {quoted(name)}{did_you_mean(name, known)}  (graphtool profiles list)")
    return data_dir("atc_profiles") / f"{name}.toml"


def _read(path: Path, below: tuple[Path, ...]) -> Profile:
    """Read the profile at ``path``; ``below`` are the files that extend it, the first one first."""
    reader = Reader(_label(path), _table(path))
    base = Profile(name="", source="")
    if (extends := reader.text("extends")) is not None:
        chain = (*below, path.resolve())
        beneath = _base(path, extends, reader)
        if beneath.resolve() in chain:
            steps = " -> ".join(p.stem for p in (*chain, beneath))
            raise reader.error("extends", f"profiles extend each other in a circle: {show(steps)}")
        base = _read(beneath, chain)
    return reader.profile(path.stem, base)


def _label(path: Path) -> str:
    """Return how messages call the file: shipped ones by their folder's name, others as given."""
    shipped = path.parent == data_dir("atc_profiles")
    return show(f"atc_profiles/{path.name}" if shipped else path)


def _base(path: Path, extends: str, reader: Reader) -> Path:
    """Return the file that ``extends`` names: one beside ``path``, else a shipped one."""
    if not re.fullmatch(r"[\w.-]{1,100}", extends, re.ASCII):
        raise reader.error("extends", f"{quoted(extends)} is not the name of a profile")
    beside = path.with_name(f"{extends.removesuffix('.toml')}.toml")
    known = list_profiles()
    if beside.is_file() and (beside != path or extends not in known):
        return beside
    if extends not in known:
        raise reader.error("extends", f"unknown profile {quoted(extends)}{did_you_mean(extends, known)}")
    return data_dir("atc_profiles") / f"{extends}.toml"


def _table(path: Path) -> dict[str, Any]:
    where = _label(path)
    try:
        with path.open("rb") as file:
            raw = file.read(_LIMIT + 1)
    except (OSError, ValueError) as why:  # ValueError: a NUL in the path
        raise ProfileError(f"{where}: {getattr(why, 'strerror', None) or why}") from None
    if len(raw) > _LIMIT:
        raise ProfileError(f"{where}: larger than {_LIMIT} bytes; not a profile")
    try:
        table = tomllib.loads(raw.decode("utf-8"))
    except RecursionError:
        raise ProfileError(f"{where}: nested too deeply") from None
    except ValueError as why:  # TOMLDecodeError, UnicodeDecodeError, and numbers of thousands of digits
        raise ProfileError(f"{where}: not TOML: {show(why)}") from None
    if _oversized(table):
        raise ProfileError(f"{where}: holds a whole number of more than 64 bits")
    return table


def _oversized(table: object) -> bool:
    """Whether a number is beyond what TOML promises; Python cannot even print one of thousands of digits."""
    rest = [table]
    while rest:
        value = rest.pop()
        if isinstance(value, int) and value.bit_length() > 64:
            return True
        rest += value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return False
