"""Outputs of a run as files, to be compared again without running anything.

A folder holds ``outputs.json`` and an ``.npz`` a feed. numpy's files know no bfloat16, float8 or 4-bit integers: their
bytes are kept, and ``outputs.json`` says what they are. A folder of plain ``.npz`` files is read too.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
from numpy.typing import NDArray

from graphtool.errors import FeedError, quoted, show
from graphtool.graph.save import write_text
from graphtool.parity.eps import is_extension
from graphtool.parity.feed_files import write_npz

Array = NDArray[Any]
Outputs = dict[str, Array]

INDEX = "outputs.json"
FORMAT = "graphtool/outputs/1"


def check_folder(folder: Path) -> None:
    """Raise FeedError where outputs cannot be saved there: it holds something else."""
    if folder.exists() and not folder.is_dir():
        raise FeedError(f"{quoted(folder)} is not a folder")
    if folder.is_dir() and any(folder.iterdir()) and not (folder / INDEX).is_file():
        raise FeedError(f"{quoted(folder)} holds files that graphtool did not write; give another folder")


def write_outputs(folder: Path, runs: Sequence[tuple[str, Mapping[str, Array]]]) -> None:
    """Write the outputs of runs, each with the name of its feed; files of an earlier run are replaced.

    Raises FeedError for a folder that is not graphtool's, and for an output that no file can hold (a map).
    """
    check_folder(folder)
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("feed_*.npz"):
        old.unlink()
    listed = []
    for number, (feed, outputs) in enumerate(runs):
        arrays: dict[str, Array] = {}
        kinds = {}
        for name, value in outputs.items():
            kinds[name] = _packed(name, value, arrays)
        write_npz(folder / f"feed_{number}.npz", arrays, packed=False)
        listed.append({"feed": feed, "file": f"feed_{number}.npz", "outputs": kinds})
    write_text(folder / INDEX, json.dumps({"format": FORMAT, "feeds": listed}, indent=1) + "\n")


def _packed(name: str, value: Array, arrays: dict[str, Array]) -> dict[str, Any]:
    """Put an output into ``arrays`` under keys of its own, and return how to read it back."""
    if value.dtype.hasobject and not all(isinstance(item, str | bytes) for item in value.reshape(-1)):
        items = value.reshape(-1).tolist()
        if value.ndim == 0 and items == [None]:
            return {"kind": "none"}
        if value.ndim != 1 or not all(isinstance(item, np.ndarray) for item in items):
            raise FeedError(f"output {quoted(name)} is a map, which cannot be saved")
        return {
            "kind": "sequence", "items": [_packed(f"{name}[{n}]", item, arrays) for n, item in enumerate(items)],
        }  # fmt: skip
    key = f"{len(arrays)}" if not name or "/" in name or "\\" in name or name in arrays else name
    if value.dtype.kind in "OUS":
        words = [word.decode("utf-8", "surrogateescape") if isinstance(word, bytes) else word for word in value.flat]
        arrays[key] = np.frombuffer(json.dumps(words).encode(), np.uint8)  # numpy's text drops zeros at the end
        return {"kind": "strings", "key": key, "shape": list(value.shape)}
    if is_extension(value.dtype):
        arrays[key] = np.require(value, requirements="C").view(f"u{value.dtype.itemsize}")
        return {"kind": "tensor", "key": key, "type": value.dtype.name}
    arrays[key] = value
    return {"kind": "tensor", "key": key, "type": value.dtype.name}


def read_outputs(folder: Path) -> list[tuple[str, Outputs]]:
    """Return the outputs in a folder by feed, in the order written; or those in a single ``.npz``. Raises FeedError."""
    if folder.is_file() and folder.suffix == ".npz":
        return [(folder.name, _plain(folder))]
    if not folder.is_dir():
        raise FeedError(f"{quoted(folder)}: no such folder of saved outputs")
    if not (folder / INDEX).is_file():
        files = sorted(folder.glob("*.npz"))
        if not files:
            raise FeedError(f"{quoted(folder)} holds neither {INDEX} nor .npz files")
        return [(file.name, _plain(file)) for file in files]
    try:
        index = json.loads((folder / INDEX).read_text("utf-8"))
        if index["format"] != FORMAT:
            raise FeedError(f"{quoted(folder / INDEX)} is of format {quoted(index['format'])}, not {FORMAT}")
        found = []
        for entry in index["feeds"]:
            if not re.fullmatch(r"feed_\d+\.npz", entry["file"]):
                raise FeedError(
                    f"{quoted(folder / INDEX)} names a file {quoted(entry['file'])} that is none of its own"
                )
            arrays = _plain(folder / entry["file"])
            found.append(
                (str(entry["feed"]), {str(n): _unpacked(kind, arrays) for n, kind in entry["outputs"].items()})
            )
    except FeedError:
        raise
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        reason = show(str(error) or type(error).__name__)
        raise FeedError(f"{quoted(folder / INDEX)} is not a sound index of saved outputs: {reason}") from None
    return found


def _unpacked(kind: Mapping[str, Any], arrays: Mapping[str, Array]) -> Array:
    if kind["kind"] == "none":
        return np.array(None, object)
    if kind["kind"] == "sequence":
        boxed = np.empty(len(kind["items"]), object)
        for place, item in enumerate(kind["items"]):
            boxed[place] = _unpacked(item, arrays)
        return boxed
    array = arrays[kind["key"]]
    if kind["kind"] == "strings":
        return np.array(json.loads(array.tobytes()), object).reshape(kind["shape"])
    small = getattr(ml_dtypes, str(kind["type"]), None)
    wanted = np.dtype(small) if small is not None else np.dtype(str(kind["type"]))
    if array.dtype != wanted and array.dtype.itemsize != wanted.itemsize:
        raise ValueError(f"{kind['type']} does not fit {array.dtype}")
    return array.view(wanted) if array.dtype != wanted else array


def _plain(path: Path) -> Outputs:
    try:
        with np.load(path, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except Exception as error:  # numpy, zipfile and zlib on a stranger's bytes
        reason = show(str(error).partition("\n")[0] or type(error).__name__)
        raise FeedError(f"{quoted(path)}: not a sound .npz file: {reason}") from None
