"""``graphtool``: the command, its subcommands, and the one place where errors become exit codes."""

from __future__ import annotations

import io
import os
import sys
from typing import Annotated, NoReturn

import typer

from graphtool import __version__
from graphtool.cli import atc, check_passes, compare, diff, golden, inspect, report, run, zoo
from graphtool.errors import GraphtoolError, show

_INTERRUPTED = 130  # 128 + SIGINT, as a shell reports it
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
app.command("diff", short_help="Show what changed between two models.")(diff.diff)
app.command("compare", short_help="Compare what two models compute.")(compare.compare)
app.add_typer(golden.app, name="golden")
app.add_typer(check_passes.app, name="passes")
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
) -> None:
    pass


def main() -> None:
    """Run the command line. Exit codes: 0 fine, 1 a promise, budget or golden broke or models differ, 2 unusable."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a name must not be too much for an ASCII terminal
    try:
        app(prog_name="graphtool")  # also under python -m
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
    except MemoryError:
        _end("out of memory", 2)
    except OSError as error:
        _end(f"{error.filename or ''}: {error.strerror or error}".removeprefix(": "), 2)


def _end(message: str, code: int) -> NoReturn:
    """Say in one line on stderr why the run ends; a name or a path in it cannot reach the terminal raw."""
    typer.echo(f"graphtool: {show(message, _WHOLE)}", err=True)
    sys.exit(code)


if __name__ == "__main__":
    main()
