"""A broken pass file is refused as it is read, with the file, the key and the reason."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from graphtool.errors import PassError
from graphtool.rewrite import Catalog, load_pass
from graphtool.rewrite.passfile import MAX_FILE
from graphtool.rewrite.stages import parse_pipeline
from graphtool.rewrite.unfit import check_statements

TOP = 'summary = "s"\nwhy = "w"\nparity = "exact"\n'
RULE = "[[rewrite]]\nmatch = 'y = Relu(x)'\nreplace = 'y = Neg(x)'\n"
EDIT = '[[edit]]\nselect = { op = "Relu" }\nset = { a = 1 }\n'
CASE = "[[case]]\nname = 'n'\nbefore = 'g (float[1] x) => (float[1] y) { y = Relu(x) }'\nafter = 'unchanged'\n"


def rule(match: str, replace: str, more: str = "") -> str:
    return TOP + f"[[rewrite]]\nmatch = '''{match}'''\nreplace = '''{replace}'''\n{more}"


def param(more: str, name: str = "p", kind: str = "string") -> str:
    return TOP + f'native = "rename"\n[params.{name}]\ntype = "{kind}"\nhelp = "h"\n{more}'


def boundary(more: str, top: str = "") -> str:
    return TOP + top + f"[[boundary]]\n{more}"


OP = "is not one of exact, close, float16, lossy, repair"
KEEP_PARAM = 'params.k = { type = "%s", default = %s, help = "h" }\n'
BROKEN = {
    # the file's own keys
    "unknown key": (TOP + RULE + 'sumary = "x"\n', "rewrite[0].sumary: unknown key; known here: …"),
    "unknown key at the top": (
        'sumary = "x"\n' + TOP + RULE,
        "sumary: unknown key; did you mean 'summary'?",
    ),
    "unknown key, nothing near": (
        "zzz = 1\n" + TOP + RULE,
        "zzz: unknown key; known here: summary, why, parity, interface, requires, exact_form, budget, params, edit, "
        "rewrite, region, boundary, native, sequence, fixpoint, growth, semantics, case",
    ),
    "missing summary": ('why = "w"\nparity = "exact"\n' + RULE, "summary: is missing"),
    "empty summary": ('summary = " "\nwhy = "w"\nparity = "exact"\n' + RULE, "summary: must not be empty"),
    "missing why": ('summary = "s"\nparity = "exact"\n' + RULE, "why: is missing"),
    "summary of a wrong type": ('summary = 3\nwhy = "w"\nparity = "exact"\n' + RULE, "summary: must be a string"),
    "missing parity": ('summary = "s"\nwhy = "w"\n' + RULE, "parity: is missing"),
    "unknown parity": ('summary = "s"\nwhy = "w"\nparity = "near"\n' + RULE, f"parity: 'near' {OP}"),
    "parity of a wrong type": ('summary = "s"\nwhy = "w"\nparity = ["exact"]\n' + RULE, "parity: must be a string"),
    "unknown interface": (
        TOP + 'interface = ["name"]\n' + RULE,
        "interface: 'name' is not one of names, types, shapes, order, subset, cut, append, inputs",
    ),
    "interface of a wrong type": (TOP + "interface = 3\n" + RULE, "interface: must be a list of strings"),
    "bad requires": (
        TOP + 'requires = { opset = "11" }\n' + RULE,
        "requires: '11' is not a bound such as '>=11' or '<18'",
    ),
    "half a requires": (
        TOP + 'requires = { opset = ">=11,x" }\n' + RULE,
        "requires: 'x' is not a bound such as '>=11' or '<18'",
    ),
    "empty requires": (TOP + 'requires = { opset = "" }\n' + RULE, "requires: '' is not a bound such as …"),
    "requires a number": (TOP + "requires = { opset = 11 }\n" + RULE, "requires.opset: must be a string"),
    "requires as text": (TOP + 'requires = ">=11"\n' + RULE, "requires: must be a table"),
    "requires something else": (
        TOP + 'requires = { ir = ">=4" }\n' + RULE,
        "requires.ir: unknown key; known here: opset",
    ),
    "opset of a body": (
        rule("y = Relu(x)", "y = Neg(x)", "opset = '~11'"),
        "rewrite[0].opset: '~11' is not a bound such as …",
    ),
    "exact_form of a wrong type": (TOP + "exact_form = true\n" + RULE, "exact_form: must be a string"),
    "budget of an unknown metric": (
        TOP.replace("exact", "lossy") + "budget = { cosin = 0.9 }\n" + RULE,
        "budget.cosin: unknown metric; did you mean 'cosine'?  (one of …",
    ),
    "budget that is no number": (
        TOP.replace("exact", "lossy") + "budget = { cosine = true }\n" + RULE,
        "budget.cosine: must be a finite number",
    ),
    "budget beyond all numbers": (
        TOP.replace("exact", "lossy") + f"budget = {{ cosine = {10**400} }}\n" + RULE,
        "budget.cosine: must be a finite number",
    ),
    "budget of an exact pass": (
        TOP + "budget = { cosine = 0.9 }\n" + RULE,
        "budget: is for a lossy pass: the other classes promise more than a bound",
    ),
    # bodies
    "no body": (
        TOP,
        "the pass has no edit, rewrite, region, boundary, native or sequence; it needs exactly one kind of body",
    ),
    "two kinds of body": (
        TOP + 'native = "rename"\n' + RULE,
        "the pass has both rules and native; it needs exactly one kind of body",
    ),
    "three kinds of body": (
        TOP + 'native = "rename"\nsequence = ["optimize"]\n' + RULE,
        "the pass has both rules and native and sequence; it needs exactly one kind of body",
    ),
    "rewrite of a wrong type": (TOP + "rewrite = 3\n", "rewrite: must be tables, [[rewrite]]"),
    "a list of numbers for bodies": (TOP + "edit = [3]\n", "edit: must be tables, [[edit]]"),
    "native unknown": (
        TOP + 'native = "renam"\n',
        "native: no native pass 'renam' is registered; did you mean 'rename'?",
    ),
    "native that is a path": (TOP + 'native = "/tmp/x.py"\n', "native: no native pass '/tmp/x.py' is registered"),
    "native that is a module": (
        TOP + 'native = "graphtool.natives.rename"\n',
        "native: no native pass 'graphtool.natives.rename' is registered",
    ),
    "native that goes up": (TOP + 'native = "../rename"\n', "native: no native pass '../rename' is registered; did …"),
    "native that is private": (TOP + 'native = "__init__"\n', "native: no native pass '__init__' is registered"),
    "native of a wrong type": (TOP + 'native = ["rename"]\n', "native: must be a string"),
    "empty native": (TOP + 'native = ""\n', "native: no native pass '' is registered"),
    "sequence of a wrong type": (TOP + 'sequence = "optimize"\n', "sequence: must be a list of strings"),
    "sequence of an unknown pass": (
        TOP + 'sequence = ["optimize", "optimise"]\n',
        "sequence[1]: unknown pass 'optimise'; did you mean 'optimize'?  (graphtool passes list)",
    ),
    "sequence with a bad parameter": (
        TOP + 'sequence = ["prune_outputs:kep=y"]\n',
        "sequence[0]: prune_outputs has no parameter 'kep'; did you mean 'keep'?",
    ),
    "sequence with a bad word": (
        TOP + 'sequence = ["prune_outputs:keep"]\n',
        "sequence[0]: 'keep' in 'prune_outputs:keep' is not PARAM=VALUE",
    ),
    "sequence of itself": (TOP + 'sequence = ["x"]\n', "sequence[0]: the sequence contains itself: x -> x"),
    "fixpoint without a sequence": (TOP + "fixpoint = true\n" + RULE, "fixpoint: only a sequence repeats"),
    "fixpoint of a wrong type": (
        TOP + 'fixpoint = "yes"\nsequence = ["optimize"]\n',
        "fixpoint: must be true or false",
    ),
    # patterns
    "no match": (TOP + "[[rewrite]]\nreplace = 'y = Neg(x)'\n", "rewrite[0].match: is missing"),
    "match of a wrong type": (TOP + "[[rewrite]]\nmatch = 3\n", "rewrite[0].match: must be a list of strings"),
    "empty match": (rule("", "y = Neg(x)"), "rewrite[0].match: no statement"),
    "no alternatives": (TOP + "[[rewrite]]\nmatch = []\nreplace = 'y = N(x)'\n", "rewrite[0].match: must not be empty"),
    "not ONNX text": (rule("y = Relu(x", "y = Neg(x)"), "rewrite[0].match: not ONNX text: …"),
    "not ONNX text in an alternative": (
        TOP + "[[rewrite]]\nmatch = ['y = Relu(x)', 'y Relu']\nreplace = 'y = Neg(x)'\n",
        "rewrite[0].match[1]: not ONNX text: …",
    ),
    "nested braces": (
        rule("y = If <then_branch = g () => () {{{ }}}> (x)", "y = Neg(x)"),
        "rewrite[0].match: ONNX text with braces nested 3 deep; at most 2",
    ),
    "a thousand braces": (rule("{" * 1000, "y = Neg(x)"), "rewrite[0].match: ONNX text with braces nested 1000 deep…"),
    "long text": (rule("y = Relu(x)" + " " * 4100, "y = Neg(x)"), "rewrite[0].match: ONNX text of 4111 characters…"),
    "a NUL": (TOP + '[[rewrite]]\nmatch = "y = Relu(x)\\u0000"\n', "rewrite[0].match: ONNX text with a NUL character"),
    "a body as attribute": (
        rule("y = If <then_branch = g () => () { }> (x)", "y = Neg(x)"),
        "rewrite[0].match: attribute 'then_branch': a body cannot be part of a pattern",
    ),
    "too many statements": (
        rule("\n".join(f"a{n + 1} = Neg(a{n})" for n in range(65)), "a65 = Neg(a0)"),
        "rewrite[0].match: 65 statements; a match has at most 64",
    ),
    "several roots": (
        rule("a = Relu(x) b = Neg(x)", "b = Neg(x)"),
        "rewrite[0].replace: it does not make 'a', which the match makes",
    ),
    "a root in the middle": (
        rule("a = Relu(x) y = Exp(a) b = Neg(a)", "b = Neg(x)"),
        "rewrite[0].replace: it does not make 'y', which the match makes",
    ),
    "roots that nothing connects": (
        rule("a = Relu(x) b = Neg(z)", "a = Neg(x) b = Relu(z)"),
        "rewrite[0].match: nothing connects 'a' with the last statement",
    ),
    "any number of inputs, of which nodes are matched": (
        rule("a = Relu(x) y = Concat(*a)", "y = Neg(x)"),
        "rewrite[0].match: '*a' stands for values from outside and is named once",
    ),
    "any number of inputs, three times": (
        rule("y = Concat(*a, *b, *c)", "y = Concat(*a)"),
        "rewrite[0].match: a statement has at most 2 inputs such as '*xs', each once",
    ),
    "any number of inputs read as one": (
        rule("y = Concat(*a)", "y = Concat(a)"),
        "rewrite[0].replace: '*a' is several values in the match and in the replacement, or in neither",
    ),
    "any number of outputs": (rule("*y = Split(x)", "y = Neg(x)"), "rewrite[0].match: '*xs' stands for inputs"),
    "a chain without an input": (
        rule("y = Relu+()", "y = Neg(y)"),
        "rewrite[0].match: a chain of 'Relu' has one output, and follows its first input",
    ),
    "a chain of two outputs": (
        rule("y, z = TopK+(x, k)", "y = Neg(x) z = Neg(x)"),
        "rewrite[0].match: a chain of 'TopK' has one output, and follows its first input",
    ),
    "a chain with any number of inputs": (
        rule("y = Sum+(x, *a)", "y = Neg(x)"),
        "rewrite[0].match: a chain has no inputs such as '*xs'",
    ),
    "a chain in a replacement": (
        rule("y = Relu(x)", "y = Relu+(x)"),
        "rewrite[0].replace: a chain such as 'Op+(x)' belongs in a match",
    ),
    "several op types in a replacement": (
        rule("y = Relu(x)", "y = Relu|Neg(x)"),
        "rewrite[0].replace: 'Relu|Neg' belongs in a match; '@y(x)' is the op of the node that made y",
    ),
    "the op of a node that is not matched": (
        rule("y = Relu|Neg(x)", "y = @x(x)"),
        "rewrite[0].replace: @x: no matched statement makes 'x'",
    ),
    "the op of a node in a match": (
        rule("y = @y(x)", "y = Relu(x)"),
        "rewrite[0].match: 'y = x', 'like' and '@c(x)' belong in a replacement",
    ),
    "shared values that are none": (
        rule("a = Relu(x) y = Neg(a)", "y = Neg(x)", "shared = ['a', 'y']"),
        "rewrite[0].shared[1]: 'y' is not a value inside the match",
    ),
    "made twice": (rule("a = Relu(x) a = Neg(a)", "a = Neg(x)"), "rewrite[0].match: 'a' is made twice"),
    "read before it is made": (
        rule("y = Relu(a) a = Neg(y)", "a = Neg(x)"),
        "rewrite[0].match: 'a' is read before it is made",
    ),
    "nothing made": (rule('"" = Relu(x)', "y = Neg(x)"), "rewrite[0].match: a statement of 'Relu' makes nothing"),
    "nothing made early": (
        rule("= Relu(x) y = Neg(x)", "y = x"),
        "rewrite[0].match: a statement of 'Relu' makes nothing",
    ),
    "nothing made in the replacement": (
        rule("y = Relu(x)", "= Exp(x) y = Neg(x)"),
        "rewrite[0].replace: a statement of 'Exp' makes nothing",
    ),
    "forward in a match": (
        rule("y = x", "y = Neg(x)"),
        "rewrite[0].match: 'y = x', 'like' and '@c(x)' belong in a replacement",
    ),
    "like in a match": (
        rule("y = Relu<like = @x>(x)", "y = Neg(x)"),
        "rewrite[0].match: 'y = x', 'like' and '@c(x)' belong in a replacement",
    ),
    "a name of two kinds": (
        rule("y = LeakyRelu<alpha = @x>(x)", "y = Neg(x)"),
        "rewrite[0].match: 'x' names both a value and an attribute",
    ),
    "a value named as a parameter": (
        TOP + 'params.x = { type = "int", default = 1, help = "h" }\n' + RULE,
        "rewrite[0].match: 'x' is a parameter; name the value otherwise",
    ),
    "alternatives with other roots": (
        TOP + "[[rewrite]]\nmatch = ['y = Relu(x)', 'z = Relu(x)']\nreplace = 'y = Neg(x)'\n",
        "rewrite[0].replace: the alternatives of the match make different values",
    ),
    # conditions
    "unknown name in where": (
        rule("y = Relu(xs)", "y = Neg(xs)", "where = ['rank(xs) == 4', 'rank(x) == 4']"),
        "rewrite[0].where[1]: nothing is named 'x' here; did you mean 'xs'?",
    ),
    "unknown attribute in where": (
        rule("y = Relu(x)", "y = Neg(x)", "where = ['has(@axis)']"),
        "rewrite[0].where[0]: nothing is named '@axis' here",
    ),
    "a value asked for as an attribute": (
        rule("y = Relu(x)", "y = Neg(x)", "where = ['has(@x)']"),
        "rewrite[0].where[0]: nothing is named '@x' here; did you mean 'x'?",
    ),
    "a name of one alternative only": (
        TOP
        + "[[rewrite]]\nmatch = ['y = Relu(x)', 'y = Clip(x, low)']\nwhere = ['const(low)']\nreplace = 'y = Neg(x)'\n",
        "rewrite[0].where[0]: nothing is named 'low' here",
    ),
    "attribute access": (
        rule("y = Relu(x)", "y = Neg(x)", "where = ['rank(x) == 1', 'x.__class__']"),
        "rewrite[0].where[1]: 'x.__class__' is not allowed in a pass file",
    ),
    "unknown function": (
        rule("y = Relu(x)", "y = Neg(x)", "where = ['ranks(x) == 1']"),
        "rewrite[0].where[0]: no function 'ranks'; did you mean 'rank'?",
    ),
    "where of a wrong type": (
        rule("y = Relu(x)", "y = Neg(x)", "where = 'rank(x) == 1'"),
        "rewrite[0].where: must be a list of strings",
    ),
    "a long condition": (
        rule("y = Relu(x)", "y = Neg(x)", f"where = ['{'1' * 501}']"),
        "rewrite[0].where[0]: an expression has at most 500 characters, this one 501",
    ),
    # default and let
    "default for a value that is made": (
        rule("y = Relu(x)", "y = Neg(x)", "default = { y = '0' }"),
        "rewrite[0].default.y: the match has no such input",
    ),
    "default for an attribute": (
        rule("y = LeakyRelu<alpha = @a>(x)", "y = Neg(x)", "default = { a = '0' }"),
        "rewrite[0].default.a: the match has no such input",
    ),
    "default for nothing": (
        rule("y = Relu(x)", "y = Neg(x)", "default = { b = '0' }"),
        "rewrite[0].default.b: the match has no such input",
    ),
    "default of a wrong type": (
        rule("y = Relu(x)", "y = Neg(x)", "default = { x = 0 }"),
        "rewrite[0].default.x: must be an expression in quotes",
    ),
    "let of a wrong type": (rule("y = Relu(x)", "y = Neg(x)", "let = 'a'"), "rewrite[0].let: must be a table"),
    "let over a value": (
        rule("y = Relu(x)", "y = Neg(x)", "let = { x = '1' }"),
        "rewrite[0].let.x: the match or a parameter has that name already",
    ),
    "let over a parameter": (
        TOP + 'params.p = { type = "int", default = 1, help = "h" }\n' + RULE + "let = { p = '1' }\n",
        "rewrite[0].let.p: the match or a parameter has that name already",
    ),
    "let that reads a later one": (
        rule("y = Relu(x)", "y = Neg(x)", "let = { a = 'b', b = '1' }"),
        "rewrite[0].let.a: nothing is named 'b' here",
    ),
    # replacements
    "no replacement": (TOP + "[[rewrite]]\nmatch = 'y = Relu(x)'\n", "rewrite[0].replace: is missing"),
    "empty replacement": (rule("y = Relu(x)", " "), "rewrite[0].replace: no statement"),
    "root not made": (
        rule("y = Relu(x)", "z = Neg(x)"),
        "rewrite[0].replace: it does not make 'y', which the match makes",
    ),
    "second root not made": (
        rule("y, i = TopK(x, k)", "y = Neg(x)"),
        "rewrite[0].replace: it does not make 'i', which the match makes",
    ),
    "unknown name": (
        rule("y = Relu(x)", "y = Add(x, w)"),
        "rewrite[0].replace: nothing is named 'w': not in match, let or params, nor made here",
    ),
    "unknown attribute": (
        rule("y = Relu(x)", "y = LeakyRelu<alpha = @a>(x)"),
        "rewrite[0].replace: no attribute, let or parameter is named '@a'",
    ),
    "a value as attribute": (
        rule("y = Relu(x)", "y = LeakyRelu<alpha = @x>(x)"),
        "rewrite[0].replace: no attribute, let or parameter is named '@x'",
    ),
    "an attribute as value": (
        rule("y = LeakyRelu<alpha = @a>(x)", "y = Mul(x, a)"),
        "rewrite[0].replace: 'a' is an attribute; make a constant of it with let",
    ),
    "like of an input": (
        rule("y = Relu(x)", "y = Neg<like = @x>(x)"),
        "rewrite[0].replace: like = @x: no matched statement makes 'x'",
    ),
    "like of unknown": (
        rule("y = Relu(x)", "y = Neg<like = @z>(x)"),
        "rewrite[0].replace: like = @z: no matched statement makes 'z'",
    ),
    "like that is no name": (
        rule("y = Relu(x)", "y = Neg<like = 3>(x)"),
        "rewrite[0].replace: 'like' names the output of a matched statement, as in like = @y",
    ),
    "an inner value read": (
        rule("a = Relu(x) y = Neg(a)", "y = Exp(a)"),
        "rewrite[0].replace: 'a' is inside the match and vanishes with it, unless it is shared",
    ),
    "an input made anew": (
        rule("y = Relu(x)", "x = Neg(x) y = Exp(x)"),
        "rewrite[0].replace: 'x' is a value of the match; name a new one otherwise",
    ),
    "the root read before it is made": (
        rule("y = Relu(x)", "y = Neg(y)"),
        "rewrite[0].replace: 'y' is read before it is made",
    ),
    "read before made in the replacement": (
        rule("y = Relu(x)", "y = Neg(a) a = Exp(x)"),
        "rewrite[0].replace: 'a' is read before it is made",
    ),
    "forward of what is not a root": (
        rule("y = Relu(x)", "a = x y = Neg(a)"),
        "rewrite[0].replace: 'a' = ... forwards a value that the match does not make",
    ),
    "forward of a forward": (
        rule("y, i = TopK(x, k)", "y = x i = y"),
        "rewrite[0].replace: 'y' is itself forwarded; name the value it stands for",
    ),
    "forward of two": (rule("y, i = TopK(x, k)", "y, i = x"), "rewrite[0].replace: 'Forward__' stands for …"),
    "forward of none": (rule("y = Relu(x)", "y = Forward__()"), "rewrite[0].replace: 'Forward__' stands for …"),
    # edits
    "edit of nothing": (
        TOP + '[[edit]]\nselect = { op = "Relu" }\n',
        "edit[0].set: is missing: the edit changes nothing",
    ),
    "edit without op": (TOP + "[[edit]]\nset = { a = 1 }\n", "edit[0].select.op: is missing"),
    "edit of no op": (
        TOP + "[[edit]]\nselect = { op = [] }\nset = { a = 1 }\n",
        "edit[0].select.op: must not be empty",
    ),
    "select of a wrong type": (TOP + '[[edit]]\nselect = "Relu"\nset = { a = 1 }\n', "edit[0].select: must be a table"),
    "unknown key in select": (
        TOP + '[[edit]]\nselect = { op = "Relu", attr = {} }\nset = { a = 1 }\n',
        "edit[0].select.attr: unknown key; did you mean 'attrs'?",
    ),
    "where in select": (
        TOP + '[[edit]]\nselect = { op = "Relu", where = [] }\nset = { a = 1 }\n',
        "edit[0].select.where: unknown key; known here: op, domain, name, attrs",
    ),
    "unknown $param": (
        TOP + '[[edit]]\nselect = { op = "Relu" }\nset = { a = "$b" }\n',
        "edit[0].set.a: the pass has no parameter 'b'",
    ),
    "unknown $param in a list": (
        TOP + '[[edit]]\nselect = { op = "Relu" }\nset = { a = ["$b"] }\n',
        "edit[0].set.a: the pass has no parameter 'b'",
    ),
    "no name after $": (
        TOP + '[[edit]]\nselect = { op = "Relu", name = "$" }\nset = { a = 1 }\n',
        "edit[0].select.name: the pass has no parameter ''",
    ),
    "a list in a list": (
        TOP + KEEP_PARAM % ("ints", "[]") + '[[edit]]\nselect = { op = "Relu" }\nset = { a = ["$k"] }\n',
        "edit[0].set.a: '$k' is a list, which cannot be in a list",
    ),
    "an attribute that is a table": (
        TOP + '[[edit]]\nselect = { op = "Relu" }\nset = { a = { b = 1 } }\n',
        "edit[0].set.a: must be a number, a string or a list of them",
    ),
    "an attribute that is a date": (
        TOP + '[[edit]]\nselect = { op = "Relu", attrs = { a = 2020-01-01 } }\nset = { a = 1 }\n',
        "edit[0].select.attrs.a: must be a number, a string or a list of them",
    ),
    "set and unset": (EDIT.join([TOP, 'unset = ["a"]\n']), "edit[0].unset: 'a' is set too"),
    "unknown name in an edit's where": (
        TOP + EDIT + "where = ['rank(input0) == 1', 'rank(x) == 1']\n",
        "edit[0].where[1]: nothing is named 'x' here",
    ),
    "a place too far": (
        TOP + EDIT + "where = ['rank(input9) == 1']\n",
        "edit[0].where[0]: nothing is named 'input9' here; did you mean …",
    ),
    # boundaries
    "no at": (boundary("keep = ['y']\n"), "boundary[0].at: is missing"),
    "unknown at": (boundary("at = 'middle'\n"), "boundary[0].at: 'middle' is not one of inputs, outputs"),
    "neither keep nor cast": (boundary("at = 'outputs'\n"), "boundary[0].keep: a boundary has either keep or cast"),
    "keep and cast": (
        boundary("at = 'outputs'\nkeep = ['y']\ncast = 'int32'\n"),
        "boundary[0].keep: a boundary has either keep or cast",
    ),
    "keep and when": (
        boundary("at = 'outputs'\nkeep = ['y']\nwhen = { dtype = 'int32' }\n"),
        "boundary[0].when: belongs to cast; keep names the outputs itself",
    ),
    "keep of inputs": (
        boundary("at = 'inputs'\nkeep = ['x']\n"),
        "boundary[0].keep: inputs cannot be dropped: they are part of the interface",
    ),
    "keep of a number": (boundary("at = 'outputs'\nkeep = 3\n"), "boundary[0].keep: must be a list of strings"),
    "keep of numbers": (boundary("at = 'outputs'\nkeep = [3]\n"), "boundary[0].keep: must be a list of strings"),
    "keep of an unknown parameter": (
        boundary("at = 'outputs'\nkeep = '$k'\n"),
        "boundary[0].keep: the pass has no parameter 'k'",
    ),
    "keep of a text": (
        boundary("at = 'outputs'\nkeep = '$k'\n", KEEP_PARAM % ("string", "'y'")),
        "boundary[0].keep: '$k' must be a parameter of type names",
    ),
    "keep of an int in a list": (
        boundary("at = 'outputs'\nkeep = ['$k']\n", KEEP_PARAM % ("int", "1")),
        "boundary[0].keep: in a list, a parameter must be of type string",
    ),
    "cast without a type": (
        boundary("at = 'outputs'\ncast = 'int32'\n"),
        "boundary[0].when.dtype: is missing",
    ),
    "cast to an unknown type": (
        boundary("at = 'outputs'\nwhen = { dtype = 'float32' }\ncast = 'half'\n"),
        "boundary[0].cast: 'half' is not an element type",
    ),
    "cast from an unknown type": (
        boundary("at = 'outputs'\nwhen = { dtype = 'single' }\ncast = 'int32'\n"),
        "boundary[0].when.dtype: 'single' is not an element type",
    ),
    "cast from no type": (
        boundary("at = 'outputs'\nwhen = { dtype = 'undefined' }\ncast = 'int32'\n"),
        "boundary[0].when.dtype: 'undefined' is not an element type",
    ),
    # parameters
    "a parameter's type": (
        param("default = 1\n", kind="integer"),
        "params.p.type: 'integer' is not one of string, int, float, bool, names, ints",
    ),
    "a parameter without type": (TOP + 'native = "rename"\n[params.p]\nhelp = "h"\n', "params.p.type: is missing"),
    "a parameter without help": (
        TOP + 'native = "rename"\n[params.p]\ntype = "int"\ndefault = 1\n',
        "params.p.help: is missing",
    ),
    "a parameter without default": (
        param(""),
        "params.p.default: is missing: a pass must run without being given anything",
    ),
    "a default of a wrong type": (param("default = 1\n"), "params.p.default: '1' is not a text"),
    "a default beyond all numbers": (
        param(f"default = {10**400}\n", kind="float"),
        f"params.p.default: '1{'0' * 118}…' is not a number",
    ),
    "true is no whole number": (
        param("default = true\n", kind="int"),
        "params.p.default: 'True' is not a whole number",
    ),
    "an empty name": (param("default = ['']\n", kind="names"), "params.p.default: '['']' is not a list of names (a+b)"),
    "a default beside the choices": (
        param("default = 'c'\nchoices = ['a', 'b']\n"),
        "params.p.default: 'c' is not one of a, b",
    ),
    "choices that are numbers": (
        param("default = 'c'\nchoices = [1]\n"),
        "params.p.choices: must be a list of strings",
    ),
    "choices of numbers": (
        param("default = 1\nchoices = ['1']\n", kind="int"),
        "params.p.choices: are for parameters of type string",
    ),
    "a parameter's name": (
        param("default = 'c'\n", name="P"),
        "params.P: a parameter is named in lower case with underscores",
    ),
    "a parameter named as a place": (
        param("default = 'c'\n", name="input0"),
        "params.input0: has another meaning in the conditions of an edit; name it otherwise",
    ),
    "a parameter that is no table": (TOP + "params.p = 3\n" + RULE, "params.p: must be a table"),
    "params that are no table": (TOP + "params = 3\n" + RULE, "params: must be tables, [params.NAME]"),
    "unknown key of a parameter": (
        param("default = 'c'\nhepl = 'h'\n"),
        "params.p.hepl: unknown key; did you mean 'help'?",
    ),
    # semantics
    "semantics of two ops": (
        TOP + RULE + "[[semantics]]\nmatch = ['y = A(x)', 'y = B(x)']\nreplace = 'y = Neg(x)'\n",
        "semantics[0].match: semantics are those of one op: match one statement",
    ),
    "semantics of two statements": (
        TOP + RULE + "[[semantics]]\nmatch = 'a = A(x) y = A(a)'\nreplace = 'y = Neg(x)'\n",
        "semantics[0].match: semantics are those of one op: match one statement",
    ),
    "a parameter in semantics": (
        TOP + KEEP_PARAM % ("int", "1") + RULE + "[[semantics]]\nmatch = 'y = A(x)'\nreplace = 'y = Add(x, k)'\n",
        "semantics[0].replace: nothing is named 'k': not in match, let or params, nor made here",
    ),
    "opset of semantics": (
        TOP + RULE + "[[semantics]]\nopset = '>=11'\nmatch = 'y = A(x)'\nreplace = 'y = Neg(x)'\n",
        "semantics[0].opset: unknown key; known here: match, where, default, let, replace, shared, plain",
    ),
    # cases
    "a case without name": (
        TOP + RULE + CASE.replace("name = 'n'\n", ""),
        "case[0].name: is missing",
    ),
    "a case without before": (TOP + RULE + "[[case]]\nname = 'n'\nafter = 'unchanged'\n", "case[0].before: is missing"),
    "a case that is no graph": (
        TOP + RULE + CASE.replace("{ y = Relu(x) }", "{ y Relu }"),
        "case[0].before: not ONNX text: …",
    ),
    "a case whose end is no graph": (
        TOP + RULE + CASE.replace("'unchanged'", "'unchange'"),
        "case[0].after: not ONNX text: …",
    ),
    "a case with an unknown parameter": (
        TOP + RULE + CASE + "params = { p = 1 }\n",
        "case[0].params.p: the pass has no such parameter",
    ),
    "a case with a wrong parameter": (
        TOP + 'params.p = { type = "int", default = 1, help = "h" }\n' + RULE + CASE + "params = { p = 1.5 }\n",
        "case[0].params.p: '1.5' is not a whole number",
    ),
    "a case's opset": (TOP + RULE + CASE + "opset = 0\n", "case[0].opset: must be between 1 and 10000"),
    "a case's opset as text": (TOP + RULE + CASE + "opset = '17'\n", "case[0].opset: must be a whole number"),
    "unknown key of a case": (TOP + RULE + CASE + "befor = ''\n", "case[0].befor: unknown key; did you mean 'before'?"),
}


def refusal(folder: Path, data: bytes, name: str = "x") -> str:
    """Return what a catalog says of a pass file with these bytes."""
    passes = folder / "passes"
    passes.mkdir(exist_ok=True)
    (passes / f"{name}.toml").write_bytes(data)
    with pytest.raises(PassError) as error:
        Catalog([*Catalog().folders, passes]).get(name)
    return str(error.value)


@pytest.mark.parametrize("what", BROKEN)
def test_a_broken_file_says_where_and_why(tmp_path: Path, what: str) -> None:
    text, wanted = BROKEN[what]
    found = refusal(tmp_path, text.encode())
    if wanted.endswith("…"):
        assert found.startswith(f"passes/x.toml: {wanted[:-1]}")
    else:
        assert found == f"passes/x.toml: {wanted}"
    assert "\n" not in found


def test_the_building_blocks_of_the_table_are_sound(tmp_path: Path) -> None:
    sound = (
        TOP + RULE + CASE, TOP + EDIT, param("default = 'c'\n"), rule("y = Relu(x)", "y = x"),
        boundary("at = 'outputs'\nkeep = '$k'\n", KEEP_PARAM % ("names", "[]")),
        boundary("at = 'outputs'\nkeep = ['$k', 'z']\n", KEEP_PARAM % ("string", "'y'")),
    )  # fmt: skip
    for number, text in enumerate(sound):
        path = tmp_path / f"x{number}.toml"
        path.write_text(text)
        assert load_pass(path).name == f"x{number}"


NO_PASS = {
    "not UTF-8": (b"\xff\xfe", "not UTF-8 text"),
    "not TOML": (b"summary = ", "not TOML: Invalid value (at end of document)"),
    "a key twice": (b"x = 's'\nx = 't'\n", "not TOML: Cannot overwrite a value (at line 2, column 8)"),
    "deep": (b"x = " + b"[" * 20_000, "not TOML: nested too deep"),
    # tomllib alone would take minutes over these two
    "a deep key": (b"x" + b".a" * 100_000 + b" = 1", "not TOML: nested too deep"),
    "a deep table": (b"[" + b"a . " * 50_000 + b"a]\nx = 1", "not TOML: nested too deep"),
    "a long text": (b"x = '" + b"a" * 250_000 + b"'", "x: unknown key…"),
    "a huge number": (b"x = " + b"1" * 10_000, "not TOML: Exceeds the limit …"),
    "too large": (b"#" * (MAX_FILE + 1), f"larger than {MAX_FILE} bytes"),
    "empty": (
        b"",
        "the pass has no edit, rewrite, region, boundary, native or sequence; it needs exactly one kind of body",
    ),
}


@pytest.mark.parametrize("what", NO_PASS)
def test_a_file_that_is_no_pass(tmp_path: Path, what: str) -> None:
    data, reason = NO_PASS[what]
    found = refusal(tmp_path, data)
    assert found.startswith(f"passes/x.toml: {reason[:-1]}") if reason.endswith("…") else found.endswith(f": {reason}")


def test_a_value_that_is_nested_is_shown_in_one_line(tmp_path: Path) -> None:
    deep = param("default = " + "[" * 200 + "]" * 200 + "\n", kind="ints")
    found = refusal(tmp_path, deep.encode())
    assert found.startswith("passes/x.toml: params.p.default: '[[[[") and len(found) < 250


@pytest.mark.parametrize("name", ["Fuse", "fuse-gelu", "1st", "füse"])
def test_a_file_is_named_in_lower_case(tmp_path: Path, name: str) -> None:
    found = refusal(tmp_path, (TOP + RULE).encode(), name)
    assert found.endswith(": a pass file is named in lower case with underscores, such as fuse_gelu.toml")


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(PassError) as missing:
        load_pass(tmp_path / "gone.toml", "gone.toml")
    assert str(missing.value) == "gone.toml: cannot be read: No such file or directory"
    for make in (Path.mkdir, os.mkfifo):
        path = tmp_path / f"{make.__name__}.toml"
        make(path)
        with pytest.raises(PassError) as odd:  # a FIFO would be waited for without end
            load_pass(path, "odd.toml")
        assert str(odd.value) == "odd.toml: not a regular file"


def test_a_sequence_through_two_files_and_back(tmp_path: Path) -> None:
    folder = tmp_path / "passes"
    folder.mkdir()
    for name, other in (("a", "b"), ("b", "c"), ("c", "b")):
        (folder / f"{name}.toml").write_text(TOP + f'sequence = ["{other}"]\n')
    with pytest.raises(PassError) as error:
        Catalog([folder]).get("a")
    assert str(error.value) == (
        "passes/a.toml: sequence[0]: passes/b.toml: sequence[0]: passes/c.toml: sequence[0]: "
        "the sequence contains itself: b -> c -> b"
    )


def test_a_sequence_that_names_its_own_path(tmp_path: Path) -> None:
    path = tmp_path / "x.toml"
    path.write_text(TOP + f"sequence = ['{path}']\n")
    with pytest.raises(PassError, match="the sequence contains itself: x -> x"):
        Catalog().get(str(path))


def test_a_pass_twice_in_a_sequence_is_no_cycle(tmp_path: Path) -> None:
    (tmp_path / "x.toml").write_text(TOP + 'sequence = ["optimize", "remove_identity", "optimize"]\n')
    assert Catalog([*Catalog().folders, tmp_path]).get("x").sequence[0] == "optimize"


def test_names_from_a_file_are_shown_without_escape_sequences(tmp_path: Path) -> None:
    found = refusal(tmp_path, (TOP + '"a\\u001b[31m" = 1\n' + RULE).encode())
    assert "\x1b" not in found and r"a\x1b[31m" in found


@pytest.mark.parametrize(("match", "at"), [("y = Relu(Abs(x))", "(x))"), ("y = Add(x, Elu<alpha = @a>(x))", "<alp")])
def test_nested_calls_are_told(tmp_path: Path, match: str, at: str) -> None:
    file = tmp_path / "x.toml"
    file.write_text(rule(match, "y = Neg(x)"))
    with pytest.raises(PassError, match=r"; calls do not nest: give the inner one a name$") as caught:
        load_pass(file)
    assert f" at '{at}" in str(caught.value)


@pytest.mark.parametrize(
    ("match", "replace", "fault"),
    [
        ("y = Relu(x)", "y = Relu(x, x)", "rewrite[0].replace: Relu has at most 1 input, not 2"),
        ("y = Relu(x)", "y, z = Relu(x)", "rewrite[0].replace: Relu has at most 1 output, not 2"),
        ("y = Relu(x)", "y = LeakyRelu<aplha = 3.0>(x)",
         "rewrite[0].replace: LeakyRelu has no attribute 'aplha'; did you mean 'alpha'?"),
        ("y = Transpose<prem = @p>(x)", "y = x",
         "rewrite[0].match: Transpose has no attribute 'prem'; did you mean 'perm'?"),
        # what is only looked for may be somebody's own, each opset counts, and another domain's may be anything
        ("y = Relu<_trace = @t>(x)", "y = Relu(x)", ""),
        ("y = Squeeze<axes = @a>(x)", "y = Clip<min = 0.0>(x)", ""),
        ("y = my.Relu<any = 1>(x, x, x)", "y = Odd<any = 1>(x)", ""),
        ("y = Concat<axis = @a>(*xs)", "y = Sum(*xs)", ""),
    ],
)  # fmt: skip
def test_statements_that_no_opset_has_are_found_when_the_file_is_read(
    tmp_path: Path, match: str, replace: str, fault: str
) -> None:
    file = tmp_path / "own.toml"
    rewrite = f'[[rewrite]]\nmatch = "{match}"\nreplace = "{replace}"\n'
    file.write_text(f'summary = "s"\nwhy = "w"\nparity = "exact"\n{rewrite}')
    if not fault:
        Catalog().get(str(file))
        return
    with pytest.raises(PassError) as error:
        Catalog().get(str(file))
    assert str(error.value) == f"{file}: {fault}"


def test_an_edit_sets_attributes_that_there_are(tmp_path: Path) -> None:
    file = tmp_path / "own.toml"
    edit = '[[edit]]\nselect = { op = "Resize" }\nset = { moode = "nearest" }\nunset = ["anything"]\n'
    file.write_text(f'summary = "s"\nwhy = "w"\nparity = "lossy"\n{edit}')
    with pytest.raises(PassError, match=r"edit\[0\].set: Resize has no attribute 'moode'; did you mean 'mode'"):
        Catalog().get(str(file))


def test_every_shipped_statement_is_one_of_onnx() -> None:
    for name in Catalog().names:
        check_statements(Catalog().get(name), name)


def test_a_path_in_a_sequence_is_beside_the_file(tmp_path: Path) -> None:
    head = 'summary = "s"\nwhy = "w"\nparity = "exact"\n'
    (tmp_path / "inner.toml").write_text(head + '[[rewrite]]\nmatch = "y = Relu(x)"\nreplace = "y = Abs(x)"\n')
    outer = tmp_path / "outer.toml"
    outer.write_bytes(b"\xef\xbb\xbf" + f'{head}sequence = ["./inner.toml"]\n'.encode())  # as some editors save
    assert parse_pipeline(str(outer), Catalog())[0].spec.sequence == (str(tmp_path / "inner.toml"),)
