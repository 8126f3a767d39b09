"""Training on several replicas, and what must be the same as on one."""

import numpy as np
import pytest
import tensorflow as tf

from ..compat import keras
from ..run.means import Validation
from ..run.replicas import share_of
from ..run.state import TrainState
from .helpers import train, variables_of
from .program.experiment import Task

layers = keras.layers


class Numbers(Task):
    """A number for each image, by a model and optimizers that a test chooses."""

    def __init__(self, stack=(), optimizer=None, **optimizers):
        penalty = keras.regularizers.L2(0.01)
        before = [keras.Input((4, 4)), layers.Flatten(name="flat")]
        before.append(layers.Dense(8, "relu", kernel_regularizer=penalty, name="body"))
        self.models = {"model": keras.Sequential([*before, *stack, layers.Dense(1, name="out")])}
        self.optimizers = {"optimizer": optimizer or keras.optimizers.Adam(0.01), **optimizers}

    def loss(self, y, outputs):
        return tf.cast((y - outputs[:, 0]) ** 2, tf.float32) * 100

    def metrics(self):
        return {"error": keras.metrics.MeanAbsoluteError()}

    def update_metrics(self, metrics, batch, outputs):
        metrics["error"].update_state(batch[1][:, tf.newaxis], outputs)


def scaled(optimizer):
    return keras.mixed_precision.LossScaleOptimizer(optimizer, initial_scale=2.0**30)


def state_of(task, data, strategy, config=None):
    """A state that is the same in every process."""
    keras.utils.set_random_seed(1)
    with strategy.scope():
        made = task()
    return TrainState(made, data.element_spec, config=config, strategy=strategy)


def arrays_of(state):
    """The value of each variable of a state."""
    return [tf.convert_to_tensor(variable).numpy() for variable in variables_of(state)]


def trained(task, data, strategy, steps, config=None):
    """The values of a state after some steps, and its means."""
    shared = share_of(data, strategy)
    state = state_of(task, data, strategy, config)
    train(state, shared, 0, steps, strategy)
    return arrays_of(state), state.line.result() | Validation(state.task, data, strategy)()


def require_same(found, wanted):
    """Each variable in its norm, and each mean, to one part in a hundred thousand."""
    for one, other in zip(found[0], wanted[0], strict=True):
        assert np.linalg.norm(one - other) <= 1e-5 * np.linalg.norm(other)
    assert found[1] == pytest.approx(wanted[1], rel=1e-5)
