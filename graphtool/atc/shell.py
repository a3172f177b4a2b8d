"""Words of a command as text that a POSIX shell reads back as the same words."""

from __future__ import annotations

import re
import shlex

from graphtool.atc import options

# Safe bare in every position of a word for bash, dash and zsh; `~` and `=` after `=` are not (zsh, tilde expansion).
_PLAIN = re.compile(r"[A-Za-z0-9_@%+,./-]+")
# What double quotes leave active; `!` is history expansion when the line is pasted into an interactive bash.
_ACTIVE = re.compile(r"[$`\"\\!]")


def quote(word: str) -> str:
    """Return one word for a shell.

    Of ``--option=value`` only the value is quoted: in double quotes where it is a list (the ICNet guide writes
    out_nodes and input_shape so) or has characters that are special outside quotes, in single quotes where double
    quotes would not be enough.
    """
    name, equals, value = word.partition("=")
    option = options.OPTIONS.get(name[2:]) if equals and name.startswith("--") else None
    if option is None:
        return shlex.quote(word)
    if _ACTIVE.search(value):
        return f"{name}={shlex.quote(value)}"
    return f"{name}={value}" if _PLAIN.fullmatch(value) and not option.listing else f'{name}="{value}"'
