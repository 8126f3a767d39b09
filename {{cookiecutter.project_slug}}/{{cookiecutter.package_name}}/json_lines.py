"""Files with one JSON object a line, each with the step it belongs to."""

import json
import logging
from typing import Any

from etils import epath

from .checkpoints.files import write_text

log = logging.getLogger(__name__)


def read_objects(path: epath.Path) -> list[dict[str, Any]]:
    """The objects in a file, without a last one that was cut short; none where there is no file."""
    return [found for line in read_lines(path) if (found := parse(line)) is not None]


def lines_after(path: epath.Path, step: int) -> str:
    """The lines of a file that `rewind_lines` removes."""
    return "".join(line for line in read_lines(path) if step_of(line) not in range(step + 1))


def rewind_lines(path: epath.Path, step: int) -> None:
    """Removes the lines after a step, and a last one that was cut short."""
    if not path.exists():
        return
    lines = read_lines(path)
    steps = [step_of(line) for line in lines]
    for number, found in enumerate(steps[:-1], start=1):
        if found is None:
            log.warning("Line %d of %s cannot be read; it is left out.", number, path)
    kept = [line for line, found in zip(lines, steps, strict=True) if found in range(step + 1)]
    write_text(path, "".join(kept))


def read_lines(path: epath.Path) -> list[str]:
    """The lines of a file with their ends; none where there is no file."""
    if not path.exists():
        return []
    return path.read_bytes().decode(errors="replace").splitlines(keepends=True)


def step_of(line: str) -> int | None:
    """The step of a whole line; None where it cannot be read."""
    found = parse(line)
    return None if found is None else found["step"]


def parse(line: str) -> dict[str, Any] | None:
    """The object of a whole line, if it has a step; None where it cannot be read."""
    try:
        found = json.loads(line) if line.endswith("\n") else None
    except ValueError:
        return None
    return found if isinstance(found, dict) and isinstance(found.get("step"), int) else None
