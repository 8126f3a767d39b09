"""One of several workers on this machine: a process, and what it prints."""

import codecs
import ctypes
import io
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, suppress
from functools import partial
from typing import IO, TextIO

PR_SET_PDEATHSIG = 1  # linux/prctl.h
# Loaded here, since not much may be done between fork and exec.
PRCTL = ctypes.CDLL(None).prctl if sys.platform == "linux" else None


class Worker:
    """A worker, in a session of its own, which Ctrl-C in a terminal does not reach by itself.

    Attributes:
        number: counted from 0.
        lines: what it prints, on standard output and on standard error.

    Args:
        command: what it runs.
        cluster: its TF_CONFIG.
    """

    def __init__(self, number: int, command: Sequence[str], cluster: str) -> None:
        self.number = number
        self._asked = False
        self._process = subprocess.Popen(  # noqa: S603
            command,
            # Unbuffered: what it has printed must not die with it.
            env=os.environ | {"TF_CONFIG": cluster, "PYTHONUNBUFFERED": "1"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
            preexec_fn=partial(prepare, os.getpid()),  # noqa: PLW1509  (there are no threads of ours)
        )
        pipes = ((self._process.stdout, sys.stdout), (self._process.stderr, sys.stderr))
        self.lines = [Lines(pipe, screen, number) for pipe, screen in pipes if pipe is not None]

    @property
    def code(self) -> int | None:
        """Its exit code, or -N where signal N has killed it; None while it runs."""
        return self._process.poll()

    def send(self, number: int) -> None:
        """Sends it a signal, if it still runs."""
        self._process.send_signal(number)

    def ask_to_stop(self, number: int) -> None:
        """Asks it to save and stop; only once, since the second time would end it at once."""
        if not self._asked:
            self._asked = True
            self.send(number)

    def urge(self) -> None:
        """Asks it to stop; kills it if it was asked before."""
        if self._asked:
            self.kill()
        self.ask_to_stop(signal.SIGTERM)

    def kill(self) -> None:
        """Kills it, and all that it has started."""
        with suppress(ProcessLookupError, PermissionError):  # macOS: not permitted for the dead
            os.killpg(self._process.pid, signal.SIGKILL)

    def close(self) -> None:
        """Kills what is left of it, and passes on the last that it has printed."""
        self.kill()
        self._process.wait()
        for lines in self.lines:
            lines.close()


class Trainer(AbstractContextManager["Trainer"]):
    """A process that trains; it is killed when it is left.

    Args:
        command: what it runs.
        environment: variables that it has besides those of this process.
    """

    def __init__(self, command: Sequence[str], environment: Mapping[str, str]) -> None:
        # Files, not pipes: training would stand still when one of them was full.
        new_file = partial(tempfile.TemporaryFile, "w+", encoding="utf-8")
        self._output, self._errors = new_file(), new_file()
        self.process = subprocess.Popen(  # noqa: S603
            command,
            env=os.environ | environment,
            stdout=self._output,
            stderr=self._errors,
            preexec_fn=partial(prepare, os.getpid()) if os.name == "posix" else None,  # noqa: PLW1509
        )

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()
        self._output.close()
        self._errors.close()

    @property
    def output(self) -> str:
        """What it has printed."""
        return read_from_start(self._output)

    @property
    def errors(self) -> str:
        """What it has printed on standard error."""
        return read_from_start(self._errors)


class Lines:
    """Passes on what a worker prints: whole lines, with its number in front.

    Attributes:
        ended: whether there is no more to come.

    Args:
        pipe: what the worker prints to.
        screen: where that goes.
        number: of the worker.
    """

    def __init__(self, pipe: IO[bytes], screen: TextIO, number: int) -> None:
        self.ended = False
        self._pipe = pipe
        self._screen = screen
        self._prefix = f"[worker {number}] "
        text = codecs.getincrementaldecoder("utf-8")("backslashreplace")
        # Progress bars end their lines with \r, which would write one worker over another.
        self._decoder = io.IncrementalNewlineDecoder(text, translate=True)
        self._begun = ""  # a line that has no end yet

    def fileno(self) -> int:
        """The file descriptor that selectors wait for."""
        return self._pipe.fileno()

    def pass_on(self) -> None:
        """Passes on what has been printed; waits where there is nothing."""
        received = os.read(self.fileno(), 1 << 16)
        self.ended = not received
        self._write(self._decoder.decode(received, final=self.ended))

    def close(self) -> None:
        """Passes on what is left, and ends a line that has no end."""
        os.set_blocking(self.fileno(), False)
        with suppress(BlockingIOError):  # what has left its session may hold it open
            while not self.ended:
                self.pass_on()
        self._write("\n" if self._begun else "")
        self._pipe.close()

    def _write(self, text: str) -> None:
        *whole, self._begun = (self._begun + text).split("\n")
        if whole:
            self._screen.write("".join(f"{self._prefix}{line}\n" for line in whole))
            self._screen.flush()


def read_from_start(file: IO[str]) -> str:
    """All that was written to a file."""
    file.seek(0)
    return file.read()


def local_clusters(count: int) -> list[str]:
    """TF_CONFIG for each of so many workers on this machine, on ports on which nobody listens."""
    with ExitStack() as held:  # all of them, until the last is found
        sockets = [held.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("", 0))
        addresses = [f"localhost:{each.getsockname()[1]}" for each in sockets]
    tasks = ({"type": "worker", "index": index} for index in range(count))
    return [json.dumps({"cluster": {"worker": addresses}, "task": task}) for task in tasks]


def prepare(launcher: int) -> None:
    """Is called in a worker before its program: between fork and exec, where little may be done.

    SIGUSR1, which would kill it, is left unheard until it listens. It gets SIGTERM should its
    launcher be killed; macOS has no such thing.
    """
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    if PRCTL is not None:
        PRCTL(PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != launcher:  # it has been killed already
            os._exit(1)
