"""Cases of pass files in a child process: a crash, a hang or an exhausted memory is a fault of that file. Floor 5.

A case holds a graph, which is run, and a stranger's may count to a trillion or want all the memory there is.
"""

from __future__ import annotations

import dataclasses
import json
import resource
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator

from graphtool import guard
from graphtool.cases import Result, chosen, run_entry
from graphtool.errors import show

_SECONDS = 120  # wall time of one case; those that ship take one at most
_MEMORY = 8 << 30  # bytes of address space; onnxruntime reserves far more than it uses


def run_guarded(
    what: str | None, strict: bool, watch: Callable[[str], None], seconds: int = _SECONDS
) -> Iterator[Result]:
    """Run the cases of the pass files that ``what`` means (see :func:`~graphtool.cases.chosen`); yield how each went.

    ``watch`` is told each pass as it begins. A case may take ``seconds``; after one that ends the child the rest of its
    file is left out.
    """
    _, entries = chosen(what)
    begun = 0
    while begun < len(entries):
        words = [sys.executable, "-P", "-m", __name__, str(int(strict)), str(seconds), str(begun)]
        words += [] if what is None else [what]
        with (
            tempfile.TemporaryFile() as errors,  # a pipe that nobody reads would stop the child once it is full
            subprocess.Popen(
                words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors, text=True
            ) as child,
        ):
            assert child.stdout is not None
            case, left = "-", begun
            try:
                for told in map(json.loads, child.stdout):
                    if "spec" in told:
                        yield Result(**told)
                    elif "pass" in told:
                        left, case = told["pass"], "-"
                        watch(f"pass {entries[left].name}")
                        guard.begin(f"pass {entries[left].name}", seconds)
                    elif "case" in told:
                        case = told["case"]
                        guard.begin(f"case {case} of pass {entries[left].name}", seconds)
                    else:
                        left += 1
            except BaseException:  # the caller stops early
                child.kill()
                raise
            if left >= len(entries):
                return
            errors.seek(0)
            said = errors.read().decode(errors="replace")
            yield Result(entries[left].name, case, _fate(child.wait(), said, seconds), "")
        begun = left + 1


def _fate(code: int, said: str, seconds: int) -> str:
    if code == -signal.SIGALRM:
        return f"it was stopped after {seconds} seconds"
    if code < 0:
        name = next((known.name for known in signal.Signals if known == -code), f"signal {-code}")
        return f"the process that ran it crashed ({name})"
    lines = said.strip().splitlines()
    return f"the process that ran it failed: {show(lines[-1] if lines else 'it said nothing', 300)}"


def _child(what: str | None, strict: bool, seconds: int, first: int) -> None:
    """Run the cases from a pass file on; each line on stdout is a JSON object."""
    out, sys.stdout = sys.stdout, sys.stderr
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, resource.RLIM_INFINITY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    signal.signal(signal.SIGALRM, signal.SIG_DFL)  # ends the process, wherever it is

    def say(**what: object) -> None:
        print(json.dumps(what), file=out, flush=True)

    def before(case: str) -> None:
        say(case=case)
        signal.alarm(seconds)

    catalog, entries = chosen(what)
    for number, entry in enumerate(entries):
        if number < first:
            continue
        say(**{"pass": number})
        signal.alarm(seconds)
        for result in run_entry(catalog, entry, strict, before):
            say(**dataclasses.asdict(result))
        say(done=number)
    signal.alarm(0)


if __name__ == "__main__":
    _child(sys.argv[4] if len(sys.argv) > 4 else None, sys.argv[1] == "1", int(sys.argv[2]), int(sys.argv[3]))
