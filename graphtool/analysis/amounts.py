"""Amounts: numbers of elements, bytes and multiply-adds, exact, with symbols where sizes are open.

An amount is a Python integer, or a :class:`Poly` where it depends on a symbol of the model. None stands for unknown.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Union

from graphtool.errors import show

Terms = Mapping[tuple[str, ...], int]
Amount = Union[int, "Poly"]


@dataclass(frozen=True, eq=True)
class Poly:
    """A polynomial with integer coefficients: symbols in order, each as often as it is a factor, to a coefficient.

    >>> str(amount_of({("N",): 3, (): 1}) * amount_of({("N",): 1}))
    '3*N*N + N'
    """

    terms: tuple[tuple[tuple[str, ...], int], ...]

    def __add__(self, other: Amount) -> Amount:
        total = dict(self.terms)
        for factors, count in _terms(other):
            total[factors] = total.get(factors, 0) + count
        return amount_of(total)

    def __mul__(self, other: Amount) -> Amount:
        total: dict[tuple[str, ...], int] = {}
        for left, a in self.terms:
            for right, b in _terms(other):
                factors = tuple(sorted(left + right))
                total[factors] = total.get(factors, 0) + a * b
        return amount_of(total)

    def __sub__(self, other: Amount) -> Amount:
        return self + other * -1

    def __rsub__(self, other: int) -> Amount:
        return self * -1 + other

    def __radd__(self, other: int) -> Amount:
        return self + other

    def __rmul__(self, other: int) -> Amount:
        return self * other

    def __str__(self) -> str:
        parts = []
        for factors, count in sorted(self.terms, key=lambda term: (-len(term[0]), term)):
            words = [str(count)] * (count != 1 or not factors) + [show(factor) for factor in factors]
            parts.append("*".join(words))
        return " + ".join(parts)


def amount_of(terms: Terms) -> Amount:
    """Return the amount with these terms: an integer where no symbol is left."""
    kept = tuple(sorted((factors, count) for factors, count in terms.items() if count))
    if not kept:
        return 0
    if len(kept) == 1 and not kept[0][0]:
        return kept[0][1]
    return Poly(kept)


def _terms(amount: Amount) -> Iterable[tuple[tuple[str, ...], int]]:
    return amount.terms if isinstance(amount, Poly) else (((), amount),)


def product(amounts: Iterable[Amount | None]) -> Amount | None:
    """Return the product; 0 where a factor is 0, else None where one is unknown."""
    total: Amount = 1
    unknown = False
    for amount in amounts:
        if amount is None:
            unknown = True
        else:
            total = total * amount
    return None if unknown and total != 0 else total


def total_of(amounts: Iterable[Amount | None]) -> tuple[Amount, int]:
    """Return the sum of those that are known, and how many are not."""
    total: dict[tuple[str, ...], int] = {}
    unknown = 0
    for amount in amounts:
        if amount is None:
            unknown += 1
            continue
        for factors, count in _terms(amount):
            total[factors] = total.get(factors, 0) + count
    return amount_of(total), unknown


def is_at_least(a: Amount, b: Amount) -> bool:
    """Whether ``a`` is not below ``b`` whatever non-negative numbers the symbols are, as far as coefficients tell."""
    return all(count >= 0 for _, count in _terms(a - b))


def ceil_to(amount: Amount | None, step: int) -> Amount | None:
    """Return a number rounded up to a multiple of ``step``; None for one that is not known as a number."""
    return -(-amount // step) * step if isinstance(amount, int) else None


def text(amount: Amount | None) -> str:
    """Return an amount exactly; ``?`` where it is unknown."""
    return "?" if amount is None else str(amount)


_UNITS = (("T", 10**12), ("G", 10**9), ("M", 10**6), ("k", 10**3))
_LONG = 80  # characters of a polynomial


def short(amount: Amount | None) -> str:
    """Return an amount in a few digits, such as ``114.4 G``; below 10,000 exactly; ``open`` for a long formula."""
    if not isinstance(amount, int):
        return _fitting(text(amount))
    return _scaled(amount) if amount >= 10_000 else str(amount)


def short_bytes(amount: Amount | None) -> str:
    """Return bytes in a few digits, units of 1000: ``159.4 MB``."""
    if not isinstance(amount, int):
        words = _fitting(text(amount))
        return words if words == "open" else f"{words} B"
    return f"{_scaled(amount)}B" if amount >= 1000 else f"{amount} B"


def change(before: Amount, after: Amount) -> str:
    """Return how much more there is after than before: ``+28.8 %``, ``=`` for none, ``?`` where sizes are open."""
    if before == after:
        return "="
    if not isinstance(before, int) or not isinstance(after, int):
        return "?"
    return f"{100 * (after / before - 1):+.3g} %" if before else "new"


def _scaled(amount: int) -> str:
    unit, size = next((unit, size) for unit, size in _UNITS if amount >= size)
    return f"{amount / size:.4g} {unit}"


def _fitting(words: str) -> str:
    """Return a formula that fits in a line; half of one says less than that sizes are open."""
    return words if len(words) <= _LONG else "open"
