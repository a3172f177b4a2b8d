"""Pictures of errors, drawn with matplotlib (the extra ``pictures``): the same input gives the same bytes.

The suffix of a path decides the form: ``.png``, ``.svg`` or ``.pdf``.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from graphtool.errors import UsageError, quoted, show
from graphtool.graph.save import replacing
from graphtool.parity.eps import eps_of
from graphtool.parity.ties import is_class_map

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Array = NDArray[Any]
Draw = Callable[["Axes"], None]

# what makes two files of one picture differ otherwise: the day, the version, ids drawn at random
_METADATA: dict[str, dict[str, str | None]] = {
    ".png": {"Software": None},
    ".svg": {"Date": None, "Creator": None},
    ".pdf": {"CreationDate": None, "Creator": None, "Producer": None},
}
_WIDEST = 1024  # cells of an error map along an axis; larger ones are reduced by blocks
_BINS = 60


def require() -> None:
    """Raise UsageError, with what to install, where matplotlib is missing: before the work, not after it."""
    try:
        import matplotlib.figure  # noqa: F401
    except ImportError:
        raise UsageError("pictures need matplotlib: pip install 'graphtool[pictures]'") from None


def curve(
    path: Path,
    points: Sequence[tuple[float, float]],
    *,
    title: str,
    x_label: str,
    y_label: str,
    limit: float | None = None,
    chosen: int | None = None,
) -> None:
    """Draw ``points`` as a line, in the order given: matches taken against damage, say.

    ``limit`` is a level across the picture (a budget), ``chosen`` the place of the point that was decided on.
    """

    def draw(axes: Axes) -> None:
        xs, ys = [x for x, _ in points], [y for _, y in points]
        axes.plot(xs, ys, marker="o", markersize=3, linewidth=1)
        if limit is not None:
            axes.axhline(limit, linestyle="--", linewidth=1, color="tab:red", label=f"budget {limit:g}")
        if chosen is not None:
            axes.plot([xs[chosen]], [ys[chosen]], marker="o", markersize=8, fillstyle="none", color="tab:red")
        if limit is not None:
            axes.legend(loc="best", fontsize="small")
        axes.set_xlabel(_plain(x_label))
        axes.set_ylabel(_plain(y_label))
        axes.grid(visible=True, linewidth=0.3)

    with _picture(path, title) as axes:
        draw(axes)


def histogram(path: Path, before: Array, after: Array, *, title: str, tolerance: float | None = None) -> None:
    """Draw how many elements differ by how much, on logarithmic axes; ``tolerance`` is drawn as a line.

    Equal elements, and those where only one side is a number, are counted in the caption. Raises UsageError for
    arrays of different shapes or without a distance (strings, sequences).
    """
    distance = _distance(before, after)
    finite = distance[np.isfinite(distance)]
    moved = finite[finite > 0]
    equal, special = int(finite.size - moved.size), int(distance.size - finite.size)
    with _picture(path, title) as axes:
        if moved.size:
            low, high = float(np.log10(moved.min())), float(np.log10(moved.max()))
            edges = np.logspace(low - 0.05, high + 0.05, _BINS + 1)
            axes.hist(moved, bins=[float(edge) for edge in edges], color="tab:blue")
            axes.set_xscale("log")
            axes.set_yscale("log")
        else:
            axes.text(0.5, 0.5, "equal" if not special else "no finite difference", ha="center", va="center")
        if tolerance:
            axes.axvline(tolerance, linestyle="--", linewidth=1, color="tab:red", label=f"tolerance {tolerance:.3g}")
            axes.legend(loc="best", fontsize="small")
        counts = f"{distance.size} elements: {moved.size} differ, {equal} equal"
        axes.set_xlabel("absolute error    (" + counts + (f", {special} not comparable" if special else "") + ")")
        axes.set_ylabel("elements")


def has_map(array: Array) -> bool:
    """Whether an output has places to show an error at: numbers, ``[N,C,H,W]`` with height and width above 1."""
    numbers = not array.dtype.hasobject and array.dtype.kind not in "US"
    return array.ndim == 4 and array.size > 0 and min(array.shape[2:]) > 1 and numbers


def error_map(path: Path, before: Array, after: Array, *, title: str) -> None:
    """Draw where an output ``[N,C,H,W]`` changed.

    For class scores (float, C of 2 to 1000) white is where the label, the largest class, is another one in any item;
    for any other output the largest absolute error over items and channels. Maps above 1024 cells are reduced by
    blocks, of which the largest value is shown, so that a single pixel stays visible. Raises UsageError for an output
    of another form.
    """
    if not has_map(before) or before.shape != after.shape:
        raise UsageError(f"{quoted(title)}: an error map needs two outputs [N,C,H,W] of one shape")
    labels = is_class_map(before) and is_class_map(after)
    if labels:
        changed = _labels(before) != _labels(after)
        shown, share = changed.any(axis=0).astype(np.float64), float(changed.mean())
        note = f"label changed at {100 * share:.3g} % of positions"
    else:
        shown = _distance(before, after).reshape(before.shape).max(axis=(0, 1))
        shown = np.where(np.isfinite(shown), shown, np.nan)
        note = "largest absolute error over items and channels"
    with _picture(path, title) as axes:
        image = axes.imshow(
            _reduced(shown), cmap="gray" if labels else "viridis", vmin=0, vmax=1 if labels else None,
            interpolation="nearest", extent=(0, before.shape[3], before.shape[2], 0),
        )  # fmt: skip
        if not labels:
            axes.figure.colorbar(image, ax=axes, shrink=0.7)
        axes.set_xlabel(note)


# -- the frame


@contextmanager
def _picture(path: Path, title: str) -> Iterator[Axes]:
    require()
    import matplotlib as mpl
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    suffix = path.suffix.lower()
    if suffix not in _METADATA:
        raise UsageError(f"{quoted(path)}: pictures are {', '.join(_METADATA)}")
    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update({"svg.hashsalt": "graphtool", "svg.fonttype": "none", "font.size": 9})
        figure = Figure(figsize=(8, 4.5), dpi=120, layout="constrained")
        FigureCanvasAgg(figure)  # no window, no user's backend
        axes = figure.add_subplot()
        yield axes
        axes.set_title(_plain(title), fontsize="medium")
        data = io.BytesIO()
        figure.savefig(data, format=suffix[1:], metadata=_METADATA[suffix])
    with replacing(path) as file:
        file.write(data.getvalue())


def _plain(text: str) -> str:
    """Return text of which nothing is taken for mathematics."""
    return show(text, 160).replace("$", r"\$")


def _distance(before: Array, after: Array) -> NDArray[np.float64]:
    if before.shape != after.shape:
        raise UsageError(f"an output of shape {list(before.shape)} cannot be drawn against {list(after.shape)}")
    if any(array.dtype.hasobject or array.dtype.kind in "US" for array in (before, after)):
        raise UsageError("strings and sequences have no distance to draw")
    if before.dtype.kind == "c":
        return np.asarray(np.abs(after - before).reshape(-1), np.float64)
    a, b = before.reshape(-1).astype(np.float64), after.reshape(-1).astype(np.float64)
    with np.errstate(invalid="ignore", over="ignore"):
        distance = np.abs(b - a)
    distance[(a == b) | (np.isnan(a) & np.isnan(b))] = 0
    return np.asarray(distance, np.float64)


def _labels(scores: Array) -> NDArray[np.intp]:
    wide = scores.astype(np.float32) if eps_of(scores.dtype) > eps_of(np.float32) else scores
    return np.asarray(wide.argmax(axis=1))


def _reduced(cells: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the map with blocks of equal size replaced by their largest value, at most ``_WIDEST`` a side."""
    step = max(-(-side // _WIDEST) for side in cells.shape)
    if step == 1:
        return cells
    padded = np.pad(cells, [(0, -side % step) for side in cells.shape], mode="edge")
    rows, columns = (side // step for side in padded.shape)
    return np.asarray(padded.reshape(rows, step, columns, step).max(axis=(1, 3)), np.float64)
