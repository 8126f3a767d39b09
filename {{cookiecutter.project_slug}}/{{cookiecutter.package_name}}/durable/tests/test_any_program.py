"""The manager in programs that were not made by this template."""

import numpy as np
import pytest
import tensorflow as tf
from etils import epath

from ..checkpoint import restore as restoring
from ..checkpoint.manager import CheckpointManager
from ..checkpoint.reader import condition_of
from ..compat import KERAS_3, keras
from ..errors import CheckpointMismatch, ConfigurationError
from .program.others import Text

layers = keras.layers


def everything():
    """A checkpoint with an iterator, a table and Python state, and how far they have come."""
    iterator = iter(tf.data.Dataset.range(100).shuffle(10, seed=3))
    table = tf.lookup.experimental.MutableHashTable(tf.string, tf.int64, -1)
    dense = tf.lookup.experimental.DenseHashTable(tf.int64, tf.int64, -1, -2, -3)
    state = Text()
    inner = tf.train.Checkpoint(v=tf.Variable(1.0))
    return tf.train.Checkpoint(
        iterator=iterator, table=table, dense=dense, state=state, inner=inner
    )


def test_iterators_tables_and_python_state_are_saved(tmp_path):
    checkpoint = everything()
    manager = CheckpointManager(checkpoint, tmp_path)
    manager.save(1)  # the second one is prepared by the first
    for _ in range(7):
        next(checkpoint.iterator)
    checkpoint.table.insert(tf.constant(["a"]), tf.constant([5], tf.int64))
    checkpoint.dense.insert(tf.constant([1], tf.int64), tf.constant([2], tf.int64))
    checkpoint.state.text = "known"
    saved = manager.save(2)
    assert condition_of(epath.Path(saved)).state == "good"
    following = [int(next(checkpoint.iterator)) for _ in range(20)]

    for restore in (
        lambda again: CheckpointManager(again, tmp_path).restore_or_initialize(),
        lambda again: again.restore(str(tmp_path / "ckpt-2")).assert_consumed(),
    ):
        again = everything()
        restore(again)
        assert [int(next(again.iterator)) for _ in range(20)] == following
        assert again.table.lookup(tf.constant(["a"])).numpy().tolist() == [5]
        assert again.dense.lookup(tf.constant([1], tf.int64)).numpy().tolist() == [2]
        assert again.state.text == "known"


def test_an_iterator_on_one_side_only_is_a_mismatch(tmp_path):
    v = tf.Variable(1.0)
    CheckpointManager(tf.train.Checkpoint(v=v), tmp_path).save(1)
    more = tf.train.Checkpoint(v=v, iterator=iter(tf.data.Dataset.range(3)))
    with pytest.raises(CheckpointMismatch, match=r"\+ iterator  only in the model"):
        CheckpointManager(more, tmp_path).restore_or_initialize()


def network(*order):
    """A subclassed model whose layers have no names, made in an order."""

    class Network(keras.Model):
        def __init__(self):
            super().__init__()
            for name in order:
                setattr(self, name, layers.Dense(4))

        def call(self, x):
            return self.query(x) * tf.sigmoid(self.gate(x))

    model = Network()
    model(tf.ones((1, 4)))
    return model


def test_two_lines_of_a_constructor_that_were_swapped_are_told(tmp_path):
    model = network("query", "gate")
    CheckpointManager(tf.train.Checkpoint(model=model), tmp_path).save(1)
    swapped = network("gate", "query")
    before = [weight.numpy() for weight in swapped.weights]
    with pytest.raises(CheckpointMismatch, match=r"is model\.query.* checkpoint, model\.gate"):
        CheckpointManager(tf.train.Checkpoint(model=swapped), tmp_path).restore_or_initialize()
    after = [weight.numpy() for weight in swapped.weights]
    assert all(map(np.array_equal, before, after))


class Listed(keras.Model):
    def __init__(self):
        super().__init__()
        self.hidden = [layers.Dense(4), layers.Dropout(0.5), layers.Dense(2)]

    def call(self, x, training=False):
        for layer in self.hidden:
            x = layer(x, training=training) if isinstance(layer, layers.Dropout) else layer(x)
        return x


