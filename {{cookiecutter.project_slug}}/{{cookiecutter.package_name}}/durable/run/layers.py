"""Layers for what Keras's own do in another way, or not the same on several devices."""

from typing import Any

import tensorflow as tf

from ..compat import keras
from .replicas import draw_by_example


@keras.utils.register_keras_serializable("durable")
class InferenceMode(keras.layers.Layer):
    """Calls a model as in inference, whatever it is inside of does.

    Nothing is dropped, and batch normalisation goes by its moving statistics, which stay as they
    are, whether the weights are trained or not. Keras's guide "Transfer learning & fine-tuning"
    calls the body with `training=False` for that, also after it was unfrozen; but in a functional
    model of Keras 3 the `training=True` of the outer call takes the place of that argument.

    Args:
        body: the model.
    """

    def __init__(self, body: keras.Model, **settings: Any) -> None:
        super().__init__(**settings)
        self.body = body

    def call(self, inputs: Any) -> Any:
        """What the model gives in inference."""
        return self.body(inputs, training=False)

    def get_config(self) -> dict[str, Any]:
        """What it is made of."""
        return {**super().get_config(), "body": keras.layers.serialize(self.body)}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "InferenceMode":
        """The layer that `get_config` tells of."""
        settings = {**config}
        return cls(keras.layers.deserialize(settings.pop("body")), **settings)


@keras.utils.register_keras_serializable("durable")
class ExampleDropout(keras.layers.Layer):
    """Dropout that drops the same of an example, whatever the number of replicas.

    What is dropped follows from the seed, the count of the calls that trained, and the place of the
    example in the whole batch: each replica draws for that, and takes what is for its part. As in
    Srivastava et al. 2014, what is left is scaled up, so that inference needs no change.

    Args:
        rate: the share of activations that is dropped, from 0 up to less than 1.
        seed: of what is drawn. Two layers of one model need two.
    """

    def __init__(self, rate: float, seed: int, **settings: Any) -> None:
        super().__init__(**settings)
        if not 0 <= rate < 1:
            raise ValueError(f"A rate of {rate} is not possible: give 0 up to less than 1.")
        self.rate = rate
        self.seed = seed

    def build(self, input_shape: Any) -> None:
        """Makes the count of the calls that trained."""
        self.calls = self.add_weight(
            shape=(), dtype="int64", initializer="zeros", trainable=False, name="calls"
        )
        super().build(input_shape)

    def call(self, inputs: tf.Tensor, training: bool | None = None) -> tf.Tensor:
        """Drops activations while training: (batch, …) gives (batch, …)."""
        if not training or self.rate == 0:
            return inputs
        inner, calls = tf.shape(inputs)[1:], tf.convert_to_tensor(self.calls)
        seed = tf.stack([tf.cast(self.seed, tf.int64), calls])

        def draw(count: tf.Tensor) -> tf.Tensor:
            return tf.random.stateless_uniform(tf.concat([[count], inner], axis=0), seed)

        kept = draw_by_example(draw, tf.shape(inputs)[0]) >= self.rate
        self.calls.assign(calls + 1)
        return tf.where(kept, inputs / (1 - self.rate), tf.zeros_like(inputs))

    def get_config(self) -> dict[str, Any]:
        """What it is made of."""
        return {**super().get_config(), "rate": self.rate, "seed": self.seed}
