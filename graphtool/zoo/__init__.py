"""Reference networks, built from their papers and without a training framework. Floor 6."""

from __future__ import annotations

from graphtool.zoo.icnet import build_icnet, write_icnet

__all__ = ["build_icnet", "write_icnet"]
