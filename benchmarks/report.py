"""What the benchmarks share: tables, bars, and the machine they ran on."""

import os
import platform
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from statistics import median
from time import perf_counter

import tensorflow as tf
from matplotlib import pyplot

DOCUMENTS = Path(__file__).resolve().parent.parent / "docs"


def seconds(function: Callable[[], object]) -> float:
    """How long a call takes."""
    began = perf_counter()
    function()
    return perf_counter() - began


def in_turn(functions: Mapping[str, Callable[[], float]], rounds: int) -> dict[str, float]:
    """The median of what each function measures; in turn, so that all see the same noise."""
    measured: dict[str, list[float]] = {name: [] for name in functions}
    for _ in range(rounds):
        for name, function in functions.items():
            measured[name].append(function())
    return {name: median(values) for name, values in measured.items()}


def machine() -> str:
    """The machine, in one line."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return (
        f"{os.cpu_count()} CPU cores ({platform.machine()}), {memory:.0f} GiB, "
        f"{platform.system()}, Python {platform.python_version()}, TensorFlow {tf.__version__}, "
        f"Keras {tf.keras.__version__}"
    )


def table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A table in Markdown; numbers get three digits."""
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join(f"| {' | '.join(map(cell, line))} |" for line in lines)


def cell(value: object) -> str:
    """The text of one cell."""
    if isinstance(value, float):
        return f"{value:.0f}" if value >= 100 else f"{value:.3g}"
    return str(value)


def draw_bars(name: str, title: str, unit: str, values: Mapping[str, float]) -> str:
    """Draws a bar for each value and gives the Markdown that shows the picture."""
    figure, axes = pyplot.subplots(figsize=(8, 0.45 * len(values) + 1.2))
    bars = axes.barh(list(values), list(values.values()), color="#4878a8")
    axes.bar_label(bars, labels=[f" {cell(float(value))}" for value in values.values()])
    axes.set_xscale("log")
    axes.set_xlabel(unit)
    axes.set_title(title)
    axes.invert_yaxis()
    axes.margins(x=0.15)
    axes.spines[["top", "right"]].set_visible(False)
    figure.tight_layout()
    figure.savefig(DOCUMENTS / f"{name}.png", dpi=120, metadata={"Software": None})
    pyplot.close(figure)
    return f"![{title}]({name}.png)"
