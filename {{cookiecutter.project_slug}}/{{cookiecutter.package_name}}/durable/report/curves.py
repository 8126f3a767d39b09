"""What is drawn of a run: its curves, its checkpoints, and what happened to it."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from etils import epath

from ..checkpoint.bundle import find_checkpoints, step_of
from ..checkpoint.card import read_card
from ..errors import CardMissing, ConfigurationError, DamagedCheckpoint
from ..files import entry_names
from ..run.history import CHECKPOINT, read_events, read_history, read_objects
from ..run.paths import RunPaths, SupersededPaths
from ..run.references import names_of_runs
from ..run.settings import read_settings, usual_mode
from ..untrusted import NUMBER

Lines = list[dict[str, Any]]

COMBINED = ("fork", "partial fork", "average")  # of other runs' checkpoints
ORIGINS = (*COMBINED, "import")
NO_METRICS = {"step", "epoch", "time"}
VALIDATION_PREFIX = "val_"


def as_float(value: Any) -> float:
    """A value of a log; NaN where it is no number, or beyond all numbers."""
    try:
        return float(value) if isinstance(value, int | float) else np.nan
    except OverflowError:
        return np.nan


@dataclass(frozen=True)
class Curve:
    """A metric over the steps.

    Attributes:
        steps: (points,) int64, strictly increasing.
        values: (points,) float64; NaN where it was not a number, which leaves a gap.
    """

    steps: np.ndarray
    values: np.ndarray

    @classmethod
    def of(cls, lines: Lines, metric: str) -> "Curve":
        """The curve of a metric in a log, at the steps where it was logged."""
        logged = [line for line in lines if metric in line]
        values = [as_float(line[metric]) for line in logged]
        steps = [line["step"] for line in logged]
        return cls(np.array(steps, np.int64), np.array(values, np.float64))

    def up_to(self, step: int) -> "Curve":
        """The part that leads to a step, with the value there between its neighbors."""
        steps, values = self.steps[self.steps <= step], self.values[self.steps <= step]
        if 0 < len(steps) < len(self.steps) and steps[-1] < step:
            values = np.append(values, np.interp(step, self.steps, self.values))
            steps = np.append(steps, step)
        return Curve(steps, values)

    def since_leaving(self, other: "Curve") -> "Curve":
        """The last point of the beginning that it shares with another curve, and what follows."""
        count = min(len(self.steps), len(other.steps))
        same = (self.steps[:count] == other.steps[:count]) & (
            self.values[:count] == other.values[:count]
        )
        shared = count if same.all() else int(same.argmin())
        start = max(shared - 1, 0)
        return Curve(self.steps[start:], self.values[start:])


@dataclass(frozen=True)
class Source:
    """A checkpoint that a run was made from.

    Attributes:
        run: name of the run that it is of.
        step: of the checkpoint.
        lines: what that run had logged by then; it may have been rewound since.
    """

    run: str
    step: int
    lines: Lines


@dataclass(frozen=True)
class Run:
    """A run, as it is drawn.

    Attributes:
        name: of the run.
        lines: its metrics at each logged step, in order.
        checkpoints: the steps of the checkpoints that exist, in order.
        events: its history, in order.
        sources: the checkpoints of other runs that it was made from.
        settings: its configuration, nested.
    """

    name: str
    lines: Lines
    checkpoints: list[int]
    events: list[dict[str, Any]]
    sources: list[Source] = field(default_factory=list)
    settings: dict[str, Any] = field(default_factory=dict)

    def curve(self, metric: str) -> Curve:
        """The curve of a metric, at the steps where it was logged."""
        return Curve.of(self.lines, metric)

    @property
    def logged(self) -> list[str]:
        """The names in its log, in the order in which they came."""
        names = dict.fromkeys(name for line in self.lines for name in line)
        return [name for name in names if name not in NO_METRICS]

    def mode_of(self, metric: str) -> Literal["max", "min"]:
        """Whether the largest or the smallest value of a metric is its best."""
        decisive = self.settings.get("best_metric") or ""
        mode = self.settings.get("best_mode")
        if mode in ("max", "min") and metric_name(metric) == metric_name(str(decisive)):
            return mode
        return usual_mode(metric)

    @property
    def origin(self) -> dict[str, Any] | None:
        """The event that made it from other runs; None where it started from scratch."""
        return origin_of(self.events)

    @property
    def first_step(self) -> int:
        """Where it starts."""
        return 0 if self.origin is None else self.origin["step"]

    @property
    def last_step(self) -> int:
        """How far it has come."""
        logged = (line["step"] for line in self.lines[-1:])
        return max(self.first_step, *logged, *self.checkpoints)

    def steps_of(self, event: str) -> list[int]:
        """The steps at which an event happened."""
        return [entry["step"] for entry in self.events if entry["event"] == event]


def metric_name(name: str) -> str:
    """The name of a metric, whether training or validation logged it."""
    return name.removeprefix(VALIDATION_PREFIX)


def metric_names(runs: Iterable[Run]) -> list[str]:
    """The metrics that runs have logged, the loss first, without what validation prefixes."""
    return [*dict.fromkeys(["loss", *(metric_name(name) for run in runs for name in run.logged)])]


def origin_of(events: list[dict[str, Any]]) -> dict[str, Any] | None:
    """The event in the history of a run that made it from other runs, if there is one."""
    return next((event for event in events if event["event"] in ORIGINS), None)


def read_run(paths: RunPaths) -> Run:
    """Reads what a run has logged, or of one that was never trained, what its checkpoints tell.

    Raises:
        ConfigurationError: there is no such run, or it has logged nothing yet.
    """
    if not paths.folder.is_dir():
        raise ConfigurationError(
            f"There is no run {paths.run!r} in {paths.runs}. "
            f"Runs: {', '.join(names_of_runs(paths)) or 'none'}."
        )
    found = [*find_checkpoints(paths.checkpoints), *find_checkpoints(paths.best)]
    checkpoints = {step_of(checkpoint): checkpoint for checkpoint in found}
    events = read_history(paths)
    lines = read_log(paths)
    if not lines:
        lines = lines_in_cards(checkpoints[step] for step in sorted(checkpoints))
    if not lines and origin_of(events) is None:
        raise ConfigurationError(
            f"Run {paths.run!r} has no metrics in {paths.metrics} yet. Train it first."
        )
    sources = read_sources(paths, origin_of(events))
    return Run(paths.run, lines, sorted(checkpoints), events, sources, read_settings(paths.config))


def lines_in_cards(checkpoints: Iterable[epath.Path]) -> Lines:
    """The metrics in the cards of checkpoints, as lines of a log."""
    lines = []
    for checkpoint in checkpoints:
        try:
            card = read_card(checkpoint)
        except (DamagedCheckpoint, CardMissing):
            continue
        if card.metrics:
            lines.append({"step": card.step, "epoch": card.epoch, **card.metrics})
    return lines


def read_sources(paths: RunPaths, origin: dict[str, Any] | None) -> list[Source]:
    """The checkpoints of other runs that a run was made from, with what led to them."""
    if origin is None or origin["event"] not in COMBINED:
        return []
    sources = []
    for source in filter(CHECKPOINT.fullmatch, origin.get("sources", [])):
        run, _, step = source.rpartition("@")
        sources.append(Source(run, int(step), lines_at(paths.of(run), origin["time"])))
    return sources


def read_log(paths: RunPaths | SupersededPaths) -> Lines:
    """The log of a run, without what is no number in it."""
    return [
        {name: value for name, value in line.items() if isinstance(value, NUMBER)}
        for line in read_objects(paths.metrics)
    ]


def lines_at(paths: RunPaths, time: float) -> Lines:
    """The log of a run as it was at a time: the rewinds since then are undone.

    Args:
        paths: of the run.
        time: in seconds since 1970.
    """
    logs: list[Any] = [paths, *map(paths.superseded_at, entry_names(paths.superseded))]
    # A rewind sets aside the later rewinds with all else that came after its step.
    events = [event for log in logs for event in read_events(log.history)]
    if all(event["time"] > time for event in events):
        return []  # another run of the name, which had not begun then
    rewinds = [event for event in events if "superseded" in event and event["time"] > time]
    lines = read_log(paths)
    for rewind in sorted(rewinds, key=lambda event: event["time"], reverse=True):
        stayed = [line for line in lines if line["step"] <= rewind["step"]]
        lines = stayed + read_log(paths.superseded_at(rewind["superseded"]))
    return lines
