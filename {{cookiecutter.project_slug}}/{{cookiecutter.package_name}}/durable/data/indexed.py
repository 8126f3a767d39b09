"""Examples by number: batch number `step` of a run, by index arithmetic alone.

There is no shuffle buffer and no iterator to save: the order of an epoch is a permutation that
depends on the seed and the epoch, so that any step can be sought at once.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from hashlib import sha256
from typing import Any, Protocol

import tensorflow as tf

from ..errors import ConfigurationError


class Examples(Protocol):
    """Examples that are found by their numbers, 0 to `len(examples) - 1`."""

    def __len__(self) -> int: ...

    def take(self, indices: tf.Tensor) -> Any:
        """The batch of the examples with these numbers, (batch,) int64; called in a graph.

        It is (x, y) or (x, y, weight), each any nest of tensors.
        """
        ...

    def content(self) -> Iterator[bytes | memoryview]:
        """What tells them from others, piece by piece."""
        ...


@dataclass(frozen=True)
class IndexedData:
    """A data set of examples that are found by their numbers; a `Data`.

    Attributes:
        training: the examples to learn from.
        validation: the examples held out, whose batches have the same form.
        batch_size: examples per step.
        details: more of what one run must keep of its data, as JSON can hold it.
        augment: changes a training batch at random, given it and a seed of shape (2,); a function
            of the two alone.
        parallel: how many batches are made at the same time, always in the same order; more than
            one pays where making one takes longer than a step.

    Raises:
        ConfigurationError: there are fewer training examples than one batch needs.
    """

    training: Examples
    validation: Examples
    batch_size: int
    details: Mapping[str, Any] = field(default_factory=dict)
    augment: Callable[[Any, tf.Tensor], Any] | None = None
    parallel: int = 1

    def __post_init__(self) -> None:
        if self.steps_per_epoch == 0:
            raise ConfigurationError(
                f"There are {len(self.training)} examples for training, fewer than one batch "
                f"of {self.batch_size}: give more examples or a smaller batch size."
            )

    @property
    def steps_per_epoch(self) -> int:
        """Whole batches in an epoch; the few examples left over are others in each epoch."""
        return len(self.training) // self.batch_size

    @cached_property
    def identity(self) -> dict[str, Any]:
        """The details, and a fingerprint: the first 16 hexadecimal digits of a SHA-256."""
        digest = sha256()
        for examples in (self.training, self.validation):
            for piece in examples.content():
                digest.update(piece)
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
        batch_size, steps_per_epoch = self.batch_size, self.steps_per_epoch
        size = len(self.training)

        def batch(step: tf.Tensor) -> Any:
            epoch, position = step // steps_per_epoch, step % steps_per_epoch
            places = position * batch_size + tf.range(batch_size, dtype=tf.int64)
            indices = shuffle(places, tf.stack([seed, epoch]), size)
            chosen = self.training.take(indices)
            return self.augment(chosen, tf.stack([seed, step])) if self.augment else chosen

        return self._map(batch, start, stop)

    def validation_batches(self) -> tf.data.Dataset:
        """The held-out examples, in their order, in batches as large as the training's."""
        batch_size, size = self.batch_size, len(self.validation)

        def batch(number: tf.Tensor) -> Any:
            first = number * batch_size
            return self.validation.take(tf.range(first, tf.minimum(first + batch_size, size)))

        return self._map(batch, 0, -(-size // batch_size))

    def _map(self, batch: Callable[[tf.Tensor], Any], start: int, stop: int) -> tf.data.Dataset:
        """The batches that a function makes of the numbers `start` to `stop - 1`."""
        options = tf.data.Options()
        options.autotune.enabled = False  # for batches this cheap, tuning costs more than it gains
        options.deterministic = True
        parallel = self.parallel if self.parallel > 1 else None
        made = tf.data.Dataset.range(start, stop).map(batch, num_parallel_calls=parallel)
        return made.prefetch(2).with_options(options)


def shuffle(places: tf.Tensor, seed: tf.Tensor | tuple[int, int], size: int) -> tf.Tensor:
    """Where the permutation of 0 … size - 1 that `seed` gives puts the places.

    It takes one seed for all places: TensorFlow's form with a seed for each is broken.
    """
    return tf.random.experimental.index_shuffle(places, seed=seed, max_index=size - 1)
