"""``graphtool profiles``: list, show, new, test."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from graphtool.cli.common import Json, dump

app = typer.Typer(help="The catalogue of profiles.", no_args_is_help=True, rich_markup_mode=None)


@app.command("list")
def list_profiles(json: Json = False) -> None:
    """List every profile, the project's own (./atc_profiles) too."""
    from graphtool.atc.profiles import listing
    from graphtool.report.profiles import listed_data, print_listing

    found = listing()
    if json:
        dump("profiles-list", {"profiles": [listed_data(one) for one in found]})
    else:
        print_listing(found)


@app.command("show")
def show_profile(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A profile, or its .toml.", show_default=False)],
    json: Json = False,
) -> None:
    """Show one profile with all that it inherits, and what is known of its target."""
    from graphtool.atc.profile import load_profile
    from graphtool.report.profiles import print_profile, profile_data

    found = load_profile(name)
    if json:
        dump("profiles-show", profile_data(found))
    else:
        print_profile(found)


@app.command("new")
def new(
    name: Annotated[str, typer.Argument(metavar="NAME", help="In lower case with underscores.", show_default=False)],
    folder: Annotated[Path, typer.Option("--dir", metavar="DIR", help="Where to.")] = Path("atc_profiles"),
) -> None:
    """Write a commented profile to start from; nothing is overwritten."""
    from graphtool.atc.profiles import create
    from graphtool.errors import show
    from graphtool.report.printing import line

    path = create(name, folder)
    line(f"wrote {show(path)}", "bold")
    line(f"  graphtool profiles test {show(folder)}")
    line(f"  graphtool atc emit --profile {show(path)} MODEL.onnx")


@app.command("test")
def test_profiles(
    folder: Annotated[
        Path | None,
        typer.Argument(metavar="[DIR]", help="Profiles to try; by default the shipped and those in ./atc_profiles."),
    ] = None,
    json: Json = False,
) -> None:
    """Try profiles: files, options together, passes with their parameters, and that the release takes them."""
    from graphtool.atc.profiles import listing, tried
    from graphtool.report.profiles import print_tried, tried_data

    found = [tried(one) for one in listing(folder)]
    bad = any(one.fault for one in found)
    if json:
        dump("profiles-test", {"ok": not bad, "profiles": [tried_data(one) for one in found]})
    else:
        print_tried(found)
    if bad:
        raise typer.Exit(1)
