"""Writing a model for other programs: a SavedModel, a `.keras` file and plain arrays."""

import contextlib
import io
from collections.abc import Callable

import numpy as np
import tensorflow as tf
from etils import epath

from ..compat import keras
from ..errors import UserError
from ..state import TrainState
from .names import layer_weights, targets_of

SAVED_MODEL = "saved_model"
KERAS_FILE = "model.keras"
ARRAYS = "weights.npz"
BATCH_SIZES = (1, 2, 7, 32)
# NumPy does not know the one of bfloat16.
EPSILONS = {"bfloat16": 2**-7, "float16": 2**-10, "float32": 2**-23, "float64": 2**-52}

Predict = Callable[[tf.Tensor], tf.Tensor]


class ExportFailed(UserError):
    """A model could not be written, or does not predict what the live one does. Nothing is left."""

    exit_code = 1


def export_model(state: TrainState, shape: tuple[int, ...], folder: epath.Path) -> float:
    """Writes a model in three forms, and compares the predictions of those that can make some.

    Args:
        state: with the model.
        shape: of one example.
        folder: where to write; it is there.

    Returns:
        The largest difference between two predictions.

    Raises:
        ExportFailed: a model that was loaded again predicts something else, or cannot be loaded.
    """
    model = state.model
    silently(model.export, str(folder / SAVED_MODEL))
    silently(model.save, str(folder / KERAS_FILE))
    np.savez(folder / ARRAYS, **plain_arrays(state))
    live = graph_of(model, shape)
    return max(
        difference(name, live, loaded(name, load, folder, shape), shape, tolerance(model))
        for name, load in ((SAVED_MODEL, load_saved_model), (KERAS_FILE, load_keras_file))
    )


def silently(write: Callable[[str], None], path: str) -> None:
    """Writes without the messages that some versions of Keras print."""
    with contextlib.redirect_stdout(io.StringIO()):
        write(path)


def plain_arrays(state: TrainState) -> dict[str, np.ndarray]:
    """The weights of the model by their lasting names, hidden_1/kernel.

    NumPy has no bfloat16: such weights become float32, which holds each of their values exactly.
    """
    arrays = {}
    live = targets_of(state)
    for path in (path for layer in layer_weights(state.model) for path in layer.values()):
        entry, variable = live[path]
        value = tf.cast(variable, tf.float32) if entry.dtype == "bfloat16" else variable
        arrays[path] = value.numpy()
    return arrays


def loaded(
    name: str,
    load: Callable[[epath.Path, tuple[int, ...]], Predict],
    folder: epath.Path,
    shape: tuple[int, ...],
) -> Predict:
    """Loads an exported model again, and sees that it predicts something.

    Raises:
        ExportFailed: that is not possible.
    """
    try:
        predict = load(folder / name, shape)
        predict(tf.zeros((1, *shape)))
    except Exception as error:  # whatever a layer of the user's own may raise
        message = f"{name} cannot be loaded again: {error}. Nothing was exported."
        raise ExportFailed(message) from error
    return predict


def load_saved_model(folder: epath.Path, _: tuple[int, ...]) -> Predict:
    """Loads a SavedModel as a program without Keras does."""
    model = tf.saved_model.load(str(folder))

    def predict(examples: tf.Tensor) -> tf.Tensor:
        return model.serve(examples)  # its variables live as long as `model`

    return predict


def load_keras_file(file: epath.Path, shape: tuple[int, ...]) -> Predict:
    """Loads a `.keras` file that was just written here."""
    return graph_of(keras.models.load_model(str(file), compile=False), shape)


def graph_of(model: keras.Model, shape: tuple[int, ...]) -> Predict:
    """The predictions of a model for any number of examples, in one graph."""
    signature = [tf.TensorSpec((None, *shape), tf.float32)]
    return tf.function(lambda x: model(x, training=False), input_signature=signature)


def difference(
    name: str, live: Predict, exported: Predict, shape: tuple[int, ...], allowed: float
) -> float:
    """The largest difference between two models' predictions, for batches of several sizes.

    Args:
        name: of the exported model.
        live: the model.
        exported: the same, loaded again.
        shape: of one example.
        allowed: how large it may be, relative to the largest prediction.

    Raises:
        ExportFailed: it is larger.
    """
    largest = 0.0
    for size in BATCH_SIZES:
        examples = tf.random.stateless_normal((size, *shape), seed=(size, 0))
        wanted, found = (tf.cast(predict(examples), tf.float64) for predict in (live, exported))
        apart = float(tf.reduce_max(tf.abs(wanted - found)))
        limit = allowed * float(tf.reduce_max(tf.abs(wanted)))
        if not apart <= limit:  # nor is it where one is NaN
            raise ExportFailed(
                f"{name} does not predict what the model does: they are {apart:.3g} apart, and "
                f"rounding explains {limit:.3g}. Nothing was exported."
            )
        largest = max(largest, apart)
    return largest


def tolerance(model: keras.Model) -> float:
    """What rounding explains, relative to the largest prediction.

    The operations are the same, but a graph that is optimised in another way may add in another
    order: sixteen roundings of the coarsest type that a layer computes with.
    """
    return 16 * max(EPSILONS.get(layer.compute_dtype, 0.0) for layer in model.layers)
