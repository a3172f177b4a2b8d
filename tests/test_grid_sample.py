"""GridSample written out and put back: ``grid_sample_to_gather`` and ``restore_grid_sample``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from graphtool import api
from graphtool.cases import model_of
from graphtool.graph import Graph
from graphtool.parity.session import Session

H, W, ROWS, COLUMNS = 5, 6, 3, 4


def written_out(aligned: bool, batch: int = 2, channels: int = 3, changed: Mapping[str, str] | None = None) -> str:
    """Return bilinear sampling as mmcv writes it, exported by PyTorch; ``changed`` statements are by what they make."""
    lines = []
    for axis, way in enumerate("xy"):
        size = "wh"[axis]
        count = f"Mul({way}2, {size}less)" if aligned else f"Mul({way}1, {size}all)"
        lines += [
            f"{way}g = Gather<axis = 3>(p, i{axis})", f"{way}1 = Add({way}g, one)", f"{way}2 = Div({way}1, two)",
            f"{way}3 = {count}", f"{way}4 = Sub({way}3, one)", f"{way}5 = Div({way}4, two)",
            f"{way}p = Reshape({way}{3 if aligned else 5}, flat)", f"{way}f = Floor({way}p)",
            f"{way}n0 = Cast<to = 7>({way}f)", f"{way}n1 = Add({way}n0, i1)",
            f"{way}r0 = Cast<to = 1>({way}n0)", f"{way}r1 = Cast<to = 1>({way}n1)",
            f"{way}w0 = Sub({way}r1, {way}p)", f"{way}w1 = Sub({way}p, {way}r0)",
        ]  # fmt: skip
        for k in "01":
            lines += [
                f"{way}a{k} = Add({way}n{k}, i1)", f"{way}b{k} = Less({way}a{k}, i0)",
                f"{way}c{k} = Where({way}b{k}, i0, {way}a{k})", f"{way}d{k} = Greater({way}c{k}, {size}last)",
                f"{way}e{k} = Where({way}d{k}, {size}last, {way}c{k})",
            ]  # fmt: skip
    lines += ["framed = Pad(image, frame, zero)", "pixels = Reshape(framed, table)"]
    for k in ("00", "01", "10", "11"):
        i, j = k[0], k[1]
        lines += [
            f"m{k} = Mul(xw{i}, yw{j})", f"w{k} = Unsqueeze(m{k}, ax)", f"r{k} = Mul(ye{j}, row)",
            f"n{k} = Add(xe{i}, r{k})", f"u{k} = Unsqueeze(n{k}, ax)", f"e{k} = Expand(u{k}, all)",
            f"g{k} = GatherElements<axis = 2>(pixels, e{k})", f"v{k} = Mul(g{k}, w{k})",
        ]  # fmt: skip
    lines += ["s1 = Add(v00, v01)", "s2 = Add(s1, v10)", "s = Add(s2, v11)", "y = Reshape(s, shape)"]
    made = {line.split(" = ")[0]: line for line in lines}
    changed = changed or {}
    assert changed.keys() <= made.keys()
    body = "\n".join(f"{name} = {changed[name]}" if name in changed else line for name, line in made.items())
    used = {
        "int64 i0": 0, "int64 i1": 1, "float one": 1, "float two": 2, "float zero": 0, "int64[1] ax": 1,
        "float wall": W, "float hall": H, "float wless": W - 1, "float hless": H - 1, "int64 wlast": W + 1,
        "int64 hlast": H + 1, "int64 row": W + 2, "int64[2] flat": f"{batch},-1", "int64[8] frame": "0,0,1,1,0,0,1,1",
        "int64[3] table": f"{batch},{channels},-1", "int64[3] all": f"{batch},{channels},{ROWS * COLUMNS}",
        "int64[4] shape": f"{batch},{channels},{ROWS},{COLUMNS}",
    }  # fmt: skip
    weights = ", ".join(f"{name} = {{{value}}}" for name, value in used.items())
    return (
        f"g (float[{batch},{channels},{H},{W}] image, float[{batch},{ROWS},{COLUMNS},2] p) "
        f"=> (float[{batch},{channels},{ROWS},{COLUMNS}] y) <{weights}> {{ {body} }}"
    )


def feed(batch: int = 2, channels: int = 3) -> dict[str, np.ndarray[Any, Any]]:
    """Return an image, and points inside and outside of it."""
    rng = np.random.default_rng(0)
    image = rng.standard_normal((batch, channels, H, W)).astype(np.float32)
    return {"image": image, "p": rng.uniform(-1.6, 1.6, (batch, ROWS, COLUMNS, 2)).astype(np.float32)}


def restored(graph: Graph) -> Graph:
    return api.run(graph, "restore_grid_sample", checked=False).graph


@pytest.mark.parametrize("aligned", [False, True])
@pytest.mark.parametrize("first", ["", "optimize"])
@pytest.mark.parametrize("batch,channels", [(2, 3), (1, 3), (2, 1), (1, 1)])
def test_the_form_of_exporters_becomes_grid_sample(aligned: bool, first: str, batch: int, channels: int) -> None:
    graph = model_of(written_out(aligned, batch, channels), 16)
    before = Session(graph).run(feed(batch, channels))["y"]
    if first:
        graph = api.run(graph, first, checked=False).graph
    after = restored(graph)
    assert [node.op_type for node in after.nodes] == ["GridSample"]
    np.testing.assert_allclose(Session(after).run(feed(batch, channels))["y"], before, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    "changed,reason",
    [
        ({"framed": "Pad<mode = \"edge\">(image, frame)"}, "the Pad does not put zeros around"),
        ({"framed": "Pad(image, frame, one)"}, "the Pad does not put zeros around"),
        ({"m00": "Mul(xw0, yw1)"}, "a pixel has another weight than in GridSample"),
        ({"xd1": "Greater(xc1, row)", "xe1": "Where(xd1, row, xc1)"}, "an index is not limited to the framed image"),
        ({"xb0": "Less(xa0, i1)"}, "it is not known which pixel is read, or with which weight"),
        ({"x4": "Sub(x3, two)"}, "a coordinate is not counted as GridSample does"),
        ({"xg": "Gather<axis = 3>(p, i1)"}, "a coordinate is not counted as GridSample does"),
        ({"r11": "Mul(ye0, row)"}, "a pixel has another weight than in GridSample"),
        ({"n01": "Add(xe0, r00)", "m01": "Mul(xw0, yw0)"}, "the four pixels are not the neighbours of one point"),
        ({"xn0": "Cast<to = 7>(xp)"}, "it is not known which pixel is read, or with which weight"),
    ],
)  # fmt: skip
def test_what_is_no_grid_sample_stays(changed: dict[str, str], reason: str) -> None:
    graph = model_of(written_out(False, changed=changed), 16)
    found = api.run(graph, "restore_grid_sample", checked=False)
    (step,) = found.steps
    assert not step.matches and "GatherElements" in [node.op_type for node in found.graph.nodes]
    assert reason in {miss.reason for miss in step.misses}


@pytest.mark.parametrize("aligned", [False, True])
@pytest.mark.parametrize("mode", ["bilinear", "nearest"])
def test_grid_sample_is_written_out(aligned: bool, mode: str) -> None:
    attributes = f'mode = "{mode}", align_corners = {int(aligned)}'
    text = f"g (float[2,3,5,6] x, float[2,3,4,2] p) => (float[2,3,3,4] y) {{ y = GridSample<{attributes}>(x, p) }}"
    graph = model_of(text, 16)
    (step,) = api.run(graph, "grid_sample_to_gather").steps
    assert step.verdict is not None and step.matches
