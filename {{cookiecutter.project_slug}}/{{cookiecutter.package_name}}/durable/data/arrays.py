"""A data set in memory: batch number `step` of a run, by index arithmetic alone.

There is no shuffle buffer and no iterator to save: the order of an epoch is a permutation that
depends on the seed and the epoch, so that any step can be sought at once.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from hashlib import sha256
from typing import Any

import numpy as np
import tensorflow as tf

from ..errors import ConfigurationError

# Its own constant seed: every run, whatever its seed, holds out the same examples.
SPLIT_SEED = (1797, 64)


@dataclass(frozen=True)
class ArrayData:
    """Examples in memory, split for training and validation; a `Data`.

    Attributes:
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

    training: Any
    validation: Any
    batch_size: int
    details: Mapping[str, Any] = field(default_factory=dict)
    augment: Callable[[Any, tf.Tensor], Any] | None = None

    def __post_init__(self) -> None:
        if self.steps_per_epoch == 0:
            raise ConfigurationError(
                f"There are {length(self.training)} examples for training, fewer than one batch "
                f"of {self.batch_size}: give more examples or a smaller batch size."
            )

    @property
    def steps_per_epoch(self) -> int:
        """Whole batches in an epoch; the few examples left over are others in each epoch."""
        return length(self.training) // self.batch_size

    @cached_property
    def identity(self) -> dict[str, Any]:
        """The details, and a fingerprint: the first 16 hexadecimal digits of a SHA-256."""
        digest = sha256()
        for array in tf.nest.flatten((self.training, self.validation)):
            digest.update(array_bytes(array))
        return {"data": digest.hexdigest()[:16], **self.details}

    @cached_property
    def element_spec(self) -> Any:
        """The specs of a training batch."""
        return self.batches(0, 0, 1).element_spec

    def batches(self, seed: int, start: int, stop: int) -> tf.data.Dataset:
        """The training batches of the steps `start` to `stop - 1`.

        Seeking costs the same whatever `start` is. The randomness of the augmentation comes from
        the seed, the step and the position in the batch.
        """
        examples = tf.nest.map_structure(tf.constant, self.training)
        batch_size, steps_per_epoch = self.batch_size, self.steps_per_epoch
        size = length(self.training)

        def batch(step: tf.Tensor) -> Any:
            epoch, position = step // steps_per_epoch, step % steps_per_epoch
            places = position * batch_size + tf.range(batch_size, dtype=tf.int64)
            indices = shuffle(places, tf.stack([seed, epoch]), size)
            chosen = tf.nest.map_structure(lambda array: tf.gather(array, indices), examples)
            return self.augment(chosen, tf.stack([seed, step])) if self.augment else chosen

        options = tf.data.Options()
        options.autotune.enabled = False  # for batches this cheap, tuning costs more than it gains
        return tf.data.Dataset.range(start, stop).map(batch).prefetch(2).with_options(options)

    def validation_batches(self) -> tf.data.Dataset:
        """The held-out examples, in their order, in batches as large as the training's."""
        return tf.data.Dataset.from_tensor_slices(self.validation).batch(self.batch_size)


def hold_out(examples: Any, share: float) -> tuple[Any, Any]:
    """Splits examples at random, always in the same way.

    Args:
        examples: any nest of arrays whose first axis counts the examples; at least two.
        share: of the examples to hold out, between 0 and 1; at least one is.

    Returns:
        Those to train on, and those held out.
    """
    size = length(examples)
    order = shuffle(tf.range(size, dtype=tf.int64), SPLIT_SEED, size).numpy()
    count = max(1, int(size * share))
    held_out, rest = order[:count], order[count:]
    return (
        tf.nest.map_structure(lambda array: array[rest], examples),
        tf.nest.map_structure(lambda array: array[held_out], examples),
    )


def length(examples: Any) -> int:
    """How many examples there are."""
    return len(tf.nest.flatten(examples)[0])


def array_bytes(array: np.ndarray) -> bytes | memoryview:
    """What tells an array from others: its bytes, or its texts."""
    if array.dtype == object:
        return "\0".join(map(str, array.ravel())).encode()
    return np.ascontiguousarray(array).data


def shuffle(places: tf.Tensor, seed: tf.Tensor | tuple[int, int], size: int) -> tf.Tensor:
    """Where the permutation of 0 … size - 1 that `seed` gives puts the places.

    It takes one seed for all places: TensorFlow's form with a seed for each is broken.
    """
    return tf.random.experimental.index_shuffle(places, seed=seed, max_index=size - 1)
