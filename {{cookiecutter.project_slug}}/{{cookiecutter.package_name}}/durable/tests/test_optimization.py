"""Steps: the schedule, the scaled loss, regularizers under every type."""

import numpy as np
import pytest
import tensorflow as tf

from ..compat import keras, learning_rate_at, loss_scale
from ..errors import ConfigurationError
from ..run.experiment import Task
from ..run.optimization import WarmUp
from ..run.settings import RunSettings
from ..run.state import TrainState
from .helpers import manager_of, values_of
from .tasks import Adversarial, images

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


class Words(Regression):
    """Texts of four words with weights: the gradient of an embedding is sparse."""

    def __init__(self):
        super().__init__(penalty=0.1)
        words = layers.Embedding(5, 3, name="words")
        stack = [words, layers.Flatten(), layers.Dense(1, kernel_regularizer="l2", name="b")]
        self.models = {"model": keras.Sequential([keras.Input((4,), dtype="int32"), *stack])}
        self.optimizers = {"optimizer": keras.optimizers.SGD(0.1, momentum=0.9)}


def words():
    random = np.random.default_rng(6)
    x, y, weight = random.integers(0, 5, (8, 4)), random.normal(size=8), random.uniform(size=8)
    return tf.constant(x, tf.int32), tf.constant(y, tf.float32), tf.constant(weight, tf.float32)


@pytest.mark.parametrize(("kind", "batch"), [(Regression, batch), (Words, words)])
def test_slices_of_a_batch_make_the_step_of_the_whole(kind, batch):
    spec = tf.nest.map_structure(tf.TensorSpec.from_tensor, batch())
    whole = TrainState(kind(), spec)
    sliced = TrainState(kind(), spec, config=RunSettings(accumulate=4))
    losses = trained(whole, batch(), batch(), batch())
    np.testing.assert_allclose(trained(sliced, batch(), batch(), batch()), losses, rtol=1e-5)
    for a, b in zip(sliced.task.model.weights, whole.task.model.weights, strict=True):
        np.testing.assert_allclose(tf.convert_to_tensor(a), tf.convert_to_tensor(b), rtol=1e-4)
    assert sliced.parts.keys() == whole.parts.keys(), "there is nothing to save"
    assert sliced.line.result() == pytest.approx(whole.line.result(), rel=1e-5)


def test_batches_without_equal_slices_and_steps_of_their_own_are_refused():
    with pytest.raises(ConfigurationError, match=r"accumulate 3 .* batches of 8 examples have no"):
        TrainState(Regression(), SPEC, config=RunSettings(accumulate=3))
    unknown = tf.nest.map_structure(lambda spec: tf.TensorSpec((None, *spec.shape[1:])), SPEC)
    with pytest.raises(ConfigurationError, match="batches of any number of examples have no"):
        TrainState(Regression(), unknown, config=RunSettings(accumulate=2))
    with pytest.raises(ConfigurationError, match="Adversarial has a step of its own"):
        TrainState(Adversarial(), images().element_spec, config=RunSettings(accumulate=2))


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_the_average_begins_with_the_first_step_and_goes_on_after_a_restore(tmp_path, dtype):
    def averaged():
        return TrainState(Regression(dtype=dtype), SPEC, config=RunSettings(ema=0.9))

    def steps(state, count):
        found = []
        for _ in range(count):
            trained(state, batch())
            state.average_weights()
            found.append([w.astype(np.float64) for w in state.task.model.get_weights()])
        return found

    state = averaged()
    history = steps(state, 2)
    manager_of(state, tmp_path).save()
    state = averaged()
    manager_of(state, tmp_path).restore_or_initialize()
    history += steps(state, 2)
    state.average.put_in()
    shares = [0.9**3, 0.1 * 0.9**2, 0.1 * 0.9, 0.1]
    for place, average in enumerate(state.task.model.get_weights()):
        expected = sum(s * weights[place] for s, weights in zip(shares, history, strict=True))
        np.testing.assert_allclose(average, expected, rtol=1e-5 if dtype == "float32" else 2e-3)
