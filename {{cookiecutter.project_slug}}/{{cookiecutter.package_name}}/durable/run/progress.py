"""Showing how training goes: a progress bar on a terminal, plain lines elsewhere."""

from contextlib import AbstractContextManager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn


class Display(AbstractContextManager["Display"]):
    """Shows the progress of a run.

    Args:
        epochs: how many epochs there are.
        steps_per_epoch: how many steps an epoch has.
        step: the step at which it starts.
    """

    def __init__(self, epochs: int, steps_per_epoch: int, step: int) -> None:
        console = Console()
        self._epochs = epochs
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
            total=epochs * steps_per_epoch,
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
