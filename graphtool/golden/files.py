"""The files of golden records: which there are, read with every fault named. Floor 5."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

from graphtool.errors import GoldenError, did_you_mean, quoted, show
from graphtool.golden.read import from_toml
from graphtool.golden.records import Record, StepRecord

FOLDER = Path("golden")
RUN, OUTPUTS, STEPS, DATA_SET = "run.txt", "outputs.toml", "steps", "test_data_set_0"
OWN = frozenset({RUN, OUTPUTS, STEPS, DATA_SET})
_NAME = re.compile(r"[A-Za-z0-9_-]{1,100}")
_MOST_BYTES = 1 << 26  # of a file of a record


def list_goldens(folder: Path = FOLDER) -> tuple[str, ...]:
    """Return the names of the records in ``folder``, in order; none where there is no such folder."""
    if not folder.is_dir():
        return ()
    return tuple(sorted(p.name for p in folder.iterdir() if _NAME.fullmatch(p.name) and (p / OUTPUTS).is_file()))


def place_of(name: str, folder: Path) -> Path:
    """Return where a record of this name lies; raises GoldenError for what is no name."""
    if not _NAME.fullmatch(name):
        raise GoldenError(f"{quoted(name)} is no name for a golden: use letters, digits, - and _ (at most 100)")
    return folder / name


def existing(name: str, folder: Path) -> Path:
    """Return the folder of a record that there is; raises GoldenError with the names that there are."""
    target = place_of(name, folder)
    if not target.is_dir():
        known = list_goldens(folder)
        hint = did_you_mean(name, known) or (f"; there are {', '.join(known)}" if known else "; there is none")
        raise GoldenError(f"no golden {quoted(name)} in {quoted(folder)}{hint}")
    return target


def read_record(target: Path) -> tuple[Record, list[str]]:
    """Return a record and the lines of its graph."""
    kept = from_toml(read_text(target / OUTPUTS), show(target / OUTPUTS))
    return kept, _held(target / RUN, kept.run_sha256, "graph.sha256")


def read_step(target: Path, number: int, step: StepRecord) -> list[str]:
    """Return the lines of the graph after a step that has a file."""
    return _held(target / step.file, step.sha256, f"pipeline.step[{number}].sha256")


def _held(path: Path, digest: str, key: str) -> list[str]:
    text = read_text(path)
    if sha256(text.encode()) != digest:
        raise GoldenError(
            f"{show(path)}: it is not the text whose sha256 is in {OUTPUTS} ({key}); "
            "truncated or edited? restore both files, or update the record"
        )
    return text.splitlines()


def read_text(path: Path) -> str:
    """Return the text of a file of a record."""
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise GoldenError(f"{show(path)}: larger than {_MOST_BYTES} bytes")
        # a checkout may have turned LF into CR LF
        return path.read_bytes().decode().replace("\r\n", "\n")
    except OSError as error:
        raise GoldenError(f"{show(path)}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise GoldenError(f"{show(path)}: not UTF-8 text at byte {error.start}") from None


def sha256(data: bytes) -> str:
    """Return the SHA-256 of bytes in hexadecimal digits."""
    return hashlib.sha256(data).hexdigest()
