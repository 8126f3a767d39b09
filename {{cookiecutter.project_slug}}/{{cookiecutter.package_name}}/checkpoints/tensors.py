"""Reading a checkpoint one tensor at a time, so that memory holds no more than the largest."""

import numpy as np
import tensorflow as tf
from etils import epath

from .reader import UNREADABLE, damaged
from .structure import VariableEntry


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
            raise damaged(checkpoint, error) from error

    def read(self, key: str) -> np.ndarray:
        """Reads a tensor, of any shape and dtype. TensorFlow checks its checksum.

        Raises:
            DamagedCheckpoint: it is missing or damaged.
        """
        try:
            value = self._reader.get_tensor(key)
        except UNREADABLE as error:
            raise damaged(self._checkpoint, error) from error
        return np.asarray(value, object if isinstance(value, bytes) else None)

    def fits(self, entry: VariableEntry) -> bool:
        """Whether a variable is there as the card describes it."""
        if not self._reader.has_tensor(entry.key):
            return False
        shape = self._reader.get_variable_to_shape_map()[entry.key]
        dtype = self._reader.get_variable_to_dtype_map()[entry.key]
        return tuple(shape) == entry.shape and dtype.name == entry.dtype
