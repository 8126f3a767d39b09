"""The history of a run: when it was started, resumed, forked from another and rewound."""

import logging
import re
import time
from typing import Any

from etils import epath

from ..checkpoint.bundle import STEP
from ..files import append_text, strict_json, write_text
from ..untrusted import Maybe, is_count, parse_json, read_bytes, require_kinds
from .paths import RunPaths

log = logging.getLogger(__name__)

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
    except OSError as error:  # a full disk must not keep a run from going on
        log.warning("%s could not be written: %s", paths.history, error)


def read_history(paths: RunPaths) -> list[dict[str, Any]]:
    """The events of a run, in their order."""
    return read_events(paths.history)


def read_events(path: epath.Path) -> list[dict[str, Any]]:
    """The events in a file, in their order; a line that is none is left out."""
    return [entry for entry in read_objects(path) if is_event(entry)]


def is_event(entry: dict[str, Any]) -> bool:
    """Whether an object of a history is an event."""
    try:
        require_kinds(entry, EVENT, "an event")
    except TypeError:
        return False
    return True


def read_objects(path: epath.Path) -> list[dict[str, Any]]:
    """The objects in a file, without a last one that was cut short; none where there is no file."""
    return [found for line in read_lines(path) if (found := parse_line(line)) is not None]


def lines_after(path: epath.Path, step: int) -> str:
    """The lines of a file that `rewind_lines` removes."""
    return "".join(line for line in read_lines(path) if step_of_line(line) not in range(step + 1))


def rewind_lines(path: epath.Path, step: int) -> None:
    """Removes the lines after a step, and a last one that was cut short."""
    if not path.exists():
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
