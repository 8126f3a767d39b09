"""The final and the best metrics of runs."""

from collections.abc import Sequence
from math import isnan, nan
from typing import Any

from rich.table import Column, Table

from .curves import Run

BEST = {"val_loss": min, "val_accuracy": max}


def final(run: Run) -> dict[str, Any]:
    """The last line of the log that ends an epoch; of the first epoch, the last line."""
    epoch_ends = [line for line in run.lines if "val_loss" in line]
    line = (epoch_ends or run.lines)[-1]
    return {name: value for name, value in line.items() if name != "time"}


def best(run: Run, metric: str) -> dict[str, Any] | None:
    """The best value of a metric and its step; None where there is none."""
    points = [(line.get(metric, nan), line["step"]) for line in run.lines]
    points = [point for point in points if not isnan(point[0])]
    if not points:
        return None
    value, step = BEST[metric](points, key=lambda point: point[0])
    return {"value": value, "step": step}


def run_as_json(run: Run) -> dict[str, Any]:
    """What the table and the marks of the picture tell of a run."""
    return {
        "run": run.name,
        "final": final(run),
        "best": {metric: best(run, metric) for metric in BEST},
        "checkpoints": run.checkpoints,
        "events": run.events,
    }


def runs_table(runs: Sequence[Run]) -> Table:
    """One row for each run."""
    table = Table(
        Column("run", overflow="fold"), "step", *BEST, *(f"best\n{name}" for name in BEST)
    )
    for run in runs:
        line = final(run)
        cells = [f"{line[metric]:.4f}" if metric in line else "" for metric in BEST]
        for metric in BEST:
            found = best(run, metric)
            cells.append("" if found is None else f"{found['value']:.4f} @{found['step']}")
        table.add_row(run.name, str(line["step"]), *cells)
    return table
