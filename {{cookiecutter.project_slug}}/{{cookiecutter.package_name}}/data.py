"""The data: batch number `step` of a run, by index arithmetic alone.

There is no shuffle buffer and no iterator to save: the order of an epoch is a permutation that
depends on the seed and the epoch, so that any step can be sought at once.
"""

from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from typing import Any

import numpy as np
import tensorflow as tf

from .config import DataConfig


@dataclass(frozen=True)
class Examples:
    """Examples in memory.

    Attributes:
        x: (examples, ...) float32.
        y: (examples,) int32 class labels.
    """

    x: np.ndarray
    y: np.ndarray

    def __len__(self) -> int:
        return len(self.y)

    def subset(self, indices: np.ndarray) -> "Examples":
        """The examples at the indices, in that order."""
        return Examples(self.x[indices], self.y[indices])


@dataclass(frozen=True)
class Data:
    """A data set, split for training and validation.

    Attributes:
        training: the examples to learn from.
        validation: the examples held out.
        classes: number of classes.
        config: the settings it was made with.
    """

    training: Examples
    validation: Examples
    classes: int
    config: DataConfig

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of one example."""
        return self.training.x.shape[1:]

    @property
    def steps_per_epoch(self) -> int:
        """Whole batches in an epoch; the few examples left over are others in each epoch."""
        return len(self.training) // self.config.batch_size

    @cached_property
    def fingerprint(self) -> str:
        """Tells this data set from another: the first 16 hexadecimal digits of a SHA-256."""
        digest = sha256()
        for examples in (self.training, self.validation):
            digest.update(np.ascontiguousarray(examples.x).data)
            digest.update(np.ascontiguousarray(examples.y).data)
        return digest.hexdigest()[:16]

    @property
    def identity(self) -> dict[str, Any]:
        """What one run must keep of its data, as JSON keeps it."""
        return {
            "data": self.fingerprint,
            "data.shape": list(self.shape),
            "data.classes": self.classes,
        }

    def batches(self, seed: int, start: int, stop: int) -> tf.data.Dataset:
        """The training batches of the steps `start` to `stop - 1`.

        Seeking costs the same whatever `start` is. The randomness of the augmentation comes from
        the seed, the step and the position in the batch.

        Returns:
            A dataset of (x, y): (batch_size, *shape) float32 and (batch_size,) int32.
        """
        x, y = tf.constant(self.training.x), tf.constant(self.training.y)
        batch_size, steps_per_epoch = self.config.batch_size, self.steps_per_epoch

        def batch(step: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            epoch, position = step // steps_per_epoch, step % steps_per_epoch
            places = position * batch_size + tf.range(batch_size, dtype=tf.int64)
            indices = shuffle(places, tf.stack([seed, epoch]), len(self.training))
            images = tf.gather(x, indices)
            if self.config.shift:
                images = shift_images(images, self.config.shift, tf.stack([seed, step]))
            return images, tf.gather(y, indices)

        options = tf.data.Options()
        options.autotune.enabled = False  # for batches this cheap, tuning costs more than it gains
        return tf.data.Dataset.range(start, stop).map(batch).prefetch(2).with_options(options)

    def validation_batches(self) -> tf.data.Dataset:
        """The held-out examples, in their order, in batches as large as the training's."""
        examples = (self.validation.x, self.validation.y)
        return tf.data.Dataset.from_tensor_slices(examples).batch(self.config.batch_size)


def shuffle(places: tf.Tensor, seed: tf.Tensor | tuple[int, int], size: int) -> tf.Tensor:
    """Where the permutation of 0 … size - 1 that `seed` gives puts the places.

    It takes one seed for all places: TensorFlow's form with a seed for each is broken.
    """
    return tf.random.experimental.index_shuffle(places, seed=seed, max_index=size - 1)


def shift_images(images: tf.Tensor, most: int, seed: tf.Tensor) -> tf.Tensor:
    """Shifts each image at random by up to `most` pixels, with zeros moving in.

    Args:
        images: (batch, height, width, ...).
        most: the largest shift, in pixels, in each direction.
        seed: (2,) integers; the same seed gives the same shifts.
    """
    batch, height, width = images.shape[:3]
    border = [[0, 0], [most, most], [most, most]] + [[0, 0]] * (images.shape.rank - 3)
    padded = tf.pad(images, border)
    offsets = tf.random.stateless_uniform((2, batch, 1), seed, 0, 2 * most + 1, tf.int32)
    rows = tf.gather(padded, offsets[0] + tf.range(height), axis=1, batch_dims=1)
    return tf.gather(rows, offsets[1] + tf.range(width), axis=2, batch_dims=1)
