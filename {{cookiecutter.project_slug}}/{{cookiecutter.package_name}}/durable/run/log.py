"""What a run tells: metrics.jsonl and TensorBoard, and its progress."""

import logging
import os
import socket
import time
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from io import BytesIO
from typing import Any

from etils import epath
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.plugins.scalar.summary_v2 import scalar_pb
from tensorboard.summary.writer.record_writer import RecordWriter

from ..files import append_bytes, append_text, strict_json
from ..remote import storage_errors
from .experiment import Hook
from .history import EVENTS, rewind_log
from .paths import RunPaths
from .settings import RunSettings
from .trackers import start_tracking

FLUSH_SECONDS = 120  # between two writes of the curves, where nothing is saved for longer

log = logging.getLogger(__name__)


class MetricsLog(AbstractContextManager["MetricsLog"]):
    """Writes metrics, from a step on.

    What was logged after that step is removed first: the run will log it again. So the log of a
    resumed run has no line twice and none missing.

    Args:
        paths: of the run.
        step: the step from which the run goes on.
        hooks: are told of each line.
        config: names the tracker, if there is one.
    """

    def __init__(
        self,
        paths: RunPaths,
        step: int,
        hooks: Sequence[Hook] = (),
        config: RunSettings | None = None,
    ) -> None:
        self._tracking = start_tracking(config, paths)
        rewind_log(paths, step)
        self._hooks = hooks
        for hook in hooks:
            hook.on_start(step)
        self._path = paths.metrics
        self._curves = Curves(paths.tensorboard)
        self._lines: list[str] = []

    def __exit__(self, error: type[BaseException] | None, *_: object) -> None:
        if error is None:
            self.flush()
        if self._tracking is not None:
            self._tracking.close(failed=error is not None)

    def write(self, step: int, epoch: int, metrics: dict[str, float], *, epoch_ended: bool) -> None:
        """Adds one line, and a point to each curve."""
        values = {"step": step, "epoch": epoch, **metrics, "time": round(time.time(), 3)}
        self._lines.append(strict_json(values) + "\n")
        self._curves.add(step, metrics)
        for hook in self._hooks:
            hook.on_log(step, epoch, metrics)
            if epoch_ended:
                hook.on_epoch_end(step, epoch, metrics)

    def flush(self) -> None:
        """Puts everything on the disk. A checkpoint comes after its log lines, never before."""
        append_text(self._path, "".join(self._lines))
        self._lines.clear()
        self._curves.flush()
        if self._tracking is not None:
            self._tracking.update()


class Curves:
    """The points of TensorBoard's curves, in a file of its own for each start.

    Written by us: TensorFlow's writer goes on without a word after a write that failed, and leaves
    half a record, behind which TensorBoard reads nothing any more.

    Args:
        folder: where TensorBoard looks for the file.
    """

    def __init__(self, folder: epath.Path) -> None:
        self._folder = folder
        self._path = folder / f"{EVENTS}{time.time():.6f}.{socket.gethostname()}.{os.getpid()}"
        self._waiting = BytesIO()
        self._records = RecordWriter(self._waiting)
        self._add(file_version="brain.Event:2")
        self._flushed = time.monotonic()
        self.flush()

    def add(self, step: int, metrics: Mapping[str, float]) -> None:
        """Adds a point to each curve."""
        for name, value in metrics.items():
            self._add(step=step, summary=scalar_pb(name, value))
        if time.monotonic() - self._flushed > FLUSH_SECONDS:
            self.flush()

    def _add(self, **content: Any) -> None:
        self._records.write(Event(wall_time=time.time(), **content).SerializeToString())

    def flush(self) -> None:
        """Puts the points on the disk. Where that fails, it is told, and tried again next time."""
        self._flushed = time.monotonic()
        try:
            append_bytes(self._path, self._waiting.getvalue())
        except storage_errors(self._path) as error:
            log.warning(
                "The curves in %s could not be written: %s. Going on; the next save tries again.",
                self._folder,
                error,
            )
            return
        self._waiting.seek(0)
        self._waiting.truncate()


class Display(AbstractContextManager["Display"]):
    """Shows the progress of a run.

    Args:
        last: the step at which it is over.
        steps_per_epoch: how many steps an epoch has.
        step: the step at which it starts.
    """

    def __init__(self, last: int, steps_per_epoch: int, step: int) -> None:
        console = Console()
        epochs = self._epochs = -(-last // steps_per_epoch)  # the last may not be whole
        self._bar = Progress(
            TextColumn("epoch {task.fields[epoch]}/" + str(epochs)),
            BarColumn(bar_width=16),
            MofNCompleteColumn(),
            TimeRemainingColumn(compact=True),
            TextColumn("{task.fields[metrics]}"),
            console=console,
            disable=not console.is_terminal,
        )
        self._plain = not console.is_terminal
        self._task = self._bar.add_task(
            "training",
            total=last,
            completed=step,
            epoch=step // steps_per_epoch,
            metrics="",
        )

    def __enter__(self) -> "Display":
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def advance(self, step: int) -> None:
        """Moves the bar to a step."""
        self._bar.update(self._task, completed=step)

    def epoch(self, epoch: int, step: int, metrics: dict[str, float]) -> None:
        """Shows the metrics at an epoch's end."""
        text = "  ".join(f"{name} {value:.4f}" for name, value in metrics.items())
        name, value = list(metrics.items())[-1]  # a terminal may have room for one
        self._bar.update(self._task, completed=step, epoch=epoch, metrics=f"{name} {value:.4f}")
        if self._plain:
            print(f"epoch {epoch}/{self._epochs}  step {step}  {text}", flush=True)
