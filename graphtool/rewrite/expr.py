"""The expressions of pass files: parsed and checked once, evaluated over each match. Floor 2.

The language is small and total: numbers, strings, flat lists, tensors, operators, and calls from the fixed list in
:data:`graphtool.rewrite.functions.FUNCTIONS`. It borrows Python's grammar, and a whitelist over the whole tree decides
what of it is allowed; no part of the text is ever executed. Size, depth and results are bounded, so a hostile pass
file can neither crash nor stall the process.
"""

from __future__ import annotations

import ast
import re
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property, partial

import numpy as np

from graphtool.errors import PassError, did_you_mean, quoted, show
from graphtool.rewrite import functions_operators as operators
from graphtool.rewrite.expr_compile import BINARY, COMPARE, MARK, WORDS, Evaluate, compiled, needed_constants
from graphtool.rewrite.functions import FAR, FUNCTIONS
from graphtool.rewrite.refs import TensorRef

__all__ = ["FUNCTIONS", "MAX_LENGTH", "Expr", "ExprError", "TensorRef"]

MAX_LENGTH = 500
MAX_DEPTH = 64  # of brackets and of the tree: far below what the parser and Python's own stack stand

# `@axis` becomes an identifier of the same length, with MARK in front. Outside strings the text is ASCII, so no other
# name can begin so, and a place in the parsed text is the same place in the written one.
_PIECE = re.compile(r"""'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*"|@[A-Za-z_]|[A-Za-z0-9_ ,.*+/<>=!%:-]+|.""", re.DOTALL)


class ExprError(PassError):
    """An expression that is not allowed, or has no value here. The message is the reason; the caller adds where."""


class _NoValueError(ExprError):
    """A part of an expression that has no value here. Most are raised where nobody reads the message."""

    def __init__(self, marked: str, node: ast.expr, error: Exception) -> None:
        super().__init__()
        self._what = marked, node, error

    def __str__(self) -> str:
        marked, node, error = self._what
        reason = show(error) or "too large"  # a MemoryError says nothing
        return f"{quoted(_segment(node, marked))}: {reason}"


@dataclass(frozen=True)
class Expr:
    """A checked expression. ``names`` and ``attributes`` (without ``@``) are all it reads from its environment.

    Where one of ``constants`` is a tensor whose value is not known, the expression has no value.
    """

    text: str
    names: frozenset[str]
    attributes: frozenset[str]
    constants: frozenset[str]
    _tree: ast.expr = field(repr=False, compare=False)
    _marked: str = field(repr=False, compare=False)

    @classmethod
    def parse(cls, text: str) -> Expr:
        """Return the expression written in ``text``; raises ExprError where it is not one, or not an allowed one."""
        if not isinstance(text, str) or not text.strip():
            raise ExprError("an expression is a string that is not empty")
        if len(text) > MAX_LENGTH:
            raise ExprError(f"an expression has at most {MAX_LENGTH} characters, this one {len(text)}")
        marked = _mark(text)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # about invalid escapes, once for each Python version
                tree = ast.parse(marked, mode="eval").body
        except SyntaxError as error:
            raise ExprError(f"{quoted(text)} is not an expression ({_unmark(error.msg)})") from None
        except (ValueError, RecursionError, MemoryError) as error:
            raise ExprError(f"{quoted(text)} is not an expression ({error})") from None
        names = set(_check(tree, marked)) - WORDS.keys()
        attributes = {name for name in names if name.startswith(MARK)}
        plain = frozenset(names - attributes)
        read = frozenset(a.removeprefix(MARK) for a in attributes)
        return cls(text, plain, read, frozenset(needed_constants(tree)), tree, marked)

    def evaluate(self, env: Mapping[str, object]) -> object:
        """Return the value over ``env``: a number, string, None, list, array or TensorRef.

        ``env`` holds plain names, and attributes under ``"@name"``; a plain name that is missing is looked up there
        too. An attribute that is missing is None. Raises ExprError, naming the part of the expression that failed.
        """
        with np.errstate(all="ignore"):
            return self.quiet(env)

    @cached_property
    def quiet(self) -> Evaluate:
        """What :meth:`evaluate` calls: for a caller that has told numpy to ignore overflow and the like."""
        return compiled(self._tree, partial(_NoValueError, self._marked))  # of most rewrites no match gets so far

    @cached_property
    def looks_far(self) -> bool:
        """Whether the value depends on nodes far from the tensors that the expression reads."""
        calls = (node.func for node in ast.walk(self._tree) if isinstance(node, ast.Call))
        return any(isinstance(function, ast.Name) and function.id in FAR for function in calls)

    def holds(self, env: Mapping[str, object]) -> bool:
        """Return whether the value counts as true; raises ExprError as :meth:`evaluate` does."""
        return self.decides(self.evaluate(env))

    def decides(self, value: object) -> bool:
        """Return whether a value of the expression counts as true; raises ExprError where it does neither."""
        try:
            return operators.truth(value)
        except ValueError as error:
            raise ExprError(f"{quoted(self.text)}: {error}") from None


