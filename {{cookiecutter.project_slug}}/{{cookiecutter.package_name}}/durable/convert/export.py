"""Writing a model for other programs: a SavedModel, a `.keras` file and plain arrays."""

import contextlib
import io
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf
from etils import epath

from ..compat import keras, variables_of
from ..data.protocol import any_batch_size
from ..errors import ExportFailed
from ..run.experiment import Task
from .names import is_generator_state, model_paths

SAVED_MODEL = "saved_model"
KERAS_FILE = "model.keras"
ARRAYS = "weights.npz"
BATCH_SIZES = (1, 2, 7, 32)
# NumPy does not know the one of bfloat16.
EPSILONS = {"bfloat16": 2**-7, "float16": 2**-10, "float32": 2**-23, "float64": 2**-52}

Predict = Callable[[Any], Any]


def export_model(task: Task, element_spec: Any, folder: epath.Path) -> float:
    """Writes a model in three forms, and compares the predictions of those that can make some.

    Args:
        task: with the models; it says which of them is exported.
        element_spec: of a batch.
        folder: where to write; it is there.

    Returns:
        The largest difference between two predictions.

    Raises:
        ExportFailed: a model that was loaded again predicts something else, or cannot be loaded.
    """
    model, spec = task.inference(any_batch_size(element_spec))
    silently(model.export, str(folder / SAVED_MODEL))
    silently(model.save, str(folder / KERAS_FILE))
    np.savez(folder / ARRAYS, **plain_arrays(model))
    live = graph_of(model, spec)
    return max(
        largest_difference(name, live, loaded(name, load, folder, spec), spec, tolerance(model))
        for name, load in ((SAVED_MODEL, load_saved_model), (KERAS_FILE, load_keras_file))
    )


def silently(write: Callable[[str], None], path: str) -> None:
    """Writes without the messages that some versions of Keras print."""
    with contextlib.redirect_stdout(io.StringIO()):
        write(path)


def plain_arrays(model: keras.Model) -> dict[str, np.ndarray]:
    """The weights of a model by their lasting names, hidden_1/kernel.

    NumPy has no bfloat16: such weights become float32, which holds each of their values exactly.
    """
    variables = {id(variable): variable for variable in variables_of(model)}
    arrays = {}
    for key, path in model_paths(model).items():
        if not is_generator_state(path):
            value = variables[key]
            arrays[path] = tf.cast(value, tf.float32) if value.dtype == tf.bfloat16 else value
    return {path: value.numpy() for path, value in arrays.items()}


def loaded(
    name: str,
    load: Callable[[epath.Path, Any], Predict],
    folder: epath.Path,
    spec: Any,
) -> Predict:
    """Loads an exported model again, and sees that it predicts something.

    Raises:
        ExportFailed: that is not possible.
    """
    try:
        predict = load(folder / name, spec)
        predict(examples_of(spec, 1))
    except Exception as error:  # whatever a layer of the user's own may raise
        message = f"{name} cannot be loaded again: {error}. Nothing was exported."
        raise ExportFailed(message) from error
    return predict


def load_saved_model(folder: epath.Path, _: Any) -> Predict:
    """Loads a SavedModel as a program without Keras does."""
    model = tf.saved_model.load(str(folder))

    def predict(examples: Any) -> Any:
        return model.serve(examples)  # its variables live as long as `model`

    return predict


def load_keras_file(file: epath.Path, spec: Any) -> Predict:
    """Loads a `.keras` file that was just written here."""
    return graph_of(keras.models.load_model(str(file), compile=False), spec)


def graph_of(model: keras.Model, spec: Any) -> Predict:
    """The predictions of a model for any number of examples, in one graph."""
    return tf.function(lambda x: model(x, training=False), input_signature=[spec])


def examples_of(spec: Any, size: int) -> Any:
    """Some examples to compare predictions on: normally distributed, or 0 and 1, or empty texts.

    Args:
        spec: of what a model is given.
        size: how many examples; lengths that are open become as long.
    """

    def make(tensor: tf.TensorSpec) -> tf.Tensor:
        shape = [size if length is None else length for length in tensor.shape]
        if tensor.dtype.is_floating:
            values = tf.random.stateless_normal(shape, seed=(size, 0))
        elif tensor.dtype == tf.string:
            return tf.fill(shape, "")
        else:
            values = tf.random.stateless_uniform(shape, (size, 0), 0, 2, tf.int32)
        return tf.cast(values, tensor.dtype)

    return tf.nest.map_structure(make, spec)


def largest_difference(
    name: str, live: Predict, exported: Predict, spec: Any, allowed: float
) -> float:
    """The largest difference between two models' predictions, for batches of several sizes.

    Args:
        name: of the exported model.
        live: the model.
        exported: the same, loaded again.
        spec: of what they are given.
        allowed: how large it may be, relative to the largest prediction.

    Raises:
        ExportFailed: it is larger.
    """
    largest = 0.0
    for size in BATCH_SIZES:
        examples = examples_of(spec, size)
        outputs = zip(
            *(tf.nest.flatten(predict(examples)) for predict in (live, exported)), strict=True
        )
        for pair in outputs:
            wanted, found = (tf.cast(output, tf.float64) for output in pair)
            apart = float(tf.reduce_max(tf.abs(wanted - found)))
            limit = allowed * float(tf.reduce_max(tf.abs(wanted)))
            if not apart <= limit:  # nor is it where one is NaN
                raise ExportFailed(
                    f"{name} does not predict what the model does: they are {apart:.3g} apart, "
                    f"and rounding explains {limit:.3g}. Nothing was exported."
                )
            largest = max(largest, apart)
    return largest


def tolerance(model: keras.Model) -> float:
    """What rounding explains, relative to the largest prediction.

    The operations are the same, but a graph that is optimized in another way may add in another
    order: sixteen roundings of the coarsest type that a layer computes with.
    """
    return 16 * max(EPSILONS.get(layer.compute_dtype, 0.0) for layer in model.layers)
