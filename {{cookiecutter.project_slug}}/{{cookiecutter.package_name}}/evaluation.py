"""Scoring a model on the examples that training never sees."""

from collections.abc import Callable

import tensorflow as tf

from .compat import keras
from .data import Data


def loss_of(labels: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
    """The cross-entropy of each example: labels (batch,), logits (batch, classes) → (batch,)."""
    return tf.nn.sparse_softmax_cross_entropy_with_logits(labels, tf.cast(logits, tf.float32))


def build_scorer(model: keras.Model, data: Data) -> Callable[[], dict[str, float]]:
    """Gives a function that computes val_loss and val_accuracy with the model's present weights."""
    batches = data.validation_batches()

    @tf.function
    def sums() -> tuple[tf.Tensor, tf.Tensor]:
        loss, correct = tf.constant(0.0, tf.float64), tf.constant(0, tf.int64)
        for x, y in batches:
            logits = model(x, training=False)
            loss += tf.reduce_sum(tf.cast(loss_of(y, logits), tf.float64))
            correct += tf.math.count_nonzero(tf.argmax(logits, -1, y.dtype) == y)
        return loss, correct

    def score() -> dict[str, float]:
        loss, correct = sums()
        size = len(data.validation)
        return {"val_loss": float(loss) / size, "val_accuracy": int(correct) / size}

    return score
