"""A multilayer perceptron: takes examples of any shape."""

from ..config import ModelConfig
from ..durable import keras


def build(config: ModelConfig, shape: tuple[int, ...], classes: int) -> keras.Model:
    """Builds the model: (batch, *shape) float32 → (batch, classes) float32 logits."""
    layers = keras.layers
    inputs = keras.Input(shape)
    x = layers.Flatten(name="flatten")(inputs)
    for number, units in enumerate(config.hidden, start=1):
        x = layers.Dense(
            units, activation=config.activation, dtype=config.dtype, name=f"hidden_{number}"
        )(x)
    x = layers.Dropout(config.dropout, dtype=config.dtype, name="dropout")(x)
    logits = layers.Dense(classes, dtype=config.dtype, name="logits")(x)
    return keras.Model(inputs, logits, name="mlp")
