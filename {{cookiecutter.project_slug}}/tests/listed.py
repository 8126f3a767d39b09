"""Trains a model that holds its layers in a list: `python -m tests.listed --model.name listed`."""

import train
from {{ cookiecutter.package_name }} import session
from {{ cookiecutter.package_name }}.compat import keras
from {{ cookiecutter.package_name }}.models import MODELS


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


def build(config, _shape, classes):
    return Listed(config, classes)


MODELS["listed"] = build

if __name__ == "__main__":
    session.run(train.main)
