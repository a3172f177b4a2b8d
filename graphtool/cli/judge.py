"""``graphtool judge``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from graphtool.cli.common import Json, Pictures, dump
from graphtool.cli.run import Max, Min


def judge(
    before: Annotated[Path, typer.Argument(metavar="BEFORE", show_default=False)],
    after: Annotated[Path, typer.Argument(metavar="AFTER", show_default=False)],
    min_: Min = None,
    max_: Max = None,
    pictures: Pictures = None,
    json: Json = False,
) -> None:
    """Compare saved outputs again, with other budgets, without running anything.

    BEFORE and AFTER are folders of --save-outputs (DIR/before and DIR/after), folders of .npz files, or two .npz files.
    Exit code 1 where a budget does not hold.
    """
    from graphtool.errors import PromiseError
    from graphtool.kept import Keep
    from graphtool.rejudge import rejudge
    from graphtool.report.console import print_rejudged
    from graphtool.report.data import rejudged_data
    from graphtool.report.printing import line
    from graphtool.request import budgets_of

    keep = Keep(pictures=pictures)
    keep.check()
    found = rejudge(before, after, budgets_of(min_ or (), max_ or ()))
    hints = keep.write(found.pairs)
    if json:
        dump("judge", rejudged_data(found))
    else:
        print_rejudged(found)
        for hint in hints:
            line(hint, "cyan")
    if found.broken:
        raise PromiseError(f"over the budget: {found.broken[0]}")
