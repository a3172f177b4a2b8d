"""From a graph to ATC, the compiler of Ascend chips: options, profiles, commands. Floor 6.

graphtool writes ATC commands and never runs them.
"""

from __future__ import annotations

from graphtool.atc.command import Command, emit
from graphtool.atc.outputs import out_node_words
from graphtool.atc.profile import Profile, default_profile, list_profiles, load_profile
from graphtool.atc.script import script
from graphtool.atc.words import parse_batches, parse_option, parse_shape

__all__ = [
    "Command",
    "Profile",
    "default_profile",
    "emit",
    "list_profiles",
    "load_profile",
    "out_node_words",
    "parse_batches",
    "parse_option",
    "parse_shape",
    "script",
]
