"""The history of a run: when it was started, resumed, forked from another and rewound."""

import json
import logging
import time
from typing import Any

from .checkpoints.files import append_text
from .json_lines import read_objects
from .paths import Paths

log = logging.getLogger(__name__)


def record(paths: Paths, event: str, step: int, **details: Any) -> None:
    """Adds an event to the history of a run.

    Args:
        paths: of the run.
        event: start, resume, fork, average, import or rewind.
        step: at which the run goes on.
        details: more about the event, as JSON can hold it.
    """
    entry = {"event": event, "step": step, **details, "time": round(time.time(), 3)}
    try:
        append_text(paths.history, json.dumps(entry) + "\n")
    except OSError as error:  # a full disk must not keep a run from going on
        log.warning("%s could not be written: %s", paths.history, error)


def read_history(paths: Paths) -> list[dict[str, Any]]:
    """The events of a run, in their order."""
    return read_objects(paths.history)
