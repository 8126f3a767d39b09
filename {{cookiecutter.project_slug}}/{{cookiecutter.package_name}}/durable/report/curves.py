"""What is drawn of a run: its curves, its checkpoints, and what happened to it."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..checkpoint.bundle import find_checkpoints, step_of
from ..errors import ConfigurationError
from ..run.history import read_history, read_objects
from ..run.paths import RunPaths
from ..run.references import names_of_runs

ORIGINS = ("fork", "partial fork", "average", "import")


@dataclass(frozen=True)
class Curve:
    """A metric over the steps.

    Attributes:
        steps: (points,) int64, strictly increasing.
        values: (points,) float64.
    """

    steps: np.ndarray
    values: np.ndarray

    def at(self, step: int) -> float | None:
        """The value at a step, between its neighbours; None where the curve does not reach."""
        if not len(self.steps) or not self.steps[0] <= step <= self.steps[-1]:
            return None
        return float(np.interp(step, self.steps, self.values))


@dataclass(frozen=True)
class Run:
    """A run, as it is drawn.

    Attributes:
        name: of the run.
        lines: its metrics at each logged step, in order.
        checkpoints: the steps of the checkpoints that exist, in order.
        events: its history, in order.
    """

    name: str
    lines: list[dict[str, Any]]
    checkpoints: list[int]
    events: list[dict[str, Any]]

    def curve(self, metric: str) -> Curve:
        """The curve of a metric, at the steps where it was logged."""
        lines = [line for line in self.lines if metric in line]
        steps = np.array([line["step"] for line in lines], np.int64)
        return Curve(steps, np.array([line[metric] for line in lines], np.float64))

    @property
    def origin(self) -> dict[str, Any] | None:
        """The event that made it from other runs; None where it started from scratch."""
        return next((event for event in self.events if event["event"] in ORIGINS), None)

    @property
    def first_step(self) -> int:
        """Where it starts."""
        return 0 if self.origin is None else self.origin["step"]

    @property
    def last_step(self) -> int:
        """How far it has come."""
        return max(self.lines[-1]["step"], *self.checkpoints, self.first_step)

    def steps_of(self, event: str) -> list[int]:
        """The steps at which an event happened."""
        return [entry["step"] for entry in self.events if entry["event"] == event]


def read_run(paths: RunPaths) -> Run:
    """Reads what a run has logged.

    Raises:
        ConfigurationError: there is no such run, or it has logged nothing yet.
    """
    if not paths.folder.is_dir():
        raise ConfigurationError(
            f"There is no run {paths.run!r} in {paths.runs}. "
            f"Runs: {', '.join(names_of_runs(paths)) or 'none'}."
        )
    lines = read_objects(paths.metrics)
    if not lines:
        raise ConfigurationError(
            f"Run {paths.run!r} has no metrics in {paths.metrics} yet. Train it first."
        )
    checkpoints = [*find_checkpoints(paths.checkpoints), *find_checkpoints(paths.best)]
    steps = sorted({step_of(checkpoint) for checkpoint in checkpoints})
    return Run(paths.run, lines, steps, read_history(paths))
