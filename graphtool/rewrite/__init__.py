"""The pass language: expressions, patterns, bodies, pass files, the catalog. Floor 2."""

from graphtool.rewrite.apply import Inner, Outcome, apply_stage
from graphtool.rewrite.catalog import Catalog
from graphtool.rewrite.passfile import Case, Pass, load_pass
from graphtool.rewrite.result import Applied, Match, Miss
from graphtool.rewrite.stages import Stage, parse_pipeline

__all__ = [
    "Applied", "Case", "Catalog", "Inner", "Match", "Miss", "Outcome", "Pass", "Stage", "apply_stage", "load_pass",
    "parse_pipeline",
]  # fmt: skip
