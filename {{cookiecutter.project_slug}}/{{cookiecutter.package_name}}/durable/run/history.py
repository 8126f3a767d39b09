"""What a run keeps of its past, and how it is rewound: its history, its log and its curves.

The history tells when it was started, resumed, forked from another and rewound.
"""

import logging
import re
import struct
import time
from collections.abc import Iterator
from typing import Any

from etils import epath
from google.protobuf.message import DecodeError
from tensorboard.compat.proto.event_pb2 import Event

from ..checkpoint.bundle import STEP
from ..checkpoint.index import masked_checksum
from ..files import (
    TEMPORARY,
    append_text,
    exists,
    make_folder,
    matching,
    size_of,
    strict_json,
    synchronize,
    write_text,
)
from ..remote import storage_errors
from ..untrusted import Maybe, fits, is_count, is_regular, parse_json, read_bytes
from .paths import RunPaths, SupersededPaths

log = logging.getLogger(__name__)

# What the names of TensorBoard's files begin with, and what those that were set aside do.
EVENTS = "events.out.tfevents."
SUPERSEDED_EVENTS = "events.out.superseded."
HEAD_SIZE, FRAME_SIZE = 12, 16  # bytes before a record, and around it
LONGEST_LINE = 1 << 20  # letters
CHECKPOINT = re.compile(rf"\w[\w.-]*@{STEP}")  # as an event names one of another run
EVENT = {
    "event": str,
    "time": (int, float),
    "sources": Maybe([str]),
    "superseded": Maybe(re.compile(r"\d+T\d+Z(-\d+)?")),
}


def record(paths: RunPaths, event: str, step: int, **details: Any) -> None:
    """Adds an event to the history of a run.

    Args:
        paths: of the run.
        event: start, resume, fork, average, import or rewind.
        step: at which the run goes on.
        details: more about the event, as JSON can hold it.
    """
    entry = {"event": event, "step": step, **details, "time": round(time.time(), 3)}
    try:
        append_text(paths.history, strict_json(entry) + "\n")
    except storage_errors(paths.history) as error:  # a full disk must not keep a run from going on
        log.warning("%s could not be written: %s", paths.history, error)


def read_history(paths: RunPaths) -> list[dict[str, Any]]:
    """The events of a run, in their order."""
    return read_events(paths.history)


def read_events(path: epath.Path) -> list[dict[str, Any]]:
    """The events in a file, in their order; a line that is none is left out."""
    return [entry for entry in read_objects(path) if fits(entry, EVENT)]


def read_objects(path: epath.Path) -> list[dict[str, Any]]:
    """The objects in a file, without a last one that was cut short; none where there is no file."""
    return [found for line in read_lines(path) if (found := parse_line(line)) is not None]


def lines_after(path: epath.Path, step: int) -> str:
    """The lines of a file that `rewind_lines` removes."""
    return "".join(line for line in read_lines(path) if step_of_line(line) not in range(step + 1))


def rewind_lines(path: epath.Path, step: int) -> None:
    """Removes the lines after a step, and a last one that was cut short."""
    if not exists(path):
        return
    lines = read_lines(path)
    steps = [step_of_line(line) for line in lines]
    for number, found in enumerate(steps[:-1], start=1):
        if found is None:
            log.warning("Line %d of %s cannot be read; it is left out.", number, path)
    kept = [line for line, found in zip(lines, steps, strict=True) if found in range(step + 1)]
    write_text(path, "".join(kept))


def read_lines(path: epath.Path) -> list[str]:
    """The lines of a file with their ends; none where there is no file."""
    try:
        return read_bytes(path).decode(errors="replace").splitlines(keepends=True)
    except FileNotFoundError:
        return []


def step_of_line(line: str) -> int | None:
    """The step of a whole line; None where it cannot be read."""
    found = parse_line(line)
    return None if found is None else found["step"]


def parse_line(line: str) -> dict[str, Any] | None:
    """The object of a whole line, if it has a step; None where it cannot be read."""
    try:
        found = parse_json(line) if line.endswith("\n") and len(line) <= LONGEST_LINE else None
    except ValueError:
        return None
    return found if isinstance(found, dict) and is_count(found.get("step")) else None


def rewind_log(paths: RunPaths, step: int) -> None:
    """Removes what was logged after a step. What a rewind had set aside is a log again."""
    rewind_lines(paths.metrics, step)
    for events in matching(paths.tensorboard, f"{SUPERSEDED_EVENTS}*"):
        events.rename(events.parent / events.name.replace(SUPERSEDED_EVENTS, EVENTS))
    for left_over in matching(paths.tensorboard, f"*{TEMPORARY}"):
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
    return [*filter(is_regular, matching(tensorboard, f"{EVENTS}*"))]


def rewind_events(path: epath.Path, step: int) -> None:
    """Removes the events after a step from a TensorBoard file, and what was cut short."""
    temporary = path.parent / f"{path.name}{TEMPORARY}"
    with temporary.open("wb") as file:
        for record, event in whole_records(path):
            if event.step <= step:
                file.write(record)
    synchronize(temporary)
    temporary.replace(path)
    synchronize(path.parent)


def copy_events(path: epath.Path, step: int, target: epath.Path) -> None:
    """Copies the events after a step, and the version of the file, to another TensorBoard file."""
    with target.open("wb") as file:
        for record, event in whole_records(path):
            if event.step > step or event.HasField("file_version"):
                file.write(record)
    synchronize(target)
    synchronize(target.parent)


def whole_records(path: epath.Path) -> Iterator[tuple[bytes, Event]]:
    """The records of a TensorBoard file, up to one that a killed process left unfinished.

    Each has its length before it and is followed by its checksum, as in all record files of
    TensorFlow (https://www.tensorflow.org/tutorials/load_data/tfrecord#tfrecords_format_details).

    Returns:
        Each as it is in the file, and the event in it.
    """
    left = size_of(path)
    with path.open("rb") as file:
        while left >= FRAME_SIZE:
            head = file.read(HEAD_SIZE)
            length, checksum = struct.unpack("<QI", head)
            left -= length + FRAME_SIZE
            if masked_checksum(head[:8]) != checksum or left < 0:
                return
            content, tail = file.read(length), file.read(FRAME_SIZE - HEAD_SIZE)
            if tail != struct.pack("<I", masked_checksum(content)):
                return
            try:
                yield head + content + tail, Event.FromString(content)
            except DecodeError:
                return
