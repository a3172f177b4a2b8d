"""Feeds from files: ``.npz``, ``.npy``, raw ``.bin``, ONNX test_data_set folders; and writing one as ``.npz``.

Nothing in a file is code (numpy's pickles are refused), no type is cast and no axis is added: what does not fit the
model is an error that says what the input wants and what the file has.
"""

from __future__ import annotations

import io
import math
import os
import re
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto

from graphtool.errors import FeedError, quoted, show, which_it_has
from graphtool.graph import Graph, Value, dtype_name
from graphtool.graph.opset import numpy_dtype
from graphtool.parity.containers import ABSENT, Held, boxed, held_of, inputs_of, is_absent, is_sequence
from graphtool.parity.eps import is_extension
from graphtool.parity.feed import Feed, counts_of
from graphtool.parity.protos import from_pb

Array = NDArray[Any]

_RAW = r"bool|u?int(8|16|32|64)|b?float(16|32|64)|float8\w*|complex\d+"  # whole bytes a number
_SUFFIXES = (".npz", ".npy", ".bin", ".pb")


def feed_from(given: str | Path | Sequence[str | Path], graph: Graph) -> Feed:
    """Return the feed in one or more files.

    Each is ``PATH`` or, for a single input, ``INPUT=PATH``. ``.npz`` holds arrays by input name; the tensors of a
    sequence ``s`` are ``s[0]``, ``s[1]`` ..., and ``s[]`` with the text ``empty`` or ``absent`` is one without any, or
    an optional that is not there. ``.npy``, ``.pb`` (a TensorProto, and for such inputs a SequenceProto or
    OptionalProto) and ``.bin`` (raw little-endian numbers in the model's type and shape; one open dimension is
    worked out from the size) hold one input. A folder holds ``input_0.pb``, ``input_1.pb`` ... in the order of
    the graph's inputs (ONNX's test_data_set_N), or files named after the inputs. Raises FeedError.
    """
    items = [given] if isinstance(given, str | Path) else list(given)
    arrays: dict[str, Array] = {}
    where = []
    for item in items:
        path, read = read_item(item, graph)
        where.append(path.name or str(path))
        for found, array in read.items():
            if found in arrays:
                raise FeedError(f"{_at(path)}: input {quoted(found)} is given twice")
            arrays[found] = array
    return whole(arrays, graph, ", ".join(where))


def read_item(item: str | Path, graph: Graph) -> tuple[Path, dict[str, Array]]:
    """Return the path of ``PATH`` or ``INPUT=PATH``, and what lies there by input name; raises FeedError."""
    inputs = _accepted(graph)
    name, path = _split(str(item), inputs)
    return path, _read(name, path, graph, inputs)


def whole(arrays: dict[str, Array], graph: Graph, where: str) -> Feed:
    """Return arrays from ``where`` as a feed; raises FeedError where an input has none."""
    _check_complete(arrays, graph, where)
    return Feed(arrays, {"source": where} | counts_of(inputs_of(graph), arrays))


def write_npz(path: str | Path, feed: Feed | Mapping[str, Array], packed: bool = True) -> None:
    """Write arrays by name, the same bytes for the same arrays (``numpy.savez`` writes the time of day). Atomic.

    Not ``packed``, large outputs are written many times as fast.
    """
    arrays = feed.arrays if isinstance(feed, Feed) else feed
    target = Path(path)
    temporary = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    kind = zipfile.ZIP_DEFLATED if packed else zipfile.ZIP_STORED
    try:
        with zipfile.ZipFile(temporary, "w", kind, compresslevel=1) as archive:
            for name, array in (entry for given in arrays.items() for entry in _entries(*given)):
                data = io.BytesIO()
                plain = array.astype(np.str_) if array.dtype.hasobject else array
                if is_extension(plain.dtype):  # only the bytes are kept
                    plain = np.require(plain, requirements="C").view(f"V{plain.dtype.itemsize}")
                np.lib.format.write_array(data, np.asarray(plain), allow_pickle=False)
                archive.writestr(zipfile.ZipInfo(f"{name}.npy", (1980, 1, 1, 0, 0, 0)), data.getvalue())
        temporary.replace(target)
    except OSError as error:
        raise FeedError(f"cannot write {quoted(target)}: {error.strerror or error}") from None
    finally:
        temporary.unlink(missing_ok=True)


