"""Writing a model for other programs: a SavedModel, a `.keras` file and plain arrays."""

import contextlib
import io
import logging
import re
from collections.abc import Callable, Iterable
from typing import Any, Literal

import numpy as np
import tensorflow as tf
from etils import epath

from ..checkpoint.graph import SAVING_ERRORS
from ..compat import keras, reset_states, stateful_layers, variables_of
from ..data.protocol import any_batch_size
from ..errors import ExportFailed, in_one_line
from ..run.experiment import Task
from .names import is_generator_state, model_paths

log = logging.getLogger(__name__)

Form = Literal["saved-model", "keras", "arrays"]
# The names of the files and folders.
FORMS: dict[Form, str] = {
    "saved-model": "saved_model",
    "keras": "model.keras",
    "arrays": "weights.npz",
}
BATCH_SIZES = (1, 2, 7, 32)
# NumPy does not know the one of bfloat16.
EPSILONS = {"bfloat16": 2**-7, "float16": 2**-10, "float32": 2**-23, "float64": 2**-52}

Predict = Callable[[Any], Any]


def export_model(
    task: Task, element_spec: Any, folder: epath.Path, forms: Iterable[Form] | None = None
) -> float | None:
    """Writes a model in several forms, and compares the predictions of those that can make some.

    Args:
        task: with the models; it says which of them is exported.
        element_spec: of a batch.
        folder: where to write; it is there.
        forms: which; by default all that the model has, and what it has not is told.

    Returns:
        The largest difference between two predictions, or None where none was compared.

    Raises:
        ExportFailed: a form that was asked for, or each, cannot be written and loaded again, or
            one predicts something else.
    """
    model, spec = task.inference(any_batch_size(element_spec))
    spec = with_fixed_batch(model, spec)
    reset_states(model)  # a SavedModel holds them
    live = graph_of(model, spec)
    differences, left_out = [], []
    for form in forms or FORMS:
        path = folder / FORMS[form]
        try:
            exported = written(form, model, path, spec)
        except ExportFailed as error:
            if forms:
                raise
            left_out.append(error)
            remove(path)
            continue
        if exported is not None:
            apart = largest_difference(path.name, live, exported, spec, tolerance(model))
            differences.append(apart)
    if len(left_out) == len(FORMS):
        raise left_out[0]
    for reason in left_out:
        log.warning("%s The other forms are there.", reason)
    return max(differences, default=None)


def written(form: Form, model: keras.Model, path: epath.Path, spec: Any) -> Predict | None:
    """Writes a model in a form, and gives the model that is loaded from it, if it is one.

    Raises:
        ExportFailed: it cannot be written, or not be loaded again.
    """
    try:
        with contextlib.redirect_stdout(io.StringIO()):  # some versions of Keras print messages
            if form == "arrays":
                np.savez(path, **plain_arrays(model))
                return None
            write = model.export if form == "saved-model" else model.save
            write(str(path))
    except SAVING_ERRORS:
        raise
    except Exception as error:  # whatever a layer of the user's own may raise
        raise ExportFailed(f"{path.name} cannot be written: {reason_of(error, form)}") from error
    load = load_saved_model if form == "saved-model" else load_keras_file
    try:
        exported = load(path, spec)
        exported(examples_of(spec, 1))
    except Exception as error:  # likewise
        message = f"{path.name} cannot be loaded again: {reason_of(error, form)}"
        raise ExportFailed(message) from error
    if not any(stateful_layers(model)):
        return exported

    def predict(examples: Any) -> Any:
        return load(path, spec)(examples)  # anew: its states would go on from the last prediction

    return predict


def reason_of(error: Exception, form: Form) -> str:
    """The first sentence of an error, without the configurations that Keras prints, and advice."""
    first = re.split(r"(?<=[.!]) | Full object config| config=", in_one_line(error))[0]
    reason = first[:200].rstrip(".")
    if form != "keras":
        return f"{reason}."
    return (
        f"{reason}. A layer of one's own needs get_config() and the decorator "
        "@keras.saving.register_keras_serializable(); a Lambda layer does not come back."
    )


def remove(path: epath.Path) -> None:
    """Removes what there is of a form."""
    if path.is_dir():
        path.rmtree()
    else:
        path.unlink(missing_ok=True)


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
    """The predictions of a model for any number of examples, in one graph.

    Recurrent layers that keep their states from batch to batch begin anew with each.
    """
    graph = tf.function(lambda x: model(x, training=False), input_signature=[spec])

    def predict(examples: Any) -> Any:
        reset_states(model)
        return graph(examples)

    return predict


def with_fixed_batch(model: keras.Model, spec: Any) -> Any:
    """The specs of what a model is given, with its batch size where it takes no other."""
    inputs = tf.nest.flatten(getattr(model, "inputs", None) or [])
    sizes = {tensor.shape[0] for tensor in inputs if len(tensor.shape) > 0} or {None}
    size = min(sizes, key=lambda size: size is None)
    return tf.nest.map_structure(lambda one: tf.TensorSpec([size, *one.shape[1:]], one.dtype), spec)


def examples_of(spec: Any, size: int) -> Any:
    """Some examples to compare predictions on: normally distributed, or 0 and 1, or these as texts.

    Args:
        spec: of what a model is given.
        size: how many examples; lengths that are open become as long.
    """

    def make(tensor: tf.TensorSpec) -> tf.Tensor:
        shape = [size if length is None else length for length in tensor.shape]
        if tensor.dtype.is_floating:
            values = tf.random.stateless_normal(shape, seed=(size, 0))
        else:
            values = tf.random.stateless_uniform(shape, (size, 0), 0, 2, tf.int32)
        if tensor.dtype == tf.string:
            return tf.as_string(values)
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
