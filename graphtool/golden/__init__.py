"""Golden records: what a model was and computed, against which it is checked later. Floor 5."""

from graphtool.golden.checking import check_record
from graphtool.golden.files import list_goldens
from graphtool.golden.store import Checked, check, record, update

__all__ = ["Checked", "check", "check_record", "list_goldens", "record", "update"]