def _entries(name: str, array: Array) -> list[tuple[str, Array]]:
    """Return an array by the name that a file has it under; a sequence is several."""
    if is_absent(array):
        return [(f"{name}[]", np.array("absent"))]
    if not is_sequence(array):
        return [(name, array)]
    items = [(f"{name}[{number}]", item) for number, item in enumerate(array)]
    return items or [(f"{name}[]", np.array("empty"))]


def _accepted(graph: Graph) -> dict[str, Held]:
    """Return what a feed may hold: the inputs, and initializers that are inputs as well."""
    known = inputs_of(graph)
    overridable = {info.name: held_of(info) for info in graph.proto.graph.input if info.name not in known}
    return known | overridable


def _at(path: Path) -> str:
    return f"feed {quoted(path)}"


def _split(item: str, inputs: Mapping[str, Held]) -> tuple[str | None, Path]:
    """Return input name and path of ``INPUT=PATH``; a name may hold ``=``, and so may a path."""
    for name in sorted(inputs, key=len, reverse=True):
        if item.startswith(f"{name}="):
            return name, Path(item[len(name) + 1 :])
    path = Path(item)
    word, equals, rest = item.partition("=")
    if equals and not path.exists() and rest.endswith(_SUFFIXES):
        raise FeedError(f"feed {quoted(item)}: the model has no input {quoted(word)}{which_it_has(word, inputs)}")
    return None, path


def _read(name: str | None, path: Path, graph: Graph, inputs: Mapping[str, Held]) -> dict[str, Array]:
    if path.is_dir():
        return _read_folder(path, graph, inputs)
    if not path.is_file():
        raise FeedError(f"{_at(path)}: no such file or folder")
    if path.suffix == ".npz":
        return _read_npz(path, name, inputs)
    if path.suffix not in _SUFFIXES:
        raise FeedError(f"{_at(path)}: expected .npz, .npy, .bin, .pb or a folder")
    if name is None:
        if len(graph.inputs) != 1:
            names = ", ".join(quoted(value.name) for value in graph.inputs)
            raise FeedError(f"{_at(path)}: one tensor, but the model has inputs {names}: write INPUT={show(path)}")
        name = graph.inputs[0].name
    return {name: _read_one(path, inputs[name])}


def _read_folder(path: Path, graph: Graph, inputs: Mapping[str, Held]) -> dict[str, Array]:
    numbers = ((re.fullmatch(r"input_(\d+)\.(?:pb|bin|npy)", file.name), file) for file in path.iterdir())
    numbered = {int(found[1]): file for found, file in numbers if found}
    if numbered:
        # ONNX counts the graph's declared inputs, initializers among them
        order = [info.name for info in graph.proto.graph.input]
        for number, file in numbered.items():
            if number >= len(order):
                raise FeedError(f"{_at(file)}: the model has only {len(order)} inputs")
        return {order[number]: _read_one(file, inputs[order[number]]) for number, file in sorted(numbered.items())}
    files = {name: [path / f"{_file_name(name)}{suffix}" for suffix in _SUFFIXES[1:]] for name in inputs}
    found_files = {name: file for name, choices in files.items() for file in choices if file.is_file()}
    if not found_files:
        sets = sorted(child.name for child in path.glob("test_data_set_*") if child.is_dir())
        hint = (
            f"; give {show(path / sets[0])}" if sets else f", such as {show(_file_name(next(iter(inputs), 'x')))}.npy"
        )
        raise FeedError(f"{_at(path)}: holds neither input_0.pb nor a file named after an input{hint}")
    return {name: _read_one(file, inputs[name]) for name, file in found_files.items()}


def _file_name(name: str) -> str:
    """Return an input's name as a file is called; a path in a name must not lead elsewhere."""
    return re.sub(r"[^\w.-]", "_", name).lstrip(".") or "_"


