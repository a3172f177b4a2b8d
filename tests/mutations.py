"""How pass files are mutated: as text (bytes, tokens, lines, nesting, length), and as trees that stay TOML."""

from __future__ import annotations

import copy
import json
import random
import re
import tomllib
from collections.abc import Callable, Mapping
from typing import Any

TOKENS = (
    'x y a b "" \' """ [[rewrite]] [[case]] [[edit]] [[region]] [semantics] = == , ; : . @ @p $ $keep { } {{{ < > ( ) '
    "[ ] # \\ \0 y=x like=@y like=@c Forward__ shape rank ints floats like const iota reshape full repeat 1e999 -1 0 "
    "9223372036854775807 9223372036854775808 true nan inf 2020-01-01 $names Identity Resize Conv TopK If MatMul Loop "
    "float int64 unchanged org.pytorch.aten.ATen *xs Op+ +(x) \u00e9 \u540d \U0001f600 \t \r \n \ud800"
).split(" ")
VALUES = (
    '0 1 -1 17 2147483648 9223372036854775807 0.5 inf nan true "" "$" "$keep" "*" [] {} [[]] ["x"] ["x",3] [0.5,2] '
    '{op="Relu"} {opset=">=11"} ["optimize"] ["x"] ["./x.toml"] "y=x" "y=Relu(x)" "a=Relu(x)y=Neg(a)" "y,i=TopK(x,k)" '
    '"1" "[1,2]" "None" "shape(x)" "x" "full([1000],1)" "full([100000,100000],1)" "iota(4096)" "ints(x)" "unchanged" '
    '"float32" "int64" "string" "names" "exact" "lossy" "rename" "remove_unused" "fold_constants" "unroll_loops"'
).split(" ")
HUGE = ("9" * 4000, "9223372036854775807", "-9223372036854775808", "1e308", "4294967296", "1000000", "65537", "0", "-1")
OPS = (
    "Relu Identity Neg Add Sub Mul Div MatMul Gemm Conv Concat Split Transpose Reshape Squeeze Unsqueeze Expand Slice "
    "Pad Gather Shape Cast ConstantOfShape Loop If Resize Clip Softmax ReduceSum Where TopK Tile Dropout Constant "
    "Range Sum RandomNormal SequenceConstruct CastLike Einsum"
).split()
# what an operator in ONNX text, and what its inputs, become
HEADS = ("{}+", "{}|Neg", "Relu|{}", "@y", "@a", "{}|{}", "{}+|Neg", "my.{}", "{}<like = @a>", "{}<axis = @axis>")
INPUTS = (
    "*xs",
    "*a, x",
    "x, *b",
    "*a, x, *b",
    "*a, *b",
    "None",
    "",
    "x, , y",
    "{}, *more",
    "{}, {}",
    "*{}",
    "{}, None",
)
SIGNS = ("==", "!=", "<=", ">=", "<", ">", "+", "-", "*", "//", "%", " and ", " or ", " in ", "not ")
LEAVES = (
    "x",
    "y",
    "a",
    "1",
    "0",
    "-1",
    "2.5",
    "4096",
    "shape(x)",
    "rank(x)",
    "None",
    "True",
    "[]",
    "'s'",
    "@p",
    "elements(x)",
)
FORMS = (
    "({a} + {b})", "({a} * {b})", "({a} // {b})", "({a} % {b})", "[{a}, {b}]", "full({a}, {b})", "iota({a})",
    "repeat({a}, {b})", "reshape({a}, {b})", "{a}[{b}]", "({a} if {b} else {a})", "prod({a})", "concat({a}, {b})",
    "interp_matrix({a}, {b}, 'linear')", "pool_matrix({a}, {b})", "({a} == {b})", "not {a}", "int64({a})",
    "join({a}, {b})", "compose({a}, {b})", "window_matrix({a}, {b}, 1, 1)", "transpose({a}, {b})", "lead({a}, {b})",
    "{a}[{b}:]",
)  # fmt: skip


