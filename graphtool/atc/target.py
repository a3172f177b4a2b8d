"""What ATC is told, in the words of a command line, and the commands and the script that come of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from graphtool.atc.attached import write_files
from graphtool.atc.command import Command, emit
from graphtool.atc.profile import Profile, default_profile, load_profile
from graphtool.atc.script import makefile, script, vectors
from graphtool.atc.words import parse_batches, parse_option, parse_shape
from graphtool.errors import ProfileError, UsageError, quoted
from graphtool.graph import Graph
from graphtool.graph.save import write_text


@dataclass(frozen=True, slots=True)
class Target:
    """A profile or a device, and what overrides it: the words of --profile, --soc, --batch and --atc."""

    profile: str | None = None
    soc: str | None = None
    batches: str | None = None
    options: tuple[str, ...] = ()

    @property
    def given(self) -> bool:
        """Whether anything was asked for: that must hold, while the defaults may not fit a model."""
        return self != Target()

    def load(self) -> Profile:
        """Return the profile; raises ProfileError for an unknown one."""
        if self.profile is not None and self.soc is not None:
            raise UsageError("--soc and --profile both name a device; give one, or --atc soc_version=NAME")
        return load_profile(self.profile) if self.profile is not None else default_profile(self.soc or "Ascend310")

    def check(self) -> Profile:
        """Return the profile; raises UsageError or ProfileError for what no graph could make right."""
        profile = self.load()
        self._batches()
        if not self._overrides().get("soc_version", profile.soc):
            raise ProfileError(f"{profile.source}: options.soc_version: missing; ATC needs it: extends = 'ascend310'")
        return profile

    def commands(self, graph: Graph, path: Path, shapes: Sequence[str]) -> list[Command]:
        """Return the ATC commands for a model at ``path``; ``shapes`` are the words of --shape."""
        return emit(graph, str(path), self.load(), self._batches(), shapes_of(shapes), self._overrides())

    def _batches(self) -> tuple[int, ...] | None:
        return parse_batches(self.batches) if self.batches is not None else None

    def _overrides(self) -> dict[str, str]:
        return dict(parse_option(word) for word in self.options)


def shapes_of(words: Sequence[str]) -> dict[str, tuple[int, ...]]:
    """Return the shapes of ``--shape NAME:DIMS``; raises UsageError."""
    return dict(parse_shape(word) for word in words)


def write_script(path: Path, commands: Sequence[Command], profile: Profile, model: Path) -> None:
    """Write the commands by the name of ``path``: ``.json`` argument vectors, ``Makefile`` or ``.mk``, else a script.

    The files that their options name are written too. Raises UsageError where ``path`` is the model itself, or where
    another file is in the way of one of them.
    """
    if path.exists() and model.exists() and path.samefile(model):
        raise UsageError(f"{quoted(path)} is the model; name another file with -o")
    form = vectors if path.suffix == ".json" else makefile if _is_make(path) else script
    text = form(commands, profile)
    write_files(dict(pair for command in commands for pair in command.files))
    write_text(path, text)
    if form is script:
        path.chmod(path.stat().st_mode | 0o111)


def _is_make(path: Path) -> bool:
    return path.suffix == ".mk" or path.name in ("Makefile", "makefile", "GNUmakefile")
