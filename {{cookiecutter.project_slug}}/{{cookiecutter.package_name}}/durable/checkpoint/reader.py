"""Reading checkpoints: every byte against its checksum."""

import re
from collections.abc import Iterable

import numpy as np
import tensorflow as tf
from etils import epath

from ..errors import CardMissing, DamagedCheckpoint
from .card import CARD_KEY, Card
from .structure import VariableEntry

# Damage shows in many ways: what is raised depends on which byte is met first.
UNREADABLE = (tf.errors.OpError, IndexError, KeyError, RuntimeError, TypeError, ValueError)


def read_card(checkpoint: epath.PathLike) -> Card:
    """Reads the card of a checkpoint, given its path without `.index`.

    Raises:
        DamagedCheckpoint: it is not there, or its files are damaged.
        CardMissing: it is a checkpoint, and has no card.
    """
    try:
        reader = tf.train.load_checkpoint(str(checkpoint))
        has_card = reader.has_tensor(CARD_KEY)
        card = Card.from_json(reader.get_tensor(CARD_KEY)) if has_card else None
    except UNREADABLE as error:
        raise damage_from(checkpoint, error) from error
    if card is None:
        raise CardMissing(epath.Path(checkpoint))
    return card


def read_tensors(checkpoint: epath.PathLike) -> dict[str, tf.Tensor]:
    """Reads everything in a checkpoint, by key. TensorFlow checks each tensor's checksum.

    Raises:
        DamagedCheckpoint: it is not there, or its files are damaged.
    """
    try:
        reader = tf.train.load_checkpoint(str(checkpoint))
        types = reader.get_variable_to_dtype_map()
        with tf.device("CPU:0"):
            tensors = tf.raw_ops.RestoreV2(
                prefix=str(checkpoint),
                tensor_names=list(types),
                shape_and_slices=[""] * len(types),
                dtypes=list(types.values()),
            )
    except UNREADABLE as error:
        raise damage_from(checkpoint, error) from error
    return dict(zip(types, tensors, strict=True))


def read_variables(
    checkpoint: epath.PathLike, entries: Iterable[VariableEntry]
) -> dict[str, tf.Tensor]:
    """Reads a whole checkpoint and gives the values of the entries, by path.

    Raises:
        DamagedCheckpoint: a value is missing, or is not what its entry says, or cannot be read.
    """
    tensors = read_tensors(checkpoint)
    values = {}
    for entry in entries:
        value = tensors.get(entry.key)
        if value is None or value.shape != entry.shape or value.dtype.name != entry.dtype:
            reason = f"{entry.path} is not what the card says"
            raise DamagedCheckpoint(epath.Path(checkpoint), reason)
        values[entry.path] = value
    return values


def damage_from(checkpoint: epath.PathLike, error: Exception) -> DamagedCheckpoint:
    """What an error in reading says of the checkpoint, in one line, without TensorFlow's notes."""
    reason = re.sub(r"\{\{.*?\}\}|\[Op:.*?\]", "", str(error))
    reason = " ".join(reason.split()) or type(error).__name__
    return DamagedCheckpoint(epath.Path(checkpoint), reason[:200])


class Tensors:
    """The tensors of a checkpoint, by the key that TensorFlow saves each under.

    Attributes:
        keys: all of them, in the order in which the files hold them.

    Raises:
        DamagedCheckpoint: on making it, if the checkpoint is not there or its index is damaged.
    """

    def __init__(self, checkpoint: epath.Path) -> None:
        self._checkpoint = checkpoint
        try:
            self._reader = tf.train.load_checkpoint(str(checkpoint))
            self.keys = sorted(self._reader.get_variable_to_shape_map())
        except UNREADABLE as error:
            raise damage_from(checkpoint, error) from error

    def read(self, key: str) -> np.ndarray:
        """Reads a tensor, of any shape and dtype. TensorFlow checks its checksum.

        Raises:
            DamagedCheckpoint: it is missing or damaged.
        """
        try:
            value = self._reader.get_tensor(key)
        except UNREADABLE as error:
            raise damage_from(self._checkpoint, error) from error
        return np.asarray(value, object if isinstance(value, bytes) else None)

    def fits(self, entry: VariableEntry) -> bool:
        """Whether a variable is there as the card describes it."""
        if not self._reader.has_tensor(entry.key):
            return False
        shape = self._reader.get_variable_to_shape_map()[entry.key]
        dtype = self._reader.get_variable_to_dtype_map()[entry.key]
        return tuple(shape) == entry.shape and dtype.name == entry.dtype
