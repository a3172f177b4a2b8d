"""The passes that can be named: those that ship, and pass files given by path."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from graphtool.data import data_dir
from graphtool.errors import PassError, UsageError, did_you_mean, quoted, show
from graphtool.rewrite.params import escape
from graphtool.rewrite.passfile import MAX_FILE, Pass, Semantics, load_pass
from graphtool.rewrite.stages import parse_pipeline

SHIPPED = "shipped/"  # before a name: the shipped pass, whatever the project calls its own
_MOST_PASSES = 1000  # that a sequence may be, its inner sequences written out
_DEEPEST = 16  # sequences in sequences
_PROJECT = Path("passes")  # in the current folder


class Entry(NamedTuple):
    """A pass file that can be named: ``word`` names it and no other, ``shipped`` says whether it is graphtool's own."""

    name: str
    path: Path
    shipped: bool
    word: str

    @property
    def origin(self) -> str:
        """Return where it comes from, in a word: ``shipped`` or its file."""
        return "shipped" if self.shipped else show(self.path)


class Catalog:
    """Pass files by name, each loaded when first asked for.

    Without ``folders`` these are the shipped passes and those of the project: the folder ``passes`` in the current one.
    A name that both have is an error when it is used: ``shipped/NAME`` is graphtool's, ``./passes/NAME.toml`` the
    project's. Shipped sequences always mean shipped passes. ``to_run`` is for a caller that only runs passes: of
    shipped files it reads no cases, and rewrites where they may match.
    """

    def __init__(self, folders: Iterable[Path] | None = None, to_run: bool = False) -> None:
        self._to_run = to_run
        own = data_dir("passes")
        self.folders = list(folders) if folders is not None else [own, *_project_folders(own)]
        self._paths: dict[str, list[Path]] = {}
        for folder in self.folders:
            for path in sorted(folder.glob("*.toml")):
                others = self._paths.setdefault(path.stem, [])
                if not any(_same_file(path, other) for other in others):
                    others.append(path)
        self._own = own.resolve()
        self._owned: dict[Path, bool] = {}  # whether a folder is that of the shipped passes
        self._places: dict[Path, Path] = {}  # where files really are
        self._loaded: dict[tuple[Path, str], tuple[tuple[int, int], Pass]] = {}
        self._asked: dict[Path, Pass] = {}  # passes named by path
        self._sizes: dict[Path, int] = {}  # how many passes a file is, sequences written out
        self._open: list[Path] = []  # the sequences being read, outermost first
        self._meaning: tuple[list[Pass], list[Pass]] | None = None  # shipped passes and others that give ops one
        self._semantics: dict[tuple[str, str], Semantics] | None = None

    @property
    def names(self) -> list[str]:
        """Return the names of all passes, in order."""
        return sorted(self._paths)

    @property
    def entries(self) -> list[Entry]:
        """Return every pass file by name, a shipped one before others of the same name."""
        found = []
        for name in self.names:
            paths = self._paths[name]
            for path in paths:
                shipped = self._is_own(path)
                alone = f"{SHIPPED}{name}" if shipped else _as_path(path)
                found.append(Entry(name, path, shipped, name if len(paths) == 1 else alone))
        return found

    def entries_of(self, folder: Path) -> list[Entry]:
        """Return the pass files in ``folder``, each named by its path."""
        paths = sorted(folder.glob("*.toml"))
        return [Entry(path.stem, path, self._is_own(path), _as_path(path)) for path in paths]

    def listing(self) -> list[tuple[Entry, Pass | PassError]]:
        """Return every pass file by name with what it says, or why it cannot be used."""
        found: list[tuple[Entry, Pass | PassError]] = []
        for entry in self.entries:
            try:
                found.append((entry, self._read(entry.path, _shown(entry.path))))
            except PassError as error:
                found.append((entry, error))
        return found

    def get(self, name: str) -> Pass:
        """Return a pass by name, ``shipped/NAME``, or the path of its file (ending in .toml); raises PassError."""
        if name.endswith(".toml"):
            path = Path(name)
            if not is_file(path):
                raise PassError(f"no pass file {quoted(name)}" + ": it is a folder" * _is_folder(path))
            spec = self._read(path, show(path))
            if self._asked.get(path) is not spec:
                self._asked[path] = spec
                self._semantics = None
            return spec
        plain = name.removeprefix(SHIPPED)
        paths = self._paths.get(plain, [])
        if plain != name:
            paths = [path for path in paths if self._is_own(path)]
        if not paths:
            hint = did_you_mean(name, self._paths)
            file = next((path for path in (Path(name), Path(f"{name}.toml")) if is_file(path)), None)
            if file is not None:
                hint = "; a pass file is named by its path, which ends in .toml"
                hint += f": {quoted(_as_path(file))}" if file.suffix == ".toml" else ""
            raise PassError(f"unknown pass {quoted(name)}{hint}  (graphtool passes list)")
        if len(paths) > 1:
            words = [entry.word for entry in self.entries if entry.name == plain]
            raise PassError(f"pass {quoted(name)} is not one file; say {show(' or '.join(words))}")
        return self._read(paths[0], _shown(paths[0]))

    def _is_own(self, path: Path) -> bool:
        folder = path.parent
        if folder not in self._owned:
            self._owned[folder] = folder.resolve() == self._own
        return self._owned[folder]

    def _place(self, path: Path) -> Path:
        if path not in self._places:
            self._places[path] = _place(path)  # each part of a path is a question to the file system
        return self._places[path]

    def _read(self, path: Path, shown: str) -> Pass:
        """Load a pass file once; a sequence must name passes and parameters that exist, and must not contain itself."""
        place = self._place(path)
        if len(self._open) == _DEEPEST:
            raise PassError(f"sequences in sequences, more than {_DEEPEST} deep")
        if place in self._open:
            chain = " -> ".join(show(p.stem) for p in (*self._open[self._open.index(place) :], place))
            raise PassError(f"the sequence contains itself: {chain}")
        stamp = _stamp(path)
        known = self._loaded.get((place, shown))
        if known is not None and known[0] == stamp:
            return known[1]
        spec = load_pass(path, shown, late=self._to_run and self._is_own(path))
        if not self._is_own(path):  # tests hold the shipped ones to it
            from graphtool.rewrite.unfit import check_statements

            check_statements(spec, shown)
        self._open.append(place)
        try:
            spec = self._checked_sequence(spec, shown)
        finally:
            self._open.pop()
        self._loaded[place, shown] = stamp, spec
        return spec

    def _checked_sequence(self, spec: Pass, shown: str) -> Pass:
        """Return the pass with what its sequence names looked up; raises PassError."""
        total = 0
        words = []
        for number, written in enumerate(spec.sequence):
            named = _beside(spec.path, written)
            shared = self._is_own(spec.path) and len(self._paths.get(named.partition(":")[0], ())) > 1
            word = f"{SHIPPED}{named}" if shared else named
            try:
                stages = parse_pipeline(word, self)
            except (PassError, UsageError) as error:
                raise PassError(f"{shown}: sequence[{number}]: {error}") from None
            if any(stage.selection for stage in stages):
                raise PassError(f"{shown}: sequence[{number}]: only= and skip= belong to a model, not here")
            total += sum(self._sizes[self._place(stage.spec.path)] for stage in stages)
            if total > _MOST_PASSES:
                raise PassError(f"{shown}: sequence: more than {_MOST_PASSES} passes when written out")
            words.append(word)
        self._sizes[self._place(spec.path)] = total or 1
        return replace(spec, sequence=tuple(words)) if tuple(words) != spec.sequence else spec

    def semantics(self) -> dict[tuple[str, str], Semantics]:
        """Return the meaning of each op that a pass file gives one, by (op type, domain).

        An op that a shipped pass gives a meaning keeps that one; then come the pass files that were named by path, then
        the project's. Only files with the word in them are loaded. A broken file of the project is passed over here (it
        must not stop every run in the folder); ``passes list`` names it.
        """
        if self._meaning is None:
            entries = [entry for entry in self.entries if _mentions(entry.path, b"semantics")]
            own = [self.get(entry.word) for entry in entries if entry.shipped]
            others = [self._sound(entry) for entry in entries if not entry.shipped]
            self._meaning = own, [spec for spec in others if spec is not None]
        if self._semantics is None:
            found: dict[tuple[str, str], Semantics] = {}
            for spec in (*self._meaning[0], *self._asked.values(), *self._meaning[1]):
                for item in spec.semantics:
                    found.setdefault((item.op, item.domain), item)
            self._semantics = found
        return self._semantics

    def _sound(self, entry: Entry) -> Pass | None:
        try:
            return self._read(entry.path, _shown(entry.path))
        except PassError:
            return None


