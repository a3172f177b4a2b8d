"""The files that a command names: from the profile, or given by the user and checked where they can be read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from graphtool.atc import aipp, configs
from graphtool.atc.cann import Cann
from graphtool.atc.profile import Profile
from graphtool.errors import ProfileError, UsageError, quoted
from graphtool.graph import Graph
from graphtool.graph.save import write_text

STEM = "{stem}"
_LIMIT = 1 << 20  # bytes of a configuration


@dataclass(frozen=True, slots=True)
class Wishes:
    """The profile's options with the overrides on top, and how messages call where each is from."""

    profile: Profile
    options: Mapping[str, str]
    overrides: Mapping[str, str]

    def where(self, name: str) -> str:
        """Return how messages call the place that an option is from."""
        return f"--atc {name}" if name in self.overrides else f"{self.profile.source}: options.{name}"

    @property
    def cann(self) -> Cann | None:
        """The release the profile is for."""
        return Cann.parse(self.profile.cann) if self.profile.cann else None


def config_files(
    wishes: Wishes, graph: Graph, stem: str, options: dict[str, str]
) -> tuple[tuple[tuple[str, str], ...], list[str]]:
    """Return path and text of the files to write, and notes; ``{stem}`` in their names in ``options`` is filled in.

    Raises ProfileError where a file, written or given, does not hold for the graph.
    """
    written: list[tuple[str, str]] = []
    notes: list[str] = []
    for name in configs.FILES:
        if not options.get(name):
            continue
        options[name] = path = options[name].replace(STEM, stem)
        text = wishes.profile.files.get(name) if name not in wishes.overrides else None
        where = (
            f"{wishes.profile.source}: files.{name}" if text is not None else f"{wishes.where(name)}: {quoted(path)}"
        )
        if text is not None:
            written.append((path, text))
        else:
            text = _given(Path(path))
        if text is None:
            notes.append(f"{name}: there is no {quoted(path)} here, so it was not checked; ATC needs it")
            continue
        for one in configs.check(name, text, graph, "dynamic_image_size" in options):
            if one.level == "error":
                raise ProfileError(f"{where}: {one.reason} (ATC: {one.code}) [{one.source}]")
            notes.append(f"{path}: {one.reason} ({one.source})")
        if name == "insert_op_conf":
            notes += _aipp_notes(text, graph)
    return tuple(written), notes


def _given(path: Path) -> str | None:
    try:
        with path.open("rb") as file:
            return file.read(_LIMIT).decode("utf-8", "replace")
    except (OSError, ValueError):
        return None


def _aipp_notes(text: str, graph: Graph) -> list[str]:
    names = []
    for op in aipp.read(text)[0]:
        names.append(op.get("related_input_name", "") or graph.inputs[op.get("related_input_rank")].name)
    listed = ", ".join(map(quoted, names))
    return [f"AIPP: input {listed} is fed as a uint8 image, not as float32 (DOC 8.0.0 atlasatcparam_16_0044)"]


def write_files(files: Mapping[str, str]) -> None:
    """Write configurations; raises UsageError, before anything is written, where another file is in the way."""
    for path, text in files.items():
        there = Path(path)
        if there.exists() and (not there.is_file() or _given(there) != text):
            raise UsageError(f"{quoted(path)} is there already, and says something else; rename or remove it")
    for path, text in files.items():
        write_text(Path(path), text)
