"""A bash script that runs ATC commands on the machine that has the toolkit."""

from __future__ import annotations

from collections.abc import Sequence

from graphtool.atc.command import Command
from graphtool.atc.profile import Profile
from graphtool.atc.shell import quote
from graphtool.errors import show

# The environment is that of the ICNet guide, section 7.2 (Ascend ModelZoo, 2022-03, CANN 5.0), or the toolkit's own
# set_env.sh where that exists (later releases). Vendor scripts read unset variables, so there is no `set -u`.
_ENVIRONMENT = r"""
if ! command -v atc >/dev/null; then
  if [ -r "${install_path%/*}/set_env.sh" ]; then
    . "${install_path%/*}/set_env.sh"
  else
    export PATH="$install_path/atc/ccec_compiler/bin:$install_path/atc/bin:$PATH"
    export PYTHONPATH="$install_path/atc/python/site-packages${PYTHONPATH:+:$PYTHONPATH}"
    export LD_LIBRARY_PATH="$install_path/atc/lib64:$install_path/acllib/lib64${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}"
    export ASCEND_OPP_PATH="$install_path/opp"
  fi
fi
if ! command -v atc >/dev/null; then
  echo "atc not found; set install_path to the folder of the CANN toolkit" >&2
  exit 127
fi

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
    target = ", ".join(filter(None, [profile.soc, profile.cann and f"CANN {profile.cann}"]))
    path = quote(profile.install_path or "/usr/local/Ascend/ascend-toolkit/latest")
    lines = [
        "#!/bin/bash",
        f"# ATC commands, written by graphtool; profile {show(profile.name)}: {show(target)}",
        f'[ -n "$install_path" ] || install_path={path}',
        _ENVIRONMENT.rstrip("\n"),
    ]
    for command in commands:
        output = command.value("output") or "atc"
        lines += ["", *(f"# {show(note, 1000)}" for note in command.notes)]
        lines += [f"{command.text()} >{quote(f'{output}.atc.log')} 2>&1", f'report {quote(output)} "$?"']
    return "\n".join([*lines, "", 'exit "$status"', ""])
