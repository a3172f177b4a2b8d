"""Stripped weights put back from the file that they were left in."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from onnx import TensorProto

from graphtool.errors import PassError, quoted
from graphtool.graph import Graph
from graphtool.graph.bodies import all_tensors
from graphtool.graph.stripped import checksum_of, file_of, is_stripped, restore, sha1
from graphtool.graph.weights import Mapped
from graphtool.rewrite.result import Applied, Match


def apply(graph: Graph, params: Mapping[str, object]) -> Applied:
    """Put back every stripped weight; raises PassError where the file is missing, or another than it was."""
    given = params["path"]
    assert isinstance(given, str)
    sources: dict[tuple[str, str], Mapped] = {}
    matches = []
    for tensor in all_tensors(graph.proto):
        if not is_stripped(tensor):
            continue
        key = (file_of(tensor), checksum_of(tensor))
        if key not in sources:
            sources[key] = _source(graph, tensor, Path(given) if given else None)
        if int(_end(tensor)) > len(sources[key].view):
            raise PassError(f"{quoted(sources[key].path)} ends before the weight {quoted(tensor.name)}")
        restore(tensor, graph.weights, sources[key])
        matches.append(Match(tensor.name, "native"))
    if matches:
        graph.reindex()  # what was read of the weights is read anew
    return Applied(matches)


def _end(tensor: TensorProto) -> int:
    entries = {entry.key: entry.value for entry in tensor.external_data}
    try:
        return int(entries.get("offset", 0)) + max(int(entries.get("length", 0)), 0)
    except ValueError:
        raise PassError(f"the place of weight {quoted(tensor.name)} is no number") from None


def _source(graph: Graph, tensor: TensorProto, given: Path | None) -> Mapped:
    """Return the file that has the checksum: the one given, or of the recorded name beside it or beside the model."""
    name = Path(file_of(tensor)).name  # never outside the folder, whatever a stranger's model says
    folder = given.parent if given is not None else graph.weights.folder
    tried = [path for path in (given, folder / name if folder is not None else None) if path is not None]
    there = [path for path in tried if path.is_file()]
    if not there:
        where = " or ".join(quoted(path) for path in tried) or quoted(name)
        raise PassError(f"no file {where}: give the original model with path=FILE")
    try:
        for path in there:
            if sha1(path) == checksum_of(tensor):
                return Mapped(path.resolve())
    except OSError as error:
        raise PassError(f"{quoted(there[0])} cannot be read: {error.strerror}") from None
    raise PassError(f"{quoted(there[-1])} is not the file that the weights were left in: its SHA1 is another")
