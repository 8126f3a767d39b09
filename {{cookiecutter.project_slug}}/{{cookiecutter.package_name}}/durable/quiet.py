"""Keeps off the screen what TensorFlow prints as it starts. Its errors still come through."""

import contextlib
import ctypes
import os
import re
import select
import signal
import sys
import threading
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

# How a line of TensorFlow's log begins: in the format of absl, or in its own older one.
_HEAD = rb"(?:[IWE]\d{4} [\d:.]+ +\d+ |\d{4}-\d\d-\d\d [\d:.]+: [IWE] (?:[\w.-]+/)+)"
_TEXTS = (
    rb"port\.cc:\d+\] oneDNN custom operations are on\. .*",
    rb"cpu_feature_guard\.cc:\d+\] This TensorFlow binary is optimized to use .*",
    rb"cudart_stub\.cc:\d+\] Could not find cuda drivers on your machine, .*",
    rb"cuda_\w+\.cc:\d+\] Unable to register cu\w+ factory: .* has already been registered",
    rb"computation_placer\.cc:\d+\] computation placer already registered\. .*",
    rb"py_utils\.cc:\d+\] TF-TRT Warning: Could not find TensorRT",
    # There is no driver. It is another error, which is shown, that a driver finds no GPU.
    rb"cuda_\w+\.cc:\d+\] failed call to cuInit: .* UNKNOWN ERROR \(303\)",
)
_MORE = rb"(?:\nTo enable the following instructions: .*|\n=== Source Location Trace: .*\n.*\n)?"
_NOTICE = rb"WARNING: All log messages before absl::InitializeLog\(\) is called are written to .*"
_CHATTER = re.compile(
    rb"^(?:%b|%b(?:%b)%b)\n" % (_NOTICE, _HEAD, rb"|".join(_TEXTS), _MORE), flags=re.MULTILINE
)
_START = re.compile(rb"WARNING: All|[IWE]\d{4} |\d{4}-\d\d-")
_PATIENCE = 5  # seconds
_YES = ("1", "true", "True")  # as TensorFlow reads it


def import_tensorflow() -> None:
    """Imports TensorFlow without its chatter; ends the process where it or its Keras is missing."""
    if os.environ.get("TF_USE_LEGACY_KERAS") in _YES and find_spec("tf_keras") is None:
        message = "TF_USE_LEGACY_KERAS is set, and tf_keras is not installed: unset it, or install"
        print(f"{message} tf-keras of the version of TensorFlow.", file=sys.stderr)
        sys.exit(2)
    if find_spec("tensorflow") is None:
        print("This needs TensorFlow, which is not installed here.", file=sys.stderr)
        sys.exit(2)
    with chatter_dropped():
        import tensorflow as tf  # noqa: PLC0415  (not before the filter is in place)

        try:
            ctypes.CDLL("libcuda.so.1")
        except OSError:  # no driver: TensorFlow says so when it first looks for GPUs, which is now
            tf.config.list_physical_devices()


@contextlib.contextmanager
def chatter_dropped() -> Iterator[None]:
    """Drops TensorFlow's chatter from file descriptor 2; all else passes at once, unchanged.

    It is C++ that prints, maybe just before it crashes: what filters it is a process of its own,
    which passes on the last words as well. Where there can be none, nothing is dropped.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # errors only
    with contextlib.ExitStack() as at_the_end:
        if hasattr(os, "fork") and _has_one_thread() and "tensorflow" not in sys.modules:
            with contextlib.suppress(OSError):  # no standard error, or no room for a process
                at_the_end.callback(_stop, *_start())
        yield


def _has_one_thread() -> bool:
    tasks = Path("/proc/self/task")  # on Linux, where libraries' own threads count as well
    return (len(list(tasks.iterdir())) if tasks.exists() else threading.active_count()) == 1


def _start() -> tuple[int, int, int]:
    """Puts the filter in; gives its process, a pipe that ends with it, and standard error."""
    screen = os.dup(2)
    source, sink = os.pipe()
    ended, end = os.pipe()
    # They stay blocked in the filter: a signal to all must not end it before it has passed on all.
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    try:
        process = os.fork()
        if process == 0:
            _filter(source, end)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    os.dup2(sink, 2)
    for descriptor in (source, sink, end):
        os.close(descriptor)
    return process, ended, screen


def _stop(process: int, ended: int, screen: int) -> None:
    """Puts standard error back, and waits until the filter has passed on all."""
    os.dup2(screen, 2)
    # Not for ever: it lives on where a process that was started meanwhile still prints through it.
    if select.select([ended], [], [], _PATIENCE)[0]:
        with contextlib.suppress(ChildProcessError):  # the system reaps it if SIGCHLD is ignored
            os.waitpid(process, 0)
    os.close(ended)
    os.close(screen)


def _filter(source: int, end: int) -> None:
    """Is the life of the other process: it never returns."""
    try:
        os.dup2(source, 0)
        os.dup2(end, 1)
        os.closerange(3, 1 << 16)  # with the sink among them, it would wait for itself
        _sift()
    finally:
        os._exit(0)


def _sift() -> None:
    """Copies standard input to standard error, without the chatter."""
    held = b""  # an incomplete line that may become chatter
    inside = False  # whether the beginning of a line has been written
    while received := os.read(0, 1 << 16):
        if inside:
            rest, newline, received = received.partition(b"\n")
            os.write(2, rest + newline)
            inside = not newline
        lines, newline, held = (held + received).rpartition(b"\n")
        os.write(2, _CHATTER.sub(b"", lines + newline))
        if held and not _START.match(held):
            os.write(2, held)
            held, inside = b"", True
    os.write(2, held)
