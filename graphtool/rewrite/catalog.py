"""The passes that can be named: those that ship, and pass files given by path; pipelines as text."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from graphtool.data import data_dir
from graphtool.errors import PassError, UsageError, did_you_mean, quoted, show
from graphtool.rewrite.native import Native
from graphtool.rewrite.params import Param, escape, resolve, split_raw, stripped, unescape
from graphtool.rewrite.passfile import MAX_FILE, Pass, Semantics, load_pass
from graphtool.rewrite.selection import WORDS, Selection

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
                raise PassError(f"no pass file {quoted(name)}")
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
            raise PassError(f"unknown pass {quoted(name)}{did_you_mean(name, self._paths)}  (graphtool passes list)")
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
        for number, named in enumerate(spec.sequence):
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


class Stage(NamedTuple):
    """A pass and the values of its parameters: one stage of a pipeline; with a ``selection`` not everywhere."""

    spec: Pass
    params: Mapping[str, object]
    word: str
    given: tuple[str, ...] = ()
    selection: Selection | None = None

    def text(self) -> str:
        """Return the stage as pipeline text, which :func:`parse_pipeline` reads back to the same stage."""
        words = [f"{name}={_value_text(self.params[name])}" for name in self.given]
        if self.selection is not None:
            items = dict(zip(WORDS, (self.selection.only, self.selection.skip), strict=True))
            words += [f"{word}={_value_text(list(found))}" for word, found in items.items() if found]
        return ":".join([escape(self.word), *words])


def _value_text(value: object) -> str:
    if isinstance(value, list):
        return "+".join(escape(str(item)) for item in value)
    return escape(str(value).lower() if isinstance(value, bool) else str(value))


def parse_pipeline(
    text: str, catalog: Catalog, given: Mapping[str, Mapping[str, object]] | None = None,
    fallback: Mapping[str, Mapping[str, object]] | None = None,
) -> list[Stage]:  # fmt: skip
    """Return the stages of ``a,b:param=value``; several parameters are joined by ``:``, list items by ``+``.

    ``given`` (``--set``) overrides the text, the text overrides ``fallback`` (a profile), that the pass's default.
    Every pass takes ``only`` and ``skip``, which choose among its matches (see ``selection``).
    """
    stages = []
    given = given or {}
    words = [stripped(word) for word in split_raw(text, ",")]
    if not any(words):
        raise UsageError("no pass is named; give --passes NAME,NAME  (graphtool passes list)")
    for word in words:
        name, *assignments = split_raw(word, ":")
        name = unescape(name)
        if not name:
            raise UsageError(f"an empty pass name in {quoted(text)}")
        spec = catalog.get(name)
        own: dict[str, str] = {}
        for assignment in assignments:
            key, *value = split_raw(assignment, "=")
            if not value:
                raise UsageError(f"{quoted(assignment)} in {quoted(word)} is not PARAM=VALUE")
            own[key] = "=".join(value)
        stages.append(_stage(name, spec, own, given.get(spec.name, {}), (fallback or {}).get(spec.name, {})))
    known = {stage.spec.name for stage in stages}
    for name in given:
        if name not in known:
            raise UsageError(f"--set {name}.…: pass {quoted(name)} is not in the pipeline{did_you_mean(name, known)}")
    return stages


def _stage(
    word: str, spec: Pass, own: Mapping[str, str], given: Mapping[str, object], fallback: Mapping[str, object]
) -> Stage:  # fmt: skip
    kinds = {param.name: param.type for param in spec.params}
    values: dict[str, object] = dict(fallback)
    for name, text in own.items():
        # a list keeps its escapes until its type splits it
        values[name] = text if kinds.get(name) in ("names", "ints") or name in WORDS else unescape(text)
    values.update(given)
    selection = _selection(spec, {name: values.pop(name) for name in WORDS if name in values})
    resolved = resolve(spec.params, values, spec.name)
    return Stage(spec, resolved, word, tuple(name for name in kinds if name in values), selection)


def _selection(spec: Pass, given: Mapping[str, object]) -> Selection | None:
    """Return what ``only`` and ``skip`` select; None where neither is given."""
    items = resolve([Param(name, "names", [], "") for name in WORDS], given, spec.name)
    only, skip = (tuple(map(str, found)) for found in items.values() if isinstance(found, list))
    for name in given:
        if not items[name]:
            raise PassError(f"{spec.name}: {name}= names no match; write {name}=NODE+NODE")
    if not given:
        return None
    if spec.native is not None and not Native(spec.native).chooses:
        raise PassError(f"{spec.name} is a native pass and applies as a whole, without {next(iter(given))}=")
    return Selection(only or None, skip)
