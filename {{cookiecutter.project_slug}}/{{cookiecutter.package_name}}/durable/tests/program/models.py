"""The models of the program."""

from ...compat import keras
from ...errors import ConfigurationError


def mlp(config, shape, classes):
    layers = keras.layers
    inputs = keras.Input(shape)
    x = layers.Flatten(name="flatten")(inputs)
    for number, units in enumerate(config.hidden, start=1):
        x = layers.Dense(
            units,
            activation=config.activation,
            dtype=config.dtype,
            name=f"hidden_{number}",
            trainable=number > config.frozen,
        )(x)
    x = layers.Dropout(config.dropout, dtype=config.dtype, name="dropout")(x)
    return keras.Model(
        inputs, layers.Dense(classes, dtype=config.dtype, name="logits")(x), name="mlp"
    )


def cnn(config, shape, classes):
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
    return keras.Model(
        inputs, layers.Dense(classes, dtype=config.dtype, name="logits")(x), name="cnn"
    )


class Listed(keras.Model):
    """Keras 3 does not show the layers of this list to TensorFlow's checkpoints."""

    def __init__(self, config, classes):
        super().__init__()
        self.flatten = keras.layers.Flatten()
        self.hidden = []
        for units in config.hidden:
            self.hidden += [
                keras.layers.Dense(units, activation=config.activation),
                keras.layers.BatchNormalization(),
                keras.layers.Dropout(config.dropout),
            ]
        self.logits = keras.layers.Dense(classes)

    def call(self, x, training=False):
        x = self.flatten(x)
        for layer in self.hidden:
            x = layer(x, training=training) if "dense" not in layer.name else layer(x)
        return self.logits(x)


def listed(config, _shape, classes):
    return Listed(config, classes)


MODELS = {"mlp": mlp, "cnn": cnn, "listed": listed}


def build_model(config, shape, classes):
    if config.name not in MODELS:
        raise ConfigurationError(f"--model.name {config.name!r} is unknown.")
    return MODELS[config.name](config, shape, classes)


def build_optimizer(config, steps_per_epoch):
    rate = keras.optimizers.schedules.ExponentialDecay(
        config.learning_rate, decay_steps=steps_per_epoch, decay_rate=config.decay, staircase=True
    )
    if config.name == "sgd":
        return keras.optimizers.SGD(rate, momentum=0.9)
    return {"adam": keras.optimizers.Adam, "adamw": keras.optimizers.AdamW}[config.name](rate)
