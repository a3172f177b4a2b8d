"""Templates for new pass files: commented, complete, and passing their own cases."""

from __future__ import annotations

import re
from pathlib import Path

from graphtool.errors import ModelError, UsageError, quoted, show
from graphtool.graph.save import write_text
from graphtool.rewrite.catalog import Catalog

_NAME = re.compile(r"[a-z][a-z0-9_]*")

_HEAD = """# {name}: try it with   graphtool passes test {folder}
#                       graphtool passes explain {word} MODEL.onnx
# The keys are described in docs/pass_language.md; for an editor, see `graphtool passes schema`.

# One line without a full stop, which `graphtool passes list` shows.
summary = "{summary}"

# Why it is worth doing. A claim about hardware names its source and date.
why = "{why}"

# The promise about numbers, held after each run: exact, close (other rounding), float16, lossy, repair (see the docs).
parity = "{parity}"

# Models that it is for; leave it out where any opset will do.
# requires = {{ opset = ">=13,<18" }}
"""

_PARAM = """
# A parameter is $smallest in a table, smallest in an expression, and --set {name}.smallest=8 on the command line.
# [params.smallest]
# type    = "int"                 # string, int, float, bool, names, ints
# default = 0
# help    = "only where the larger extent is at least this many pixels"
"""

_CASE_HELP = """
# Cases are documentation and test at once. Before and after are ONNX text; a declared value that nothing makes is a
# weight with random values. Show what the pass leaves alone too: each condition needs a case that fails without it.
"""

_BODIES = {
    "rewrite": ("Two Relu in a row become one", "Relu of Relu is Relu: the second only moves memory.", "exact", '''
# What to look for, in ONNX text. A free name is any value; @p binds an attribute, one not mentioned matches anything.
# Inner values must have no other reader. `match` may be a list of shapes that mean the same.
[[rewrite]]
match   = 'a = Relu(x)  y = Relu(a)'
# Conditions that must all hold; docs/passes/functions.md lists what they can ask.
where   = ["rank(x) > 0"]
# New constants and attributes by name, such as   let = { two = "like(2, x)" }
replace = 'y = Relu(x)'
''', '''
[[case]]
name   = "two become one"
before = 'g (float[2,3] x) => (float[2,3] y) { a = Relu(x)  y = Relu(a) }'
after  = 'g (float[2,3] x) => (float[2,3] y) { y = Relu(x) }'

[[case]]
name   = "a second reader needs the first"
before = 'g (float[2,3] x) => (float[2,3] y, float[2,3] z) { a = Relu(x)  y = Relu(a)  z = Neg(a) }'
after  = "unchanged"

[[case]]
name   = "scalars are not worth it"
before = 'g (float x) => (float y) { a = Relu(x)  y = Relu(a) }'
after  = "unchanged"
'''),
    "edit": ("Write auto_pad VALID as no padding", "Compilers that know pads only take it.", "exact", '''
# Attributes of every node of a kind, in bodies of If, Loop and Scan too.
[[edit]]
select = { op = ["Conv", "MaxPool"], name = "*", attrs = { auto_pad = "VALID" } }
# Conditions that must all hold: input0, output0 ... are the node's values, @name its attributes.
where  = ["not has(@pads)"]
set    = { auto_pad = "NOTSET" }
# Attributes to remove:   unset = ["pads"]
''', '''
[[case]]
name   = "a pool without padding"
before = 'g (float[1,2,4,4] x) => (float[1,2,3,3] y) { y = MaxPool<kernel_shape=[2,2], auto_pad="VALID">(x) }'
after  = 'g (float[1,2,4,4] x) => (float[1,2,3,3] y) { y = MaxPool<kernel_shape=[2,2], auto_pad="NOTSET">(x) }'

[[case]]
name   = "one with padding keeps it"
before = 'g (float[1,2,4,4] x) => (float[1,2,4,4] y) { y = MaxPool<kernel_shape=[3,3], auto_pad="SAME_UPPER">(x) }'
after  = "unchanged"

[[case]]
name   = "pads beside VALID say two things"
before = 'g (float[1,2,4] x) => (float[1,2,3] y) { y = MaxPool<kernel_shape=[2], auto_pad="VALID", pads=[0,0]>(x) }'
after  = "unchanged"
'''),
    "region": ("Compute with int32 in place of int64", "The target has no 64-bit integers.", "lossy", '''
# The largest connected sets of nodes that can compute in another form, with conversions at their border.
[[region]]
values    = "dtype(v) == 'int64'"
dtype     = "int32"
constants = "int32(c)"
enter     = 'int32 = Cast<to = 6>(v)'
leave     = 'v = Cast<to = 7>(int32)'
# Of a region as a whole: nodes, core, enters, leaves, constants.
where     = ["enters + leaves < nodes"]

[[region.member]]
op  = "Cast"
set = { to = "6 if @to == 7 else @to" }

[[region.member]]
op = ["Abs", "Add", "Mul", "Neg", "Sub"]
''', '''
[[case]]
name   = "a chain of three"
before = 'g (int64[4] x) => (int64[4] y) { a = Neg(x)  b = Abs(a)  y = Neg(b) }'
after  = """g (int64[4] x) => (int64[4] y) {
  n = Cast<to=6>(x)  a = Neg(n)  b = Abs(a)  c = Neg(b)  y = Cast<to=7>(c) }"""

[[case]]
name   = "one node is not worth two Casts"
before = 'g (int64[4] x) => (int64[4] y) { y = Neg(x) }'
after  = "unchanged"
'''),
    "boundary": ("Take int64 inputs as int32 and cast them inside", "The host sends half the bytes.", "exact", '''
# The model's inputs or outputs: cast those of a type, or (at = "outputs", keep = ["NAME"]) keep some outputs only.
[[boundary]]
at   = "inputs"
when = { dtype = "int64", name = "*" }
cast = "int32"
''', '''
[[case]]
name   = "indices of a Gather"
before = 'g (float[4,2] t, int64[3] i) => (float[3,2] y) { y = Gather(t, i) }'
after  = 'g (float[4,2] t, int32[3] i) => (float[3,2] y) { j = Cast<to=7>(i)  y = Gather(t, j) }'

[[case]]
name   = "int32 is left alone"
before = 'g (float[4,2] t, int32[3] i) => (float[3,2] y) { y = Gather(t, i) }'
after  = "unchanged"
'''),
    "native": ("Remove what no output needs", "Dead nodes and weights cost memory and time to load.", "exact", '''
# A function by its registered name: one of graphtool, or of an installed distribution, whose pyproject.toml says
#   [project.entry-points."graphtool.natives"]
#   my_native = "my_module:apply"
# and whose my_module.py has   def apply(graph: graphtool.Graph, params) -> graphtool.rewrite.Applied
# or, over onnx-graphsurgeon,  def apply(graph: onnx_graphsurgeon.Graph, params) -> None
native = "remove_unused"
''', '''
[[case]]
name   = "a node that nothing reads"
before = 'g (float[2] x) => (float[2] y) { a = Neg(x)  y = Relu(x) }'
after  = 'g (float[2] x) => (float[2] y) { y = Relu(x) }'

[[case]]
name   = "nothing to remove"
before = 'g (float[2] x) => (float[2] y) { y = Relu(x) }'
after  = "unchanged"
'''),
    "sequence": ("Remove Identity nodes, and what nothing needs then", "Several passes as one step.", "exact", '''
# Passes in order as one step, with parameters as on the command line: "prune_outputs:keep=y".
sequence = ["remove_identity", "remove_unused"]
# Again until nothing matches:
fixpoint = true
''', '''
[[case]]
name   = "an Identity and a dead node"
before = 'g (float[2] x) => (float[2] y) { i = Identity(x)  a = Neg(i)  y = Relu(i) }'
after  = 'g (float[2] x) => (float[2] y) { y = Relu(x) }'

[[case]]
name   = "nothing to do"
before = 'g (float[2] x) => (float[2] y) { y = Relu(x) }'
after  = "unchanged"
'''),
}  # fmt: skip

