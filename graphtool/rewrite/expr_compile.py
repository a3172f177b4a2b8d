"""Checked expression trees as closures: what is evaluated for every match is taken apart once. Floor 2.

No text is executed and no code object is made: each node of the tree, all of kinds that
:mod:`graphtool.rewrite.expr` allows, becomes a Python function that calls those of its parts.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from graphtool.errors import did_you_mean
from graphtool.rewrite import functions_operators as operators
from graphtool.rewrite.functions import FUNCTIONS
from graphtool.rewrite.functions_values import checked, integer
from graphtool.rewrite.refs import TensorRef

Env = Mapping[str, object]
Evaluate = Callable[[Env], Any]
Wrong = Callable[[ast.expr, Exception], Exception]

BINARY: dict[type[ast.operator], str] = {
    ast.Add: "+",
    ast.Sub: "-",
    ast.Mult: "*",
    ast.Div: "/",
    ast.FloorDiv: "//",
    ast.Mod: "%",
}
COMPARE: dict[type[ast.cmpop], str] = {
    ast.Eq: "==",
    ast.NotEq: "!=",
    ast.Lt: "<",
    ast.LtE: "<=",
    ast.Gt: ">",
    ast.GtE: ">=",
    ast.In: "in",
    ast.NotIn: "not in",
}
WORDS = {"true": True, "false": False}
# functions whose first argument is a value, not a tensor that something may be known of
_OF_VALUES = frozenset(
    "abs all any cast ceil concat exp finite flatten float16 float32 float64 floats floor int32 int64 ints lead "
    "like log max min near per_channel prod reshape round scalar sqrt sum transpose".split()
)
MARK = "Δ"  # what `@` of an attribute is in the tree
ABSENT = "?"  # before the name of an input that a default stands for, in an environment


def compiled(node: ast.expr, wrong: Wrong) -> Evaluate:
    """Return the function that evaluates ``node``; ``wrong`` makes the error for a part that has no value."""
    if isinstance(node, ast.Constant):  # and others that need no check, or a smaller one
        constant = checked(node.value)
        return lambda env: constant
    if isinstance(node, ast.Name) and node.id not in WORDS:
        return _name(node, wrong)
    compute = _compute(node, wrong)

    def evaluate(env: Env) -> object:
        try:
            return checked(compute(env))
        except (ArithmeticError, LookupError, MemoryError, TypeError, ValueError) as error:
            raise wrong(node, error) from None

    return evaluate


def _compute(node: ast.expr, wrong: Wrong) -> Evaluate:
    match node:  # the most frequent first
        case ast.Call(func=ast.Name(id="present"), args=[ast.Name(id=asked) as operand]):
            value = compiled(operand, wrong)
            return lambda env: ABSENT + asked not in env and FUNCTIONS["present"].call(value(env))
        case ast.Call(func=ast.Name(id=name), args=args):
            call = FUNCTIONS[name].call
            arguments = [compiled(arg, wrong) for arg in args]
            if len(arguments) == 1:
                only = arguments[0]
                return lambda env: call(only(env))
            if len(arguments) == 2:
                one, two = arguments
                return lambda env: call(one(env), two(env))
            return lambda env: call(*[argument(env) for argument in arguments])
        case ast.Name(id=name):
            return lambda env: WORDS[name]
        case ast.List(elts=elements) | ast.Tuple(elts=elements):
            parts = [compiled(part, wrong) for part in elements]
            return lambda env: [part(env) for part in parts]
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            inner = compiled(operand, wrong)
            return lambda env: not operators.truth(inner(env))
        case ast.UnaryOp(operand=operand):
            inner = compiled(operand, wrong)
            return lambda env: operators.negative(inner(env))
        case ast.BinOp(left=left, op=op, right=right):
            return _binary(BINARY[type(op)], compiled(left, wrong), compiled(right, wrong))
        case ast.BoolOp(op=op, values=values):
            return _either([compiled(part, wrong) for part in values], isinstance(op, ast.Or))
        case ast.Compare(left=left, ops=ops, comparators=comparators):
            words = [COMPARE[type(op)] for op in ops]
            return _chain(compiled(left, wrong), words, [compiled(part, wrong) for part in comparators])
        case ast.IfExp(test=test, body=body, orelse=orelse):
            when, then, other = (compiled(part, wrong) for part in (test, body, orelse))
            return lambda env: (then if operators.truth(when(env)) else other)(env)
        case ast.Subscript(value=base, slice=ast.Slice(lower=lower, upper=upper, step=step)):
            ends = [None if end is None else compiled(end, wrong) for end in (lower, upper, step)]
            return _slice(compiled(base, wrong), ends)
        case ast.Subscript(value=base, slice=at):
            whole, place = compiled(base, wrong), compiled(at, wrong)
            return lambda env: operators.index(whole(env), place(env))
    raise AssertionError("refused when the expression was checked")


def _name(node: ast.Name, wrong: Wrong) -> Evaluate:
    """Return the function that looks a name or an attribute up."""
    name = node.id
    attribute = "@" + name.removeprefix(MARK)
    marked = name.startswith(MARK)

    def evaluate(env: Env) -> object:
        try:
            found = env.get(attribute) if marked else _lookup(name, env)
            return found if type(found) is TensorRef else checked(found)
        except (ArithmeticError, LookupError, MemoryError, TypeError, ValueError) as error:
            raise wrong(node, error) from None

    return evaluate


def _lookup(name: str, env: Env) -> object:
    try:
        return env[name]
    except KeyError:
        pass
    if "@" + name in env:
        return env["@" + name]
    raise ValueError(f"no value of that name here{did_you_mean(name, env)}")


def _binary(symbol: str, left: Evaluate, right: Evaluate) -> Evaluate:
    arithmetic = operators.arithmetic
    return lambda env: arithmetic(symbol, left(env), right(env))


def _either(parts: list[Evaluate], stop: bool) -> Evaluate:
    """Return the first part that decides an ``or`` (``stop`` is True) or an ``and``, else the last."""

    *first, last = parts

    def evaluate(env: Env) -> object:
        for part in first:
            found = part(env)
            if (found if type(found) is bool else operators.truth(found)) is stop:
                return found
        return last(env)

    return evaluate


def _chain(first: Evaluate, words: list[str], parts: list[Evaluate]) -> Evaluate:
    compare = operators.compare
    if len(parts) == 1:
        only, second = words[0], parts[0]
        return lambda env: compare(only, first(env), second(env))

    def evaluate(env: Env) -> object:
        left = first(env)
        result: object = True
        for word, part in zip(words, parts, strict=True):
            if not operators.truth(result):
                break
            value = part(env)
            result = checked(compare(word, left, value))
            left = value
        return result

    return evaluate


def _slice(whole: Evaluate, ends: list[Evaluate | None]) -> Evaluate:
    def evaluate(env: Env) -> object:
        values = [None if end is None else end(env) for end in ends]
        return operators.index(whole(env), slice(*(None if v is None else integer(v) for v in values)))

    return evaluate


def needed_constants(node: ast.expr) -> Iterator[str]:
    """Yield the names that must be constants for ``node`` to be true or to have a value, as far as that is plain."""
    match node:
        case ast.Name(id=name) if not name.startswith(MARK):
            yield name
        case ast.Call(func=ast.Name(id="const"), args=[ast.Name(id=name)]):
            yield name
        case ast.BoolOp(op=ast.And(), values=parts):
            for part in parts:
                yield from _inside(part)
        case _:
            yield from _inside(node)


def _inside(node: ast.expr) -> Iterator[str]:
    match node:
        case ast.BinOp(left=left, right=right):
            yield from needed_constants(left)
            yield from needed_constants(right)
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            yield from needed_constants(operand)
        case ast.Call(func=ast.Name(id=name), args=[first, *_]) if name in _OF_VALUES:
            yield from needed_constants(first)
        case ast.Compare(left=left, comparators=[right]):
            yield from _inside(left)
            yield from _inside(right)
