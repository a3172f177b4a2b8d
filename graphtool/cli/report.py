"""``graphtool report``: schema."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(help="What --json and --report write.", no_args_is_help=True, rich_markup_mode=None)


@app.callback()
def _group() -> None:
    pass


@app.command("schema", short_help="Print the JSON schema of every --json document.")
def schema(
    output: Annotated[Path | None, typer.Option("-o", "--output", metavar="FILE", help="Default: stdout.")] = None,
) -> None:
    """Print the JSON schema of every document that --json prints and --report json:FILE writes."""
    from graphtool.graph.save import write_text
    from graphtool.report.data import dumps
    from graphtool.report.schema import schema as found

    text = dumps(found()) + "\n"
    if output is None:
        print(text, end="")
    else:
        write_text(output, text)
