"""Types and sizes of the values of one graph, as amounts."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from onnx import TensorProto

from graphtool.analysis.amounts import Amount, amount_of, product, text
from graphtool.graph import Graph
from graphtool.graph.values import dtype_name

# bits of an element; strings have no size of their own
_BITS = {
    TensorProto.FLOAT: 32, TensorProto.DOUBLE: 64, TensorProto.FLOAT16: 16, TensorProto.BFLOAT16: 16,
    TensorProto.INT8: 8, TensorProto.UINT8: 8, TensorProto.BOOL: 8, TensorProto.INT16: 16, TensorProto.UINT16: 16,
    TensorProto.INT32: 32, TensorProto.UINT32: 32, TensorProto.INT64: 64, TensorProto.UINT64: 64,
    TensorProto.COMPLEX64: 64, TensorProto.COMPLEX128: 128,
    **{
        code: bits
        for name, bits in (
            ("FLOAT8E4M3FN", 8), ("FLOAT8E4M3FNUZ", 8), ("FLOAT8E5M2", 8), ("FLOAT8E5M2FNUZ", 8), ("FLOAT8E8M0", 8),
            ("UINT4", 4), ("INT4", 4), ("FLOAT4E2M1", 4), ("UINT2", 2), ("INT2", 2),
        )
        if (code := getattr(TensorProto, name, None)) is not None
    },
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Sized:
    """A value: element type (``TensorProto.DataType``, 0 unknown), sizes (None: unknown rank), constant or not."""

    name: str
    dtype: int
    shape: tuple[Amount | None, ...] | None
    constant: bool = False

    @property
    def elements(self) -> Amount | None:
        """The number of elements; None where it is unknown."""
        return None if self.shape is None else _elements(self.shape)

    @property
    def bytes(self) -> Amount | None:
        """The bytes that the elements take, packed; None where that is unknown or there are symbols under a byte."""
        bits = _BITS.get(self.dtype)
        count = self.elements
        if bits is None or count is None:
            return None
        return count * (bits // 8) if bits % 8 == 0 else -(-count * bits // 8) if isinstance(count, int) else None

    def text(self) -> str:
        """Return type and sizes, such as ``float32[1,3,H,W]``."""
        if self.shape is None:
            return dtype_name(self.dtype)
        return f"{dtype_name(self.dtype)}[{','.join(text(size).replace(' ', '') for size in self.shape)}]"


@lru_cache(4096)
def _elements(shape: tuple[Amount | None, ...]) -> Amount | None:
    """Return the number of elements: thousands of values of a large model have few shapes."""
    return product(shape)


class Sizes:
    """Looks up the values of one graph, or of a body; each is looked at once."""

    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self._known: dict[str, Sized] = {}
        self._amounts: dict[str, Amount] = {}
        self._constants: frozenset[str] = frozenset(graph.initializers)

    def of(self, name: str) -> Sized:
        """Return what is known of a value."""
        found = self._known.get(name)
        if found is None:
            fact = self._graph.facts.fact(name)
            shape = None if fact.shape is None or fact.kind != "tensor" else tuple(map(self._amount, fact.shape))
            constant = name in self._constants or self._graph.is_constant(name)
            found = self._known[name] = Sized(name, fact.dtype, shape, constant)
        return found

    def _amount(self, size: int | str | None) -> Amount | None:
        if not isinstance(size, str):
            return size
        found = self._amounts.get(size)
        if found is None:
            symbols = self._graph.facts.symbols
            terms = {tuple(map(symbols.plain, factors)): count for factors, count in symbols.terms(size).items()}
            found = self._amounts[size] = amount_of(terms)
        return found
