"""What changed between two graphs. Floor 2."""

from graphtool.diff.diff import diff
from graphtool.diff.result import Changed, Detail, Diff, Entry, Part, Renamed
from graphtool.diff.text import summary

__all__ = ["Changed", "Detail", "Diff", "Entry", "Part", "Renamed", "diff", "summary"]
