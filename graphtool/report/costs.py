"""What a model costs as text, CSV and plain data. Floor 7."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from graphtool.analysis.amounts import Amount, short, short_bytes
from graphtool.analysis.device import Device, device_of
from graphtool.analysis.measure import Group, ModelCost, NodeCost, measure, op_of, weight
from graphtool.analysis.roofline import Bound, Roofline, against_measured, roofline
from graphtool.errors import UsageError, show
from graphtool.graph import Graph
from graphtool.report.printing import line

BY = ("node", "op", "scope")
_TOP = 20  # rows on a terminal


@dataclass(frozen=True, slots=True)
class Costs:
    """A model's costs, grouped as asked for, and on a device where one is named."""

    cost: ModelCost
    by: str
    rows: tuple[NodeCost | Group, ...]
    roof: Roofline | None
    bounds: Mapping[int, Bound | None]

    def bound(self, node: NodeCost) -> Bound | None:
        """Return the bound of a node; None without a device, or where sizes are open."""
        return self.bounds.get(id(node))


def costs_of(graph: Graph, by: str = "op", depth: int | None = None, soc: str | None = None) -> Costs:
    """Return what ``graph`` costs by ``node``, ``op`` or ``scope``; raises UsageError for a device nobody knows."""
    device = None if soc is None else _device(soc)
    cost = measure(graph)
    roof = None if device is None else roofline(graph, cost, device)
    rows: tuple[NodeCost | Group, ...] = cost.nodes if by == "node" else tuple(cost.groups(by, depth))
    bounds = {} if roof is None else {id(n): bound for n, bound in zip(cost.nodes, roof.nodes, strict=True)}
    return Costs(cost, by, rows, roof, bounds)


def _device(soc: str) -> Device:
    device = device_of(soc)
    if device is None:
        raise UsageError(f"nothing is published here of {show(soc)}: no bounds  (atc_profiles/devices)")
    return device


# -- data


def costs_data(found: Costs) -> dict[str, Any]:
    """Return the costs; amounts are numbers, text where sizes are open, null where unknown."""
    cost, roof = found.cost, found.roof
    total = cost.total
    return {
        "parameters": _amount(cost.parameters),
        "weight_bytes": _amount(cost.weight_bytes),
        "total": _group_data(total),
        "peak": {
            "bytes": _amount(cost.peak.bytes),
            "at": cost.peak.candidates[0][1] if len(cost.peak.candidates) == 1 else None,
            "candidates": [{"bytes": _amount(amount), "at": at} for amount, at in cost.peak.candidates],
            "unknown_values": cost.peak.unknown,
        },
        "notes": list(_notes(cost)),
        "by": found.by,
        "rows": [_row_data(found, row) for row in found.rows],
        "bounds": None if roof is None else _roof_data(roof),
    }


def _amount(amount: Amount | None) -> int | str | None:
    return amount if amount is None or isinstance(amount, int) else str(amount)


def _group_data(group: Group) -> dict[str, Any]:
    return {
        "key": group.key,
        "nodes": group.nodes,
        "madds": _amount(group.madds),
        "bytes_in": _amount(group.bytes_in),
        "bytes_out": _amount(group.bytes_out),
        "weights": _amount(group.weights),
        "unknown": group.unknown,
    }


def _row_data(found: Costs, row: NodeCost | Group) -> dict[str, Any]:
    if isinstance(row, Group):
        return _group_data(row)
    bound = found.bound(row)
    return {
        "name": row.name,
        "op": op_of(row),
        "scope": row.scope,
        "body": row.body,
        "inputs": [value.text() if value.name else "" for value in row.inputs],
        "outputs": [value.text() for value in row.outputs],
        "madds": _amount(row.madds),
        "bytes_in": _amount(row.bytes_in),
        "bytes_out": _amount(row.bytes_out),
        "weights": _amount(row.weights),
        "bound_seconds": bound.seconds if bound else None,
        "bound_by": bound.limit if bound else None,
    }


def _roof_data(roof: Roofline) -> dict[str, Any]:
    device = roof.device
    return {
        "what": "bounds from published figures, no prediction",
        "device": device.name,
        "float16_flops": device.flops,
        "bandwidth": device.bandwidth,
        "sources": dict(device.sources),
        "model_seconds": roof.whole.seconds if roof.whole else None,
        "model_bound_by": roof.whole.limit if roof.whole else None,
        "sum_of_nodes_seconds": roof.each,
        "conversions": [
            {
                "value": item.value,
                "shape": list(item.shape),
                "leaves_nc1hwc0": item.leaves,
                "for": item.reader,
                "bytes": item.bytes,
                "padding": item.waste,
                "bound_seconds": seconds,
            }
            for item, seconds in roof.conversions
        ],
        "against_measured": against_measured(device),
    }


def _notes(cost: ModelCost) -> Iterator[str]:
    if cost.bodies:
        yield f"{cost.bodies} nodes are in bodies of If, Loop or Scan; each body is counted once"
    if cost.calls:
        names = ", ".join(map(show, cost.calls))
        yield f"calls of local functions are not looked into: {names} (pass inline_functions)"
    if cost.total.unknown:
        yield f"{cost.total.unknown} figures are not known (sizes that inference does not find); sums are without them"


