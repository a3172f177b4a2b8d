"""Functions of expressions about an Einsum that is one product of matrices, in batches. Floor 2.

Of two operands, a letter that both have and the result has is a batch; one of the first operand and the result stands
for rows, one of the second and the result for columns, and one of both operands alone is summed. A MatMul multiplies
batches, rows, sums by batches, sums, columns, and broadcasts: rows but the last may stand before the batches. The first
line of a docstring is the function's line in the documentation of the pass language.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from graphtool.rewrite.functions_lists import equation
from graphtool.rewrite.functions_values import describe, integer, items


class _Product(NamedTuple):
    """The letters of two operands and their result; ``wanted`` is each of them in the order of a MatMul."""

    letters: tuple[str, str, str]
    wanted: tuple[str, str, str]
    sums: str
    columns: str
    counts: tuple[int, int, int, int]
    """How many letters are batches, rows, summed, and columns."""


def _product(text: object) -> _Product:
    left, _, result = equation(text).partition("->")
    first, comma, second = left.partition(",")
    if not comma or "," in second:
        raise ValueError(f"the equation {describe(text)} has not two operands")
    if any(len(set(letters)) < len(letters) for letters in (first, second, result)):
        raise ValueError(f"the equation {describe(text)} takes a diagonal")
    if any((letter in first) + (letter in second) + (letter in result) < 2 for letter in first + second):
        raise ValueError(f"the equation {describe(text)} sums within one operand")
    batches = "".join(letter for letter in result if letter in first and letter in second)
    rows = "".join(letter for letter in result if letter not in second)
    columns = "".join(letter for letter in result if letter not in first)
    sums = "".join(letter for letter in first if letter not in result)
    if not sums or not rows + columns:
        raise ValueError(f"the equation {describe(text)} is no product of matrices")
    lead = rows[:-1] + batches + rows[-1:]
    return _Product(
        (first, second, result),
        (lead + sums, batches + sums + columns, lead + columns),
        sums,
        columns,
        (len(batches), len(rows), len(sums), len(columns)),
    )


def einsum_plain(eq: object, a: object, b: object) -> str:
    """The equation of an Einsum of shapes a and b with letters in place of the dimensions that "..." stands for."""
    text = eq.replace(" ", "") if isinstance(eq, str) else ""
    left, arrow, result = text.partition("->")
    terms, shapes = left.split(","), (items(a), items(b))
    if len(terms) != 2 or any(term.count("...") > 1 for term in (*terms, result)):
        raise ValueError(f"the equation {describe(eq)} has not two operands, with at most one '...' each")
    more = [len(dims) - len(term.replace("...", "")) for term, dims in zip(terms, shapes, strict=True)]
    if any(count < 0 or (count and "..." not in term) for term, count in zip(terms, more, strict=True)):
        raise ValueError(f"the equation {describe(eq)} is not one of {len(shapes[0])} and {len(shapes[1])} dimensions")
    free = [c for c in "abcdefghijklmnopqrstuvwxyz" if c not in text.lower()][: max(more)]
    if len(free) < max(more):
        raise ValueError(f"the equation {describe(eq)} leaves too few letters")
    if not arrow:  # what "..." stands for, then the letters that are there once, in alphabetical order
        letters = left.replace(".", "").replace(",", "")
        if letters and not (letters.islower() or letters.isupper()):
            raise ValueError(f"the equation {describe(eq)} leaves its result to the order of large and small letters")
        result = "..." + "".join(sorted(letter for letter in set(letters) if letters.count(letter) == 1))
    first, second = (
        term.replace("...", "".join(free[len(free) - count :])) for term, count in zip(terms, more, strict=True)
    )
    return f"{first},{second}->{result.replace('...', ''.join(free))}"


def einsum_counts(eq: object) -> list[int]:
    """The numbers of letters that are batches, rows, summed, and columns in the equation of an Einsum."""
    return list(_product(eq).counts)


def einsum_order(eq: object, operand: object) -> list[int]:
    """The axes of operand 0 or 1, or of the result (2), in the order in which a MatMul reads and makes them."""
    product, which = _product(eq), integer(operand)
    if not 0 <= which <= 2:
        raise ValueError(f"operand {which} of two")
    return [product.letters[which].index(letter) for letter in product.wanted[which]]


def einsum_turned(eq: object, operand: object) -> str:
    """The equation with the letters of operand 0 or 1, or of the result (2), in the order of a MatMul."""
    product, which = _product(eq), integer(operand)
    if not 0 <= which <= 2:
        raise ValueError(f"operand {which} of two")
    first, second, result = ((product.wanted if at == which else product.letters)[at] for at in range(3))
    return f"{first},{second}->{result}"


def einsum_joined(eq: object) -> str:
    """The equation in the order of a MatMul, with one letter for those that are summed."""
    product = _product(eq)
    first, second, result = (letters.replace(product.sums, product.sums[0]) for letters in product.wanted)
    return f"{first},{second}->{result}"


def einsum_fits(eq: object, a: object, b: object) -> bool:
    """Whether a MatMul can do the Einsum of shapes a and b, after a Reshape where letters have to be joined.

    Einsum broadcasts an extent of 1 even where it is summed, and MatMul does not; a Reshape needs known numbers.
    """
    product = _product(eq)
    first, second = _extents(product.letters[0], a), _extents(product.letters[1], b)
    if any(first[letter] != second[letter] for letter in first if letter in second):
        return False
    joined = product.columns if len(product.columns) > 1 else ""
    if len(product.sums) > 1:
        joined = product.sums + product.columns
    sizes = [second[letter] for letter in joined]
    return all(isinstance(size, int) and size > 0 for size in sizes)


def _extents(letters: str, dims: object) -> dict[str, object]:
    found: Sequence[object] = items(dims)
    if len(found) != len(letters):
        raise ValueError(f"{len(letters)} letters for {len(found)} dimensions")
    return dict(zip(letters, found, strict=True))
