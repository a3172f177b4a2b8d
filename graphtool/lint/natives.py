"""Conditions that code decides, by the name under which a rule file asks for them.

Each is ``condition(ground, rule)`` and yields what it finds; the rule's message is filled with its values by name.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from graphtool.lint import natives_interface as interface
from graphtool.lint import natives_layout as layout
from graphtool.lint import natives_numbers as numbers
from graphtool.lint import natives_operators as operators
from graphtool.lint.conditions import Found
from graphtool.lint.ground import Ground
from graphtool.lint.rule import Rule

Native = Callable[[Ground, Rule], Iterator[Found]]

NATIVES: dict[str, Native] = {
    "unregistered_operator": operators.unregistered,
    "later_operator": operators.later,
    "custom_operator": operators.custom,
    "local_function": operators.functions,
    "opset_too_new": operators.too_new,
    "opset_undocumented": operators.undocumented,
    "opset_of_later_releases": operators.later_releases,
    "opset_too_old": operators.too_old,
    "wide_shape_arithmetic": numbers.wide_sizes,
    "wide_data": numbers.wide_data,
    "wide_indexing": numbers.wide_indexing,
    "constant_overflow": numbers.overflow,
    "constant_underflow": numbers.underflow,
    "activation_overflow": numbers.activations,
    "open_input": interface.open_inputs,
    "blocked_batch": interface.blocked_batch,
    "blocked_any_batch": interface.blocked_any_batch,
    "unnamed_output": interface.unnamed,
    "unused_outputs": interface.unused,
    "memory_beyond": interface.memory_beyond,
    "memory": interface.memory,
    "inner_conversion": layout.inner,
    "output_conversion": layout.outputs,
    "output_conversion_half": layout.half_outputs,
    "input_conversion": layout.inputs,
}
