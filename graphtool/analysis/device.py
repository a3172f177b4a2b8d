"""What is published of a device, read from ``atc_profiles/devices``: peak, bandwidth, memory, each with its source."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from graphtool.data import data_dir
from graphtool.errors import ProfileError, show


@dataclass(frozen=True, slots=True)
class Measured:
    """A figure that somebody measured on the device, to hold bounds against."""

    what: str
    shape: tuple[int, ...]
    dtype: str
    seconds: float
    source: str


@dataclass(frozen=True, slots=True)
class Device:
    """A chip: float16 operations and bytes a second, bytes of memory, the group of channels in NC1HWC0.

    ``wide_resize`` says that a linear Resize makes float32, whatever it reads.
    ``sources`` says for ``flops``, ``bandwidth``, ``memory`` and ``channels`` where a figure comes from, with its date.
    """

    name: str
    summary: str
    socs: tuple[str, ...]
    flops: float
    bandwidth: float
    memory: int
    channels: int
    wide_resize: bool
    sources: Mapping[str, str]
    measured: tuple[Measured, ...]

    def transfer(self, count: int) -> float:
        """Return the least seconds in which ``count`` bytes cross the memory bus."""
        return count / self.bandwidth

    def compute(self, madds: int) -> float:
        """Return the least seconds for that many float16 multiply-adds."""
        return 2 * madds / self.flops


def device_of(soc: str) -> Device | None:
    """Return what is known of the device that ATC calls ``soc``; None where nothing is."""
    return next((device for device in devices() if soc in device.socs), None)


@lru_cache(maxsize=1)
def devices() -> tuple[Device, ...]:
    """Return every device with a data file, by name."""
    return tuple(read(path) for path in sorted((data_dir("atc_profiles") / "devices").glob("*.toml")))


_KEYS = ("flops", "bandwidth", "memory", "channels")


def read(path: Path) -> Device:
    """Read a device file; raises ProfileError with file and key."""
    try:
        table = tomllib.loads(path.read_text())
        measured = tuple(
            Measured(m["what"], tuple(m["shape"]), m["dtype"], float(m["seconds"]), m["source"])
            for m in table.get("measured", ())
        )
        sources = {key: f"{table[f'{key}_source']} ({table[f'{key}_date']})" for key in _KEYS}
        figures = float(table["float16_flops"]), float(table["bandwidth"])
        if min(*figures, table["memory"], table["channels"]) <= 0:
            raise ValueError("flops, bandwidth, memory and channels must be above 0")
        return Device(
            path.stem, table["summary"], tuple(table["soc"]), *figures, int(table["memory"]), int(table["channels"]),
            bool(table.get("linear_resize_float32", False)), sources, measured,
        )  # fmt: skip
    except KeyError as error:
        raise ProfileError(f"{show(path.name)}: {show(error.args[0])}: is missing") from None
    except (OSError, ValueError, TypeError) as error:
        raise ProfileError(f"{show(path.name)}: {show(error)}") from None
