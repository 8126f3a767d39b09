"""A training session: its lock, its signals, its exit codes."""

import errno
import io
import json
import logging
import os
import signal
import socket
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

from etils import epath
from filelock import FileLock, Timeout
from rich.console import Console

from ..errors import PACKAGE, ConfigurationError, RunLocked, UserError, in_one_line
from ..files import make_folder
from ..quiet import import_tensorflow
from ..remote import access_errors, is_remote
from ..untrusted import parse_json, printable, read_text
from .paths import RunPaths

if TYPE_CHECKING:  # no TensorFlow yet: see `quiet`
    from ..checkpoint.workers import Workers

log = logging.getLogger(__name__)

# What a file system without locks answers, as NFS without its lock daemon.
LOCKS_NOT_SUPPORTED = {errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP}
TRIES = 4  # to lock a run, while others that do so end
# What does not tell that a folder is the wrong one.
PASSING = {errno.EINTR, errno.EIO, errno.EMFILE, errno.ENFILE, errno.ENOSPC}


class Signals(AbstractContextManager["Signals"]):
    """Remembers the signals that arrive, for the training loop to act on.

    The first SIGTERM, SIGINT or SIGHUP (the terminal was closed) asks it to stop; the second ends
    the process at once. SIGUSR1 asks it to save and go on.

    Attributes:
        stop: the number of the signal that asked to stop, or None.
    """

    def __init__(self) -> None:
        self.stop: int | None = None
        self._save_requested = False
        self._previous: dict[int, Any] = {}

    def __enter__(self) -> "Signals":
        for number in stopping_signals():
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
        with suppress(OSError):  # nobody may read it any more
            # Not by print: it may be what the signal has interrupted.
            os.write(2, b"Saving, and then stopping. A second signal stops at once.\n")

    def _request_save(self, *_: object) -> None:
        self._save_requested = True


def stopping_signals() -> list[signal.Signals]:
    """The signals that ask to stop. SIGHUP is none under nohup, which has it ignored."""
    numbers = [signal.SIGTERM, signal.SIGINT]
    if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:
        numbers.append(signal.SIGHUP)  # Windows has none
    return numbers


def expect_signals() -> None:
    """Sees to it that a signal does no harm before `Signals` listens; call it first in a script.

    Importing TensorFlow takes seconds. There is nothing to save yet: SIGUSR1 is left unheard, and
    Ctrl-C ends the process without a traceback.
    """
    open_streams()
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    if hasattr(signal, "SIGUSR1"):
        signal.signal(signal.SIGUSR1, signal.SIG_IGN)


