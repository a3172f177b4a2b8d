"""``optimize`` on a fixed sample of public models, judged as ``make corpus`` judges all of them."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "benchmarks"))

from corpus import LEAST_SHARE, index, summarize  # noqa: E402
from corpus_worker import Worker  # noqa: E402

FOLDER = ROOT.parent / "shared" / "corpus"
ANY, REDUCIBLE = 36, 28  # models of any kind, and of those that some other tool makes smaller
GOOD = ("right", "random", "not runnable")


def spread(rows: list[dict[str, Any]], number: int) -> list[dict[str, Any]]:
    """Return ``number`` models, from each source in turn, in an order that only a model's content decides."""
    sources: dict[str, list[dict[str, Any]]] = {}
    for row in sorted(rows, key=lambda row: hashlib.sha256(row["file"].encode()).digest()):
        sources.setdefault(row["source"], []).append(row)
    picked: list[dict[str, Any]] = []
    while len(picked) < number and any(sources.values()):
        for source in sorted(sources):
            if sources[source] and len(picked) < number:
                picked.append(sources[source].pop(0))
    return picked


def sample() -> list[dict[str, Any]]:
    if not (FOLDER / "index.jsonl").is_file():
        return []
    rows = index(FOLDER)
    reducible = [row for row in rows if row["best_peer_nodes"] is not None and row["best_peer_nodes"] < row["nodes"]]
    found = {row["file"]: row for row in (*spread(reducible, REDUCIBLE), *spread(rows, ANY))}
    return [found[file] for file in sorted(found)]


SAMPLE = sample()
pytestmark = pytest.mark.skipif(not SAMPLE, reason="no folder 'shared/corpus' with public models beside the project")


@pytest.fixture(scope="module")
def worker() -> Iterator[Worker]:
    with Worker() as started:
        yield started


@pytest.fixture(scope="module")
def results() -> dict[str, dict[str, Any]]:
    """The rows of the models judged so far."""
    return {}


@pytest.mark.parametrize("row", SAMPLE, ids=lambda row: f"{row['source']}-{Path(row['file']).stem}")
def test_model(row: dict[str, Any], worker: Worker, results: dict[str, dict[str, Any]]) -> None:
    found = results[row["file"]] = worker.judge(row)
    assert found["status"] in GOOD, f"{row['origin']}: {found['status']}: {found['reason']}"
    assert found["before"] == row["nodes"]
    assert found["after"] <= row["nodes"]


def test_as_small_as_the_best_other_tool(worker: Worker, results: dict[str, dict[str, Any]]) -> None:
    rows = [results.get(row["file"]) or worker.judge(row) for row in SAMPLE]
    found = summarize(rows)
    above = [f"{row['origin']}: {row['after']}, best {row['best_peer_nodes']}" for row in found.above]
    assert found.share >= LEAST_SHARE, "\n".join(above)
    assert found.after <= found.best, "\n".join(above)
