"""What native conditions look at: a graph and a target, with what several of them want worked out once."""

from __future__ import annotations

from functools import cached_property

from graphtool.analysis.amounts import Amount
from graphtool.analysis.layout import Conversion, conversions
from graphtool.analysis.memory import peak
from graphtool.analysis.roofline import half_bytes
from graphtool.analysis.sizes import Sized, Sizes
from graphtool.atc.outputs import out_node_words
from graphtool.graph import Graph
from graphtool.graph.bodies import all_tensors
from graphtool.lint.target import Aim

_FLOAT, _FLOAT16 = 1, 10  # TensorProto.DataType


class _HalfSizes(Sizes):
    """Sizes with float32 held as float16."""

    def of(self, name: str) -> Sized:
        """Return what is known of a value."""
        value = super().of(name)
        return Sized(name, _FLOAT16, value.shape, value.constant) if value.dtype == _FLOAT else value


class Ground:
    """A graph that is not edited, and the target it is held against."""

    def __init__(self, graph: Graph, aim: Aim) -> None:
        self.graph, self.aim = graph, aim
        self.sizes = Sizes(graph)

    @cached_property
    def words(self) -> dict[str, str | None]:
        """The word of each output for out_nodes; None where it has none."""
        return out_node_words(self.graph)

    @cached_property
    def named(self) -> frozenset[str]:
        """The outputs that the profile keeps, by out_nodes or prune_outputs."""
        outputs = {value.name for value in self.graph.outputs}
        words = {word: name for name, word in self.words.items() if word is not None}
        found = set()
        for text in (*self.aim.options.get("out_nodes", "").split(";"), *self.aim.keep):
            word = text.strip()
            name = words.get(word) or words.get(f"{word}:0") or (word if word in outputs else None)
            found |= {name} if name else set()
        return frozenset(found)

    @cached_property
    def kept(self) -> list[str]:
        """The outputs that are kept; all where the profile says nothing."""
        outputs = [value.name for value in self.graph.outputs]
        return [name for name in outputs if name in self.named] or outputs

    @cached_property
    def conversions(self) -> tuple[Conversion, ...]:
        """The format conversions that are to be expected."""
        aim = self.aim
        wide = aim.device is not None and aim.device.wide_resize
        half_out = aim.options.get("output_type", "").upper() == "FP16"
        return tuple(conversions(self.graph, self.sizes, self.group, aim.float16, half_out, wide))

    @property
    def group(self) -> int:
        """The group of channels in NC1HWC0."""
        return self.aim.device.channels if self.aim.device is not None else 16

    @cached_property
    def needs(self) -> tuple[tuple[int, int], ...]:
        """Each batch with the bytes it needs: weights and the peak of activations, float32 as float16.

        Empty where sizes are open.
        """
        highest: Amount | None = peak(self.graph, _HalfSizes(self.graph)).bytes
        first = next((v.shape[0] for v in self.graph.inputs if v.shape), None)
        if not isinstance(highest, int) or not isinstance(first, int) or not first:
            return ()
        tensors = [Sized(t.name, t.data_type, tuple(t.dims), True) for t in all_tensors(self.graph.proto)]
        weights = sum(half_bytes(value) or 0 for value in tensors)
        return tuple((batch, weights + highest * batch // first) for batch in self.aim.batches or (first,))
