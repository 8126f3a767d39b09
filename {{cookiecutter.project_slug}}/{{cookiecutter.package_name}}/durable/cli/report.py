"""report: the learning curves of runs, and a table of their metrics."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Any

import tyro
from etils import epath
from rich import box
from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

from ..errors import ConfigurationError
from ..evaluation.results import decimal, write_picture
from ..files import absolute
from ..report.curves import VALIDATION_PREFIX, Run, metric_names, read_run
from ..report.drawing import COLORS, MOST_PANELS, as_title, draw
from ..run.settings import Project
from .console import CommonOptions, print_json


@tyro.conf.configure(tyro.conf.OmitArgPrefixes)
@dataclass(frozen=True)
class ReportOptions(CommonOptions):
    """Draw the learning curves of runs, with marks for checkpoints, resumes, rewinds and forks."""

    run: tuple[str, ...] = ("default",)
    """Names of the runs."""
    output: str | None = None
    """The PNG file to write; by default one in runs/, named after the runs."""

    def __post_init__(self) -> None:
        """Raises ConfigurationError for a value that is not possible."""
        count = len(set(self.run))
        if not 1 <= count <= len(COLORS):
            raise ConfigurationError(f"--run: give 1 to {len(COLORS)} runs, not {count}.")
        if self.output is not None and not self.output.endswith(".png"):
            raise ConfigurationError(f"--output {self.output} is not possible: give a .png file.")


def report(project: Project, options: ReportOptions) -> int:
    """Draw the learning curves of runs, with marks for checkpoints, resumes, rewinds and forks."""
    names = list(dict.fromkeys(options.run))
    runs = [read_run(project.paths(options.root, name)) for name in names]
    if options.output is None:
        output = project.paths(options.root).report(names)
    else:
        output = epath.Path(absolute(options.output))
    write_picture(output, draw(runs))
    undrawn = metric_names(runs)[MOST_PANELS:]
    if options.json:
        entries = [run_as_json(run) for run in runs]
        print_json({"picture": str(output), "not_drawn": undrawn, "runs": entries})
    else:
        Console().print(runs_table(runs))
        print(f"Drew {output}")
        if undrawn:
            told = ", ".join(map(as_title, undrawn))
            print(f"It has room for {MOST_PANELS} metrics; not drawn: {told}.")
    return 0


def final(run: Run) -> dict[str, Any]:
    """The last line of the log that ends an epoch; of the first epoch, the last line."""
    epoch_ends = [
        line for line in run.lines if any(name.startswith(VALIDATION_PREFIX) for name in line)
    ]
    lines = epoch_ends or run.lines
    return {name: value for name, value in lines[-1].items() if name != "time"} if lines else {}


def best(run: Run, metric: str) -> dict[str, Any] | None:
    """The best value of a metric, its step, and whether it is the largest or the smallest."""
    points: list[Any] = [(line.get(metric), line["step"]) for line in run.lines]
    points = [point for point in points if point[0] is not None and isfinite(point[0])]
    if not points:
        return None
    mode = run.mode_of(metric)
    value, step = {"max": max, "min": min}[mode](points, key=lambda point: point[0])
    return {"value": value, "step": step, "mode": mode}


def compared(runs: Sequence[Run]) -> list[str]:
    """The metrics to compare runs by: those of validation, and what training alone has logged."""
    logged = {name for run in runs for name in run.logged}
    names = metric_names(runs)
    validated = [f"{VALIDATION_PREFIX}{name}" for name in names]
    chosen = [full if full in logged else name for full, name in zip(validated, names, strict=True)]
    return [name for name in chosen if name in logged]


def run_as_json(run: Run) -> dict[str, Any]:
    """What the table and the marks of the picture tell of a run."""
    return {
        "run": run.name,
        "final": final(run),
        "best": {metric: best(run, metric) for metric in compared([run])},
        "checkpoints": run.checkpoints,
        "events": run.events,
    }


def runs_table(runs: Sequence[Run]) -> Table:
    """The metrics below each other, and of each a row for every run: any number fits a terminal."""
    table = Table(
        Column("metric\n  run", overflow="fold"),
        *(Column(name, justify="right", no_wrap=True) for name in ("step", "final", "best", "at")),
        box=box.SIMPLE_HEAD,
        pad_edge=False,
    )
    for metric in compared(runs) or [""]:
        table.add_row(Text(as_title(metric), "bold"))
        for run in runs:
            line, found = final(run), best(run, metric)
            step = str(line.get("step", run.last_step))
            value = decimal(line[metric]) if metric in line else ""
            cells = (
                [f"{found['mode']} {decimal(found['value'])}", str(found["step"])] if found else []
            )
            table.add_row(f"  {run.name}", step, value, *cells)
    return table
