"""The statistics of batch normalisation, computed anew for weights that were not trained."""

from collections.abc import Iterator
from contextlib import contextmanager

import tensorflow as tf

from ..checkpoints.naming import named_layers
from ..checkpoints.structure import reachable_variables
from ..compat import as_variable, keras
from ..state import TrainState


def recompute_statistics(state: TrainState, batches: tf.data.Dataset) -> None:
    """Sets the statistics of batch normalisation to their mean over the batches, in float64.

    Each batch counts the same, as in section 3.2 of Izmailov et al. 2018; a moving average would
    forget the first ones. Everything else in the state stays as it is. A layer that normalises by
    its saved statistics also in training, since it is frozen, keeps them.

    Args:
        state: whose model it is. One without batch normalisation needs no batch.
        batches: of (x, y), of the training data.
    """
    layers = normalising_layers(state.model)
    if not layers:
        return
    statistics = [statistics_of(layer) for layer in layers]
    variables = reachable_variables(tf.train.Checkpoint(**state.parts)).values()
    before = [(variable, variable.read_value()) for variable in variables]

    @tf.function
    def statistics_of_batch(x: tf.Tensor) -> list[list[tf.Tensor]]:
        for variable in tf.nest.flatten(statistics):
            variable.assign(tf.zeros_like(variable))
        state.model(x, training=True)
        return tf.nest.map_structure(lambda variable: tf.cast(variable, tf.float64), statistics)

    with without_momentum(layers):
        found = [statistics_of_batch(x) for x, _ in batches]
    for variable, value in before:  # dropout has drawn from its generators
        variable.assign(value)
    for variables, *values in zip(statistics, *found, strict=True):
        means = [tf.reduce_mean(tf.stack(value), axis=0) for value in zip(*values, strict=True)]
        if tf.reduce_any(means[1] != 0):  # else training does not reach the layer
            for variable, mean in zip(variables, means, strict=True):
                variable.assign(tf.cast(mean, variable.dtype))


def normalising_layers(model: keras.Model) -> list[keras.layers.BatchNormalization]:
    """The layers of batch normalisation in a model, at any depth, that training would move."""
    layers = {id(layer): layer for _, layer in named_layers(model)}
    return [
        layer
        for layer in layers.values()
        if isinstance(layer, keras.layers.BatchNormalization) and layer.trainable
    ]


def statistics_of(layer: keras.layers.BatchNormalization) -> list[tf.Variable]:
    """The moving mean and the moving variance of a layer."""
    return [as_variable(layer.moving_mean), as_variable(layer.moving_variance)]


@contextmanager
def without_momentum(layers: list[keras.layers.BatchNormalization]) -> Iterator[None]:
    """For a while, makes the statistics of layers those of the last batch alone."""
    momenta = [layer.momentum for layer in layers]
    for layer in layers:
        layer.momentum = 0.0
    try:
        yield
    finally:
        for layer, momentum in zip(layers, momenta, strict=True):
            layer.momentum = momentum