KINDS = tuple(_BODIES)
_TABLES = ("rewrite", "edit", "region", "boundary")  # the others are keys, which come before any table


def template(name: str, kind: str = "rewrite", folder: str = "passes") -> str:
    """Return the text of a new pass file; raises UsageError for a name that a pass cannot have.

    ``folder`` is where it will be, for the comment that says how to test it.
    """
    if not _NAME.fullmatch(name):
        raise UsageError(f"a pass is named in lower case with underscores, such as fuse_gelu, not {quoted(name)}")
    summary, why, parity, body, cases = _BODIES[kind]
    word = name if folder == "passes" else f"{folder}/{name}.toml"
    head = _HEAD.format(name=name, word=word, folder=folder, summary=summary, why=why, parity=parity)
    param = _PARAM.format(name=name)
    return head + (param + body if kind in _TABLES else body + param) + _CASE_HELP.rstrip() + cases


def create(name: str, kind: str, folder: Path) -> Path:
    """Write the template of a new pass into ``folder``, which is made where it is missing; return the file.

    Raises UsageError for a bad name, one of a shipped pass, or a file that is there already, ModelError where nothing
    can be written.
    """
    text = template(name, kind, show(folder))
    path = folder / f"{name}.toml"
    if any(entry.shipped and entry.name == name for entry in Catalog().entries):
        raise UsageError(f"{quoted(name)} is a shipped pass; give yours another name  (graphtool passes list)")
    if path.exists() or path.is_symlink():
        raise UsageError(f"{quoted(path)} is there already; nothing was written")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ModelError(f"cannot make folder {quoted(folder)}: {error.strerror}") from None
    write_text(path, text)
    return path
