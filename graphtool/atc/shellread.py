"""Read atc commands out of a shell script, a readme or a single line: words as the shell would see them.

Reading is lenient where people are: CRLF, continuations without a backslash, fences and prompts of readmes, commands in
strings of other languages. Variables are kept as they are written. What the shell itself would trip over is a fault.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

_LIMIT = 100_000  # characters of one word
_AHEAD = 2_000  # characters looked at at once, so that a long line costs no more than its length

# where a command can start: a line, after an operator, a quote, a keyword, an assignment, a prompt, a bullet
_LEAD = (
    r"(?P<lead>^|[;&|(`\"'：]|\$\(|(?<![\w-])(?:if|while|until|!|do|then|else|time|sudo|nohup|exec|command|eval|\w+=\S*)\s"
    r"|(?<=[$#>])\s|^\s*(?:\d+[.)]|[-*>])\s)\s*"
)
_THEN = r"(?=\s+(?:-|\\?$|[$\"'{<])|\s*\\$|\s*$)"
_START = re.compile(rf"{_LEAD}(?:[\w./${{}}~-]*/)?atc(?:\.bin)?{_THEN}")
# behind any other word (`docker exec NAME atc --model=...`), where the first option is surely one of atc
_BEHIND = re.compile(r"(?P<lead>(?<=\s))atc(?=\s+--(?:model|framework|output|input_shape|soc_version|singleop|om)\b)")
# the words of a program that runs atc without a shell: ["atc", "--model=a.onnx"]
_VECTOR = re.compile(r"\[\s*([\"'])atc\1\s*,")
_ITEM = re.compile(
    r"\s*(?:[rfbu]?(?P<q>[\"'])(?P<text>(?:\\.|(?!(?P=q))[^\\]){0,4000})(?P=q)|(?P<end>\])|(?P<comma>,)|(?P<other>[^\s,\"'\]]+|.))",
    re.DOTALL,
)
_MOST_ITEMS = 500  # of an argument vector, commas counted
# the command in a variable, `"${ATC_BIN}" \`, and its options in an array, `ATC_ARGS=(`
_VARIABLE = re.compile(
    r"^(?P<lead>\s*)(?P<q>\"?)\$\{?\w*ATC\w*\}?(?P=q)(?=\s+(?:--[a-z]+[_=]|--model|\\?$|\"\$)|\s*\\$)", re.IGNORECASE
)
_ARRAY = re.compile(r"^(?P<lead>\s*(?:declare\s+-a\s+|local\s+-a\s+)?)\w+=\((?=\s*(?:--|$))")
_FOLLOWS = re.compile(r"--?[A-Za-z][\w-]*(?:[=\s]|$)")
# One piece although there are blanks or separators in it: variables, and the placeholders of readmes
_PIECE = re.compile(r"\$\{[^}]*\}|\$\([^)]*\)|\{[A-Za-z_][\w ]*\}|<[A-Za-z_][\w .-]*>")
_CURLY = "“”‘’"
_FENCE = re.compile(r"\s*(```|~~~|</?(pre|code)\b)")


@dataclass(slots=True)
class Word:
    """One word of a command, without its quotes, and whether some of it was quoted."""

    text: str
    quoted: bool = False


@dataclass(slots=True)
class Read:
    """One atc command as it was found: where, its words after ``atc``, and what the shell would make a fault of.

    It is ``partial`` where other options may be added to it: those of an array.
    """

    line: int
    words: list[Word]
    text: str
    faults: list[tuple[str, str]] = field(default_factory=list)  # reason, fix
    partial: bool = False


def commands(text: str) -> list[Read]:
    """Return every atc command of a text, in order; comments are not commands."""
    lines = text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n").replace("\u00a0", " ").split("\n")
    found: list[Read] = []
    row = column = 0
    while row < len(lines):
        start = _start(lines[row], column)
        if start is None:
            row, column = row + 1, 0
            continue
        scanner = _Scanner(lines, row, *start)
        scanner.run()
        if scanner.words and (not scanner.array or scanner.is_atc()):
            found.append(Read(row + 1, scanner.words, scanner.source(), scanner.faults, scanner.array))
        moved = scanner.row > row and not scanner.array
        row, column = (scanner.row, max(scanner.column, 1)) if moved or scanner.row == row else (row + 1, 0)
    found += _vectors("\n".join(lines))
    return [part for read in sorted(found, key=lambda one: one.line) for part in _glued(read)]


def _vectors(text: str) -> Iterator[Read]:
    """Yield the commands that a program has as a list of words; other words than strings make it partial."""
    place = 0
    while match := _VECTOR.search(text, place):
        place = match.end()
        words: list[Word] = []
        partial = False
        for _ in range(_MOST_ITEMS):
            item = _ITEM.match(text, place)
            if item is None or item["end"]:
                break
            place = item.end()
            partial = partial or bool(item["other"])
            words += [Word(item["text"].replace("\\", ""), True)] if item["q"] else []
        if words and words[0].text.startswith("-"):
            source = " ".join(["atc", *(word.text for word in words)])
            yield Read(text.count("\n", 0, match.start()) + 1, words, source, [], partial)


def _start(line: str, column: int = 0) -> tuple[int, str] | None:
    """Return where the words after ``atc`` begin, and what the command stands in: a quote, ``(`` or nothing."""
    if line.lstrip().startswith("#"):
        return None
    match = _START.search(line, column) or _BEHIND.search(line, column)
    if match is not None:
        lead = match["lead"].strip()
        return match.end(), lead if lead in ("'", '"', "`") else ""
    if column:
        return None
    if match := _VARIABLE.match(line):
        return match.end(), ""
    return (match.end(), "(") if (match := _ARRAY.match(line)) else None


class _Scanner:
    """Takes words off lines until the command ends."""

    def __init__(self, lines: list[str], row: int, column: int, quote: str) -> None:
        self.lines = lines
        self.first = row
        self.row = row
        self.column = column
        self.array = quote == "("  # the options of a shell array, one a line
        self.outer = "" if self.array else quote
        self.words: list[Word] = []
        self.faults: list[tuple[str, str]] = []
        self.end = column

    def is_atc(self) -> bool:
        """Whether the words of an array are options of atc."""
        names = {word.text.lstrip("-").partition("=")[0].replace("-", "_") for word in self.words}
        return len(names & {"model", "framework", "output", "soc_version", "input_shape"}) > 1

    def source(self) -> str:
        """Return the text that was read, on one line."""
        parts = [line.strip().removesuffix("\\").strip() for line in self.lines[self.first : self.row]]
        parts.append(self.lines[self.row][: self.end].strip() if self.row < len(self.lines) else "")
        return " ".join(filter(None, parts))

    def run(self) -> None:
        """Read words up to the end of the command."""
        while True:
            line = self.lines[self.row]
            while self.column < len(line) and line[self.column] in " \t\u3000":
                self.column += 1
            rest = line[self.column : self.column + _AHEAD]
            if not rest or re.fullmatch(r"\\+\s*(#.*)?", rest):
                if not self._next_line(backslash=bool(rest.strip())):
                    break
                continue
            if rest[0] == "#":
                self.end, self.column = self.column, len(line)  # a comment to the end of the line
                return
            if (rest[0] in ";&|)" or (rest[0] == "`")) or self._closes(rest):
                if rest.startswith("&>") or rest.startswith(">&"):
                    self._redirect(rest)
                    continue
                break
            if re.match(r"\d?>>?|<", rest) and not re.match(r"<[A-Za-z_][\w .-]*>", rest):
                self._redirect(rest)
                continue
            before = (self.row, self.column)
            if not self._word(line):
                break
            if (self.row, self.column) == before:
                self.column += 1  # a letter that no word begins with
        self.end = self.column

    def _closes(self, rest: str) -> bool:
        return bool(self.outer) and rest[0] == self.outer

    def _redirect(self, rest: str) -> None:
        match = re.match(r"(?:\d?>>?|&>>?|>&|<)&?\s*[^\s;|&]*", rest)
        self.column += match.end() if match else len(rest)

    def _next_line(self, backslash: bool) -> bool:
        """Go on with the next line where the command does: after a backslash, or where an option starts it."""
        row = self.row + 1
        line = self.lines[self.row]
        while row < len(self.lines) and self.lines[row].lstrip().startswith("#") and (backslash or self.array):
            row += 1
        after = self.lines[row] if row < len(self.lines) else ""
        option = bool(_FOLLOWS.match(after.strip().lstrip("\"'")))
        other = _start(after) is not None or _FENCE.match(after) is not None
        if self.array and row < len(self.lines) and not other:
            self.row, self.column = row, 0
            return True
        if not after.strip() or other or not (option or (backslash and row == self.row + 1)):
            self.column = len(line)
            return False
        if row > self.row + 1:
            self._once("a comment between the lines: the shell ends the command there", "move the comment out")
        elif not backslash:
            self._once("a line ends without a backslash: the shell ends the command there", "end the line with ' \\'")
        elif line.rstrip() != line:
            self._once("blanks after a backslash: the shell ends the command there", "remove the blanks")
        elif not line[:-1].endswith((" ", "\t")) and not after.startswith((" ", "\t")):
            self._once("no blank before a backslash: the shell joins the words of both lines", "put a blank there")
        self.row, self.column = row, 0
        return True

    def _once(self, reason: str, fix: str) -> None:
        if (reason, fix) not in self.faults:
            self.faults.append((reason, fix))

    def _word(self, line: str) -> bool:
        """Read one word; return False where the command ends with it."""
        out: list[str] = []
        quoted = False
        ends = False
        while self.column < len(line) and len(out) < _LIMIT:
            letter, rest = line[self.column], line[self.column : self.column + _AHEAD]
            escaped = letter == "\\" and self.outer and rest[1:2] == self.outer
            if piece := _PIECE.match(rest) or (re.match(r"`[^`]+`", rest) if self.outer != "`" else None):
                out.append(piece[0].replace("\\", ""))
                self.column += piece.end()
            elif letter in " \t\u3000" or rest.strip() == "\\" or (self.outer and letter == self.outer):
                break
            elif escaped or letter in "\"'":  # \" inside "...": a quote of the command itself
                quoted = True
                closing = f"\\{self.outer}" if escaped else letter
                self.column += len(closing)
                line = self._quoted(line, out, closing)
            elif letter in ";&|)`" and not self._inside(rest, out):
                ends = True
                break
            elif letter == ">" and "<" not in "".join(out).rpartition("=")[2]:
                break
            elif letter == "\\":
                out.append(line[self.column + 1])
                self.column += 2
            else:
                self._odd(letter)
                out += [letter] if letter not in _CURLY else []
                self.column += 1
        if out or quoted:
            self.words.append(Word("".join(out), quoted))
        return not ends

    def _inside(self, rest: str, out: list[str]) -> bool:
        """Whether a letter that ends commands was meant as a part of the value."""
        if rest[0] == ";" and re.match(r";\s?[\w.$/-]+:[\w${\[~-]", rest) and any("=" in part for part in out):
            self._once("';' outside quotes: the shell ends the command there", "put the value in double quotes")
            return True
        return rest[0] == ")" and "(" in "".join(out)

    def _odd(self, letter: str) -> None:
        if letter in "｛｝":
            self._once("full-width braces, which the shell takes as letters", "write ${name}")
        if letter in _CURLY:
            self._once("curly quotes, which the shell takes as letters", "write straight quotes")

    def _quoted(self, line: str, out: list[str], closing: str) -> str:
        """Read up to the closing quote, over lines where it has to; return the line it ended on."""
        start = (self.row, self.column)
        size = len(out)
        while True:
            place = _closing(line, self.column, closing)
            if place >= 0:
                piece = line[self.column : place]
                out.append(re.sub(r"\\(\W)", r"\1", piece) if closing == '"' else piece)
                self.column = place + len(closing)
                return line
            out.append(
                line[self.column :].rstrip("\\").strip() if self.row > start[0] else line[self.column :].rstrip("\\")
            )
            if self.row + 1 >= len(self.lines) or self.row - start[0] > 20 or _start(self.lines[self.row + 1]):
                return self._unclosed(start, out, size)
            self.row += 1
            self.column = 0
            line = self.lines[self.row]

    def _unclosed(self, start: tuple[int, int], out: list[str], size: int) -> str:
        """Take a quote that is never closed to end with its word."""
        self._once("a quote that is never closed", "close it after the value")
        del out[size:]
        self.row, self.column = start
        line = self.lines[self.row]
        piece = re.match(r"[^\s\"']*(?:[;,]\s+[^\s\"'-][^\s\"']*)*", line[self.column :])
        out.append(piece[0] if piece else "")
        self.column += len(out[-1])
        return line


def _closing(line: str, start: int, closing: str) -> int:
    """Return where a quote closes; in double quotes neither ``\\"`` nor a quote in ``$(...)`` does. -1 for nowhere."""
    if closing != '"':
        return line.find(closing, start)
    depth = 0
    for place in range(start, len(line)):
        letter = line[place]
        if letter == "(" and (depth or line[place - 1] == "$"):
            depth += 1
        elif letter == ")" and depth:
            depth -= 1
        elif letter == '"' and line[place - 1] != "\\" and (not depth or ")" not in line[place:]):
            return place
    return -1


def _glued(read: Read) -> Iterator[Read]:
    """Split what holds a second ``atc``: two commands with no line between them."""
    for place, word in enumerate(read.words):
        head, found, _ = word.text.partition("atc")
        follows = place + 1 < len(read.words) and read.words[place + 1].text.startswith("--")
        if found and place and follows and word.text.endswith("atc") and (not head or head.startswith("-")):
            first = Read(read.line, read.words[:place], read.text, read.faults)
            if head:
                first.words.append(Word(word.text.removesuffix("atc"), word.quoted))
            first.faults.append(("a second atc command on the same line", "put each command on its own line"))
            yield first
            yield from _glued(Read(read.line, read.words[place + 1 :], read.text))
            return
    yield read


_ASSIGNED = re.compile(
    r"^\s*(?:(?:export|local|readonly)\s+)?([A-Za-z_]\w*)=(\"[^\"\n]*\"|'[^'\n]*'|[^\s;&|\"'()]*)\s*(?:$|[;#])",
    re.MULTILINE,
)
_LOOP = re.compile(r"\bfor\s+([A-Za-z_]\w*)\s+in\s+([^;\n#]+)")


def assigned(text: str) -> dict[str, tuple[str, ...]]:
    """Return the values that a script gives its variables, literal ones only: by assignment or in a loop.

    A variable that is also given a value that is not literal is left out.
    """
    found: dict[str, list[str]] = {}
    for name, value in _ASSIGNED.findall(text):
        found.setdefault(name, []).append(value.strip("\"'"))
    for name, words in _LOOP.findall(text):
        found.setdefault(name, []).extend(words.split())
    literal = {name: dict.fromkeys(values) for name, values in found.items() if not any(map(_open, values))}
    return {name: tuple(values) for name, values in literal.items()}


def _open(value: str) -> bool:
    return not value or any(letter in value for letter in "$`*?{(")