def test_what_keras_does_not_track_is_saved_all_the_same(tmp_path):
    keras.utils.set_random_seed(1)
    model = Listed()
    x = tf.ones((8, 3))
    model(x)
    CheckpointManager(tf.train.Checkpoint(model=model), tmp_path).save(1)
    drawn = model(x, training=True).numpy()

    keras.utils.set_random_seed(2)
    again = Listed()
    again(x)
    CheckpointManager(tf.train.Checkpoint(model=again), tmp_path).restore_or_initialize()
    assert np.array_equal(again(x, training=True).numpy(), drawn)


def test_a_root_is_read_by_tensorflow(tmp_path):
    root = tf.Module()
    root.v = tf.Variable(3.0)
    saved = CheckpointManager(tf.train.Checkpoint(root, w=tf.Variable(4.0)), tmp_path).save(1)
    again = tf.Module()
    again.v = tf.Variable(0.0)
    w = tf.Variable(0.0)
    tf.train.Checkpoint(again, w=w).restore(saved).assert_consumed()
    assert (again.v.numpy(), w.numpy()) == (3.0, 4.0)
    again.v.assign(0.0)
    CheckpointManager(tf.train.Checkpoint(again, w=w), tmp_path).restore_or_initialize()
    assert again.v.numpy() == 3.0


def test_a_saved_checkpoint_is_consumed_by_a_restore(tmp_path):
    model = keras.Sequential([keras.Input((2,)), layers.Dense(1)])
    optimizer = keras.optimizers.Adam()
    optimizer.build(model.trainable_variables)
    checkpoint = tf.train.Checkpoint(model=model, optimizer=optimizer)
    saved = CheckpointManager(checkpoint, tmp_path).save(1)
    checkpoint.restore(saved).assert_consumed()


def test_tensorflows_own_manager_takes_the_folder_over(tmp_path):
    checkpoint = tf.train.Checkpoint(v=tf.Variable(1.0))
    manager = CheckpointManager(checkpoint, tmp_path)
    saved = [manager.save(number) for number in (1, 2)]
    assert tf.train.CheckpointManager(checkpoint, str(tmp_path), 5).checkpoints == saved


@pytest.mark.parametrize("is_built", [False, True])
def test_what_is_not_built_yet_is_named_with_the_call(tmp_path, is_built):
    def parts():
        model = keras.Sequential([layers.Dense(1)])
        return model, keras.optimizers.Adam()

    model, optimizer = parts()
    model.build((None, 2))
    optimizer.build(model.trainable_variables)
    checkpoint = tf.train.Checkpoint(model=model, optimizer=optimizer)
    CheckpointManager(checkpoint, tmp_path).save(1)
    model, optimizer = parts()
    if is_built:
        model.build((None, 2))
    checkpoint = tf.train.Checkpoint(model=model, optimizer=optimizer)
    manager = CheckpointManager(checkpoint, tmp_path)
    with pytest.raises(CheckpointMismatch) as error:
        manager.restore_or_initialize()
    assert ("The model has no variables yet" in str(error.value)) != is_built
    assert "call optimizer.build(model.trainable_variables)" in str(error.value)
    model.build((None, 2))
    optimizer.build(model.trainable_variables)
    assert manager.restore_or_initialize() == str(tmp_path / "ckpt-1")


def test_the_optimizer_inside_one_that_scales_the_loss_is_compared(tmp_path):
    def checkpoint(inner):
        scaled = keras.mixed_precision.LossScaleOptimizer(inner)
        v = tf.Variable([1.0])
        scaled.build([v])
        return tf.train.Checkpoint(optimizer=scaled, v=v)

    CheckpointManager(checkpoint(keras.optimizers.Adam()), tmp_path).save(1)
    with pytest.raises(CheckpointMismatch, match="Adam in the checkpoint, AdamW in the model"):
        CheckpointManager(checkpoint(keras.optimizers.AdamW()), tmp_path).restore_or_initialize()


def test_a_nested_checkpoint_keeps_its_counter(tmp_path):
    def nested():
        inner = tf.train.Checkpoint(v=tf.Variable(1.0))
        inner.save_counter.assign(0)
        return inner

    inner = nested()
    inner.save_counter.assign(7)
    CheckpointManager(tf.train.Checkpoint(inner=inner), tmp_path).save(1)
    again = nested()
    CheckpointManager(tf.train.Checkpoint(inner=again), tmp_path).restore_or_initialize()
    assert int(again.save_counter) == 7


