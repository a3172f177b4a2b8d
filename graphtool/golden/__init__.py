"""Golden records: what a model was and computed, against which it is checked later. Floor 5."""

from graphtool.golden.store import Checked, check, list_goldens, record, update

__all__ = ["Checked", "check", "list_goldens", "record", "update"]
