"""Labeled examples in memory, such as those of an `.npz` file of your own."""

import zipfile
from functools import partial
from typing import Any

import numpy as np
import tensorflow as tf
from etils import epath

from ..config import DataConfig
from ..durable import ArrayData, ConfigurationError, Data, hold_out


def load(config: DataConfig) -> Data:
    """Opens the file that `--data.path` gives: arrays x (examples, ...) and y (examples,)."""
    path = str(config.path)
    x, y = read_arrays(path, "x", "y")
    return build_data(path, x, y, config)


def build_data(source: str, x: np.ndarray, y: np.ndarray, config: DataConfig) -> Data:
    """Checks examples, and holds out a part of them.

    Args:
        source: what they are called, for messages.
        x: (examples, ...) numbers.
        y: (examples,) integer labels from 0 up.
        config: the share to hold out, the size of a batch and the augmentation.

    Raises:
        ConfigurationError: they are not usable, or too few.
    """
    examples = check_examples(source, x, y)
    if config.shift and not (x.ndim >= 3 and config.shift < min(x.shape[1:3])):
        raise ConfigurationError(
            f"--data.shift {config.shift} needs larger images; x in {source} has shape {x.shape}."
        )
    training, validation = hold_out(examples, config.validation)
    if len(training[1]) < config.batch_size:
        raise ConfigurationError(
            f"{source} leaves {len(training[1])} examples for training, fewer than one batch "
            f"of {config.batch_size}: give more examples or a smaller --data.batch-size."
        )
    return ArrayData(
        training,
        validation,
        config.batch_size,
        details={"data.shape": list(x.shape[1:]), "data.classes": int(y.max()) + 1},
        augment=partial(shift_batch, most=config.shift) if config.shift else None,
    )


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


def check_examples(
    source: epath.PathLike, x: np.ndarray, y: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The examples as float32 and the labels as int32, or what is wrong with them.

    Integer values of x are divided by the largest one; others are taken as they are.
    """

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
    return (x / scale).astype(np.float32), y.astype(np.int32)


def shift_batch(batch: Any, seed: tf.Tensor, most: int) -> Any:
    """Shifts the images of a batch; see `shift_images`."""
    images, labels = batch
    return shift_images(images, most, seed), labels


def shift_images(images: tf.Tensor, most: int, seed: tf.Tensor) -> tf.Tensor:
    """Shifts each image at random by up to `most` pixels, with zeros moving in.

    Args:
        images: (batch, height, width, ...).
        most: the largest shift, in pixels, in each direction.
        seed: (2,) integers; the same seed gives the same shifts.
    """
    batch, height, width = images.shape[:3]
    border = [[0, 0], [most, most], [most, most]] + [[0, 0]] * (images.shape.rank - 3)
    padded = tf.pad(images, border)
    offsets = tf.random.stateless_uniform((2, batch, 1), seed, 0, 2 * most + 1, tf.int32)
    rows = tf.gather(padded, offsets[0] + tf.range(height), axis=1, batch_dims=1)
    return tf.gather(rows, offsets[1] + tf.range(width), axis=2, batch_dims=1)
