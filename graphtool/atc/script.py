"""ATC commands for the machine that has the toolkit: a bash script, a Makefile, argument vectors."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence

from graphtool.atc.command import Command
from graphtool.atc.profile import Profile
from graphtool.atc.shell import quote
from graphtool.errors import ProfileError, quoted, show

INSTALL_PATH = "/usr/local/Ascend/ascend-toolkit/latest"  # env.sh of the ICNet guide (Ascend ModelZoo, 2022-03)

# The environment is that of the ICNet guide, section 7.2 (Ascend ModelZoo, 2022-03, CANN 5.0), or the toolkit's own
# set_env.sh where that exists (later releases). Vendor scripts read unset variables, so there is no `set -u`.
_EXPORTS = r"""export PATH="$install_path/atc/ccec_compiler/bin:$install_path/atc/bin:$PATH"
export PYTHONPATH="$install_path/atc/python/site-packages${PYTHONPATH:+:$PYTHONPATH}"
export LD_LIBRARY_PATH="$install_path/atc/lib64:$install_path/acllib/lib64${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}"
export ASCEND_OPP_PATH="$install_path/opp"
"""
_CHECK = r"""if ! command -v atc >/dev/null; then
  echo "atc not found; set install_path to the folder of the CANN toolkit" >&2
  exit 127
fi
"""
_REPORT = r"""
status=0
report() { # OUTPUT STATUS
  if [ "$2" -eq 0 ]; then
    printf '%s: done\n' "$1"
  else
    printf '%s: atc failed with %s, see %s.atc.log\n' "$1" "$2" "$1" >&2
    status=1
  fi
}
"""


def script(commands: Sequence[Command], profile: Profile) -> str:
    """Return a bash script that runs every command, its output going to ``OUTPUT.atc.log``.

    A command that fails (a batch may be too large for the device) does not stop the others; the script then ends
    with 1, and with 127 where there is no ``atc``. It needs nothing but bash. ``install_path`` in the environment
    wins over the profile's.
    """
    lines = [
        "#!/bin/bash",
        *_heading(profile),
        f'[ -n "$install_path" ] || install_path={quote(profile.install_path or INSTALL_PATH)}',
        "",
        _environment(profile).rstrip("\n"),
        _CHECK.rstrip("\n"),
        _REPORT.rstrip("\n"),
    ]
    for command in commands:
        output = command.value("output") or "atc"
        lines += ["", *(f"# {show(note, 1000)}" for note in command.notes)]
        if "/" in output.strip("/"):
            lines.append(f"mkdir -p {quote(output.rpartition('/')[0])}")
        lines += [f"{command.text()} >{quote(f'{output}.atc.log')} 2>&1", f'report {quote(output)} "$?"']
    return "\n".join([*lines, "", 'exit "$status"', ""])


def _heading(profile: Profile) -> list[str]:
    target = ", ".join(filter(None, [profile.soc, profile.cann and f"CANN {profile.cann}"]))
    return [f"# ATC commands, written by graphtool; profile {show(profile.name)}: {show(target)}"]


def _environment(profile: Profile) -> str:
    """Return the lines that make ``atc`` known, where it is not: set_env.sh, the guide's exports, or what is there."""
    source = quote(profile.set_env) if profile.set_env else '"${install_path%/*}/set_env.sh"'
    body = {
        "set_env": f"  . {source}\n",
        "exports": _indented(_EXPORTS, 2),
        "auto": f"  if [ -r {source} ]; then\n    . {source}\n  else\n{_indented(_EXPORTS, 4)}  fi\n",
    }[profile.environment]
    return f"if ! command -v atc >/dev/null; then\n{body}fi\n"


def _indented(text: str, by: int) -> str:
    return "".join(f"{' ' * by}{line}\n" for line in text.splitlines())


_PLAIN = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_./+-]*")


def makefile(commands: Sequence[Command], profile: Profile) -> str:
    """Return a Makefile with a target for each .om; ``make -k`` goes on after one that fails.

    Raises ProfileError where a file's name is none that make can spell.
    """
    names = [(command, command.value("output") or "atc", command.value("model") or "") for command in commands]
    needed = [path for command in commands for path, _ in command.files]
    for word in (*(name for _, *pair in names for name in pair), *needed):
        if not _PLAIN.fullmatch(word.removeprefix("./")):
            raise ProfileError(f"{quoted(word)} is no name that a Makefile can spell; write a script (-o NAME.sh)")
    lines = [
        *_heading(profile),
        "SHELL := /bin/bash",
        f"install_path ?= {_make(profile.install_path or INSTALL_PATH)}",
        "export install_path",
        "define environment",
        *_make(_environment(profile) + _CHECK).rstrip("\n").splitlines(),
        "endef",
        "export environment",
        "",
        ".PHONY: all",
        f"all: {' '.join(f'{output}.om' for _, output, _ in names)}",
    ]
    for command, output, model in names:
        files = " ".join([model, *dict(command.files)])
        lines += ["", *(f"# {show(note, 1000)}" for note in command.notes), f"{output}.om: {files}"]
        if "/" in output:
            lines.append(f"\tmkdir -p {output.rpartition('/')[0] or '/'}")
        lines.append(f'\teval "$$environment"; {_make(command.text())} >{output}.atc.log 2>&1')
    return "\n".join([*lines, ""])


def _make(text: str) -> str:
    return text.replace("$", "$$")


def vectors(commands: Sequence[Command], profile: Profile) -> str:
    """Return the argument vectors as JSON: for a program that runs atc itself, without a shell."""
    listed = [
        {
            "batch": command.batch or None,
            "argv": list(command.words),
            "log": f"{command.value('output') or 'atc'}.atc.log",
            "files": list(dict(command.files)),
            "notes": list(command.notes),
        }
        for command in commands
    ]
    data = {"soc": profile.soc, "cann": profile.cann, "profile": profile.name, "commands": listed}
    return json.dumps(data, indent=2, ensure_ascii=True) + "\n"
