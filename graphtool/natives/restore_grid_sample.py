"""GridSample in place of the four gathers and weights that it is exported as."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from onnx import NodeProto, TensorProto, helper

from graphtool.graph import Graph
from graphtool.graph import opset as ops
from graphtool.graph.sort import remove_unused
from graphtool.natives._point_terms import Coordinate, Floor, Held, Points, Product, Term, one
from graphtool.rewrite.build import Refused
from graphtool.rewrite.result import Applied, Match, Miss, label

_FLOATS = (TensorProto.FLOAT, TensorProto.DOUBLE)
_NEAR = 1e-5  # of factors that were computed in float32


@dataclass(frozen=True)
class Corner:
    """One of the four: a gather of pixels, and the value that it is multiplied by."""

    gather: NodeProto
    weight: str


@dataclass(frozen=True)
class Image:
    """What is sampled: its value, and its sizes N, C, H, W."""

    name: str
    sizes: tuple[int, int, int, int]


def apply(graph: Graph, params: Mapping[str, object]) -> Applied:
    """Restore GridSample in the main graph and its bodies."""
    result = Applied()
    for level in graph.levels():
        restored = False
        for slot in level.index.slots_of_type("Add"):
            node = level.node(slot)
            if node is None or _feeds_sum(level, node):
                continue
            corners = _corners(level, node)
            if corners is None:
                continue
            try:
                _restore(level, slot, node, corners)
            except Refused as refusal:
                result.misses.append(Miss(label(node), "native", str(refusal)))
                continue
            result.matches.append(Match(label(node), "native"))
            restored = True
        if restored:
            remove_unused(level)
    return result


def _feeds_sum(graph: Graph, node: NodeProto) -> bool:
    readers = graph.index.consumers(node.output[0])
    return len(readers) == 1 and readers[0].op_type == "Add" and _corners(graph, readers[0]) is not None


def _corners(graph: Graph, node: NodeProto) -> list[Corner] | None:
    """Return the four gathers that an Add sums up, None where it sums up something else."""
    waiting, leaves = list(node.input), []
    for _ in range(6):
        if not waiting:
            break
        made = graph.index.producer(waiting.pop())
        if made is None:
            return None
        if made.op_type == "Add":
            waiting += made.input
        else:
            leaves.append(made)
    if waiting or len(leaves) != 4:
        return None
    found = []
    for leaf in leaves:
        if leaf.op_type != "Mul":
            return None
        makers = [graph.index.producer(name) for name in leaf.input]
        at = next((k for k, made in enumerate(makers) if made is not None and made.op_type == "GatherElements"), None)
        gather = None if at is None else makers[at]
        if at is None or gather is None:
            return None
        found.append(Corner(gather, leaf.input[1 - at]))
    return found


def _restore(graph: Graph, slot: int, node: NodeProto, corners: list[Corner]) -> None:
    image = _image(graph, corners)
    batch, channels = image.sizes[:2]
    dims = _dims(graph, node.output[0])
    if len(dims) != 3 or dims[:2] != (batch, channels):
        raise Refused("the sum is not one of points by channel")
    points = Points(graph, batch * dims[2])
    grid, aligned = _held_against_spec(graph, points, image, corners)
    shape = _dims(graph, grid)
    if shape[0] != batch or shape[1] * shape[2] != dims[2]:
        raise Refused(f"the grid {grid!r} has other points than the sum")
    if _dtype(graph, grid) != _dtype(graph, image.name):
        raise Refused("the grid has another element type than the image")
    _write(graph, slot, node, image, grid, aligned, (batch, channels, shape[1], shape[2]))


def _image(graph: Graph, corners: list[Corner]) -> Image:
    """Return the image behind the four gathers: framed with zeros, its pixels in one axis."""
    names = {_framed(graph, corner.gather) for corner in corners}
    if len(names) != 1:
        raise Refused("the four gathers read several images")
    name = names.pop()
    if _dtype(graph, name) not in _FLOATS:
        raise Refused("the image is neither float32 nor float64")
    dims = _dims(graph, name)
    return Image(name, (dims[0], dims[1], dims[2], dims[3]))


def _framed(graph: Graph, gather: NodeProto) -> str:
    flat = graph.index.producer(gather.input[0])
    pad = None if flat is None or flat.op_type != "Reshape" else graph.index.producer(flat.input[0])
    if pad is None or pad.op_type != "Pad":
        raise Refused("the pixels are not those of an image with a Pad around it")
    dims = _dims(graph, pad.input[0])
    if len(dims) != 4 or min(dims) < 1:
        raise Refused("the image has not four dimensions")
    if _dims(graph, gather.input[0]) != (*dims[:2], (dims[2] + 2) * (dims[3] + 2)):
        raise Refused("the pixels are not one axis behind batch and channels")
    version = graph.opset()
    inputs = Points(graph, 1).inputs(pad)
    widths, value = inputs[1] if len(inputs) > 1 else None, inputs[2] if len(inputs) > 2 else None
    whole = len(pad.input) < 4 or not pad.input[3]
    computed = len(pad.input) > 2 and pad.input[2] and value is None
    zeros = not computed and (value is None or not value.any())
    if ops.effective(pad, "mode", version) != "constant" or not whole or not zeros:
        raise Refused("the Pad does not put zeros around")
    if widths is None or widths.reshape(-1).tolist() != [0, 0, 1, 1] * 2:
        raise Refused("the Pad is not one pixel wide on each side")
    if ops.effective(gather, "axis", version) not in (2, -1):
        raise Refused("pixels are gathered along another axis")
    return str(pad.input[0])


def _held_against_spec(graph: Graph, points: Points, image: Image, corners: list[Corner]) -> tuple[str, bool]:
    """Return the grid and whether corners are aligned, where the four are those of GridSample; raises Refused."""
    seen: set[tuple[int, int]] = set()
    found: set[tuple[str, bool]] = set()
    for corner in corners:
        index = points.read(_one_channel(graph, corner.gather.input[1], image))
        weight = points.read(_spread(graph, corner.weight, image, points))
        if index is None or weight is None:
            raise Refused("it is not known which pixel is read, or with which weight")
        place, at, grid, aligned = _pixel(index, image)
        if not _same_weight(weight, place, at):
            raise Refused("a pixel has another weight than in GridSample")
        seen.add(place)
        found.add((grid, aligned))
    if len(seen) != 4 or len(found) != 1:
        raise Refused("the four pixels are not the neighbours of one point")
    return found.pop()


def _one_channel(graph: Graph, name: str, image: Image) -> str:
    """Return the index of each point, which is read for all channels alike."""
    node = graph.index.producer(name)
    if node is not None and node.op_type in ("Expand", "Tile"):
        name = node.input[0]
    elif image.sizes[1] > 1:
        raise Refused("channels read pixels of their own")
    batch, dims = image.sizes[0], _dims(graph, name)
    if (1,) * (3 - len(dims)) + dims != (batch, 1, math.prod(dims) // batch):
        raise Refused("an index is not one for all channels")
    return name


def _spread(graph: Graph, name: str, image: Image, points: Points) -> str:
    dims = _dims(graph, name)
    if (1,) * (3 - len(dims)) + dims != (image.sizes[0], 1, points.count // image.sizes[0]):
        raise Refused("a weight is not one for all channels")
    return name


def _pixel(index: Term, image: Image) -> tuple[tuple[int, int], tuple[Term, Term], str, bool]:
    """Return the neighbour an index names (0 or 1 along x, y), where its point lies, its grid, and how that counts."""
    height, width = image.sizes[2:]
    by_stride = {stride: atom for atom, stride in index.parts}
    if index.number or len(index.parts) != 2 or by_stride.keys() != {1.0, width + 2.0}:
        raise Refused("an index is not column and row of the framed image")
    place, at, ways = [], [], []
    for axis, (stride, size) in enumerate(((1.0, width), (width + 2.0, height))):
        held = by_stride[stride]
        if not isinstance(held, Held) or (held.low, held.high) != (0.0, size + 1.0) or len(held.of.parts) != 1:
            raise Refused("an index is not limited to the framed image")
        ((floor, weight),) = held.of.parts
        if weight != 1 or not isinstance(floor, Floor) or held.of.number not in (1.0, 2.0):
            raise Refused("an index is not that of a neighbour")
        place.append(int(held.of.number) - 1)
        at.append(floor.of)
        ways.append(_counting(floor.of, axis, size))
    if ways[0] != ways[1]:
        raise Refused("x and y are counted in two ways")
    return (place[0], place[1]), (at[0], at[1]), *ways[0]


def _counting(term: Term, axis: int, size: int) -> tuple[str, bool]:
    """Return the grid of a coordinate in pixels, and whether its -1 and 1 are the centres of the outer pixels."""
    if len(term.parts) == 1:
        ((atom, factor),) = term.parts
        if isinstance(atom, Coordinate) and atom.axis == axis and _near(term.number, (size - 1) / 2):
            for aligned, wanted in ((True, (size - 1) / 2), (False, size / 2)):
                if _near(factor, wanted):
                    return atom.grid, aligned
    raise Refused("a coordinate is not counted as GridSample does")


def _same_weight(weight: Term, place: tuple[int, int], at: tuple[Term, Term]) -> bool:
    """Whether a weight is the product of the shares of the point's neighbour along x and y."""
    if weight.number or len(weight.parts) != 1:
        return False
    ((product, factor),) = weight.parts
    if factor != 1 or not isinstance(product, Product):
        return False
    wanted = []
    for far, position in zip(place, at, strict=True):
        beyond = position.plus(one(Floor(position)), -1.0)
        assert beyond is not None, "a term of two"
        wanted.append(beyond if far else beyond.times(-1.0).plus(Term(number=1.0)))
    factors = list(product.factors)
    pairs = [factors, factors[::-1]]
    return len(factors) == 2 and any(all(map(_same, pair, wanted)) for pair in pairs)


