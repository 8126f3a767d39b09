"""A training session: its lock, its signals, its exit codes."""

import io
import json
import logging
import os
import signal
import socket
import sys
import traceback
from collections.abc import Callable
from contextlib import AbstractContextManager
from types import FrameType
from typing import Any

from filelock import FileLock, Timeout
from rich.console import Console

from ..errors import PACKAGE, ConfigurationError, RunLocked, UserError
from .paths import RunPaths


class Signals(AbstractContextManager["Signals"]):
    """Remembers the signals that arrive, for the training loop to act on.

    The first SIGTERM or SIGINT asks it to stop; the second ends the process at once. SIGUSR1 asks
    it to save and go on.

    Attributes:
        stop: the number of the signal that asked to stop, or None.
    """

    def __init__(self) -> None:
        self.stop: int | None = None
        self._save_requested = False
        self._previous: dict[int, Any] = {}

    def __enter__(self) -> "Signals":
        for number in (signal.SIGTERM, signal.SIGINT):
            self._previous[number] = signal.signal(number, self._request_stop)
        if hasattr(signal, "SIGUSR1"):  # Windows has none
            self._previous[signal.SIGUSR1] = signal.signal(signal.SIGUSR1, self._request_save)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def pop_save_request(self) -> bool:
        """Whether SIGUSR1 has arrived since the last call."""
        requested, self._save_requested = self._save_requested, False
        return requested

    def _request_stop(self, number: int, _: FrameType | None) -> None:
        if self.stop is not None:
            Console().show_cursor()  # the progress bar has hidden it
            os._exit(128 + number)
        self.stop = number
        # Not by print: it may be what the signal has interrupted.
        os.write(2, b"Saving, and then stopping. A second signal stops at once.\n")

    def _request_save(self, *_: object) -> None:
        self._save_requested = True


def expect_signals() -> None:
    """Sees to it that a signal does no harm before `Signals` listens; call it first in a script.

    Importing TensorFlow takes seconds. There is nothing to save yet: SIGUSR1 is left unheard, and
    Ctrl-C ends the process without a traceback.
    """
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    if hasattr(signal, "SIGUSR1"):
        signal.signal(signal.SIGUSR1, signal.SIG_IGN)


class RunLock(AbstractContextManager["RunLock"]):
    """Sees to it that only one process trains a run.

    The system releases the lock of a process that was killed.

    Raises:
        RunLocked: on entering, if another process holds it.
    """

    def __init__(self, paths: RunPaths) -> None:
        self._run = paths.run
        self._holder = paths.lock_holder
        self._path = paths.lock
        self._lock = FileLock(self._path, timeout=0)
        self._is_new = False

    def __enter__(self) -> "RunLock":
        try:
            self._is_new = not self._holder.parent.exists()
            self._holder.parent.mkdir(parents=True, exist_ok=True)
            self._lock.acquire()
        except Timeout:
            raise RunLocked(
                f"Run {self._run!r} is being trained by {self._read_holder()}. "
                "Wait for it, stop it, or start another run with --run NAME."
            ) from None
        except OSError as error:
            raise ConfigurationError(
                f"{self._holder.parent} cannot be used for a run: {error}. Give another --root."
            ) from error
        self._holder.write_text(json.dumps({"pid": os.getpid(), "host": socket.gethostname()}))
        return self

    def __exit__(self, *_: object) -> None:
        self._holder.unlink(missing_ok=True)
        folder = self._holder.parent
        if self._is_new and [path.name for path in folder.iterdir()] == [self._path.name]:
            # Nothing has come of the run. Still locked: whoever waits for the lock makes it anew.
            self._path.unlink()
            folder.rmdir()
        self._lock.release()

    def _read_holder(self) -> str:
        try:
            holder = json.loads(self._holder.read_text())
            return f"process {holder['pid']} on {holder['host']}"
        except (OSError, ValueError):  # it has only just taken the lock
            return "another process"


class Printer(logging.Handler):
    """Prints messages as they are: warnings on standard error, others on standard output."""

    def emit(self, record: logging.LogRecord) -> None:
        """Prints one message."""
        stream = sys.stderr if record.levelno >= logging.WARNING else sys.stdout
        print(self.format(record), file=stream, flush=True)


def run_main(main: Callable[[], int]) -> None:
    """Runs a command and ends the process with its exit code.

    An error that the user can put right ends in its message, after a traceback with `--debug`.
    """
    package = logging.getLogger(PACKAGE)
    package.setLevel(logging.INFO)
    package.handlers = [Printer()]
    package.propagate = False
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # not every terminal has every character
            stream.reconfigure(errors="backslashreplace")
    try:
        sys.exit(main())
    except UserError as error:
        if "--debug" in sys.argv:
            traceback.print_exc()
        print(error, file=sys.stderr)
        sys.exit(error.exit_code)
