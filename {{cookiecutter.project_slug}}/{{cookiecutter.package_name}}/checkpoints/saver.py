"""Saving through the shadow: a checkpoint is whole and on the disk, or it is not there."""

import tensorflow as tf
from etils import epath

from . import files
from .card import Card
from .shadow import Shadow


class Saver:
    """Writes checkpoints, and waits until each is on the disk."""

    def __init__(self, checkpoint: tf.train.Checkpoint) -> None:
        self._shadow = Shadow(checkpoint)

    def save(self, path: epath.Path, card: Card) -> None:
        """Saves the state as the checkpoint `path`; on an error nothing is left of it."""
        self._shadow.take()
        temporary = files.temporary_folder(path)
        temporary.mkdir(parents=True, exist_ok=True)
        try:
            self._shadow.write(temporary / path.name, card)
            files.put_in_place(temporary / path.name, path)
        finally:
            files.clear_unfinished(path)
