"""Drawing runs, their metrics and what happened to them, and the trials of a sweep."""

from collections.abc import Container, Sequence
from math import ceil
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter, StrMethodFormatter

from ..untrusted import printable
from .curves import VALIDATION_PREFIX, Curve, Run, Source, metric_names

if TYPE_CHECKING:  # no TensorFlow
    from ..run.study import Trial

# Okabe and Ito 2008, "Color Universal Design": they can be told apart by the color-blind.
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
INK = "#444444"
MOST_PANELS = 6
MOST_DOTS = 30  # a longer curve needs no dot for each of its points
LONGEST_NAME, LONGEST_TITLE = 24, 80

TRAINING: dict[str, Any] = {"linewidth": 1, "alpha": 0.45, "solid_capstyle": "round"}
VALIDATION: dict[str, Any] = {"linewidth": 1.8, "solid_capstyle": "round"}
CONNECTION: dict[str, Any] = {"linewidth": 1.2, "linestyle": ":"}
CHECKPOINT: dict[str, Any] = {"marker": "|", "markersize": 9, "markeredgewidth": 1.4}
TRIAL: dict[str, Any] = {"marker": "o", "markersize": 4, "linewidth": 1}
BEST_TRIAL: dict[str, Any] = {"marker": "o", "markersize": 8, "linewidth": 2.5}
# Above the line and below it, so that two marks of one step do not hide each other.
MARKS: dict[str, tuple[float, dict[str, Any]]] = {
    "fork": (0, {"marker": "D", "markersize": 6, "markerfacecolor": "white"}),
    "partial fork": (0, {"marker": "d", "markersize": 8, "markerfacecolor": "white"}),
    "average": (0, {"marker": "s", "markersize": 6, "markerfacecolor": "white"}),
    "import": (0, {"marker": "o", "markersize": 6, "markerfacecolor": "white"}),
    "resume": (0.3, {"marker": "^", "markersize": 6, "markeredgewidth": 0}),
    "rewind": (-0.3, {"marker": "v", "markersize": 6, "markeredgewidth": 0}),
}


def draw(runs: Sequence[Run]) -> Figure:
    """Draws one to seven runs: a panel for each of their metrics, at most six, and the events.

    The loss is drawn on a logarithmic scale where it spans more than a factor of ten.
    """
    metrics = metric_names(runs)[:MOST_PANELS]
    panel, row = 1.4 + 2 / len(metrics), 0.32 * len(runs) + 0.3
    figure = Figure(figsize=(9, panel * len(metrics) + row + 1), layout="constrained")
    *panels, events = figure.subplots(
        len(metrics) + 1, sharex=True, gridspec_kw={"height_ratios": [panel] * len(metrics) + [row]}
    )
    for axes, metric in zip(panels, metrics, strict=True):
        draw_metric(axes, runs, metric)
    use_logarithms(panels[0])
    draw_events(events, runs)
    handles = explain(runs)
    rows = ceil(len(handles) / 5)
    columns = ceil(len(handles) / rows)
    figure.legend(handles=handles, loc="outside lower center", ncols=columns, frameon=False)
    return figure


