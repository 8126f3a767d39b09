"""Drawing examples: images, masks, series, and the labels above them."""

from collections.abc import Iterator, Mapping, Sequence
from math import ceil
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from ..untrusted import printable
from .drawing import COLORS, INK, short

COLUMNS = 6
SMALLEST_IMAGE = 8  # pixels; what has fewer columns is a series


def draw_examples(batch: Any, most: int) -> Figure:
    """Draws the first examples of a batch.

    Args:
        batch: (x, y) or (x, y, weight), each any nest of tensors whose first axis counts them.
        most: examples to draw.
    """
    parts = {name: tensor.numpy() for name, tensor in leaves(batch)}
    drawn = {name: values for name, values in parts.items() if is_drawn(values)} or {"": None}
    count = min(most, *(len(values) for values in parts.values()))
    columns, rows = min(count, COLUMNS), ceil(count / COLUMNS)
    size = (1.6 * columns, rows * (1.5 * len(drawn) + 0.4))
    figure = Figure(figsize=size, layout="constrained")
    grid = figure.subplots(rows * len(drawn), columns, squeeze=False)
    for axes in grid.flat:
        axes.set_axis_off()
    for number in range(count):
        row, column = number // COLUMNS * len(drawn), number % COLUMNS
        title = [told(name, values[number]) for name, values in parts.items() if name not in drawn]
        text = "\n".join(title)
        grid[row, column].set_title(text, size=8, color=INK, parse_math=False)
        for place, (name, values) in enumerate(drawn.items()):
            if values is not None:
                draw_values(grid[row + place, column], values, number)
            if column == 0:
                style = {"size": 8, "color": INK, "rotation": 90, "ha": "right", "va": "center"}
                axes = grid[row + place, 0]
                axes.text(-0.16, 0.5, name, transform=axes.transAxes, **style)
    explain_masks(figure, list(filter(is_mask, parts.values())))
    return figure


def explain_masks(figure: Figure, masks: Sequence[np.ndarray]) -> None:
    """Tells below a figure which color of its masks is which class."""
    classes = range(min(len(COLORS), 1 + max((int(mask.max()) for mask in masks), default=-1)))
    handles = [Patch(color=COLORS[number], label=str(number)) for number in classes]
    if handles:
        style = {"frameon": False, "fontsize": 8, "labelcolor": INK}
        figure.legend(handles=handles, loc="outside lower center", ncols=len(handles), **style)


def leaves(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """The tensors of a batch by their names, such as x and y.mask."""
    if isinstance(value, Mapping):
        inside = {f"{name}.{key}": inner for key, inner in value.items()}
    elif isinstance(value, tuple | list) and not name:
        inside = dict(zip(("x", "y", "weight"), value, strict=False))
    elif isinstance(value, tuple | list):
        inside = {f"{name}.{place}": inner for place, inner in enumerate(value)}
    else:
        yield name, value
        return
    for inner_name, inner in inside.items():
        yield from leaves(inner, inner_name)


def is_drawn(values: np.ndarray) -> bool:
    """Whether these are images or series: several numbers for each example."""
    return values.ndim in (2, 3, 4) and values.dtype != object and values[0].size > 1


def told(name: str, value: Any) -> str:
    """A label, a text or another value, in few letters."""
    text = value.decode(errors="replace") if isinstance(value, bytes) else str(value)
    return printable(short(f"{name} {text}"))


def draw_values(axes: Axes, values: np.ndarray, number: int) -> None:
    """Draws one example of a batch as an image, as a mask of classes or as curves."""
    value = values[number]
    if not is_image(value):
        axes.plot(value.reshape(len(value), -1), linewidth=0.8)
        axes.set_axis_on()
        axes.tick_params(labelsize=6, length=0, colors=INK)
        axes.spines[["top", "right"]].set_visible(False)
    elif is_mask(values):
        # The same colors for the same classes, whichever an image has.
        shown = value % len(COLORS)
        axes.imshow(shown, ListedColormap(COLORS), vmin=0, vmax=len(COLORS) - 1)
    else:
        axes.imshow(value, "gray", vmin=values.min(), vmax=max(values.max(), values.min() + 1e-9))


def is_mask(values: np.ndarray) -> bool:
    """Whether these are images of classes: (examples, height, width) of whole numbers."""
    is_whole = np.issubdtype(values.dtype, np.integer)
    return is_whole and values.ndim == 3 and is_image(values[0])


def is_image(value: np.ndarray) -> bool:
    """Whether the shape is that of an image: (height, width) or (height, width, 1, 3 or 4)."""
    channels = value.ndim == 2 or value.shape[-1] in (1, 3, 4)
    return value.ndim > 1 and channels and min(value.shape[:2]) >= SMALLEST_IMAGE
