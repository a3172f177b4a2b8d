"""Figures of one output in words."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from graphtool.parity.metrics import Figures


def figure_text(found: Figures) -> str:
    """Return the figures of one output in a few words."""
    if found.changed == 0:
        return "equal"
    if found.agreement is not None:
        return f"{_percent(found.agreement)} equal, max {found.max_abs:.3g}"
    words = [f"max {found.max_abs:.3g}", f"mean {found.mean_abs:.2g}", f"cos {_near_one(found.cosine)}"]
    if found.argmax_agreement is not None:
        words.append(f"argmax {_percent(found.argmax_agreement)}")
    if found.miou is not None and found.argmax_agreement != 1:
        words.append(f"mIoU {found.miou:.3f}")
    return ", ".join(words)


def detail_text(found: Figures, allowed: float | None = None) -> str:
    """Return where an output that moved is worst, how its errors are spread, and the tolerance that would accept it."""
    words = []
    if found.worst_index is not None:
        pair = "" if found.worst_pair is None else f": {found.worst_pair[0]:.6g} -> {found.worst_pair[1]:.6g}"
        words.append(f"worst at {list(found.worst_index)}{pair}")
    words.append(f"median {found.abs.median:.2g}, 99 % within {found.abs.q99:.2g}, 99.9 % within {found.abs.q999:.2g}")
    if math.isfinite(found.snr):
        words.append(f"SNR {found.snr:.1f} dB, PSNR {found.psnr:.1f} dB")
    if found.top5_agreement is not None:
        words.append(f"top-5 {_percent(found.top5_agreement)}")
    share = f" ({found.max_abs / allowed:.2g} of what is allowed)" if allowed else ""
    words.append(f"least tolerance that accepts: {found.max_abs:.3g}{share}")
    return "; ".join(words)


def _near_one(value: float) -> str:
    return f"{value:.6f}" if value < 0.9999995 else "1-" + f"{max(1 - value, 0):.0e}" if value < 1 else "1"


def _percent(share: float) -> str:
    """Return a share in percent; 100 % only where nothing differs."""
    if share == 1:
        return "100 %"
    return f"{min(100 * share, 99.9999):.{2 if share < 0.999 else 4}f} %"