def test_the_interval_counts_steps_and_not_numbers(tmp_path):
    step = tf.Variable(0, dtype=tf.int64)
    checkpoint = tf.train.Checkpoint(step=step)
    manager = CheckpointManager(
        checkpoint, tmp_path, step_counter=step, checkpoint_interval=10, max_to_keep=None
    )
    saved = []
    for epoch in range(1, 6):
        step.assign_add(25)
        saved.append(manager.save(checkpoint_number=epoch))
    assert all(saved)
    assert manager.save(checkpoint_number=6) is None
    assert manager.save(checkpoint_number=6, check_interval=False) is None  # of this step
    step.assign_add(5)
    assert manager.save(checkpoint_number=6) is None
    assert manager.save(checkpoint_number=6, check_interval=False)


def test_the_interval_goes_on_from_a_restore_and_from_what_is_given(tmp_path):
    step = tf.Variable(20, dtype=tf.int64)
    checkpoint = tf.train.Checkpoint(step=step)
    CheckpointManager(checkpoint, tmp_path, step_counter=step).save()
    settings = {"step_counter": step, "checkpoint_interval": 10}
    manager = CheckpointManager(checkpoint, tmp_path, **settings)
    manager.restore_or_initialize()
    assert manager.save() is None
    step.assign(25)
    assert manager.save() is None
    given = CheckpointManager(checkpoint, tmp_path, **settings, last_checkpoint_step=24)
    assert given.save() is None


def test_a_mirrored_step_is_read(tmp_path):
    with tf.distribute.MirroredStrategy(["CPU:0"]).scope():
        step = tf.Variable(3, dtype=tf.int64, aggregation=tf.VariableAggregation.ONLY_FIRST_REPLICA)
    saved = CheckpointManager(tf.train.Checkpoint(step=step), tmp_path).save()
    assert saved == str(tmp_path / "ckpt-3")
    assert tf.train.load_variable(saved, "step/.ATTRIBUTES/VARIABLE_VALUE") == 3


@pytest.mark.parametrize("step", [tf.Module(), tf.Variable([1.0, 2.0]), tf.Variable(0.5)])
def test_a_part_called_step_need_not_be_a_number(tmp_path, step):
    checkpoint = tf.train.Checkpoint(step=step, v=tf.Variable(1.0))
    assert CheckpointManager(checkpoint, tmp_path).save() == str(tmp_path / "ckpt-1")
    with pytest.raises(ConfigurationError, match="is to be one whole number"):
        CheckpointManager(checkpoint, tmp_path, step_counter=step)


def test_a_variable_may_change_its_length(tmp_path):
    v = tf.Variable([1.0, 2.0], shape=[None])
    manager = CheckpointManager(tf.train.Checkpoint(v=v), tmp_path)
    v.assign([1.0, 2.0, 3.0])
    manager.save(1)
    v.assign([0.0])
    manager.restore_or_initialize()
    assert v.numpy().tolist() == [1.0, 2.0, 3.0]


def test_a_graph_is_refused(tmp_path):
    with (
        tf.Graph().as_default(),
        pytest.raises(ConfigurationError, match="make it outside of"),
    ):
        CheckpointManager(tf.train.Checkpoint(), tmp_path)


@pytest.mark.skipif(KERAS_3, reason="Keras 3 has no legacy optimizers")
def test_an_optimizer_whose_slots_no_graph_shows_is_refused(tmp_path):
    optimizer = keras.optimizers.legacy.Adam()
    with pytest.raises(ConfigurationError, match="keeps its slots outside"):
        CheckpointManager(tf.train.Checkpoint(optimizer=optimizer), tmp_path)


def test_sync_waits_for_what_is_saved_in_the_background(tmp_path):
    checkpoint = tf.train.Checkpoint(v=tf.Variable(tf.ones((1000, 1000))))
    manager = CheckpointManager(checkpoint, tmp_path, background=True)
    manager.save(1)
    manager.sync()
    assert (tmp_path / "ckpt-1.index").exists()


def test_checkpoints_of_another_name_are_none_of_ours(tmp_path):
    checkpoint = tf.train.Checkpoint(v=tf.Variable(1.0))
    CheckpointManager(checkpoint, tmp_path, checkpoint_name="model").save(7)
    manager = CheckpointManager(checkpoint, tmp_path)
    assert manager.restore_or_initialize() is None


