"""What a run tells: metrics.jsonl and TensorBoard, rewound when it is resumed, and its progress."""

import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager

import tensorflow as tf
from etils import epath
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from ..files import append_text, make_folder, strict_json, synchronize, write_text
from .experiment import Hook
from .history import lines_after, rewind_lines
from .paths import RunPaths, SupersededPaths
from .settings import RunSettings
from .trackers import start_tracking

# What the names of TensorBoard's files begin with, and what those that were set aside do.
EVENTS = "events.out.tfevents."
SUPERSEDED_EVENTS = "events.out.superseded."


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
        earlier = event_files(paths.tensorboard)
        make_folder(paths.tensorboard)  # by us: TensorFlow's would not be a group's to write in
        self._writer = tf.summary.create_file_writer(str(paths.tensorboard))
        # Not the last by its name: the clock may have been put back.
        self._events = [path for path in event_files(paths.tensorboard) if path not in earlier]
        synchronize(paths.tensorboard)  # which has a new file
        self._lines: list[str] = []

    def __exit__(self, error: type[BaseException] | None, *_: object) -> None:
        if error is None:
            self.flush()
        self._writer.close()
        if self._tracking is not None:
            self._tracking.close(failed=error is not None)

    def write(self, step: int, epoch: int, metrics: dict[str, float], *, epoch_ended: bool) -> None:
        """Adds one line, and a point to each curve."""
        values = {"step": step, "epoch": epoch, **metrics, "time": round(time.time(), 3)}
        self._lines.append(strict_json(values) + "\n")
        with self._writer.as_default(step=step):
            for name, value in metrics.items():
                tf.summary.scalar(name, value)
        for hook in self._hooks:
            hook.on_log(step, epoch, metrics)
            if epoch_ended:
                hook.on_epoch_end(step, epoch, metrics)

    def flush(self) -> None:
        """Puts everything on the disk. A checkpoint comes after its log lines, never before."""
        append_text(self._path, "".join(self._lines))
        self._lines.clear()
        self._writer.flush()
        for events in self._events:
            if events.exists():  # else the folder of the run was taken away
                synchronize(events)
        if self._tracking is not None:
            self._tracking.update()


def rewind_log(paths: RunPaths, step: int) -> None:
    """Removes what was logged after a step. What a rewind had set aside is a log again."""
    rewind_lines(paths.metrics, step)
    for events in sorted(paths.tensorboard.glob(f"{SUPERSEDED_EVENTS}*")):
        events.rename(events.parent / events.name.replace(SUPERSEDED_EVENTS, EVENTS))
    for left_over in paths.tensorboard.glob("*_temp"):
        left_over.unlink()  # of a process that was killed while it did the next thing
    for events in event_files(paths.tensorboard):
        rewind_events(events, step)


def copy_log(paths: RunPaths, step: int, target: SupersededPaths) -> None:
    """Copies what was logged after a step to where `target` keeps a log.

    TensorBoard takes every folder with a file of events for a run: the copies have another name.
    """
    if text := lines_after(paths.metrics, step):
        write_text(target.metrics, text)
    make_folder(target.tensorboard)
    for events in event_files(paths.tensorboard):
        name = events.name.replace(EVENTS, SUPERSEDED_EVENTS)
        copy_events(events, step, target.tensorboard / name)


def event_files(tensorboard: epath.Path) -> list[epath.Path]:
    """TensorBoard's files, oldest first."""
    return sorted(tensorboard.glob(f"{EVENTS}*"))


def rewind_events(path: epath.Path, step: int) -> None:
    """Removes the events after a step from a TensorBoard file, and what was cut short."""
    temporary = path.parent / f"{path.name}_temp"
    with tf.io.TFRecordWriter(str(temporary)) as writer:
        for record in whole_records(path):
            if tf.compat.v1.Event.FromString(record).step <= step:
                writer.write(record)
    synchronize(temporary)
    temporary.replace(path)
    synchronize(path.parent)


def copy_events(path: epath.Path, step: int, target: epath.Path) -> None:
    """Copies the events after a step, and the version of the file, to another TensorBoard file."""
    with tf.io.TFRecordWriter(str(target)) as writer:
        for record in whole_records(path):
            event = tf.compat.v1.Event.FromString(record)
            if event.step > step or event.HasField("file_version"):
                writer.write(record)
    synchronize(target)
    synchronize(target.parent)


def whole_records(path: epath.Path) -> Iterator[bytes]:
    """The records of a file, up to one that a killed process left unfinished."""
    try:
        yield from tf.data.TFRecordDataset(str(path)).as_numpy_iterator()
    except tf.errors.DataLossError:
        return


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