def open_streams() -> None:
    """Opens those of the standard streams that were closed, as by `train.py >&-`, to nowhere.

    A file that is opened later would get the number of such a stream, and what TensorFlow prints.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # gets the lowest number that is free
            setattr(sys, name, os.fdopen(number, "w" if number else "r", closefd=False))


def prepare_process() -> None:
    """Expects signals, and imports TensorFlow without its chatter; call it first in a script."""
    expect_signals()
    import_tensorflow()


class RunLock(AbstractContextManager["RunLock"]):
    """Sees to it that only one process trains a run.

    The system releases the lock of a process that was killed. Folders that were made for it are
    removed again where nothing came of the run, as where a fork was refused.

    Raises:
        RunLocked: on entering, if another process holds it. All workers raise it.
    """

    def __init__(self, paths: RunPaths, workers: "Workers | None" = None) -> None:
        self._together = nullcontext() if workers is None else workers.together()
        self._paths = paths
        self._folder = Path(paths.folder)
        self._holder = Path(paths.lock_holder)
        self._path = Path(paths.lock)
        self._lock = FileLock(self._path, timeout=0)
        self._made: list[Path] = []

    def __enter__(self) -> "RunLock":
        with self._together:
            self._lock_run()
        return self

    def _lock_run(self) -> None:
        try:
            self._make_and_lock()
        except Timeout:
            raise RunLocked(
                f"Run {self._paths.run!r} is being trained by {self._read_holder()}. "
                "Wait for it, stop it, or start another run with --run NAME."
            ) from None
        except OSError as error:
            if error.errno in PASSING:
                remove_empty(self._made)
                raise
            if error.errno in LOCKS_NOT_SUPPORTED:
                text = "a second process that trains this run would not be noticed. Going on."
                log.warning("%s is where no file can be locked: %s", self._paths.folder, text)
                return
            remove_empty(self._made)
            raise ConfigurationError(
                f"{self._folder} cannot be used for a run: {error}. Give another --root."
            ) from error
        with suppress(OSError):  # a full disk must not keep a run from going on
            self._holder.write_text(json.dumps({"pid": os.getpid(), "host": socket.gethostname()}))

    def __exit__(self, *_: object) -> None:
        with suppress(OSError):
            self._holder.unlink(missing_ok=True)
        # A disk that fails must not hide how the run ended; the process's end lets go of the lock.
        with suppress(OSError):
            self._release()

    def _release(self) -> None:
        """Lets go of the lock, and removes folders that were made for it and are empty."""
        is_left_over = self._made and not any(self._files())
        if is_left_over:
            # What is inside comes last in the order of paths.
            remove_empty(sorted(self._folder.rglob("*"), reverse=True))
        if os.name != "posix":  # Windows removes no file that is open, as the lock is
            self._lock.release()
        if is_left_over:
            # Locked to the end: whoever has opened the file meanwhile sees that it is gone.
            with suppress(OSError):
                self._path.unlink()
            remove_empty(self._made)
        self._lock.release()

    def _make_and_lock(self) -> None:
        if is_remote(self._paths.folder):
            raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))
        # From the inside to the outside, as they are removed.
        folders = (self._folder, *self._folder.parents)
        for tries_left in reversed(range(TRIES)):
            try:
                self._made = [folder for folder in folders if not folder.exists()]
                make_folder(epath.Path(self._folder))
                self._lock.acquire()
            except (FileExistsError, FileNotFoundError):
                if not tries_left:
                    raise
                continue  # whoever held it was just removing the folder that it had made
            return

    def _files(self) -> Iterator[Path]:
        """The files of the run but for the lock."""
        found = self._folder.rglob("*")
        return (path for path in found if path != self._path and not path.is_dir())

    def _read_holder(self) -> str:
        try:
            holder = parse_json(read_text(self._holder))
            return f"process {holder['pid']} on {holder['host']}"
        # It has only just taken the lock, or could not write it.
        except (OSError, LookupError, TypeError, ValueError):
            return "another process"


def remove_empty(folders: Iterable[Path]) -> None:
    """Removes those of the folders in which there is nothing, the first one first."""
    for folder in folders:
        with suppress(OSError):
            folder.rmdir()


class Printer(logging.Handler):
    """Prints messages as they are: warnings on standard error, others on standard output."""

    def emit(self, record: logging.LogRecord) -> None:
        """Prints one message."""
        stream = sys.stderr if record.levelno >= logging.WARNING else sys.stdout
        print(printable(self.format(record)), file=stream, flush=True)


class Output:
    """A stream that may end before the program, as in `train.py | head`: the rest is dropped."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        """Writes a text, if that is possible."""
        with self._dropping():
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        """Sees to it that what was written arrives, if that is possible."""
        with self._dropping():
            self._stream.flush()

    @contextmanager
    def _dropping(self) -> Iterator[None]:
        try:
            yield
        except OSError:
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self._stream.fileno())  # what is left in the buffer goes there too
            os.close(nowhere)


def run_main(main: Callable[[], int]) -> None:
    """Runs a command and ends the process with its exit code.

    An error that the user can put right ends in its message, after a traceback with `--debug`; so
    does one of the system, such as a full disk.
    """
    package = logging.getLogger(PACKAGE)
    package.setLevel(logging.INFO)
    package.handlers = [Printer()]
    package.propagate = False
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if isinstance(stream, io.TextIOWrapper):  # not every terminal has every character
            stream.reconfigure(errors="backslashreplace")
            if stream is getattr(sys, f"__{name}__"):
                setattr(sys, name, Output(stream))
    try:
        sys.exit(main())
    except Exception as error:
        if not isinstance(error, (UserError, *access_errors())):
            raise
        if "--debug" in sys.argv:
            traceback.print_exc()
        if isinstance(error, UserError):
            print(printable(str(error)), file=sys.stderr)
            sys.exit(error.exit_code)
        print(
            f"The system refused: {printable(in_one_line(error))}. What was saved is untouched. "
            "Put this right and run it again; --debug tells where it was.",
            file=sys.stderr,
        )
        sys.exit(1)
