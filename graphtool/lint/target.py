"""What a rule is asked about beside the graph: the chip, the CANN release, ATC's options, batches, a feed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from graphtool.analysis.device import Device, device_of
from graphtool.atc.cann import Cann
from graphtool.atc.profile import Profile
from graphtool.parity.feed import Feed

_HALF = frozenset(("", "force_fp16", "allow_mix_precision", "allow_mix_precision_fp16", "allow_fp32_to_fp16"))
_HALF_V2 = frozenset(("fp16", "mixed_float16"))


@dataclass(frozen=True, slots=True)
class Aim:
    """The target of a check. ``cann`` is None where no release is named: rules on older releases are left out then.

    ``keep`` are outputs or nodes that the profile keeps, ``feed`` what activations are measured on, where asked for.
    """

    soc: str = "Ascend310"
    cann_text: str = ""
    options: Mapping[str, str] = field(default_factory=dict)
    batches: tuple[int, ...] = ()
    keep: tuple[str, ...] = ()
    feed: Feed | None = None

    @classmethod
    def of(cls, profile: Profile, cann: str | None = None, feed: Feed | None = None) -> Aim:
        """Return what a profile says; ``cann`` in place of its release. Raises ProfileError for a bad one."""
        text = cann or profile.cann or ""
        if text:
            Cann.parse(text)
        kept = profile.passes.get("prune_outputs", {}).get("keep", ())
        keep = tuple(map(str, kept)) if isinstance(kept, (list, tuple)) else (str(kept),)
        return cls(profile.soc, text, profile.options, profile.batches, keep, feed)

    @property
    def cann(self) -> Cann | None:
        """The release."""
        return Cann.parse(self.cann_text) if self.cann_text else None

    @property
    def float16(self) -> bool:
        """Whether ATC computes float32 in float16, which is its default."""
        newer = self.options.get("precision_mode_v2")
        return newer in _HALF_V2 if newer else self.options.get("precision_mode", "") in _HALF

    @property
    def device(self) -> Device | None:
        """What is published of the chip."""
        return device_of(self.soc)

    def names(self) -> dict[str, object]:
        """Return what expressions of rules can ask."""
        return {"float16": self.float16}
