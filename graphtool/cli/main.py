"""``graphtool``: the command, its subcommands, and the one place where errors become exit codes."""

from __future__ import annotations

import copy
import io
import os
import sys
from typing import Annotated, NoReturn

import typer

from graphtool import __version__
from graphtool.cli import (
    atc,
    bisect,
    check,
    check_passes,
    compare,
    diff,
    golden,
    inspect,
    judge,
    profiles,
    reduce,
    report,
    rules,
    run,
    tune,
    zoo,
)
from graphtool.errors import GraphtoolError, quoted, show

_INTERRUPTED = 130  # 128 + SIGINT, as a shell reports it
_LIMITS = ("--memory-limit", "--time-limit")
_WHOLE = 1 << 20  # characters of a message: no limit

app = typer.Typer(
    name="graphtool",
    help="ONNX graph surgery by declared passes, each checked with onnxruntime, ending in ATC command lines.",
    epilog="Exit codes: 0 fine; 1 a promise, budget or golden record broke, or models differ; 2 unusable input.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # plain help: rich would double the time to print it
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("run", short_help="Apply passes, check each, write, print ATC lines.")(run.run)
app.command("optimize", short_help="Make a model smaller; what it computes stays.")(run.optimize)
app.command("inspect", short_help="Show inputs, outputs and op counts.")(inspect.inspect)
app.command("check", short_help="Find what the target refuses or slows down.")(check.check)
app.command("diff", short_help="Show what changed between two models.")(diff.diff)
app.command("compare", short_help="Compare what two models compute.")(compare.compare)
app.command("judge", short_help="Compare saved outputs again, with other budgets.")(judge.judge)
app.command("bisect", short_help="Find the pass and the match that breaks a promise or budget.")(bisect.bisect)
app.command("reduce", short_help="Find the smallest model that still fails.")(reduce.reduce)
app.command("tune", short_help="Find the most matches of lossy passes within a budget.")(tune.tune)
app.add_typer(golden.app, name="golden")
app.add_typer(check_passes.app, name="passes")
app.add_typer(profiles.app, name="profiles")
app.add_typer(rules.app, name="rules")
app.add_typer(atc.app, name="atc")
app.add_typer(report.app, name="report")
app.add_typer(zoo.app, name="zoo")


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"graphtool {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and stop.")
    ] = False,
    memory_limit: Annotated[
        str | None,
        typer.Option(metavar="SIZE", help="Memory for any command, such as 8G; 0: no limit. Default: 90 % of all."),
    ] = None,
    time_limit: Annotated[
        str | None,
        typer.Option(metavar="SECONDS", help="Time for each phase of any command; 0: no limit. Default: by size."),
    ] = None,
) -> None:
    from graphtool.guard.limits import say

    say(memory_limit, time_limit)


def main() -> None:
    """Run the command line, guarded where that is possible: in a child, so that no model can end the tool itself.

    Exit codes: 0 fine, 1 a promise, budget or golden broke or models differ, 2 unusable.
    """
    from graphtool.guard import command as guarded
    from graphtool.guard.limits import of_environment

    if not guarded.possible():
        command()
        return
    try:
        limits = of_environment()
    except GraphtoolError as error:
        _end(str(error), error.exit_code)
    sys.exit(guarded.run(command, limits))


def command() -> None:
    """Run the command line in this process."""
    from graphtool.guard import phases

    phases.anew("")
    # OpenBLAS, in numpy, has a thread a core that waits for work by spinning; a shorter wait spares 0.1 s of each core
    os.environ.setdefault("OPENBLAS_THREAD_TIMEOUT", "14")  # 2^14 clock cycles, not 2^26
    limits, words = _limits_first(sys.argv[1:])
    sys.argv[1:] = limits + words
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a name must not be too much for an ASCII terminal
    try:
        _only(words[0] if words else "")(prog_name="graphtool")  # also under python -m
    except GraphtoolError as error:
        _end(str(error), error.exit_code)
    except SystemExit as stop:
        if stop.code == _INTERRUPTED:  # typer has caught the KeyboardInterrupt
            _end("interrupted", _INTERRUPTED)
        raise
    except KeyboardInterrupt:
        _end("interrupted", _INTERRUPTED)
    except BrokenPipeError:  # `graphtool ... | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except MemoryError as error:
        _end(f"{_while(error)}out of memory; --memory-limit SIZE allows more, where the machine has it", 2)
    except RecursionError as error:
        _end(f"{_while(error)}something is nested too deeply for this process", 2)
    except OSError as error:
        _end(f"{error.filename or ''}: {error.strerror or error}".removeprefix(": "), 2)
    except Exception as error:
        if phases.interrupted:  # an import of numpy that was interrupted ends in "initialization failed"
            _end("interrupted", _INTERRUPTED)
        if os.environ.get("GRAPHTOOL_TRACEBACK"):
            raise
        said = f"{type(error).__name__}: {show(' '.join(str(error).split()), 200)}"
        _end(f"{_while(error)}internal error, {said}; GRAPHTOOL_TRACEBACK=1 shows where, for a report", 2)


def _only(name: str) -> typer.Typer:
    """Return the command line with that command alone, where there is one: to build all parsers takes 40 ms."""
    own = copy.copy(app)
    own.registered_commands = [found for found in app.registered_commands if found.name == name]
    own.registered_groups = [found for found in app.registered_groups if found.name == name]
    return own if own.registered_commands or own.registered_groups else app


def _limits_first(words: list[str]) -> tuple[list[str], list[str]]:
    """Return the words about limits, which the parser takes for every command in front, and the others."""
    first, rest = [], []
    left = iter(words)
    for word in left:
        if word == "--":
            rest += [word, *left]
        elif word in _LIMITS:
            first += [word, *(value for value in [next(left, None)] if value is not None)]
        elif word.startswith(tuple(f"{name}=" for name in _LIMITS)):
            first.append(word)
        else:
            rest.append(word)
    return first, rest


def _while(error: BaseException) -> str:
    """Return the files and the phase in which an error was raised, as the beginning of a message."""
    from graphtool.guard import phases

    files = ", ".join(map(quoted, phases.files()))
    return "".join(f"{part}: " for part in (files, phases.where(error)) if part)


def _end(message: str, code: int) -> NoReturn:
    """Say in one line on stderr why the run ends; a name or a path in it cannot reach the terminal raw."""
    typer.echo(f"graphtool: {show(message, _WHOLE)}", err=True)
    sys.exit(code)


if __name__ == "__main__":
    main()
