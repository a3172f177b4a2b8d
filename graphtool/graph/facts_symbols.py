"""Symbols: sizes that are not known as numbers, and exact arithmetic on them.

The symbols of a model are the ``dim_param`` of its inputs. All others start with a mark that no symbol of the model
starts with (``?``): the size of one axis (``?name.0``), one element of an integer tensor (``?name#0``), both with
``@1`` or the like where the value is one of a body, and expressions (``?(64*N)``). Equal symbols are equal numbers in
every run, and nothing is said of different ones.

Sums and products are polynomials with integer coefficients, so that ``(N*2+2)-N*2`` is 2 whatever the order in which an
exporter wrote it. That holds in arithmetic modulo 2**64 too; what needs a sign (comparisons, division) takes it that
sizes computed in int64 do not overflow, and that the size of an axis fits 32 bits where a model casts it to int32.
"""

from __future__ import annotations

from collections.abc import Collection, Hashable
from math import prod

from onnx import TensorProto

from graphtool.graph.contents import RANGES

Size = int | str | None
Monomial = tuple[str, ...]  # factors in order, each as often as it occurs
Poly = dict[Monomial, int]

_INT64 = int(TensorProto.INT64)
_MOST_TERMS = 8
_MOST_FACTORS = 8
_LONG = 80  # characters of the name of an expression


