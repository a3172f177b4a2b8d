"""What two models, or a model and the files of a board, compute: where they part, and who is at fault. Floor 5."""

from graphtool.comparator.feeding import trials_for
from graphtool.comparator.feeds import compare_drawn
from graphtool.comparator.models import compare_models
from graphtool.comparator.result import Comparison, Divergence, OnFeed, Pair, Row

__all__ = ["Comparison", "Divergence", "OnFeed", "Pair", "Row", "compare_drawn", "compare_models", "trials_for"]
