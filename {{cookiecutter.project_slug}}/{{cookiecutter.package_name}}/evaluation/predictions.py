"""Scoring a model on the examples that training never sees."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from ..compat import keras
from ..data import Data


@dataclass(frozen=True)
class Predictions:
    """What was predicted for the held-out examples.

    Attributes:
        labels: (examples,) int32, the true classes.
        log_probabilities: (examples, classes) float64, natural logarithms.
        losses: (examples,) float64, the cross-entropy of each example in nats.
    """

    labels: np.ndarray
    log_probabilities: np.ndarray
    losses: np.ndarray

    @property
    def predicted(self) -> np.ndarray:
        """The most probable class of each example: (examples,) int64."""
        return self.log_probabilities.argmax(axis=-1)

    @property
    def metrics(self) -> dict[str, float]:
        """The metrics that training logs at an epoch's end."""
        correct = self.predicted == self.labels
        return {"val_loss": float(self.losses.mean()), "val_accuracy": float(correct.mean())}


def loss_of(labels: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
    """The cross-entropy of each example: labels (batch,), logits (batch, classes) → (batch,)."""
    return tf.nn.sparse_softmax_cross_entropy_with_logits(labels, tf.cast(logits, tf.float32))


def build_scorer(model: keras.Model, data: Data) -> Callable[[], dict[str, float]]:
    """Gives a function that computes val_loss and val_accuracy with the model's present weights."""
    x, y = tf.constant(data.validation.x), tf.constant(data.validation.y)
    size, batch_size = len(data.validation), data.config.batch_size

    @tf.function
    def sums() -> tuple[tf.Tensor, tf.Tensor]:
        loss, correct = tf.constant(0.0, tf.float64), tf.constant(0, tf.int64)
        # No tf.data: a new iterator for each call would take longer than all of this.
        for start in tf.range(0, size, batch_size):
            labels = y[start : start + batch_size]
            logits = model(x[start : start + batch_size], training=False)
            loss += tf.reduce_sum(tf.cast(loss_of(labels, logits), tf.float64))
            correct += tf.math.count_nonzero(tf.argmax(logits, -1, labels.dtype) == labels)
        return loss, correct

    def score() -> dict[str, float]:
        loss, correct = sums()
        return {"val_loss": float(loss) / size, "val_accuracy": int(correct) / size}

    return score


def predict(model: keras.Model, data: Data) -> Predictions:
    """What the model predicts for the held-out examples, with the losses that training logs."""
    batches = data.validation_batches()

    @tf.function(input_signature=batches.element_spec)
    def predict_batch(x: tf.Tensor, y: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        logits = model(x, training=False)
        return tf.nn.log_softmax(tf.cast(logits, tf.float64)), loss_of(y, logits)

    log_probabilities, losses = zip(*(predict_batch(x, y) for x, y in batches), strict=True)
    return Predictions(
        data.validation.y,
        np.concatenate(log_probabilities),
        np.concatenate(losses).astype(np.float64),
    )
