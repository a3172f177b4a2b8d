"""What several test files share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import onnx
import pytest
from clirun import Cli

from graphtool.graph import Graph

HEADER = '<ir_version: 8, opset_import: ["": 13]>\n'


def graph_of(text: str) -> Graph:
    """Return the graph written in ONNX text; without a ``<...>`` header it is IR 8, opset 13."""
    text = text.strip()
    return Graph.from_proto(onnx.parser.parse_model(text if text.startswith("<") else HEADER + text))


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of reference material beside the project, which a bare clone does not have."""
    folder = Path(__file__).resolve().parents[2] / "shared"
    if not folder.is_dir():
        pytest.skip("no folder 'shared' with reference models beside the project")
    return folder


@pytest.fixture
def cli(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cli]:
    """The command line in an empty folder; its record of written files lies elsewhere."""
    folder = tmp_path / "work"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    yield Cli(folder)
