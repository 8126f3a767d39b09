"""Windows of a series: its past, and what came next."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import tensorflow as tf


@dataclass(frozen=True)
class WindowExamples:
    """Every window of a part of a series, by the place where it begins; `Examples`.

    A series is held in memory once, and a window cut out of it when it is asked for.

    Attributes:
        values: the part of the series: (times, columns), of a floating type. No window reaches
            beyond it, so that parts without a common row have no common window either.
        history: how many times a window knows, at least one.
        horizon: how many follow, which are to be found, at least one.
        target: the column that is to be found.
    """

    values: np.ndarray
    history: int
    horizon: int
    target: int = 0

    def __len__(self) -> int:
        return max(0, len(self.values) - self.history - self.horizon + 1)

    def take(self, indices: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """The windows with these numbers.

        Returns:
            All columns of the past (batch, history, columns), and the target's values from then on
            (batch, horizon).
        """
        first = indices[:, None]
        past = first + tf.range(self.history, dtype=indices.dtype)
        future = first + self.history + tf.range(self.horizon, dtype=indices.dtype)
        return tf.gather(self._series, past), tf.gather(self._series[:, self.target], future)

    def content(self) -> Iterator[bytes | memoryview]:
        """The bytes of the series, and how windows are cut out of it."""
        yield np.ascontiguousarray(self.values).data
        yield repr((self.history, self.horizon, self.target)).encode()

    def where(self, number: int) -> str:
        """The place where it begins."""
        return f"The window that begins at row {number}"

    @cached_property
    def _series(self) -> tf.Tensor:
        with tf.init_scope():  # once, and not as a constant in each graph
            return tf.constant(self.values)
