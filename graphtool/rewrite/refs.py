"""Tensors of the graph as expressions see them: nothing is read of one before an expression asks. Floor 2."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from numpy.typing import NDArray

from graphtool.graph.values import Shape

Array = NDArray[Any]


def _nothing() -> None:
    return None


class Source(Protocol):
    """Where tensors of a graph are looked up by name, when an expression asks for what only the graph knows."""

    def constant(self, name: str) -> Array | None:
        """Return the value of a constant."""

    def look(self, name: str) -> tuple[int | None, Shape | None, int]:
        """Return the element type, the sizes and the number of readers."""

    def elements(self, name: str) -> Any:
        """Return what is known of the elements of a small integer tensor that is no constant (``graphtool.graph``)."""

    def quantizes(self) -> bool:
        """Whether the graph quantizes values."""

    def never_negative(self, name: str) -> bool:
        """Whether no element can be less than 0."""


class TensorRef:
    """A tensor of the graph as an expression sees it; what it is and its value are looked up only where one asks.

    ``dtype`` is an ``onnx.TensorProto`` data type (None or 0 unknown), ``shape`` None where the rank is unknown,
    ``constant`` returns the value or None, ``uses`` counts the readers, ``present`` is False for an optional input
    that the node leaves out. With a ``source`` all but the name is what that says.
    """

    __slots__ = ("_array", "_constant", "_dtype", "_seen", "_shape", "_source", "_uses", "name", "present")

    def __init__(
        self,
        name: str,
        dtype: int | None = None,
        shape: Shape | None = None,
        constant: Callable[[], Array | None] = _nothing,
        uses: int = 0,
        present: bool = True,
        source: Source | None = None,
    ) -> None:
        self.name = name
        self.present = present
        self._constant = constant
        self._dtype, self._shape, self._uses = dtype, shape, uses
        self._source = source
        self._seen = source is None
        self._array: Array | None = None

    def _see(self) -> None:
        if not self._seen and self._source is not None:
            self._dtype, self._shape, self._uses = self._source.look(self.name)
            self._seen = True

    @property
    def dtype(self) -> int | None:
        """The element type."""
        self._see()
        return self._dtype

    @property
    def shape(self) -> Shape | None:
        """The sizes: numbers, symbols of the model, None where a size is not known."""
        self._see()
        return self._shape

    @property
    def uses(self) -> int:
        """How many readers there are."""
        self._see()
        return self._uses

    @property
    def known(self) -> Array | None:
        """The value where it is constant; looked up once."""
        if self._array is None:
            self._array = self._constant() if self._source is None else self._source.constant(self.name)
        return self._array

    @property
    def elements(self) -> Any:
        """What is known of the elements of a small integer tensor that is no constant; None where nothing is."""
        return None if self._source is None else self._source.elements(self.name)

    @property
    def quantized(self) -> bool:
        """Whether the graph of the tensor quantizes values."""
        return self._source is not None and self._source.quantizes()

    @property
    def never_negative(self) -> bool:
        """Whether no element can be less than 0, as far as the nodes above say."""
        return self._source is not None and self._source.never_negative(self.name)


@dataclass(frozen=True, slots=True)
class Tensors:
    """The tensors that an input such as ``*xs`` of a pattern stands for."""

    refs: tuple[TensorRef, ...]