def _shown(path: Path) -> str:
    return show(f"{path.parent.name}/{path.name}")


def _as_path(path: Path) -> str:
    """Return a path as a word that is no name: ``./passes/x.toml``."""
    return str(path) if path.is_absolute() or path.parts[:1] == ("..",) else f"./{path}"


def _beside(path: Path, word: str) -> str:
    """Return a word of the sequence in the file ``path`` with what it names by a path looked for beside that file."""
    name, colon, rest = word.partition(":")
    there = path.parent / name
    if not name.endswith(".toml") or Path(name).is_absolute() or not is_file(there):
        return word
    return f"{escape(_as_path(there))}{colon}{rest}"


def _project_folders(own: Path) -> list[Path]:
    """Return the project's folder of passes, where there is one and it is not that of a checkout of graphtool."""
    if not _PROJECT.is_dir() or _PROJECT.resolve() == own.resolve():
        return []
    if Path("pyproject.toml").is_file() and Path("graphtool/rewrite/catalog.py").is_file():
        return []
    return [_PROJECT]


def _stamp(path: Path) -> tuple[int, int]:
    try:
        info = path.stat()
    except OSError:  # load_pass says what is wrong
        return 0, 0
    return info.st_mtime_ns, info.st_size


def _same_file(one: Path, other: Path) -> bool:
    return _place(one) == _place(other)


def is_file(path: Path) -> bool:
    """Whether there is a file; a name too long for one is none."""
    try:
        return path.is_file()
    except OSError:
        return False


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except OSError:
        return False


def _place(path: Path) -> Path:
    """Return where a file really is; links in a circle lead nowhere."""
    try:
        return path.resolve()
    except (OSError, RuntimeError):
        return path.absolute()


def _mentions(path: Path, word: bytes) -> bool:
    """Whether a pass file has a word in it; reading is a fraction of what loading costs."""
    try:
        return is_file(path) and path.stat().st_size <= MAX_FILE and word in path.read_bytes()
    except OSError:
        return False
