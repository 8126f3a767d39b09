"""The coverage check: what a run must not lose is in the checkpoint, or start-up fails."""

import pytest
import tensorflow as tf

from ..checkpoint.card import read_card
from ..compat import keras
from ..errors import ConfigurationError
from .helpers import SHAPE, disturb, manager_of, small_state, train_a_little, values_of


class Listed(keras.Model):
    """Holds its layers in a list, a dictionary and a tuple, and a generator of its own."""

    def __init__(self):
        super().__init__()
        self.flatten = keras.layers.Flatten()
        self.hidden = [keras.layers.Dense(5), keras.layers.BatchNormalization()]
        self.named = {"dropout": keras.layers.Dropout(0.5), "more": keras.layers.Dense(4)}
        self.pair = (keras.layers.Dense(4), keras.layers.BatchNormalization())
        self.generator = tf.random.Generator.from_seed(3)
        self.logits = keras.layers.Dense(3)

    def call(self, x, training=False):
        x = self.flatten(x)
        for layer in self.hidden:
            x = layer(x)
        x = self.named["more"](self.named["dropout"](x, training=training))
        for layer in self.pair:
            x = layer(x)
        if training:
            x += self.generator.normal(tf.shape(x))
        return self.logits(x)


def test_everything_that_a_model_uses_is_saved_and_restored(tmp_path):
    state = small_state(Listed())
    train_a_little(state)
    expected = values_of(state)
    x = tf.ones((2, *SHAPE))
    path = manager_of(state, tmp_path).save()
    next_output = state.task.model(x, training=True).numpy()
    train_a_little(state)
    disturb(state)
    manager_of(state, tmp_path).restore_or_initialize()
    assert values_of(state) == expected
    assert (state.task.model(x, training=True).numpy() == next_output).all()
    variables = {entry.path for entry in read_card(path).structure.variables}
    assert {"dense/kernel", "batch_normalization/moving_mean", "dense_2/bias"} <= variables


def test_a_model_without_an_input_is_built():
    state = small_state(Listed())
    assert len(state.task.model.trainable_variables) == 2 * 4 + 2 * 2
    assert len(state.task.optimizer.variables) >= 2 * len(state.task.model.trainable_variables)


class InTrainingAlone(keras.layers.Layer):
    """Calls a layer only where it trains."""

    def __init__(self, **settings):
        super().__init__(**settings)
        self.noise = keras.layers.Dense(4, name="noise")

    def call(self, x, training=False):
        return self.noise(x) if training else x


@pytest.mark.parametrize("is_functional", [True, False])
def test_layers_that_are_called_in_training_alone_are_trained(tmp_path, is_functional):
    def build():
        stack = [keras.layers.Flatten(), keras.layers.Dense(4, name="body")]
        stack += [InTrainingAlone(name="more"), keras.layers.Dense(3, name="logits")]
        return keras.Sequential([keras.Input(SHAPE), *stack] if is_functional else stack)

    state = small_state(build())
    train_a_little(state)
    path = manager_of(state, tmp_path).save()
    paths = {entry.path for entry in read_card(path).structure.variables}
    assert "more/noise/kernel" in paths
    assert any(path.startswith("optimizer/") and "more/noise/bias" in path for path in paths)
    again = small_state(build(), seed=2)
    assert manager_of(again, tmp_path).restore_or_initialize()
    assert values_of(again) == values_of(state)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "mixed_bfloat16"])
def test_the_penalty_of_a_regularizer_may_be_of_another_type_than_the_loss(dtype):
    settings = {"kernel_regularizer": "l2", "activity_regularizer": "l1", "dtype": dtype}
    dense = keras.layers.Dense(3, name="logits", **settings)
    flatten = keras.layers.Flatten(dtype=dtype)
    state = small_state(keras.Sequential([keras.Input(SHAPE), flatten, dense]))
    before = dense.kernel.numpy()
    train_a_little(state)
    assert (dense.kernel.numpy() != before).any()


def layer_that(function):
    class Custom(keras.layers.Layer):
        def call(self, x):
            return function(x)

    layers = [keras.Input(SHAPE), keras.layers.Flatten(), Custom(), keras.layers.Dense(3)]
    return keras.Sequential(layers)


def test_randomness_that_cannot_be_saved_is_refused():
    with pytest.raises(ConfigurationError, match="draws random numbers by RandomStandardNormal"):
        small_state(layer_that(lambda x: x + tf.random.normal(tf.shape(x))))


@pytest.mark.parametrize("layer", [keras.layers.LSTM, keras.layers.GRU])
def test_recurrent_layers_draw_nothing(layer):
    small_state(keras.Sequential([keras.Input(SHAPE), layer(4), keras.layers.Dense(3)]))


def test_so_it_is_inside_of_control_flow():
    def noisy(x):
        return tf.cond(tf.reduce_sum(x) > 0, lambda: x * tf.random.uniform(tf.shape(x)), lambda: x)

    with pytest.raises(ConfigurationError, match="draws random numbers by RandomUniform"):
        small_state(layer_that(noisy))


def test_state_outside_of_variables_is_refused():
    values = tf.lookup.KeyValueTensorInitializer([1, 2], [3, 4], tf.int64, tf.int64)
    table = tf.lookup.StaticHashTable(values, 0)

    def look_up(x):
        return x + tf.cast(table.lookup(tf.cast(x, tf.int64)), x.dtype)

    with pytest.raises(ConfigurationError, match="keeps state outside of variables"):
        small_state(layer_that(look_up))


def test_a_variable_that_keras_does_not_know_is_saved(tmp_path):
    hidden = tf.Variable(2.0)
    state = small_state(layer_that(lambda x: x * hidden))
    manager_of(state, tmp_path).save()
    hidden.assign(5.0)
    manager_of(state, tmp_path).restore_or_initialize()
    assert float(hidden) == 2.0


def test_means_start_again():
    means = small_state().line
    x = tf.zeros((2, *SHAPE))
    logits = tf.constant([[2.0, 1.0, 0.0], [0.0, 2.0, 1.0]])
    means.update((x, tf.constant([0, 0])), logits, tf.constant(3.0))
    means.update((x, tf.constant([0, 1])), logits, tf.constant(1.0))
    assert means.result() == {"loss": 2.0, "accuracy": 0.75}
    means.reset()
    assert means.result() == {"loss": 0.0, "accuracy": 0.0}


def test_a_batch_counts_by_its_size():
    means = small_state().line
    logits = tf.constant([[2.0, 1.0, 0.0]] * 3)
    means.update((tf.zeros((3, *SHAPE)), tf.constant([0, 0, 0])), logits, tf.constant(1.0))
    means.update((tf.zeros((1, *SHAPE)), tf.constant([1])), logits[:1], tf.constant(5.0))
    assert means.result() == {"loss": 2.0, "accuracy": 0.75}
