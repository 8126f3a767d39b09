"""What several workers do as one: they go on, save and stop at the same step, or end together."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypeVar

import tensorflow as tf

from ..checkpoint.workers import Workers
from ..data.indexed import OTHERS_ERRORS
from ..errors import WorkerLost
from .paths import RunPaths
from .session import Signals

Paths = TypeVar("Paths", bound=RunPaths)

# As what TensorFlow tells that another process has ended, or does not answer.
LOST = (*OTHERS_ERRORS, tf.errors.InternalError)
ANOTHER = "a hook of another worker wants it to."


@dataclass(frozen=True)
class Agreement:
    """What is to be done after some steps.

    Attributes:
        stop: the number of a signal that asks to stop, or None.
        save: whether to save.
        ended: why a hook wants the run to end, or None.
        chunk: how many steps to train at once.
    """

    stop: int | None = None
    save: bool = False
    ended: str | None = None
    chunk: int = 1


def agree(
    workers: Workers, signals: Signals, *, due: bool, ended: str | None, chunk: int
) -> Agreement:
    """What all workers do now: they stop where one is asked to, and save when the chief is due.

    What is asked for later waits until the next steps are trained.

    Args:
        workers: those that train, often one.
        signals: of this process.
        due: whether a save is, by the clock of this process.
        ended: why a hook of this process wants the run to end, or None.
        chunk: how many steps this process trains in about a second.
    """
    asked = signals.pop_save_request()
    wishes = workers.gather([signals.stop or 0, asked, due, ended is not None, chunk])
    stops, requests, dues, ends, chunks = wishes.T
    stop = next((int(number) for number in stops if number), None)
    if ended is None and ends.any():
        ended = ANOTHER
    save = bool(requests.any() or dues[0] or stop or ended)
    return Agreement(stop, save, ended, int(chunks[0]))


@contextmanager
def own_place(paths: Paths, strategy: tf.distribute.Strategy) -> Iterator[Paths]:
    """The paths that a worker uses: those of the run, if it is the chief.

    What the others tell and write beside checkpoints, which are the chief's, is dropped: it is what
    the chief tells and writes.
    """
    if Workers(strategy).is_chief:
        yield paths
        return
    with (
        TemporaryDirectory(prefix="worker-") as folder,
        Path(os.devnull).open("w", encoding="utf-8") as nowhere,
        redirect_stdout(nowhere),
    ):
        yield replace(paths, aside=folder)


@contextmanager
def ending_with_others(strategy: tf.distribute.Strategy) -> Iterator[None]:
    """Says so where another worker is lost, in one line.

    Raises:
        WorkerLost: one has ended, or has not answered within --worker-timeout.
    """
    try:
        yield
    except LOST as error:
        if Workers(strategy).count == 1:
            raise
        raise WorkerLost(
            "A worker was lost: it has ended, or does not answer. What was saved is untouched: "
            "start all workers again to resume."
        ) from error
