"""MNIST, from the cache of `tf.keras.datasets`: 60,000 images of 28 x 28 pixels, in ten classes."""

from collections.abc import Sequence

import numpy as np

from ..config import DataConfig
from ..durable import ConfigurationError, Data, keras
from ..paths import Paths
from .labeled import build_data, read_arrays


def load(config: DataConfig) -> Data:
    """Opens the data set.

    Raises:
        ConfigurationError: it is not in the cache and cannot be downloaded.
    """
    x, y = read_mnist()
    return build_data("mnist", x, y, config)


def read_mnist() -> Sequence[np.ndarray]:
    """The training images and labels, downloaded only if they are not there."""
    cache = Paths().mnist
    if cache.exists():
        return read_arrays(cache, "x_train", "y_train")
    try:
        return keras.datasets.mnist.load_data()[0]
    except Exception as error:  # Keras raises a bare Exception when it cannot download.
        raise ConfigurationError(
            f"MNIST is not at {cache} and could not be downloaded ({error}). "
            "Put mnist.npz there, or use another --data.name."
        ) from error
