"""The demo's pipeline is held to its golden records, at a quick size and at the real one."""

from __future__ import annotations

from pathlib import Path

import pytest

from graphtool import api, golden
from graphtool.graph import Graph
from graphtool.zoo.icnet import build_icnet

RECORDS = Path(__file__).resolve().parents[1] / "golden"


@pytest.mark.parametrize(("name", "height", "width"), [("icnet_256x512", 256, 512), ("icnet", 1024, 2048)])
def test_the_demo_holds(name: str, height: int, width: int) -> None:
    result = api.run(Graph(build_icnet(height, width)), "resize_nearest,prune_outputs")
    assert [(step.name, len(step.matches)) for step in result.steps] == [("resize_nearest", 10), ("prune_outputs", 3)]
    checked = golden.check(name, result.graph, RECORDS)
    assert checked.ok, checked.faults


def test_a_record_holds_under_another_number_of_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRAPHTOOL_THREADS", "1")
    checked = golden.check_record("icnet_256x512", RECORDS)
    assert checked.ok, checked.faults
    assert checked.lines[0].startswith("pipeline 'resize_nearest,prune_outputs': each of 2 passes makes the same graph")


def test_another_coordinate_mode_is_found() -> None:
    result = api.run(Graph(build_icnet(256, 512)), "resize_nearest:coordinate_mode=half_pixel,prune_outputs")
    checked = golden.check("icnet_256x512", result.graph, RECORDS)
    assert not checked.ok
    assert any("half_pixel" in fault for fault in checked.faults)
    assert any("794" in fault for fault in checked.faults), "and the numbers are others too"
