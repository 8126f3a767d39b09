"""A convolutional network with batch normalisation: takes images."""

from ..config import ModelConfig
from ..durable import keras


def build(config: ModelConfig, shape: tuple[int, ...], classes: int) -> keras.Model:
    """Builds the model: (batch, height, width[, channels]) float32 → (batch, classes) logits.

    Raises:
        ValueError: `shape` is not that of an image.
    """
    if len(shape) not in (2, 3):
        raise ValueError(f"it needs images (height, width[, channels]), not examples of {shape}.")
    layers = keras.layers
    inputs = keras.Input(shape)
    x = layers.Reshape((*shape, 1) if len(shape) == 2 else shape, name="image")(inputs)
    for number, filters in enumerate(config.hidden, start=1):
        x = layers.Conv2D(
            filters, 3, padding="same", use_bias=False, dtype=config.dtype, name=f"conv_{number}"
        )(x)
        x = layers.BatchNormalization(momentum=0.9, dtype=config.dtype, name=f"norm_{number}")(x)
        x = layers.Activation(config.activation, dtype=config.dtype, name=f"activation_{number}")(x)
    x = layers.GlobalAveragePooling2D(dtype=config.dtype, name="pool")(x)
    x = layers.Dropout(config.dropout, dtype=config.dtype, name="dropout")(x)
    logits = layers.Dense(classes, dtype=config.dtype, name="logits")(x)
    return keras.Model(inputs, logits, name="cnn")