class Mutations:
    """Mutations of the texts of ``sources``, pass files by name; what is drawn is all that differs between two runs."""

    def __init__(self, draw: random.Random, sources: Mapping[str, str]) -> None:
        self.draw = draw
        self.sources = sources

    def any_text(self) -> str:
        """Return the text of some pass file."""
        return self.sources[self.draw.choice(list(self.sources))]

    # -- text

    def text(self, text: str) -> str:
        """Return ``text`` with one mutation."""
        kinds: tuple[Callable[[str], str], ...] = (
            self._token, self._splice, self._line, self._value, self._other_value, self._number, self._nesting,
            self._length, self._sequence, self._swap, self._everywhere, self._cut,
        )  # fmt: skip
        return self.draw.choice(kinds)(text)

    def _place(self, text: str) -> tuple[int, int]:
        start = self.draw.randint(0, len(text))
        return start, min(len(text), start + self.draw.choice((0, 0, 1, 1, 3, 20)))

    def _token(self, text: str) -> str:
        start, end = self._place(text)
        return text[:start] + self.draw.choice(TOKENS) + text[end:]

    def _splice(self, text: str) -> str:
        (start, end), other = self._place(text), self.any_text()
        place = self.draw.randint(0, len(other))
        return text[:start] + other[place : place + self.draw.choice((10, 30, 200))] + text[end:]

    def _line(self, text: str) -> str:
        """A line more, less, or moved."""
        lines = text.splitlines(keepends=True) or [""]
        at = self.draw.randrange(len(lines))
        line = lines.pop(at)
        other = self.any_text().splitlines(keepends=True)
        put = self.draw.choice(([], [line, line], [self.draw.choice(other)], [line, self.draw.choice(other)]))
        place = self.draw.choice((at, self.draw.randint(0, len(lines))))
        return "".join(lines[:place] + put + lines[place:])

    def _value(self, text: str) -> str:
        return self._right(text, f" {self.draw.choice(VALUES)}\n")

    def _other_value(self, text: str) -> str:
        return self._right(text, self.draw.choice(self.any_text().splitlines(keepends=True)).partition("=")[2])

    def _right(self, text: str, value: str) -> str:
        lines = text.splitlines(keepends=True) or [""]
        at = self.draw.randrange(len(lines))
        lines[at] = f"{lines[at].partition('=')[0]}={value}"
        return "".join(lines)

    def _number(self, text: str) -> str:
        found = list(re.finditer(r"\d+", text))
        if not found:
            return text
        one = self.draw.choice(found)
        return text[: one.start()] + self.draw.choice(HUGE) + text[one.end() :]

    def _nesting(self, text: str) -> str:
        start, end = self._place(text)
        deep = self.draw.choice((5, 100, 3000, 100_000))
        pairs = (
            ("(", ")"),
            ("[", "]"),
            ("{", "}"),
            ("<", ">"),
            ("-", ""),
            ("not ", ""),
            ("a if b else ", "c"),
            ("a.", ""),
        )
        left, right = self.draw.choice(pairs)
        return text[:start] + left * deep + text[start:end] + right * deep + text[end:]

    def _length(self, text: str) -> str:
        start, end = self._place(text)
        words = ("1,", "x ", '"a",', "a", "y = Relu(x) ", "x + ", "[0]", "[[case]]\n", "# ", "\n")
        return text[:start] + self.draw.choice(words) * self.draw.choice((100, 5000, 50_000)) + text[end:]

    def _sequence(self, text: str) -> str:
        """A sequence of several passes, itself perhaps among them."""
        names = [*self.sources, "x", "./x.toml", "rename:from=a:to=b", "optimize,optimize"]
        words = self.draw.choices(names, k=self.draw.choice((1, 2, 3, 9)))
        head = "".join(line for line in text.splitlines(keepends=True) if line.startswith(("summary", "why", "parity")))
        cases = text[text.find("[[case]]") :] if "[[case]]" in text else ""
        return f"{head}sequence = {json.dumps(words)}\nfixpoint = {self.draw.choice(('true', 'false'))}\n{cases}"

    def _swap(self, text: str) -> str:
        found = list(re.finditer(r"\w+", text))
        if len(found) < 2:
            return text
        one, two = sorted(self.draw.sample(found, 2), key=lambda m: m.start())
        return text[: one.start()] + two[0] + text[one.end() : two.start()] + one[0] + text[two.end() :]

    def _everywhere(self, text: str) -> str:
        words = re.findall(r"\w+", text) or ["x"]
        return text.replace(self.draw.choice(words), self.draw.choice((self.draw.choice(words), *TOKENS[:8])))

    def _cut(self, text: str) -> str:
        start, end = self._place(text)
        return text[:start] + text[end:] + text[start:end]

    # -- trees

    def tree(self) -> str:
        """Return the text of some pass file after mutations that leave it TOML."""
        tree = tomllib.loads(self.any_text())
        for _ in range(self.draw.choice((1, 1, 2, 2, 3, 5))):
            places = _places(tree)
            if not places:
                break
            node, key = self.draw.choice(places)
            self._change(tree, node, key)
        return "".join(f"{json.dumps(key)} = {_toml(value)}\n" for key, value in tree.items())

    def _change(self, tree: dict[str, Any], node: Any, key: Any) -> None:
        value = node[key]
        if isinstance(value, str) and self.draw.random() < 0.75:
            node[key] = self._string(value)
            return
        match self.draw.randrange(5):
            case 0:
                node[key] = tomllib.loads(f"v = {self.draw.choice(VALUES)}")["v"]
            case 1:
                del node[key]
            case 2:  # what another file says under the same key
                others = [n[k] for n, k in _places(tomllib.loads(self.any_text())) if k == key]
                if others:
                    node[key] = self.draw.choice(others)
            case 3:  # once more, or moved
                to, at = self.draw.choice(_places(tree))
                own = copy.deepcopy(value)
                if isinstance(to, list):
                    to.insert(at, own)
                else:
                    to[at] = own
            case 4:
                other = tomllib.loads(self.any_text())
                for name in ("rewrite", "edit", "region", "boundary", "case", "params"):
                    if name in other and self.draw.random() < 0.4:
                        tree[name] = other[name]

    def _string(self, text: str) -> str:
        """Return ONNX text or an expression with one mutation that often leaves it one."""
        words = list(re.finditer(r"[A-Za-z_]\w*", text))
        numbers = list(re.finditer(r"-?\d+", text))
        signs = [m for sign in SIGNS for m in re.finditer(re.escape(sign), text)]
        match self.draw.randrange(11):
            case 0 | 1 if words:
                one = self.draw.choice(words)
                return (
                    text[: one.start()]
                    + self.draw.choice([self.draw.choice(words)[0], self.draw.choice(OPS)])
                    + text[one.end() :]
                )
            case 2 if numbers:
                one = self.draw.choice(numbers)
                put = self.draw.choice((*HUGE, "2", "3", "7", "16"))
                return text[: one.start()] + put + text[one.end() :]
            case 3 if signs:
                one = self.draw.choice(signs)
                return text[: one.start()] + self.draw.choice(SIGNS) + text[one.end() :]
            case 4:
                return self.expression(self.draw.randint(1, 6))
            case 5 if len(words) > 1:
                one, two = sorted(self.draw.sample(words, 2), key=lambda m: m.start())
                return text[: one.start()] + two[0] + text[one.end() : two.start()] + one[0] + text[two.end() :]
            case 6:
                return (
                    text
                    + " "
                    + self.draw.choice(("y = Relu(y2)", "z = Neg(x)", "or True", "and x", "q = Identity(y)", "+ 1"))
                )
            case 7:
                form = self.draw.choice(
                    ("not ({})", "({}) or True", "[{}]", "({}) * 1000000", "repeat({}, 4096)", "{}")
                )
                return form.format(text)
            case 8 | 9:
                return self._form(text)
        return self.text(text)[:5000]

    def _form(self, text: str) -> str:
        """Return ONNX text with one operator, or the inputs of one, in another form of the language."""
        calls = list(re.finditer(r"([A-Z][\w|+]*)((?:<[^>]*>)?)\(([^()]*)\)", text))
        if not calls:
            return text
        one = self.draw.choice(calls)
        head, attributes, inputs = one.groups()
        if self.draw.random() < 0.5:
            head = self.draw.choice(HEADS).replace("{}", head)
        else:
            inputs = self.draw.choice(INPUTS).replace("{}", inputs or "x")
        return f"{text[: one.start()]}{head}{attributes}({inputs}){text[one.end() :]}"

    def expression(self, depth: int) -> str:
        """Return an expression of that depth."""
        if depth == 0:
            return self.draw.choice(LEAVES)
        one, two = (self.expression(self.draw.randrange(depth)) for _ in range(2))
        return self.draw.choice(FORMS).format(a=one, b=two)


def _places(tree: Any) -> list[tuple[Any, Any]]:
    """Return every (container, key) in a TOML tree."""
    found: list[tuple[Any, Any]] = []
    pending = [tree]
    while pending:
        node = pending.pop()
        keys = list(node) if isinstance(node, dict) else range(len(node)) if isinstance(node, list) else ()
        for key in keys:
            found.append((node, key))
            pending.append(node[key])
    return found


def _toml(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(key)} = {_toml(inner)}" for key, inner in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_toml, value)) + "]"
    if isinstance(value, bool):
        return str(value).lower()
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007F") if isinstance(value, str) else str(value)