def _mark(text: str) -> str:
    """Return ``text`` on one line and with attributes as identifiers; raises ExprError for what no expression holds."""
    depth = 0
    pieces = []
    for piece in _PIECE.findall(text.strip()):
        if len(piece) == 1:
            depth += (piece in "([{") - (piece in ")]}")
            if depth > MAX_DEPTH:
                raise ExprError(f"brackets are nested more than {MAX_DEPTH} deep")
            if piece in "#\\" or not piece.isascii():
                raise ExprError(f"{quoted(piece)} is not allowed in a pass file")
            pieces.append(" " if piece.isspace() else piece)
        elif piece[0] == "@":
            pieces.append(MARK + piece[1:])
        else:
            pieces.append(piece)
    return "".join(pieces)


def _unmark(text: str) -> str:
    return text.replace(MARK, "@")


def _segment(node: ast.AST, marked: str) -> str:
    return _unmark(ast.get_source_segment(marked, node) or "expression")


def _check(root: ast.expr, marked: str) -> Iterator[str]:
    """Yield the names that the tree reads, attributes marked; raises ExprError at the first thing not allowed."""
    pending: list[tuple[ast.expr, int]] = [(root, 1)]
    while pending:  # not recursive: the tree's depth is what is being checked
        node, depth = pending.pop()
        if depth > MAX_DEPTH:
            raise ExprError(f"an expression is nested more than {MAX_DEPTH} deep")
        parts = _parts(node)
        if parts is None:
            identity = isinstance(node, ast.Compare) and any(isinstance(op, (ast.Is, ast.IsNot)) for op in node.ops)
            hint = "; present(x) tells whether an input is there, has(@k) an attribute" if identity else ""
            raise ExprError(f"{quoted(_segment(node, marked))} is not allowed in a pass file{hint}")
        if isinstance(node, ast.Call):
            _check_call(node)
        elif isinstance(node, ast.Name):
            yield node.id
        pending += [(part, depth + 1) for part in reversed(parts)]


def _parts(node: ast.expr) -> list[ast.expr] | None:
    """Return the parts of an allowed node that are to be checked in turn; None for one that is not allowed."""
    match node:
        case ast.Name(id=name):
            return [] if MARK not in name[1:] else None
        case ast.Constant(value=bool() | str() | float() | None):
            return []
        case ast.Constant(value=int() as value):
            return [] if value < 2**63 else None
        case ast.List(elts=parts) | ast.Tuple(elts=parts) | ast.BoolOp(values=parts):
            return parts
        case ast.UnaryOp(op=ast.Not() | ast.USub(), operand=operand):
            return [operand]
        case ast.BinOp(left=left, op=op, right=right) if type(op) in BINARY:
            return [left, right]
        case ast.Compare(left=left, ops=ops, comparators=comparators) if all(type(op) in COMPARE for op in ops):
            return [left, *comparators]
        case ast.IfExp(test=test, body=body, orelse=orelse):
            return [test, body, orelse]
        case ast.Subscript(value=value, slice=ast.Slice(lower=lower, upper=upper, step=step)):
            return [value, *(end for end in (lower, upper, step) if end is not None)]
        case ast.Subscript(value=value, slice=at) if not isinstance(at, ast.Tuple):
            return [value, at]
        case ast.Call(func=ast.Name(id=name), args=args, keywords=[]) if not name.startswith(MARK):
            return args
    return None


def _check_call(node: ast.Call) -> None:
    name = node.func.id if isinstance(node.func, ast.Name) else ""
    function = FUNCTIONS.get(name)
    if function is None:
        raise ExprError(f"no function {quoted(name)}{did_you_mean(name, FUNCTIONS)}")
    if any(isinstance(arg, ast.Starred) for arg in node.args):
        return  # refused in its turn
    if not function.min_args <= len(node.args) <= function.max_args:
        raise ExprError(f"{function.signature} cannot take {len(node.args)} arguments")
