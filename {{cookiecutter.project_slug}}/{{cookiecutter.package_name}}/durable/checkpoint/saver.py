"""Blocking and background saves through the shadow: whole and on the disk, or not there."""

import logging
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager
from functools import cached_property
from typing import Any

import tensorflow as tf
from etils import epath

from .. import files
from ..compat import as_variable
from ..errors import SaveFailed
from . import bundle
from .card import Card
from .structure import children

log = logging.getLogger(__name__)

# What a disk that is full, gone or read-only shows as.
SAVING_ERRORS = (OSError, tf.errors.OpError)


class Saver:
    """Writes checkpoints, one at a time.

    Args:
        checkpoint: what to save.
        background: write in a thread, while the live variables go on changing.
    """

    def __init__(self, checkpoint: tf.train.Checkpoint, *, background: bool) -> None:
        self._shadow = Shadow(checkpoint)
        self._writer = ThreadPoolExecutor(1, "checkpoint-writer") if background else None
        self._pending: Future[None] | None = None

    def save(self, path: epath.Path, card: Card, afterwards: Callable[[], None]) -> None:
        """Saves the state as the checkpoint `path`; on an error nothing is left of it.

        Args:
            path: of the checkpoint.
            card: its description.
            afterwards: called once it is on the disk.

        Raises:
            OSError, tf.errors.OpError: it cannot be written. In the background, `collect` raises
                it.
        """
        files.require_space(path.parent, self._shadow.size)
        self._shadow.take()
        if self._writer is None:
            self._write(path, card, afterwards)
        else:
            self._pending = self._writer.submit(self._write, path, card, afterwards)

    def collect(self, *, wait: bool) -> bool:
        """Tells whether a background save has ended since the last call, and raises its error.

        Args:
            wait: until the one that is under way has ended.
        """
        if self._pending is None or not (wait or self._pending.done()):
            return False
        ended, self._pending = self._pending, None
        ended.result()
        return True

    def _write(self, path: epath.Path, card: Card, afterwards: Callable[[], None]) -> None:
        temporary = files.temporary_folder(path)
        temporary.mkdir(parents=True, exist_ok=True)
        try:
            self._shadow.write(temporary / path.name, card)
            bundle.put_in_place(temporary / path.name, path)
        finally:
            bundle.clear_unfinished(path)
        afterwards()


class Shadow:
    """A copy of every variable of a checkpoint, in an object graph of the same shape.

    `tf.train.Checkpoint(...).restore()` reads what it writes, as if the original had written it.
    The price is the memory of one more copy of the state.
    """

    def __init__(self, checkpoint: tf.train.Checkpoint) -> None:
        self._graph = tf.train.Checkpoint()
        self._pairs: list[tuple[tf.Variable, tf.Variable]] = []
        self._mirror(checkpoint)
        self._graph.card = tf.Variable("", dtype=tf.string, trainable=False)

    def _mirror(self, checkpoint: tf.train.Checkpoint) -> None:
        copies: dict[int, Any] = {id(checkpoint): self._graph}
        queue: list[Any] = [checkpoint]
        for node in queue:
            for name, child in children(node).items():
                if id(child) not in copies:
                    copies[id(child)] = self._copy(child)
                    queue.append(child)
                setattr(copies[id(node)], name, copies[id(child)])

    def _copy(self, node: Any) -> tf.Module | tf.Variable:
        variable = as_variable(node)
        if variable is None:
            return tf.Module()
        with tf.device("CPU:0"):
            copy = tf.Variable(variable.read_value(), trainable=False)
        self._pairs.append((variable, copy))
        return copy

    @property
    def size(self) -> int:
        """The size of the copy, in bytes."""
        return sum(copy.shape.num_elements() * copy.dtype.size for _, copy in self._pairs)

    def take(self) -> None:
        """Copies the live variables. TensorFlow shares the memory until one side is changed."""
        self._take()

    @cached_property
    def _take(self) -> tf.types.experimental.ConcreteFunction:
        # In one graph: assigned one by one from Python, thousands of variables would take a while.
        # A concrete one: TensorFlow would take those of several managers for one traced too often.
        return tf.function(self._assign).get_concrete_function()

    def _assign(self) -> None:
        for live, copy in self._pairs:
            copy.assign(live, read_value=False)

    def write(self, checkpoint: epath.Path, card: Card) -> None:
        """Writes what was taken, with a card, as `checkpoint.index` and `checkpoint.data-…`."""
        self._graph.card.assign(card.to_json())
        # Stock TensorFlow numbers its next checkpoint by this counter.
        self._graph.save_counter.assign(card.step)
        self._graph.write(str(checkpoint))


class Failures(AbstractContextManager["Failures"]):
    """Tolerates some failures in a row: save inside of it.

    Args:
        directory: where is saved.
        limit: how many failures in a row are an error.
    """

    def __init__(self, directory: epath.Path, limit: int) -> None:
        self._directory = directory
        self._limit = limit
        self._errors: list[BaseException] = []

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> bool:
        if not isinstance(error, SAVING_ERRORS):
            return False
        self._errors.append(error)
        if len(self._errors) >= self._limit:
            self.raise_last()
        log.warning(
            "Saving to %s failed (%d of %d in a row): %s. Going on; the next save tries again.",
            self._directory,
            len(self._errors),
            self._limit,
            error,
        )
        return True

    def end(self) -> None:
        """Ends the row: a save has succeeded."""
        self._errors.clear()

    def raise_last(self) -> None:
        """Raises SaveFailed if the last save failed."""
        if self._errors:
            error = self._errors[-1]
            raise SaveFailed(self._directory, len(self._errors), error) from error
