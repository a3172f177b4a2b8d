"""What changed between two graphs. Floor 2."""

from graphtool.diff.diff import diff, op_counts
from graphtool.diff.result import Changed, Detail, Diff, Entry, Part, Renamed
from graphtool.diff.text import ops_line, summary

__all__ = ["Changed", "Detail", "Diff", "Entry", "Part", "Renamed", "diff", "op_counts", "ops_line", "summary"]
