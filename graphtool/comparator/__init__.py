"""What two models, or a model and the files of a board, compute: where they part, and who is at fault. Floor 5."""

from graphtool.comparator.models import compare_models
from graphtool.comparator.result import Comparison, Divergence, Pair, Row

__all__ = ["Comparison", "Divergence", "Pair", "Row", "compare_models"]
