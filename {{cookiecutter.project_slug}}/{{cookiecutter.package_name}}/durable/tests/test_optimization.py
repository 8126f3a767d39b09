"""Steps: the schedule, the scaled loss, regularizers under every type."""

import numpy as np
import pytest
import tensorflow as tf

from ..compat import keras, learning_rate_at, loss_scale
from ..run.experiment import Task
from ..run.optimization import WarmUp
from ..run.state import TrainState
from .helpers import manager_of, values_of

layers = keras.layers
SPEC = (tf.TensorSpec((8, 3)), tf.TensorSpec((8,)))


class Regression(Task):
    """A regularized network of two layers, of any type, and any optimizer."""

    def __init__(self, optimizer=None, dtype="float32", penalty=0.0):
        keras.utils.set_random_seed(3)
        regularizer = keras.regularizers.L2(penalty) if penalty else None
        self.models = {
            "model": keras.Sequential(
                [
                    keras.Input((3,)),
                    layers.Dense(4, "relu", dtype=dtype, kernel_regularizer=regularizer, name="a"),
                    layers.Dense(1, dtype=dtype, name="b"),
                ]
            )
        }
        self.optimizers = {"optimizer": optimizer or keras.optimizers.SGD(0.1)}

    def loss(self, y, outputs):
        return (tf.cast(outputs[:, 0], tf.float32) - y) ** 2

    def metrics(self):
        return {}


def batch(scale=1.0):
    random = np.random.default_rng(4)
    x, y = random.normal(size=(8, 3)) * scale, random.normal(size=8)
    return tf.constant(x, tf.float32), tf.constant(y, tf.float32)


def trained(state, *batches):
    """Trains on the batches in a graph, as train.py does; gives the losses."""

    @tf.function(reduce_retracing=True)
    def step(batch):
        outputs, loss = state.task.step(batch)
        state.update_means(batch, outputs, loss)
        state.step.assign_add(1)
        return loss

    return [float(step(batch)) for batch in batches]


def test_a_warm_up_rises_in_equal_parts_and_comes_back_from_its_settings():
    schedule = WarmUp(keras.optimizers.schedules.ExponentialDecay(0.8, 10, 0.5), 4)
    rates = [float(schedule(tf.constant(step, tf.int64))) for step in range(5)]
    expected = [0.8 * 0.5 ** (step / 10) * min(1, (step + 1) / 4) for step in range(5)]
    np.testing.assert_allclose(rates, expected, rtol=1e-6)
    assert learning_rate_at(keras.optimizers.SGD(schedule), 2) == pytest.approx(expected[2])


@pytest.mark.parametrize("dtype", ["float32", "float64", "mixed_bfloat16", "mixed_float16"])
def test_a_regularizer_counts_in_full_under_every_type(dtype):
    task = Regression(dtype=dtype, penalty=0.5)
    state = TrainState(task, SPEC)
    kernel = tf.convert_to_tensor(task.model.get_layer("a").kernel).numpy().astype(np.float64)
    plain = float(task.mean_loss(batch(), task.forward(batch(), training=True)))
    (loss,) = trained(state, batch())
    assert loss - plain == pytest.approx(0.5 * np.sum(kernel**2), rel=1e-3)


def scaled():
    optimizer = keras.mixed_precision.LossScaleOptimizer(keras.optimizers.SGD(0.01))
    return TrainState(Regression(optimizer, "mixed_float16"), SPEC)


def test_the_scale_of_the_loss_changes_no_step_and_is_saved_and_restored(tmp_path):
    state, plain = scaled(), TrainState(Regression(keras.optimizers.SGD(0.01)), SPEC)
    losses = trained(state, batch(), batch(), batch(1e9))
    np.testing.assert_allclose(losses[:2], trained(plain, batch(), batch()), rtol=0.02)
    assert float(loss_scale(state.task.optimizer)) == 2**14, "the last step was dropped"
    assert state.first_bad_step is None, "and is no reason to end"
    manager_of(state, tmp_path).save()
    other = scaled()
    manager_of(other, tmp_path).restore_or_initialize()
    assert values_of(other) == values_of(state)
    assert float(loss_scale(other.task.optimizer)) == 2**14


def test_what_no_scale_can_mend_ends_the_run():
    state = scaled()
    trained(state, *[batch(1e9)] * 14)
    assert state.first_bad_step is None
    trained(state, *[batch(1e9)] * 2)
    assert state.first_bad_step == 15
