"""What several workers do as one: they go on, save and stop at the same step, or end together."""

import json
import os
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, redirect_stdout
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypeVar

import tensorflow as tf

from ..checkpoint.workers import Workers
from ..compat import whole_number
from ..data.indexed import OTHERS_ERRORS
from ..errors import ConfigurationError, WorkerLost
from .paths import RunPaths
from .session import Signals
from .settings import RunSettings, flat, seconds_of

Paths = TypeVar("Paths", bound=RunPaths)

# As what TensorFlow tells that another process has ended, or does not answer.
LOST = (*OTHERS_ERRORS, tf.errors.InternalError)
AGAIN = "What was saved is untouched: start all workers again to resume."
LOOKS = 20  # within the time that training may stand still
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


def require_same_settings(workers: Workers, config: RunSettings) -> None:
    """Raises ConfigurationError, on all, where one has other settings than the chief.

    The folder of the runs, say, may have a name of its own on each machine.
    """
    settings = flat(asdict(config))
    own = {name: settings[name] for name in settings.keys() - {"config", "debug", "root"}}
    told = [json.loads(text) for text in workers.texts(json.dumps(own))]
    for index, found in enumerate(told):
        others = [
            f"--{name.replace('_', '-')} {value}, not {told[0].get(name)}"
            for name, value in sorted(found.items())
            if value != told[0].get(name)
        ]
        if others:
            raise ConfigurationError(
                f"Worker {index} was started with other settings than worker 0: "
                f"{'; '.join(others)}. Start all workers by the same command."
            )


class Watchdog(AbstractContextManager["Watchdog"]):
    """Ends this process, by code 1, where training stands still since another worker does nothing.

    One that has ended or is frozen is noticed by TensorFlow within ten seconds; what lives, and
    waits for a disk that does not answer, say, would be waited for for ever. TensorFlow has a limit
    of its own for each message, and keeps a thread asleep for each until that has passed.

    Args:
        config: says how long training may stand still, a save of the chief's included.
        workers: those that train, often one, which is not watched.
        counters: () int64, of which one counts on while training goes on.
    """

    def __init__(
        self, config: RunSettings, workers: Workers, counters: Sequence[tf.Variable]
    ) -> None:
        self._limit = config.worker_timeout
        self._seconds = seconds_of("worker-timeout", config.worker_timeout)
        self._counters = counters
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="watchdog", daemon=True)
        self._is_needed = workers.count > 1

    def __enter__(self) -> "Watchdog":
        if self._is_needed:
            self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        if self._is_needed:
            self._thread.join()

    def _watch(self) -> None:
        seen, since = self._counted(), time.monotonic()
        while not self._ended.wait(self._seconds / LOOKS):
            counted = self._counted()
            if counted != seen:
                seen, since = counted, time.monotonic()
            elif time.monotonic() - since > self._seconds:
                print(
                    f"A worker was lost: nothing has gone on for {self._limit} (--worker-timeout). "
                    f"{AGAIN}",
                    file=sys.stderr,
                    flush=True,
                )
                os._exit(WorkerLost.exit_code)  # the other threads wait inside of TensorFlow

    def _counted(self) -> list[int]:
        return [whole_number(counter) for counter in self._counters]


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
        WorkerLost: one has ended, or is frozen.
    """
    try:
        yield
    except LOST as error:
        if Workers(strategy).count == 1:
            raise
        raise WorkerLost(f"A worker was lost: it has ended, or does not answer. {AGAIN}") from error
