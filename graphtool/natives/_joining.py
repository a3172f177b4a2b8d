"""Letting one value stand for another that equals it: what both passes for equal parts of a graph share."""

from __future__ import annotations

from onnx import TensorAnnotation

from graphtool.graph import Graph
from graphtool.graph.fields import keep_only
from graphtool.graph.sort import needed_names

Note = tuple[tuple[str, str], ...]


class Joiner:
    """Joins values of one level that are known to be equal, and so are their notes; :meth:`finish` ends it.

    ``stays`` are the level's outputs and the scales and zero points that annotations point to: their names stay.
    """

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.stays = needed_names(graph)
        self._notes = {note.tensor_name: _said(note) for note in graph.header.quantization_annotation}
        self._gone: set[str] = set()

    def note(self, name: str) -> Note:
        """Return what the quantization annotation of a value says; ``()`` where there is none."""
        return self._notes.get(name, ()) if self._notes else ()

    def may_stand_for(self, kept: str, gone: str) -> bool:
        """Whether everything that reads ``gone``, in bodies too, can read ``kept``: it has no other meaning there."""
        return not any(self.graph.hides(kept, slot) for slot in self.graph.index.reader_slots(gone))

    def redirect(self, gone: str, kept: str) -> None:
        """Let every reader of ``gone`` read ``kept``."""
        self._gone.add(gone)
        self.graph.replace_uses(gone, kept)

    def finish(self) -> None:
        """Drop the annotations of names that are gone."""
        notes = self.graph.header.quantization_annotation
        if self._gone and notes:
            keep_only(notes, lambda note: note.tensor_name not in self._gone)


def _said(note: TensorAnnotation) -> Note:
    return tuple(sorted((entry.key, entry.value) for entry in note.quant_parameter_tensor_names))