@pytest.mark.parametrize("name", ["r[1]", "r*", "what?", "back\\slash"])
def test_a_folder_that_tensorflow_takes_for_a_pattern_is_refused(tmp_path, name):
    with pytest.raises(ConfigurationError, match="takes for a pattern"):
        CheckpointManager(tf.train.Checkpoint(v=tf.Variable(1.0)), tmp_path / name)
    assert not list(tmp_path.iterdir())


def adam(rate, *, scaled=False):
    """A model with an optimizer that has made no step."""
    model = keras.Sequential([keras.Input((3,)), layers.Dense(2, name="output")])
    optimizer = keras.optimizers.Adam(rate)
    if scaled:
        optimizer = keras.mixed_precision.LossScaleOptimizer(optimizer)
    optimizer.build(model.trainable_variables)
    return tf.train.Checkpoint(model=model, optimizer=optimizer)


def train(checkpoint):
    """Makes a step, as after which an optimizer is no new one."""
    weights = checkpoint.model.trainable_variables
    gradients = [tf.ones_like(weight) for weight in weights]
    checkpoint.optimizer.apply_gradients(zip(gradients, weights, strict=True))


def rate_of(checkpoint):
    optimizer = getattr(checkpoint.optimizer, "inner_optimizer", checkpoint.optimizer)
    return float(tf.convert_to_tensor(optimizer.learning_rate))


@pytest.mark.parametrize("scaled", [False, True])
def test_a_learning_rate_of_the_program_is_put_in_and_one_that_became_is_kept(
    tmp_path, caplog, scaled
):
    caplog.set_level("INFO")
    first = adam(1e-3, scaled=scaled)
    manager = CheckpointManager(first, tmp_path)
    train(first)
    manager.save(1)
    optimizer = getattr(first.optimizer, "inner_optimizer", first.optimizer)
    optimizer.learning_rate.assign(5e-4)  # as a schedule of one's own does
    manager.save(2)

    same = adam(1e-3, scaled=scaled)
    CheckpointManager(same, tmp_path).restore_or_initialize()
    assert rate_of(same) == pytest.approx(5e-4)
    assert "as in this program now" not in caplog.text

    other = adam(1e-5, scaled=scaled)
    later = CheckpointManager(other, tmp_path)
    later.restore_or_initialize()
    assert rate_of(other) == pytest.approx(1e-5)
    assert "learning_rate" in caplog.text
    assert ": 1e-05, as in this program now; it was 0.001 before." in caplog.text
    later.save(3)

    again = adam(1e-5, scaled=scaled)
    CheckpointManager(again, tmp_path).restore_or_initialize()
    assert rate_of(again) == pytest.approx(1e-5)


def test_a_rate_that_changed_before_a_restore_is_not_taken_for_that_of_the_program(tmp_path):
    checkpoint = adam(1e-3)
    manager = CheckpointManager(checkpoint, tmp_path)
    train(checkpoint)
    checkpoint.more = tf.Variable(0.0)  # what is reachable is looked at anew
    checkpoint.optimizer.learning_rate.assign(5e-4)
    manager.save(1)
    checkpoint.optimizer.learning_rate.assign(1e-4)
    manager.restore_or_initialize()  # back, after a loss that was not a number, say
    assert rate_of(checkpoint) == pytest.approx(5e-4)


def test_a_rate_from_a_card_that_does_not_tell_is_gone_on_with(tmp_path, monkeypatch, caplog):
    with monkeypatch.context() as patch:
        patch.setattr(restoring, "learning_rate_variable", lambda _: None)
        CheckpointManager(adam(1e-3), tmp_path).save(1)
    checkpoint = adam(1e-5)
    CheckpointManager(checkpoint, tmp_path).restore_or_initialize()
    assert rate_of(checkpoint) == pytest.approx(1e-3)
    assert ": 0.001 is gone on with, from ckpt-1, and not the 1e-05" in caplog.text


@pytest.mark.parametrize("partial", [False, True])
def test_a_fork_has_the_learning_rate_of_its_program(tmp_path, partial):
    saved = CheckpointManager(adam(1e-3), tmp_path).save(1)
    fork = adam(1e-5)
    restoring.Restorer(fork, {}).transfer(epath.Path(saved), partial=partial)
    assert rate_of(fork) == pytest.approx(1e-5)