def _read_npz(path: Path, name: str | None, inputs: Mapping[str, Held]) -> dict[str, Array]:
    if name is not None:
        raise FeedError(f"{_at(path)}: an .npz holds arrays by input name; leave out {quoted(name)}=")
    arrays: dict[str, Array] = {}
    items: dict[str, dict[int, Array]] = {}
    try:
        with np.load(path, allow_pickle=False) as archive:
            for found in archive.files:
                whole, number = _item_of(found, inputs)
                if whole not in inputs:
                    hint = which_it_has(found, inputs)
                    raise FeedError(f"{_at(path)}: the model has no input {quoted(found)}{hint}")
                held, array = inputs[whole], archive[found]
                if number is None:
                    arrays[whole] = _alone(path, array, held)
                elif number < 0:
                    arrays[whole] = _nothing(path, array, held)
                else:
                    value = held.item._replace(name=found)
                    items.setdefault(whole, {})[number] = _fitting(path, array, value)
    except FeedError:
        raise
    except Exception as error:  # numpy, zipfile and zlib on a stranger's bytes
        raise FeedError(f"{_at(path)}: not a sound .npz file: {_first_line(error)}") from None
    for whole, numbered in items.items():
        missing = next((number for number in range(len(numbered)) if number not in numbered), None)
        if missing is not None or whole in arrays:
            why = f"no {quoted(f'{whole}[{missing}]')}" if missing is not None else f"{quoted(f'{whole}[]')} as well"
            raise FeedError(f"{_at(path)}: it has items of input {quoted(whole)}, and {why}")
        arrays[whole] = boxed([numbered[number] for number in range(len(numbered))])
    return arrays


def _item_of(found: str, inputs: Mapping[str, Held]) -> tuple[str, int | None]:
    """Return the input that an entry of a file belongs to, and which item it is: -1 says that there is none."""
    part = None if found in inputs else re.fullmatch(r"(.*)\[(\d{0,9})\]", found, re.DOTALL)
    held = inputs.get(part[1]) if part is not None else None
    if part is None or held is None or not (held.sequence or (not part[2] and (held.optional or _is_text(held)))):
        return found, None
    return part[1], int(part[2] or -1)


def _is_text(held: Held) -> bool:
    return held.item.dtype == TensorProto.STRING


def _alone(path: Path, array: Array, held: Held) -> Array:
    """Return a tensor that is a whole input, present where that is optional."""
    _check_readable(path, held)
    return _fitting(path, array, held.item)


def _check_readable(path: Path, held: Held, alone: bool = True) -> None:
    """Raise FeedError where no file holds such an input, or no file of one tensor where it is ``alone``."""
    name = held.item.name
    if held.item.kind != "tensor":
        only = "only tensors, and sequences and optionals of them, can be read"
        raise FeedError(f"{_at(path)}: input {quoted(name)} is of type {held.text()}; {only}")
    if alone and held.sequence:
        needs = f"an .npz with {quoted(f'{name}[0]')}, {quoted(f'{name}[1]')} ... or a .pb"
        raise FeedError(f"{_at(path)}: input {quoted(name)} is {held.text()}, which needs {needs}")


def _nothing(path: Path, array: Array, held: Held) -> Array:
    text = str(array)
    if text == "absent" and held.optional:
        return ABSENT
    if text == "empty" and held.sequence:
        return boxed([])
    if text == "empty" and _is_text(held):  # of strings, and as an array no other than a sequence of nothing
        return _fitting(path, boxed([]), held.item)
    name = held.item.name
    can = " or ".join(["'absent'"] * held.optional + ["'empty'"] * held.sequence)
    raise FeedError(
        f"{_at(path)}: {quoted(f'{name}[]')} of input {quoted(name)}, {held.text()}, must be the text {can}"
    )


def _first_line(error: Exception) -> str:
    if "pickle" in str(error):
        return "it holds Python objects, which are not read; save strings with astype(str)"
    return show(str(error).partition("\n")[0] or type(error).__name__)


