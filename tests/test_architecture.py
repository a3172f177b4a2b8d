"""The floors of docs/architecture.md hold for every import, there are no cycles, and no module is large."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = "graphtool"
MOST_LINES = 350

Sources = Mapping[str, str]  # module -> its text; a package is its __init__


def sources(root: Path = ROOT) -> dict[str, str]:
    """Return the text of every module of the package."""
    found = {}
    for path in sorted((root / PACKAGE).rglob("*.py")):
        parts = path.relative_to(root).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path.read_text()
    return found


def floors(document: str) -> dict[str, int]:
    """Return the floor of each name in the document's table: ``graph/`` or ``errors.py`` to a number."""
    found: dict[str, int] = {}
    for line in document.splitlines():
        row = re.match(r"\| *(\d+) *\| *([^|]+?) *\|", line)
        for name in row[2].split() if row else ():
            assert name.endswith((".py", "/")), f"{name} in the table of floors is neither a module nor a folder"
            assert name not in found, f"{name} is on two floors"
            found[name] = int(row[1]) if row else 0
    return found


def floor_of(module: str, table: Mapping[str, int]) -> int | None:
    """Return the floor of a module; None for the package itself, which only re-exports."""
    parts = module.split(".")
    if len(parts) == 1:
        return None
    own = [table[name] for name in (f"{parts[1]}/", f"{parts[1]}.py") if name in table]
    assert own, f"{module} is on no floor of docs/architecture.md"
    return own[0]


def for_types_only(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)


def imports(source: str, known: Sources, at_import: bool = False) -> Iterator[str]:
    """Yield the modules of the package that a source imports; with ``at_import`` only what runs when it is loaded."""
    rest: list[ast.AST] = [ast.parse(source)]
    while rest:
        node = rest.pop()
        if at_import and (
            isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda) or for_types_only(node)
        ):
            continue
        rest += ast.iter_child_nodes(node)
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.split(".")[0] == PACKAGE)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute here"
            if node.module and node.module.split(".")[0] == PACKAGE:
                inner = [f"{node.module}.{alias.name}" for alias in node.names]
                yield from (name if name in known else node.module for name in inner)


def faults(known: Sources, table: Mapping[str, int]) -> list[str]:
    """Return each import that goes up."""
    found = []
    for module, source in known.items():
        own = floor_of(module, table)
        for name in sorted(set(imports(source, known))):
            other = floor_of(name, table)
            if own is not None and other is not None and other > own:
                found.append(f"{module} (floor {own}) imports {name} (floor {other})")
    return found


def cycle(known: Sources) -> list[str]:
    """Return modules that import each other in a circle when they are loaded; an empty list where none do."""
    graph = {}
    for module, source in known.items():
        named = set(imports(source, known, at_import=True))
        # the package around a module is loaded before it; that a package loads its own parts is no circle
        around = {name.rpartition(".")[0] for name in named} & known.keys()
        graph[module] = (named | around) - {module, module.rpartition(".")[0], PACKAGE}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


@pytest.fixture(scope="module")
def table() -> dict[str, int]:
    return floors((ROOT / "docs/architecture.md").read_text())


def test_the_table_is_about_what_there_is(table: dict[str, int]) -> None:
    assert set(table.values()) == set(range(9))
    for name in table:
        found = list((ROOT / PACKAGE).glob(name.removesuffix("/")))
        assert found and all(path.is_dir() == name.endswith("/") for path in found), name
    assert table["errors.py"] == 0 and table["graph/"] == 1 and table["cli/"] == 8


def test_every_import_goes_down(table: dict[str, int]) -> None:
    assert faults(sources(), table) == []


def test_no_module_imports_itself_in_a_circle() -> None:
    assert cycle(sources()) == []


@pytest.mark.parametrize("module", sources())
def test_modules_are_small(module: str) -> None:
    assert len(sources()[module].splitlines()) <= MOST_LINES


def test_no_command_imports_anything_heavy_at_the_top() -> None:
    """Nothing of the package that a command loads by itself; errors import nothing."""
    known = sources()
    for module in known:
        if module.startswith(f"{PACKAGE}.cli"):
            own = set(imports(known[module], known, at_import=True))
            assert all(name.startswith(f"{PACKAGE}.cli") or name in (PACKAGE, f"{PACKAGE}.errors") for name in own), (
                module
            )


# -- the reader of imports itself

TABLE = {"errors.py": 0, "graph/": 1, "golden/": 2, "pipeline.py": 2, "cli/": 3}


@pytest.mark.parametrize(
    "source",
    [
        "from graphtool.cli import run",
        "from graphtool.cli.run import main",
        "import graphtool.cli.run",
        "from graphtool import pipeline",
        "def f():\n    from graphtool.golden import check",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from graphtool.golden import Record",
        "class A:\n    import graphtool.golden as g",
    ],
)
def test_an_import_that_goes_up_is_found(source: str) -> None:
    known = {
        "graphtool": "from graphtool.cli import run",
        "graphtool.errors": "",
        "graphtool.graph": "from graphtool.graph.model import Graph",
        "graphtool.graph.model": f"from graphtool.errors import show\n{source}",
        "graphtool.golden": "import graphtool\nfrom graphtool.pipeline import x",
        "graphtool.pipeline": "from graphtool.graph import Graph",
        "graphtool.cli": "",
        "graphtool.cli.run": "from graphtool import golden",
    }
    found = faults(known, TABLE)
    assert len(found) == 1 and found[0].startswith("graphtool.graph.model (floor 1) imports graphtool.")
    assert faults({**known, "graphtool.graph.model": "import os"}, TABLE) == []


def test_a_module_on_no_floor_is_found() -> None:
    with pytest.raises(AssertionError, match=r"graphtool\.stray is on no floor"):
        faults({"graphtool.stray": ""}, TABLE)


def test_cycles_are_found_where_they_happen() -> None:
    known = {"graphtool.graph": "", "graphtool.graph.a": "from graphtool.graph.b import f", "graphtool.graph.b": ""}
    assert cycle(known) == []
    assert set(cycle({**known, "graphtool.graph.b": "from graphtool.graph import a"})) == {
        "graphtool.graph.a",
        "graphtool.graph.b",
    }
    for late in ("def f():\n    import graphtool.graph.a", "if TYPE_CHECKING:\n    import graphtool.graph.a"):
        assert cycle({**known, "graphtool.graph.b": late}) == []
    across = {"graphtool.x": "from graphtool.graph import y", "graphtool.graph": "import graphtool.x"}
    assert set(cycle(across)) == {"graphtool.x", "graphtool.graph"}


def test_a_row_of_the_table_is_read() -> None:
    document = (
        "| floor | modules |\n|---|---|\n| 0 | errors.py data.py | words |\n| 1 | graph/ | more |\n| a.py | b |\n"
    )
    assert floors(document) == {"errors.py": 0, "data.py": 0, "graph/": 1}
