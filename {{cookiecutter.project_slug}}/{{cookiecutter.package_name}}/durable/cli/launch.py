"""launch: start several workers on this machine, tell each of the others, and look after them."""

import os
import selectors
import signal
import sys
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import tyro

from ..errors import ConfigurationError
from ..run.session import stopping_signals
from ..run.settings import Project, require, seconds_of
from ..run.worker import Worker, local_clusters

LOOK_EVERY = 0.1  # seconds, for workers that have ended
PATIENCE = 5  # seconds, for what is still printed by processes that a worker has left behind
# The codes of train.py with which the next start would end as well.
NOT_MENDED = {2, 3, 4, 5}


@tyro.conf.configure(tyro.conf.OmitArgPrefixes)
@dataclass(frozen=True)
class LaunchOptions:
    """Train with several workers on this machine, as --strategy multi-worker does on several.

    What stands after -- is what each worker runs: launch --workers 2 -- train.py --run wide. They
    are told of each other by TF_CONFIG, and get --strategy multi-worker if they are given none;
    what they print gets their number. SIGTERM, Ctrl-C, SIGHUP and SIGUSR1 are passed on to all; the
    second that asks to stop kills them. When one has failed, the others are ended. Exit code 0 if
    all finished, else that of the first that failed.
    """

    workers: int
    """How many workers to start."""
    restarts: int = 0
    """How often to start all again when one was killed or ended by an error that may not come
    again: not for a wrong setting, say, and not after a signal that asked to stop."""
    grace: str = "30s"
    """When one has failed: how long the others may take to end by themselves before they get
    SIGTERM, and again before SIGKILL; a time such as 30s or 2m."""
    debug: bool = False
    """Show the traceback of an error."""

    def __post_init__(self) -> None:
        """Raises ConfigurationError for a value that is not possible."""
        require(self.workers >= 1, "workers", self.workers, "at least 1")
        require(self.restarts >= 0, "restarts", self.restarts, "0 or more")
        seconds_of("grace", self.grace)


def launch(project: Project, options: LaunchOptions) -> int:
    """Starts the workers, and returns the exit code."""
    if os.name != "posix":
        raise ConfigurationError("launch is for Linux and macOS: it lives by their signals.")
    command = worker_command(project.arguments)
    grace = seconds_of("grace", options.grace)
    with Launcher(command, options.workers, grace) as launcher:
        return launcher.run(options.restarts)


def worker_command(words: Sequence[str]) -> list[str]:
    """The command line of each worker, of which these words were given.

    Raises:
        ConfigurationError: there are none, or they begin with a script that is not there.
    """
    if not words:
        raise ConfigurationError(
            "There is nothing to launch: give it after --, as in launch --workers 2 -- train.py."
        )
    if not words[0].startswith("-") and not Path(words[0]).exists():
        raise ConfigurationError(f"There is no script {words[0]!r} in {Path.cwd()}.")
    chosen = any(word == "--strategy" or word.startswith("--strategy=") for word in words)
    return [sys.executable, *words, *([] if chosen else ["--strategy", "multi-worker"])]


