"""The model in memory. Floor 1."""

from graphtool.graph.check import check
from graphtool.graph.model import Graph, Snapshot
from graphtool.graph.values import Value, dtype_code, dtype_name

__all__ = ["Graph", "Snapshot", "Value", "check", "dtype_code", "dtype_name"]