# -- text


def print_sums(cost: ModelCost) -> None:
    """Print what a model costs as a whole."""
    total = cost.total
    line(f"parameters {short(cost.parameters)}, {short_bytes(cost.weight_bytes)}")
    moved = f"read {short_bytes(total.bytes_in)}, written {short_bytes(total.bytes_out)}"
    line(f"multiply-adds {short(total.madds)}; {moved}")
    peaks = ", or ".join(f"{short_bytes(amount)} at {show(at)}" for amount, at in cost.peak.candidates)
    line(f"peak of activations {peaks}" + (f"; {cost.peak.unknown} values are not known" if cost.peak.unknown else ""))
    for note in _notes(cost):
        line(f"note: {note}", "yellow")


def print_costs(found: Costs, everything: bool) -> None:
    """Print rows and, with a device, bounds."""
    _print_rows(found, everything)
    if found.roof is not None:
        _print_roof(found.roof, everything)


def _print_rows(found: Costs, everything: bool) -> None:
    rows = list(found.rows)
    if found.by == "node" and not everything:
        rows.sort(key=weight)
    shown = rows if everything else rows[:_TOP]
    table = [_headings(found), *(_cells(found, row) for row in shown)]
    left = {0, len(table[0]) - 1} if found.by == "node" else {0}
    wide = [max(len(row[column]) for row in table) for column in range(len(table[0]))]
    for place, row in enumerate(table):
        cells = [f"{w:<{n}}" if c in left else f"{w:>{n}}" for c, (w, n) in enumerate(zip(row, wide, strict=True))]
        line("  ".join(cells).rstrip(), "bold" if place == 0 else "")
    if len(rows) > len(shown):
        line(f"and {len(rows) - len(shown)} more, which cost less (--all lists them)", "dim")


def _headings(found: Costs) -> list[str]:
    if found.by != "node":
        return [found.by, "nodes", "multiply-adds", "in", "out", "weights"]
    return ["node", "op", "multiply-adds", "in", "out", "weights", *["bound"] * (found.roof is not None), "makes"]


def _cells(found: Costs, row: NodeCost | Group) -> list[str]:
    amounts = [short(row.madds), *map(short_bytes, (row.bytes_in, row.bytes_out, row.weights))]
    if isinstance(row, Group):
        return [show(row.key), str(row.nodes), *amounts]
    bound = found.bound(row)
    time = [f"{bound.seconds * 1e3:.3g} ms {bound.limit}" if bound else "?"] if found.roof is not None else []
    return [show(row.body + "/" * bool(row.body) + row.name), show(op_of(row)), *amounts, *time, _makes(row)]


def _makes(row: NodeCost) -> str:
    return show(", ".join(value.text() for value in row.outputs), 60)


def _print_roof(roof: Roofline, everything: bool) -> None:
    device = roof.device
    line(f"bounds on {device.summary}, from published figures; no prediction", "bold")
    line(f"  {device.flops / 1e12:.3g} TFLOPS float16: {device.sources['flops']}", "dim")
    line(f"  {device.bandwidth / 1e9:.3g} GB/s: {device.sources['bandwidth']}", "dim")
    if roof.whole is not None:
        whole = roof.whole
        line(
            f"  the model takes at least {whole.seconds * 1e3:.3g} ms: {whole.compute * 1e3:.3g} ms of multiply-adds, "
            f"{whole.transfer * 1e3:.3g} ms for weights, inputs, outputs and conversions"
        )
    line(f"  node by node, each value through memory once: {roof.each * 1e3:.3g} ms (fusion needs less)")
    line(f"  {len(roof.conversions)} format conversions: {roof.converted * 1e3:.3g} ms")
    shown = sorted(roof.conversions, key=lambda item: -item[1])
    for item, seconds in shown if everything else shown[:8]:
        way = "from NC1HWC0" if item.leaves else "to NC1HWC0"
        shape = "x".join(map(str, item.shape))
        width = "float32" if item.element == 4 else "float16"
        line(
            f"    {show(item.value)} {shape} {width} {way} for {show(item.reader)}: "
            f"{short_bytes(item.bytes)}, padding {item.waste:.0%}, {seconds * 1e3:.3g} ms"
        )
    for words in against_measured(device):
        line(f"  measured: {words}")


# -- CSV


def costs_csv(found: Costs) -> str:
    """Return the rows as CSV (RFC 4180 with LF): exact amounts, text where sizes are open, empty where unknown."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    rows = [_row_data(found, row) for row in found.rows]
    keys = list(rows[0]) if rows else ["name"]
    writer.writerow(keys)
    for row in rows:
        writer.writerow([_csv_cell(row[key]) for key in keys])
    return out.getvalue()


def _csv_cell(value: object) -> object:
    if isinstance(value, Sequence) and not isinstance(value, str):
        return ";".join(map(str, value))
    return "" if value is None else value
