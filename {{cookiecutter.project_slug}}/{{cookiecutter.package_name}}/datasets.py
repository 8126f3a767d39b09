"""Reading a data set: the embedded digits, MNIST, or a file of your own."""

import zipfile
from collections.abc import Sequence

import numpy as np
import tensorflow as tf
from etils import epath

from . import paths
from .config import DataConfig
from .data import Data, Examples, shuffle
from .errors import ConfigurationError

# Its own constant seed: every run, whatever its seed, holds out the same examples.
SPLIT_SEED = (1797, 64)


def load_data(config: DataConfig) -> Data:
    """Loads the data set that the configuration names and holds out a part of it.

    Integer values of x are divided by the largest one; others are taken as they are.

    Raises:
        ConfigurationError: the file or its contents are not usable.
    """
    if config.path is not None:
        source, x, y = config.path, *read_arrays(config.path, "x", "y")
    elif config.name == "mnist":
        source, x, y = "mnist", *read_mnist()
    else:
        source, x, y = "digits", *read_arrays(paths.digits(), "x", "y")
    examples = check_examples(source, x, y)
    if config.shift and not (x.ndim >= 3 and config.shift < min(x.shape[1:3])):
        raise ConfigurationError(
            f"--data.shift {config.shift} needs larger images; x in {source} has shape {x.shape}."
        )
    order = shuffle(tf.range(len(examples), dtype=tf.int64), SPLIT_SEED, len(examples)).numpy()
    held_out = max(1, int(len(examples) * config.validation))
    data = Data(
        training=examples.subset(order[held_out:]),
        validation=examples.subset(order[:held_out]),
        classes=int(examples.y.max()) + 1,
        config=config,
    )
    if data.steps_per_epoch == 0:
        raise ConfigurationError(
            f"{source} leaves {len(data.training)} examples for training, fewer than one batch "
            f"of {config.batch_size}: give more examples or a smaller --data.batch-size."
        )
    return data


def read_mnist() -> Sequence[np.ndarray]:
    """MNIST's training images and labels, from the cache of tf.keras.datasets if they are there."""
    cache = paths.keras_cache("mnist.npz")
    if cache.exists():
        return read_arrays(cache, "x_train", "y_train")
    try:
        return tf.keras.datasets.mnist.load_data()[0]
    except Exception as error:  # Keras raises a bare Exception when it cannot download.
        raise ConfigurationError(
            f"MNIST is not at {cache} and could not be downloaded ({error}). "
            "Put mnist.npz there, or use another --data.name."
        ) from error


def read_arrays(path: epath.PathLike, *keys: str) -> list[np.ndarray]:
    """Reads arrays from an .npz file; never anything pickled."""
    try:
        with np.load(path, allow_pickle=False) as arrays:
            missing = [key for key in keys if key not in arrays]
            if missing:
                raise ConfigurationError(
                    f"{path} has no array {missing[0]!r}: it needs {' and '.join(keys)}, "
                    f"and has {', '.join(arrays) or 'none'}."
                )
            return [arrays[key] for key in keys]
    except FileNotFoundError as error:
        raise ConfigurationError(f"There is no data file {path}.") from error
    except (OSError, ValueError, EOFError, AttributeError, TypeError, zipfile.BadZipFile) as error:
        raise ConfigurationError(
            f"{path} is not a usable .npz file. Make one with "
            "numpy.savez(path, x=examples, y=labels)."
        ) from error


def check_examples(source: epath.PathLike, x: np.ndarray, y: np.ndarray) -> Examples:
    """Makes examples of the arrays, or says what is wrong with them."""

    def require(condition: bool, problem: str) -> None:
        if not condition:
            raise ConfigurationError(f"{source}: {problem}")

    require(x.ndim >= 2, f"x has shape {x.shape}; it needs (examples, ...), of rank 2 or more.")
    require(y.ndim == 1, f"y has shape {y.shape}; it needs (examples,), one label for each.")
    require(len(x) == len(y), f"x has {len(x)} examples and y has {len(y)} labels.")
    require(len(x) >= 2, f"{len(x)} examples are too few to hold one out.")
    require(x.dtype.kind in "biuf", f"x has values of type {x.dtype}; it needs numbers.")
    require(y.dtype.kind in "iu", f"y has values of type {y.dtype}; it needs integer labels.")
    require(np.isfinite(x).all(), "x has values that are NaN or infinite.")
    low, high = int(y.min()), int(y.max())
    require(
        low >= 0 and high < len(y),
        f"labels are out of range: they go from {low} to {high}; with {len(y)} examples "
        f"they must lie in 0 … {len(y) - 1}.",
    )
    scale = max(1, int(x.max())) if x.dtype.kind in "iu" else 1
    return Examples((x / scale).astype(np.float32), y.astype(np.int32))