def draw_metric(axes: Axes, runs: Sequence[Run], metric: str) -> None:
    """Draws the curves of a metric: thin for training, thick for validation."""
    for run, color in zip(runs, COLORS, strict=False):
        of_validation = VALIDATION_PREFIX + metric
        for name, style, dots in ((metric, TRAINING, 1), (of_validation, VALIDATION, MOST_DOTS)):
            curve = run.curve(name)
            marker = "o" if len(curve.steps) <= dots else None
            axes.plot(curve.steps, curve.values, color=color, marker=marker, ms=3, **style)
            connect(axes, runs, run, name, color)
    axes.set_title(as_title(metric), loc="left", size=11, parse_math=False)
    axes.grid(color="#E5E5E5", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(length=0, colors=INK)


def connect(axes: Axes, runs: Sequence[Run], run: Run, metric: str, color: str) -> None:
    """Draws a line to the curve of a run from that of each parent, where both are drawn.

    Where the parent has been rewound since, the line follows the curve that it had then.
    """
    curve = run.curve(metric)
    for parent, source in parents_of(run, runs):
        before = Curve.of(source.lines, metric).up_to(source.step)
        if not len(before.steps) or not len(curve.steps):
            continue
        left = before.since_leaving(parent.curve(metric).up_to(source.step))
        steps = [*left.steps, curve.steps[0]]
        axes.plot(steps, [*left.values, curve.values[0]], color=color, **CONNECTION)
        if metric.startswith(VALIDATION_PREFIX) and run.origin is not None:
            _, mark = MARKS[run.origin["event"]]
            axes.plot(before.steps[-1], before.values[-1], color=color, **mark)


def parents_of(run: Run, runs: Sequence[Run]) -> list[tuple[Run, Source]]:
    """The drawn runs that a run was made from, each with the checkpoint of it."""
    parents = {parent.name: parent for parent in runs}
    return [(parents[source.run], source) for source in run.sources if source.run in parents]


def use_logarithms(axes: Axes) -> None:
    """Makes an axis logarithmic if its values span more than a factor of ten."""
    values = np.concatenate([np.asarray(line.get_ydata(), np.float64) for line in axes.lines])
    values = values[np.isfinite(values)]
    if len(values) and values.min() > 0 and values.max() > 10 * values.min():
        axes.set_yscale("log")
        mark_powers(axes, axes.yaxis)
        axes.set_title("loss, on a logarithmic scale", loc="left", size=11)


def mark_powers(axes: Axes, axis: Axis) -> None:
    """Marks a logarithmic axis at 1, 2, 5, 10, 20 and so on."""
    axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axis.set_minor_formatter(NullFormatter())
    axes.tick_params(which="minor", length=0)


def draw_events(axes: Axes, runs: Sequence[Run]) -> None:
    """Draws a line for each run, from its start to its last step, with what happened on it."""
    for place, (run, color) in enumerate(zip(runs, COLORS, strict=False)):
        axes.plot([run.first_step, run.last_step], [place, place], color=color, **VALIDATION)
        for parent, source in parents_of(run, runs):
            line = [source.step, run.first_step], [runs.index(parent), place]
            axes.plot(*line, color=color, zorder=1, **CONNECTION)
        mark_steps(axes, run.checkpoints, place, color=color, **CHECKPOINT)
        for event, (offset, mark) in MARKS.items():
            mark_steps(axes, run.steps_of(event), place + offset, color=color, **mark)
    axes.set_yticks(range(len(runs)), [short(run.name) for run in runs])
    for label, color in zip(axes.get_yticklabels(), COLORS, strict=False):
        label.set(color=color, fontweight="bold")
    axes.set_ylim(len(runs) - 0.4, -0.6)
    axes.set_xlabel("step")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(length=0)
    axes.tick_params(axis="x", colors=INK)


def mark_steps(axes: Axes, steps: Sequence[int], height: float, **style: Any) -> None:
    """Draws a mark at each of the steps."""
    axes.plot(steps, [height] * len(steps), linestyle="", **style)


def short(name: str) -> str:
    """A name, without its middle if it is long."""
    half = LONGEST_NAME // 2
    return name if len(name) <= LONGEST_NAME else f"{name[:half]}…{name[-half + 1 :]}"


def as_title(name: str) -> str:
    """A name, without the end of a very long one and what acts on a terminal."""
    return printable(name if len(name) <= LONGEST_TITLE else f"{name[:LONGEST_TITLE]}…")


def explain(runs: Sequence[Run]) -> list[Line2D]:
    """The legend: what each kind of line and mark means, of those that occur."""
    happened = {event["event"] for run in runs for event in run.events}
    handles = [
        Line2D([], [], color=INK, label="validation", **VALIDATION),
        Line2D([], [], color=INK, label="training", **TRAINING),
        Line2D([], [], color=INK, linestyle="", label="checkpoint", **CHECKPOINT),
    ]
    for event, (_, mark) in MARKS.items():
        if event in happened:
            handles.append(Line2D([], [], color=INK, linestyle="", label=event, **mark))
    if any(parents_of(run, runs) for run in runs):
        handles.append(Line2D([], [], color=INK, label="from its parent", **CONNECTION))
    return handles


def draw_trials(trials: "Sequence[Trial]", metric: str, logarithmic: Container[str] = ()) -> Figure:
    """Draws the trials of a sweep: a panel for their curves, and one for each setting.

    Those that are not complete are gray, and the first one stands out. Of many settings, the first
    ones are drawn.

    Args:
        trials: the best first.
        metric: what decides between them.
        logarithmic: the settings that are drawn on a logarithmic scale.
    """
    names = list(dict.fromkeys(name for trial in trials for name in trial.settings))
    names = names[: MOST_PANELS - 1]
    columns = min(1 + len(names), 3)
    rows = ceil((1 + len(names)) / columns)
    figure = Figure(figsize=(4 * columns, 3.2 * rows), layout="constrained")
    curves, *panels = figure.subplots(rows, columns, squeeze=False, sharey=True).flat
    for axes, title in zip([curves, *panels], ["epoch", *names], strict=False):
        axes.set_xlabel(as_title(title), parse_math=False)
        axes.grid(color="#E5E5E5", linewidth=0.8)
        axes.set_axisbelow(True)
        axes.spines[["top", "right"]].set_visible(False)
        axes.tick_params(length=0, colors=INK)
        if title in logarithmic:
            axes.set_xscale("log")
            mark_powers(axes, axes.xaxis)
    for axes in panels[len(names) :]:
        axes.remove()
    curves.xaxis.set_major_locator(MaxNLocator(integer=True))
    curves.set_title(as_title(metric), loc="left", size=11, parse_math=False)
    for place, trial in reversed([*enumerate(trials)]):  # the best over the others
        if trial.best is None:
            continue
        style: dict[str, Any] = {
            "color": COLORS[place > 0] if trial.state == "complete" else "#BBBBBB"
        }
        style |= TRIAL if place else BEST_TRIAL
        curves.plot([*trial.values], [*trial.values.values()], **style)
        for axes, name in zip(panels, names, strict=False):
            axes.plot(trial.settings[name], trial.best[1], **style)
    return figure