def _read_one(path: Path, held: Held) -> Array:
    """Read a file that holds one input."""
    _check_readable(path, held, alone=path.suffix != ".pb")
    try:
        if path.suffix == ".bin":
            return _from_raw(path, path.read_bytes(), held.item)
        if path.suffix == ".npy":
            return _fitting(path, np.load(path, allow_pickle=False), held.item)
        array = from_pb(path.read_bytes(), held)
    except FeedError:
        raise
    except Exception as error:  # numpy, protobuf and onnx on a stranger's bytes
        kind = "" if path.suffix == ".pb" else f"not a sound {path.suffix} file: "
        raise FeedError(f"{_at(path)}: {kind}{_first_line(error)}") from None
    if is_absent(array):
        return array
    if not held.sequence:
        return _fitting(path, array, held.item)
    names = (held.item._replace(name=f"{held.item.name}[{number}]") for number in range(len(array)))
    return boxed([_fitting(path, item, value) for item, value in zip(array, names, strict=True)])


def _from_raw(path: Path, data: bytes, value: Value) -> Array:
    dtype = numpy_dtype(value.dtype)
    if value.dtype == TensorProto.STRING or value.shape is None or ("4" in dtype.name[-1:] and is_extension(dtype)):
        raise FeedError(f"{_at(path)}: {value.type_text()} has no raw form; use .npy or .pb for {quoted(value.name)}")
    shape = [dim if isinstance(dim, int) else -1 for dim in value.shape]
    fixed = dtype.itemsize * math.prod(size for size in shape if size != -1)
    expected = f"input {quoted(value.name)} is {value.type_text()}"
    if shape.count(-1) > 1:
        raise FeedError(f"{_at(path)}: {expected}, and its size does not tell several open dimensions; use .npy")
    if -1 in shape:
        if fixed == 0 or len(data) % fixed or not data:
            raise FeedError(f"{_at(path)}: {expected}, a multiple of {fixed} bytes, found {len(data)}")
        shape[shape.index(-1)] = len(data) // fixed
    elif len(data) != fixed:
        raise FeedError(f"{_at(path)}: {expected}, {fixed} bytes, found {len(data)}")
    return np.frombuffer(data, dtype.newbyteorder("<")).astype(dtype).reshape(shape)


def _fitting(path: Path, array: Array, value: Value) -> Array:
    """Return ``array`` where type and shape are the input's; raise FeedError elsewhere."""
    wanted = numpy_dtype(value.dtype) if value.dtype else array.dtype
    if value.dtype == TensorProto.STRING and array.dtype.kind in "USO":
        words = [word.decode() if isinstance(word, bytes) else str(word) for word in array.reshape(-1)]
        array = np.array(words, object).reshape(array.shape)
    elif array.dtype.kind == "V" and is_extension(wanted) and array.dtype.itemsize == wanted.itemsize:
        array = array.view(wanted)  # numpy's files know no bfloat16 and keep only the bytes
    same_rank = value.shape is None or len(value.shape) == array.ndim
    fits = same_rank and all(
        dim == size for dim, size in zip(value.shape or (), array.shape, strict=False) if isinstance(dim, int)
    )
    if array.dtype.newbyteorder("=") != wanted or not fits:
        found = f"{array.dtype.name}[{','.join(map(str, array.shape))}]"
        cast = array.dtype.newbyteorder("=") != wanted and fits and array.dtype.kind in "biuf"
        hint = f"; convert it with astype({dtype_name(value.dtype)!r})" if cast else ""
        raise FeedError(f"{_at(path)}: input {quoted(value.name)} is {value.type_text()}, found {found}{hint}")
    return np.asarray(array, wanted)


def _check_complete(arrays: Mapping[str, Array], graph: Graph, where: str) -> None:
    missing = [value for value in graph.inputs if value.name not in arrays]
    if missing:
        holds = inputs_of(graph)
        lacks = ", ".join(f"{quoted(value.name)} ({holds[value.name].text()})" for value in missing[:5])
        more = f" and {len(missing) - 5} more" if len(missing) > 5 else ""
        raise FeedError(f"feed {quoted(where)}: nothing for input {lacks}{more}")
