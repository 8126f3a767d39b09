"""Examples in memory."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import tensorflow as tf

from .indexed import IndexedData, shuffle

# Its own constant seed: every run, whatever its seed, holds out the same examples.
SPLIT_SEED = (1797, 64)


@dataclass(frozen=True)
class ArrayExamples:
    """Examples in memory.

    Attributes:
        arrays: (x, y) or (x, y, weight), each any nest of arrays whose first axis counts the
            examples.
    """

    arrays: Any

    def __len__(self) -> int:
        return length(self.arrays)

    def take(self, indices: tf.Tensor) -> Any:
        """The batch of the examples with these numbers."""
        return tf.nest.map_structure(lambda array: tf.gather(array, indices), self._tensors)

    def content(self) -> Iterator[bytes | memoryview]:
        """The bytes of each array, or its texts."""
        for array in tf.nest.flatten(self.arrays):
            if array.dtype == object:
                yield "\0".join(map(str, array.ravel())).encode()
            else:
                yield np.ascontiguousarray(array).data

    def where(self, number: int) -> str:
        """Its number: it is in no file that is known here."""
        return f"Example {number}"

    @cached_property
    def _tensors(self) -> Any:
        with tf.init_scope():  # once, and not as constants in each graph
            return tf.nest.map_structure(tf.constant, self.arrays)


class ArrayData(IndexedData):
    """Examples in memory, split for training and validation; a `Data`.

    Args:
        training: the examples to learn from: (x, y) or (x, y, weight), each any nest of arrays
            whose first axis counts the examples.
        validation: the examples held out, of the same form.
        batch_size: examples per step.
        details: more of what one run must keep of its data, as JSON can hold it.
        augment: changes a training batch at random, given it and a seed of shape (2,); a function
            of the two alone.

    Raises:
        ConfigurationError: there are fewer training examples than one batch needs.
    """

    training: ArrayExamples
    validation: ArrayExamples

    def __init__(
        self,
        training: Any,
        validation: Any,
        batch_size: int,
        details: Mapping[str, Any] | None = None,
        augment: Callable[[Any, tf.Tensor], Any] | None = None,
    ) -> None:
        examples = ArrayExamples(training), ArrayExamples(validation)
        super().__init__(*examples, batch_size, dict(details or {}), augment)


def hold_out(examples: Any, share: float) -> tuple[Any, Any]:
    """Splits examples at random, always in the same way.

    Args:
        examples: any nest of arrays whose first axis counts the examples; at least two.
        share: of the examples to hold out, between 0 and 1; at least one is.

    Returns:
        Those to train on, and those held out.
    """
    held_out, rest = hold_out_numbers(length(examples), share)
    return (
        tf.nest.map_structure(lambda array: array[rest], examples),
        tf.nest.map_structure(lambda array: array[held_out], examples),
    )


def hold_out_numbers(size: int, share: float) -> tuple[np.ndarray, np.ndarray]:
    """The numbers of the examples to hold out, and of the others: (examples,) int64 each.

    The same for one size and share, whatever the seed of the run.
    """
    order = shuffle(tf.range(size, dtype=tf.int64), SPLIT_SEED, size).numpy()
    count = max(1, int(size * share))
    return order[:count], order[count:]


def length(examples: Any) -> int:
    """How many examples there are."""
    return len(tf.nest.flatten(examples)[0])