class Launcher(AbstractContextManager["Launcher"]):
    """Looks after the workers; none is left when it is left.

    Args:
        command: what each of them runs.
        count: how many they are.
        grace: seconds that the others have, once one has failed, before each harder measure.
    """

    def __init__(self, command: Sequence[str], count: int, grace: float) -> None:
        self._command = command
        self._count = count
        self._grace = grace
        self._workers: list[Worker] = []  # that run
        self._selector = selectors.DefaultSelector()
        self._stop: int | None = None  # the signal that asked to stop
        self._at_once = False  # whether it came a second time
        self._previous: dict[int, Any] = {}

    def __enter__(self) -> "Launcher":
        for number in (*stopping_signals(), signal.SIGUSR1):
            self._previous[number] = signal.signal(number, self._receive)
        return self

    def __exit__(self, *_: object) -> None:
        for worker in self._workers:
            worker.close()
        self._selector.close()
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def run(self, restarts: int) -> int:
        """Runs the workers, after a failure up to so many times again; returns the exit code."""
        code = self._run_once()
        for restart in range(1, restarts + 1):
            if self._stop is not None or not has_failed(code) or code in NOT_MENDED:
                break
            say(f"Starting all workers again: restart {restart} of {restarts}.")
            code = self._run_once()
        if self._at_once and self._stop is not None:
            return 128 + self._stop
        return 128 - code if code < 0 else code  # as shells tell a signal

    def _run_once(self) -> int:
        """Runs the workers to their end.

        Returns:
            The exit code of the first that failed, or -N where signal N has killed it; if none
            did, that of the first that was stopped, or 0.
        """
        self._start()
        codes: list[int] = []  # in the order of their ends
        next_measure = float("inf")
        while self._workers:
            self._pass_on_lines()
            for worker in [worker for worker in self._workers if worker.code is not None]:
                self._part_with(worker)
                codes.append(worker.code or 0)
                if has_failed(codes[-1]) and next_measure == float("inf"):
                    self._tell_failure(worker.number, codes[-1])
                    next_measure = time.monotonic() + self._grace
            if time.monotonic() > next_measure:
                next_measure += self._grace
                for worker in self._workers:
                    worker.urge()
        return next(filter(has_failed, codes), next(filter(None, codes), 0))

    def _start(self) -> None:
        for number, cluster in enumerate(local_clusters(self._count)):
            worker = Worker(number, self._command, cluster)
            self._workers.append(worker)
            for lines in worker.lines:
                self._selector.register(lines, selectors.EVENT_READ, lines)
        self._pass_on_stop()  # it may have come meanwhile

    def _pass_on_lines(self) -> None:
        """Passes on what the workers print, and waits for it, but not for long."""
        for key, _ in self._selector.select(LOOK_EVERY):
            key.data.pass_on()
            if key.data.ended:
                self._selector.unregister(key.data)

    def _part_with(self, worker: Worker) -> None:
        """Passes on the last words of a worker that has ended, and ends what it has left behind."""
        patience_ends = time.monotonic() + PATIENCE
        while time.monotonic() < patience_ends and not all(line.ended for line in worker.lines):
            self._pass_on_lines()
        for lines in worker.lines:
            if not lines.ended:
                self._selector.unregister(lines)
        worker.close()
        self._workers.remove(worker)

    def _tell_failure(self, number: int, code: int) -> None:
        if self._stop is not None and (code == -self._stop or (code < 0 and self._at_once)):
            return  # by the signal that was passed on: it did not listen yet, or that came twice
        how = f"was killed by signal {-code}" if code < 0 else f"ended with code {code}"
        others = f" The others have {self._grace:g} seconds to end." if self._workers else ""
        say(f"Worker {number} {how}.{others}")

    def _receive(self, number: int, _: FrameType | None) -> None:
        """Handles a signal: here, and not later, since nobody may read what is being printed."""
        if number == signal.SIGUSR1:
            for worker in self._workers:
                worker.send(number)
            return
        if self._stop is not None:
            self._at_once = True
            signal.signal(number, signal.SIG_DFL)  # the third time, there is nothing more to do
        self._stop = number
        self._pass_on_stop()

    def _pass_on_stop(self) -> None:
        for worker in self._workers:
            if self._at_once:
                worker.kill()
            elif self._stop is not None:
                worker.ask_to_stop(self._stop)


def has_failed(code: int) -> bool:
    """Whether a worker has failed; one that ends with 128+N was stopped, and has saved."""
    return code != 0 and code - 128 not in stopping_signals()


def say(text: str) -> None:
    """Tells what happens to the workers, among what they print."""
    print(f"[launch] {text}", file=sys.stderr, flush=True)