def _same(a: Term, b: Term | None) -> bool:
    """Whether two terms are one but for rounding of their numbers."""
    if b is None:
        return False
    left, right = dict(a.parts), dict(b.parts)
    return left.keys() == right.keys() and _near(a.number, b.number) and all(_near(left[k], right[k]) for k in left)


def _near(a: float, b: float) -> bool:
    return abs(a - b) <= _NEAR * max(1.0, abs(b))


def _write(
    graph: Graph, slot: int, node: NodeProto, image: Image, grid: str, aligned: bool, sizes: tuple[int, ...]
) -> None:
    """Put GridSample in place of the sum, or of the Reshape to its shape that alone reads it."""
    made = node.output[0]
    readers = graph.index.reader_slots(made)
    outputs = {info.name for info in graph.header.output}
    reshape = graph.node(readers[0]) if len(readers) == 1 and made not in outputs else None
    direct = reshape is not None and reshape.op_type == "Reshape" and _dims(graph, reshape.output[0]) == sizes
    root = reshape if direct and reshape is not None else node
    mode = "linear" if (graph.opset() or 0) >= 20 else "bilinear"
    inputs = [image.name, grid]
    name = root.name or graph.names.fresh_node("GridSample")
    output = root.output[0] if direct else graph.names.fresh_value(f"{made}/sampled")
    sample = helper.make_node(
        "GridSample", inputs, [output], name, mode=mode, padding_mode="zeros", align_corners=int(aligned)
    )
    if root.doc_string:
        sample.doc_string = root.doc_string
    sample.metadata_props.extend(root.metadata_props)
    graph.remove_node(slot)
    if direct:
        graph.remove_node(readers[0])
        graph.add_node(sample, slot)
        return
    shape = graph.add_initializer(f"{made}/points", np.array([sizes[0], sizes[1], -1], np.int64))
    graph.add_node(sample, slot, 0)
    flat = helper.make_node("Reshape", [output, shape], [made], graph.names.fresh_node(f"{name}/points"))
    graph.add_node(flat, slot, 1)


def _dims(graph: Graph, name: str) -> tuple[int, ...]:
    value = graph.value(name)
    if value is None or not value.static:
        raise Refused(f"the shape of {name!r} is not known")
    return value.dims


def _dtype(graph: Graph, name: str) -> int | None:
    value = graph.value(name)
    return None if value is None else value.dtype
