"""Blocking and background saves through the shadow: whole and on the disk, or not there."""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

import tensorflow as tf
from etils import epath

from . import files
from .card import Card
from .shadow import Shadow


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
            files.put_in_place(temporary / path.name, path)
        finally:
            files.clear_unfinished(path)
        afterwards()
