"""The two models of a GAN."""

import math

from ..config import ModelConfig
from ..durable import ExampleDropout, keras


def build_generator(config: ModelConfig, noise: int, shape: tuple[int, ...]) -> keras.Model:
    """Builds the model: (batch, noise) → (batch, *shape), values between 0 and 1."""
    layers = keras.layers
    inputs = keras.Input((noise,))
    x = layers.Dense(config.hidden[-1], activation="relu", name="hidden")(inputs)
    x = layers.BatchNormalization(synchronized=True, name="norm")(x)
    x = layers.Dense(math.prod(shape), activation="sigmoid", name="pixels")(x)
    return keras.Model(inputs, layers.Reshape(shape, name="image")(x), name="generator")


def build_discriminator(config: ModelConfig, shape: tuple[int, ...]) -> keras.Model:
    """Builds the model: (batch, *shape) → (batch, 1) logits, larger for what looks real."""
    layers = keras.layers
    inputs = keras.Input(shape)
    x = layers.Flatten(name="flatten")(inputs)
    x = layers.Dense(config.hidden[0], activation="relu", name="hidden")(x)
    x = ExampleDropout(config.dropout, seed=1, name="dropout")(x)
    return keras.Model(inputs, layers.Dense(1, name="real")(x), name="discriminator")
