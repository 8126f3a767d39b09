"""Trackers: MLflow or Weights & Biases get what `metrics.jsonl` has, once a save covers it.

A tracker adds and cannot forget, while the log of a killed run is taken back to its last checkpoint
and written again. So a line is sent when a checkpoint has it, and each tracker is asked first what
it has got.
"""

import logging
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass, fields, replace
from types import NoneType
from typing import Any, Protocol
from uuid import uuid4

from ..errors import ConfigurationError, in_one_line
from ..files import strict_json, write_text
from ..untrusted import ANY, require_kinds
from .history import CHECKPOINT, read_history, read_objects
from .paths import RunPaths
from .references import newest_step
from .settings import RunSettings, read_settings

log = logging.getLogger(__name__)

FORKS = ("fork", "partial fork")
TRACKED = {
    "id": str,
    "parent": (str, NoneType),
    "parent_id": (str, NoneType),
    "rewind": (str, NoneType),
    "last": int,
}


@dataclass(frozen=True)
class TrackedRun:
    """What a run is to a tracker.

    Attributes:
        id: chosen here, so that a start that was killed finds what it has made.
        parent: the checkpoint that it was forked from or rewound to, RUN@STEP.
        parent_id: of the tracked run that had it.
        rewind: names the last rewind of the run: one after another rewind is another.
        last: the last step that was sent when it was closed.
    """

    id: str
    parent: str | None = None
    parent_id: str | None = None
    rewind: str | None = None
    last: int = -1

    def described(self, paths: RunPaths) -> dict[str, str]:
        """What is told of it besides its settings."""
        told = {"run": paths.run, "folder": str(paths.folder), "parent": self.parent}
        return {name: value for name, value in told.items() if value is not None}


class Tracker(Protocol):
    """A tracked run, which goes on; opened, it asks what it has got."""

    def __init__(self, run: TrackedRun, config: RunSettings, paths: RunPaths) -> None: ...

    @staticmethod
    def prepare() -> None:
        """Called before training.

        Raises:
            ConfigurationError: it is not installed, or nobody has logged in.
        """

    def send(self, lines: Sequence[Mapping[str, Any]]) -> None:
        """Adds those lines of a log that it has not got, in their order."""

    def close(self, *, failed: bool) -> None:
        """Waits until all has arrived."""


class Tracking:
    """Sends to a tracker what the checkpoints of a run cover, in a thread.

    A tracker that fails does not end training: it is told once, and tried again at the next save.

    Args:
        config: names the tracker.
        paths: of the run, whose history tells how it began.
        kind: the tracker, which is prepared.
    """

    def __init__(self, config: RunSettings, paths: RunPaths, kind: type[Tracker]) -> None:
        self._kind = kind
        self._config = config
        self._paths = paths
        self._run = tracked_run(config.track, paths)
        self._tracker: Tracker | None = None
        self._sent = -1
        self._told = False
        self._pool = ThreadPoolExecutor(1, "tracker")
        self._sending: Future[None] | None = None

    def update(self) -> None:
        """Begins to send what the newest checkpoint covers, unless it is being done."""
        step = newest_step(self._paths)
        if step > self._sent and (self._sending is None or self._sending.done()):
            self._sending = self._pool.submit(self._send, step)

    def close(self, *, failed: bool = False) -> None:
        """Sends what is left, and waits for it."""
        if self._sending is not None:
            self._sending.result()
        self.update()
        self._pool.submit(self._close, failed=failed).result()
        self._pool.shutdown()

    def _send(self, step: int) -> None:
        lines = read_objects(self._paths.metrics)
        try:
            if self._tracker is None:
                self._tracker = self._kind(self._run, self._config, self._paths)
            self._tracker.send([line for line in lines if self._sent < line["step"] <= step])
            self._sent = step
        except Exception as error:  # each tracker has errors of its own
            self._tracker, self._sent = None, -1  # another one asks again what has arrived
            if not self._told:
                log.warning(
                    "%s has failed: %s. Training goes on; what is missing is sent at a later save.",
                    self._kind.__name__,
                    in_one_line(error),
                )
            self._told = True

    def _close(self, *, failed: bool) -> None:
        try:
            if self._tracker is not None:
                self._tracker.close(failed=failed)
                keep(self._config.track, self._paths, replace(self._run, last=self._sent))
                return
            reason = "it has failed"
        except Exception as error:
            reason = in_one_line(error)
        log.warning(
            "%s has not got all: %s. The same command sends the rest.", self._kind.__name__, reason
        )


def tracked_run(tracker: str, paths: RunPaths) -> TrackedRun:
    """What a run is to a tracker: a new one at first, and after a rewind."""
    found = read_kept(paths).get(tracker)
    kept = TrackedRun(**found) if found else None
    events = read_history(paths)
    rewinds = [event for event in events if "superseded" in event]
    rewind = rewinds[-1]["superseded"] if rewinds else None
    if kept is not None and kept.rewind == rewind:
        return kept
    parent: str | None = None
    parent_id: str | None = None
    if rewinds:
        parent, parent_id = f"{paths.run}@{rewinds[-1]['step']}", kept.id if kept else None
    elif forks := [event for event in events if is_fork(event)]:
        parent = forks[0]["sources"][0]
        run_of_parent = parent.rpartition("@")[0]
        parent_id = read_kept(paths.of(run_of_parent)).get(tracker, {}).get("id")
    run = TrackedRun(uuid4().hex, parent, parent_id, rewind)
    keep(tracker, paths, run)
    return run


def is_fork(event: Mapping[str, Any]) -> bool:
    """Whether an event made the run from a checkpoint of another one."""
    sources = event.get("sources", [])[:1]
    return event["event"] in FORKS and any(map(CHECKPOINT.fullmatch, sources))


def keep(tracker: str, paths: RunPaths, run: TrackedRun) -> None:
    """Keeps what the run is to a tracker, beside what it is to others."""
    write_text(paths.tracking, strict_json(read_kept(paths) | {tracker: asdict(run)}, indent=2))


def read_kept(paths: RunPaths) -> dict[str, Any]:
    """What a run is to each tracker that it was sent to."""
    kept = read_settings(paths.tracking)
    try:
        require_kinds(kept, {ANY: TRACKED}, str(paths.tracking))
    except TypeError as error:
        raise ConfigurationError(
            f"{error}: nothing tells any more what the tracker has got. Restore the file, or "
            "remove it to begin a new tracked run."
        ) from error
    names = {field.name for field in fields(TrackedRun)}  # a newer edition may say more
    return {
        tracker: {name: value for name, value in run.items() if name in names}
        for tracker, run in kept.items()
    }
