"""A model of two inputs and two heads."""

from typing import Any

from ..config import ModelConfig
from ..durable import keras


def build(config: ModelConfig, specs: dict[str, Any], classes: int) -> keras.Model:
    """Builds the model: {name: (batch, ...)} → {"digit": (batch, classes), "ink": (batch, 1)}."""
    layers = keras.layers
    inputs = {name: keras.Input(tuple(spec.shape[1:]), name=name) for name, spec in specs.items()}
    flat = [layers.Flatten(name=f"flat_{name}")(part) for name, part in inputs.items()]
    x = layers.Concatenate(name="both")(flat)
    x = layers.Dense(config.hidden[0], activation=config.activation, name="hidden")(x)
    x = layers.Dropout(config.dropout, name="dropout")(x)
    heads = {"digit": layers.Dense(classes, name="digit")(x), "ink": layers.Dense(1, name="ink")(x)}
    return keras.Model(inputs, heads, name="two_heads")
