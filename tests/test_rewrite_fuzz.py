"""Whoever hands over a pass file cannot crash, hang or exhaust the tool: mutated files, read, applied and tested.

The files are the same in every run, as long as the shipped passes are. ``make fuzz`` examines 100,000 of them,
``GRAPHTOOL_FUZZ=5000 pytest tests/test_rewrite_fuzz.py`` as many as that.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
from fuzz_graphs import graphs
from fuzzing import SEEDS, fuzz, mutated

from graphtool.cases import run_case
from graphtool.data import data_dir
from graphtool.rewrite import Catalog, Stage, apply_stage
from graphtool.rewrite.params import resolve

COUNT = int(os.environ.get("GRAPHTOOL_FUZZ", "300"))
CATALOG = Catalog([data_dir("passes")])


# forms of the language that a mutation is likely to meet
FORMS = {
    "a chain": r"[a-z]\+(<[^>]*>)?\(", "a family": r"[A-Z]\w+\|[A-Z]", "the op of a node": r"= @\w+[<(]",
    "like": "like = @", "any number": r"\*\w", "shared": "shared *=", "alternatives": r"match *= \[",
    "an absent input": "default *=", "opsets of a rule": r'opset *= "', "opsets of a pass": "requires *=",
    "a region": r"\[\[region\.member\]\]", "core": "core = true", "constants": "constants *=",
    "a boundary": r"\[\[boundary\]\]",
    "when": "when *=", "a sequence": "sequence *=", "a fixpoint": "fixpoint = true", "a budget": "budget *=",
    "interface": "interface *=", "an exact form": "exact_form *=", "semantics": r"\[\[semantics\]\]",
    "an edit": r"\[\[edit\]\]",
    "params": r"\[params\.", "choices": "choices *=", "stored": "stored *=",
}  # fmt: skip


@pytest.mark.parametrize("path", sorted(SEEDS.glob("*.toml")), ids=lambda path: path.stem)
def test_a_seed_does_what_its_cases_say(path: Path) -> None:
    spec = CATALOG.get(str(path))
    assert spec.cases and [run_case(spec, case, CATALOG).fault for case in spec.cases] == [""] * len(spec.cases)


def test_the_seeds_have_every_form() -> None:
    every = "\n".join(path.read_text() for path in SEEDS.glob("*.toml"))
    assert [name for name, form in FORMS.items() if not re.search(form, every)] == []


def test_mutated_files() -> None:
    found = fuzz(data_dir("passes"), 0, 0, COUNT)
    assert found.failures == {}
    assert sum(found.counts.values()) == COUNT
    assert found.counts["refused"] > COUNT / 4 and found.counts["run"] > COUNT / 8, found.counts


def test_a_file_is_the_same_in_every_run() -> None:
    """And no two are alike."""
    files = [mutated(data_dir("passes"), 1, number) for number in range(50)]
    assert files == [mutated(data_dir("passes"), 1, number) for number in range(50)]
    assert len(set(files)) == 50


def test_what_takes_too_long_is_a_failure_and_the_next_file_is_examined() -> None:
    found = fuzz(data_dir("passes"), 0, 0, 2, seconds=0.001)
    assert found.failures == {0: "it takes too long", 1: "it takes too long"}


def test_what_takes_too_much_memory_is_a_failure(tmp_path: Path) -> None:
    """Not even importing the tool fits."""
    found = fuzz(data_dir("passes"), 0, 0, 1, memory=1 << 20)
    assert list(found.failures) == [0]


@pytest.mark.parametrize("name", CATALOG.names)
def test_each_shipped_pass_applies_anywhere(name: str) -> None:
    spec = CATALOG.get(name)
    if spec.native == "onnxsim":
        pytest.skip("a second a graph, and tested by itself")
    for graph in graphs(spec):
        apply_stage(graph, Stage(spec, resolve(spec.params, {}, spec.name), spec.name), CATALOG)