class Symbols:
    """The symbols of one model. All arithmetic takes and returns numbers, symbols, or None for unknown."""

    def __init__(self, own: Collection[str] = ()) -> None:
        self.own = frozenset(own)
        taken = max((len(name) - len(name.lstrip("?")) for name in self.own), default=0)
        self.mark = "?" * (taken + 1)
        self._sums: dict[str, tuple[int, Poly]] = {}  # the element type in which it was computed, and the polynomial
        self._names: dict[Hashable, str] = {}
        self._products: dict[tuple[Size, ...], Size] = {}  # a graph of repeated layers asks for few, often
        self._taken: set[str] = set()
        self._signed: set[str] = set()  # those that may be negative
        self._smaller: dict[str, tuple[int | str, int | str]] = {}  # of which two a symbol is the smaller one

    # -- making symbols

    def is_own(self, size: object) -> bool:
        """Whether ``size`` is a symbol of the model."""
        return isinstance(size, str) and not size.startswith(self.mark)

    def known(self, name: str) -> str | None:
        """Return a symbol by its name; None for one that neither the model has nor was made here."""
        return name if name in self.own or name.startswith(self.mark) else None

    def is_axis(self, size: str) -> bool:
        """Whether a symbol is the size of an axis as it is, not computed from such and not an element of a tensor."""
        return size not in self._signed and not size.startswith(f"{self.mark}(")

    def axis(self, value: str, axis: int, scope: str = "") -> str:
        """Return the symbol for the size of an axis of a value; a ``scope`` tells values of one name apart."""
        return f"{self.mark}{value}.{axis}{scope}"

    def terms(self, size: str) -> Poly:
        """Return a symbol as a polynomial: factors, which are symbols that stand for themselves, to coefficients."""
        return dict(self._poly(size))

    def plain(self, symbol: str) -> str:
        """Return a symbol as a person is shown it: without the mark of those that the model does not name."""
        return self._bare(symbol)

    def element(self, value: str, place: int, scope: str = "") -> str:
        """Return the symbol for one element of an integer tensor."""
        name = f"{self.mark}{value}#{place}{scope}"
        self._signed.add(name)
        return name

    def _expression(self, key: Hashable, text: str, signed: bool) -> str:
        name = self._names.get(key)
        if name is None:
            if len(text) > _LONG:
                text = f"#{len(self._names)}"
            while text in self._taken:  # a symbol of the model may look like an expression
                text += "'"
            self._taken.add(text)
            name = self._names[key] = f"{self.mark}({text})"
            if signed:
                self._signed.add(name)
        return name

    def _bare(self, size: Size) -> str:
        text = str(size)
        return text[len(self.mark) :] if text.startswith(self.mark) else text

    # -- polynomials

    def _poly(self, size: int | str, dtype: int = _INT64) -> Poly:
        if isinstance(size, int):
            return {(): size} if size else {}
        known = self._sums.get(size)
        return known[1] if known is not None and known[0] == dtype else {(size,): 1}

    def _size(self, poly: Poly, dtype: int) -> Size:
        """Return the one name of a polynomial; None where it is too large to follow or does not fit its type."""
        low, high = RANGES.get(dtype, (0, 0))
        if not poly:
            return 0
        if len(poly) == 1:
            (factors, scale), *_ = poly.items()
            if not factors:
                return scale if low <= scale <= high else None
            if scale == 1 and len(factors) == 1:
                return factors[0]
        if dtype == TensorProto.BOOL or len(poly) > _MOST_TERMS or any(len(f) > _MOST_FACTORS for f in poly):
            return None
        if not all(low <= scale <= high for scale in poly.values()):
            return None
        key = (dtype, frozenset(poly.items()))
        name = self._names.get(key)
        if name is None:
            text = "+".join(
                "*".join([str(scale)] * (scale != 1 or not factors) + [self._bare(factor) for factor in factors])
                for factors, scale in sorted(poly.items(), key=lambda term: (-len(term[0]), term))
            )
            name = self._expression(key, text if dtype == _INT64 else f"{dtype}:{text}", False)
            self._sums[name] = (dtype, poly)
        return name

    def _sum(self, a: Poly, b: Poly, scale: int = 1) -> Poly:
        total = dict(a)
        for factors, count in b.items():
            total[factors] = total.get(factors, 0) + scale * count
            if not total[factors]:
                del total[factors]
        return total

    # -- arithmetic

    def add(self, a: Size, b: Size, dtype: int = _INT64) -> Size:
        """Return ``a + b``."""
        if a is None or b is None:
            return None
        return self._size(self._sum(self._poly(a, dtype), self._poly(b, dtype)), dtype)

    def sub(self, a: Size, b: Size, dtype: int = _INT64) -> Size:
        """Return ``a - b``."""
        if a is None or b is None:
            return None
        return self._size(self._sum(self._poly(a, dtype), self._poly(b, dtype), -1), dtype)

    def mul(self, a: Size, b: Size, dtype: int = _INT64) -> Size:
        """Return ``a * b``; 0 where one of them is 0."""
        if a == 0 or b == 0:
            return 0
        if a is None or b is None:
            return None
        left, right = self._poly(a, dtype), self._poly(b, dtype)
        if len(left) * len(right) > _MOST_TERMS:
            return None
        total: Poly = {}
        for one, count in left.items():
            for other, times in right.items():
                total = self._sum(total, {tuple(sorted(one + other)): count * times})
        return self._size(total, dtype)

    def product(self, sizes: Collection[Size]) -> Size:
        """Return the product of sizes of axes; 1 of none."""
        if all(isinstance(size, int) for size in sizes):
            return self._size({(): prod(sizes)} if prod(sizes) else {}, _INT64)  # type: ignore[arg-type]
        factors = tuple(sizes)
        if factors in self._products:
            return self._products[factors]
        total: Size = 0 if 0 in factors else 1
        for size in factors:
            total = self.mul(total, size)
        self._products[factors] = total
        return total

    def exact_quotient(self, a: Size, b: Size) -> Size:
        """Return ``a / b`` for a ``b`` that is not 0 and divides ``a``; None where it cannot be told."""
        if a is None or b is None or b == 0:
            return None
        quotient = self._divided(self._poly(a), self._poly(b))
        return None if quotient is None else self._size(quotient, _INT64)

    def _divided(self, a: Poly, b: Poly) -> Poly | None:
        if not a:
            return {}
        if len(b) != 1:  # only a multiple of a sum
            factors, scale = next(iter(b.items()))
            times, rest = divmod(a.get(factors, 0), scale)
            return {(): times} if times and not rest and not self._sum(a, b, -times) else None
        ((divisor, scale),) = b.items()
        quotient: Poly = {}
        for factors, count in a.items():
            left = list(factors)
            for factor in divisor:
                if factor not in left:
                    return None
                left.remove(factor)
            if count % scale:
                return None
            quotient[tuple(left)] = count // scale
        return quotient

    def div(self, a: Size, b: Size, dtype: int = _INT64) -> Size:
        """Return ``a / b`` rounded toward zero, as integer Div does (ONNX specification since opset 14)."""
        if a is None or b is None or b == 0:
            return None
        if isinstance(a, int) and isinstance(b, int):
            low, high = RANGES.get(dtype, (0, 0))
            number = abs(a) // abs(b) * (1 if (a < 0) == (b < 0) else -1)
            return number if low <= number <= high else None
        if isinstance(b, int):
            quotient = self._divided(self._poly(a), {(): b}) if self._is_whole(a) else None
            if quotient is not None:
                return self._size(quotient, dtype)
        elif a == b and self.positive(a):
            return 1
        signed = not (self.nonnegative(a) and self.nonnegative(b))
        return self._expression(("/", a, b), f"{self._bare(a)}//{self._bare(b)}", signed)

    def mod(self, a: Size, b: Size, floored: bool) -> Size:
        """Return the rest of ``a / b``, with the sign of ``b`` where ``floored``, else that of ``a``."""
        if a is None or b is None or b == 0:
            return None
        if isinstance(a, int) and isinstance(b, int):
            rest = abs(a) % abs(b) * (1 if a >= 0 else -1)
            return a % b if floored else rest
        if isinstance(b, int) and self._is_whole(a) and self._divided(self._poly(a), {(): b}) is not None:
            return 0
        if self.nonnegative(a) and self.nonnegative(b):
            return self._expression(("%", a, b), f"{self._bare(a)}%{self._bare(b)}", False)
        return self._expression(("%", floored, a, b), f"{self._bare(a)}%{self._bare(b)}", True)

    def minimum(self, a: Size, b: Size) -> Size:
        """Return the smaller of two."""
        if a is None or b is None:
            return None
        if self.at_most(a, b):
            return a
        if self.at_most(b, a):
            return b
        one, other = sorted((a, b), key=str)
        signed = not (self.nonnegative(a) and self.nonnegative(b))
        name = self._expression(("min", one, other), f"min({self._bare(one)},{self._bare(other)})", signed)
        self._smaller[name] = (one, other)
        return name

    def maximum(self, a: Size, b: Size) -> Size:
        """Return the larger of two."""
        if a is None or b is None:
            return None
        if self.at_most(a, b):
            return b
        if self.at_most(b, a):
            return a
        one, other = sorted((a, b), key=str)
        signed = not (self.nonnegative(a) or self.nonnegative(b))
        return self._expression(("max", one, other), f"max({self._bare(one)},{self._bare(other)})", signed)

    def broadcast(self, a: Size, b: Size) -> Size:
        """Return the size of an axis that is broadcast of two; None where it cannot be told."""
        if a == 1 or b == 1:
            return b if a == 1 else a
        if isinstance(a, int) or (a is not None and a == b):
            return a  # the other is 1 or the same
        if isinstance(b, int):
            return b
        return a if self._limits(b, a) else b if self._limits(a, b) else None

    def _limits(self, size: Size, other: Size) -> bool:
        """Whether a size is another one or, where that is larger, a positive number: the first places of a table."""
        both = self._smaller.get(size, ()) if isinstance(size, str) else ()
        return other in both and all(one == other or self.positive(one) for one in both)

    # -- signs

    def nonnegative(self, size: Size) -> bool:
        """Whether a size is known to be 0 or more."""
        if size is None or isinstance(size, int):
            return size is not None and size >= 0
        known = self._sums.get(size)
        if known is None:
            return size not in self._signed
        return known[0] == _INT64 and self._not_below(known[1], 0)

    def positive(self, size: Size) -> bool:
        """Whether a size is known to be 1 or more."""
        if size is None or isinstance(size, int):
            return size is not None and size > 0
        known = self._sums.get(size)
        return known is not None and known[0] == _INT64 and self._not_below(known[1], 1)

    def _not_below(self, poly: Poly, low: int) -> bool:
        if any(scale < 0 for factors, scale in poly.items() if factors) or poly.get((), 0) < low:
            return False
        return all(self.nonnegative(factor) for factors in poly for factor in factors)

    def at_most(self, a: Size, b: Size) -> bool:
        """Whether ``a <= b`` is known."""
        return self._differ_by(a, b, 0)

    def below(self, a: Size, b: Size) -> bool:
        """Whether ``a < b`` is known."""
        return self._differ_by(a, b, 1)

    def _differ_by(self, a: Size, b: Size, low: int) -> bool:
        if a is None or b is None or not (self._is_whole(a) and self._is_whole(b)):
            return False
        return self._not_below(self._sum(self._poly(b), self._poly(a), -1), low)

    def _is_whole(self, size: int | str) -> bool:
        """Whether a size is what its expression says: neither a sum in a narrow type nor one of given numbers wraps."""
        known = self._sums.get(size) if isinstance(size, str) else None
        if known is None:
            return True
        return known[0] == _INT64 and not any(factor in self._signed for factors in known[1] for factor in factors)

    def vanishes_with(self, size: Size, other: Size) -> bool:
        """Whether ``size`` is known to be 0 whenever ``other`` is 0."""
        if size is None or other is None:
            return False
        if isinstance(other, int):
            return other != 0 or size == 0
        terms = self._poly(other)
        if len(terms) > 1:
            return size == other
        ((causes, _),) = terms.items()
        # one of the factors of `other` is 0, whichever it is: each must be in every term of `size`
        return all(cause in factors for cause in causes for factors in self._poly(size))
