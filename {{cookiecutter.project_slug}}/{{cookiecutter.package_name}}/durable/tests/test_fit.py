"""`model.fit` with the callback: killed at any moment, it ends like a run never stopped."""

import json

import numpy as np
import pytest
import tensorflow as tf

from ..checkpoint.callback import Checkpointing
from ..checkpoint.card import read_card
from ..checkpoint.manager import CheckpointManager
from ..compat import keras, variables_of
from ..errors import CheckpointMismatch, ConfigurationError
from .helpers import run_module, saved_values, steps_in

layers = keras.layers
FIT = f"{__package__}.program.fit"


def compiled(optimizer="adam", seed=1):
    """A small model with dropout and a metric."""
    keras.utils.set_random_seed(seed)
    hidden = [layers.Dense(8, "relu", name="hidden"), layers.Dropout(0.5)]
    model = keras.Sequential([keras.Input((3,)), *hidden, layers.Dense(1, name="output")])
    model.compile(optimizer, "mse", metrics=["mae"])
    return model


def examples():
    x = np.random.default_rng(0).random((40, 3), np.float32)
    return x, x.sum(axis=1, keepdims=True)


def batches():
    """Ten batches, in the same order in each epoch."""
    return tf.data.Dataset.from_tensor_slices(examples()).batch(4)


def checkpointing(model, directory, save_every="epoch", **settings):
    manager = CheckpointManager(tf.train.Checkpoint(model=model), directory, **settings)
    return Checkpointing(manager, save_every)


def fit(model, callback, epochs, data=None, **settings):
    """The numbers of the epochs that were trained."""
    data = batches() if data is None else data
    return model.fit(data, epochs=epochs, callbacks=[callback], verbose=0, **settings).epoch


def values_of(model):
    variables = [*variables_of(model), *variables_of(model.optimizer)]
    return [variable.numpy().tobytes() for variable in variables]


def test_fit_goes_on_where_it_ended(tmp_path):
    straight = compiled()
    fit(straight, checkpointing(straight, tmp_path / "straight"), 4)

    first = compiled()
    assert fit(first, checkpointing(first, tmp_path / "resumed"), 2) == [0, 1]
    again = compiled(seed=2)
    assert fit(again, checkpointing(again, tmp_path / "resumed"), 4) == [2, 3]
    assert values_of(again) == values_of(straight)
    assert fit(again, checkpointing(again, tmp_path / "resumed"), 4) == []  # it was complete
    assert steps_in(tmp_path / "resumed") == [10, 20, 30, 40]
    card = read_card(tmp_path / "resumed" / "ckpt-40")
    assert (card.step, card.epoch, card.batch) == (40, 4, 0)
    assert set(card.metrics) >= {"loss", "mae"}
    assert card.structure.optimizers == {"optimizer": "Adam"}
    assert saved_values(tmp_path / "resumed/ckpt-40") == saved_values(tmp_path / "straight/ckpt-40")


def test_a_second_fit_of_one_callback_goes_on(tmp_path):
    straight, twice = compiled(), compiled()
    fit(straight, checkpointing(straight, tmp_path / "straight"), 4)
    callback = checkpointing(twice, tmp_path / "twice")
    fit(twice, callback, 2)
    assert fit(twice, callback, 4) == [2, 3]
    assert values_of(twice) == values_of(straight)
    assert fit(twice, keras.callbacks.Callback(), 1) == [0]  # without it, fit is as it was


def test_what_was_restored_before_is_gone_on_from(tmp_path):
    model = compiled()
    fit(model, checkpointing(model, tmp_path), 2)
    for restore in (
        lambda manager, again: (
            again.optimizer.build(again.trainable_variables),
            manager.restore_or_initialize(),
        ),
        lambda manager, again: Checkpointing(manager).restore(again),
    ):
        again = compiled(seed=2)
        manager = CheckpointManager(tf.train.Checkpoint(model=again), tmp_path)
        restore(manager, again)
        assert values_of(again) == values_of(model)
        assert fit(again, Checkpointing(manager), 3) == [2]
        (tmp_path / "ckpt-30.index").unlink()
        (tmp_path / "ckpt-30.data-00000-of-00001").unlink()
        (tmp_path / "checkpoint").unlink()


@pytest.mark.parametrize("steps_per_execution", [1, 4])
def test_it_saves_by_step_and_at_the_end(tmp_path, steps_per_execution):
    model = compiled()
    model.compile("adam", "mse", steps_per_execution=steps_per_execution)
    callback = checkpointing(model, tmp_path, 8, max_to_keep=None)
    fit(model, callback, 3)
    second = 18 if steps_per_execution == 4 else 16
    assert steps_in(tmp_path) == [8, second, 24, 30]
    assert (callback.step, callback.epoch) == (30, 3)
    card = read_card(tmp_path / "ckpt-24")
    assert (card.epoch, card.batch) == (2, 4)


def test_an_epoch_begun_again_is_told(tmp_path, caplog):
    model = compiled()
    callback = checkpointing(model, tmp_path, 4)
    with pytest.raises(KeyboardInterrupt):
        model.fit(batches(), epochs=2, callbacks=[callback, Interrupt(5)], verbose=0)
    assert steps_in(tmp_path) == [4]
    again = compiled()
    callback = checkpointing(again, tmp_path, 4)
    assert fit(again, callback, 2) == [0, 1]
    assert "Step 4 is inside epoch 1, which fit begins again: 4 steps of it" in caplog.text
    assert callback.step == 24


class Interrupt(keras.callbacks.Callback):
    """Ends `fit` in the middle of an epoch, as Control-C does."""

    def __init__(self, batch):
        super().__init__()
        self._batch = batch

    def on_train_batch_end(self, batch, logs=None):
        if batch == self._batch:
            raise KeyboardInterrupt


def test_a_model_that_does_not_fit_is_left_as_it_was(tmp_path):
    model = compiled()
    fit(model, checkpointing(model, tmp_path), 1)
    other = compiled("sgd")
    before = values_of(other)
    with pytest.raises(CheckpointMismatch, match="Adam in the checkpoint, SGD in the model"):
        fit(other, checkpointing(other, tmp_path), 2)
    assert values_of(other) == before[:4] + values_of(other)[4:]


def test_a_model_that_is_not_built_is_told_what_to_call(tmp_path):
    def unbuilt():
        model = keras.Sequential([layers.Dense(1)])
        model.compile("adam", "mse")
        return model

    model = unbuilt()
    fit(model, checkpointing(model, tmp_path), 1)  # nothing is to be restored: it may be unbuilt
    model = unbuilt()
    with pytest.raises(CheckpointMismatch, match="call it on a batch, or build it, before this"):
        fit(model, checkpointing(model, tmp_path), 2)
    model.build((None, 3))
    assert fit(model, checkpointing(model, tmp_path), 2) == [1]


def test_a_checkpoint_without_the_model_that_is_trained_is_refused(tmp_path):
    model, other = compiled(), compiled()
    with pytest.raises(ConfigurationError, match="does not hold the model that fit trains"):
        fit(model, checkpointing(other, tmp_path), 1)
    manager = CheckpointManager(tf.train.Checkpoint(layers=model.layers), tmp_path)
    with pytest.raises(ConfigurationError, match="does not hold the optimizer that fit trains"):
        fit(model, Checkpointing(manager), 1)


@pytest.mark.parametrize("save_every", [0, -1, "batch", 1.5])
def test_another_interval_is_refused(tmp_path, save_every):
    with pytest.raises(ConfigurationError, match="'epoch' or a number of steps above 0"):
        checkpointing(compiled(), tmp_path, save_every)


@pytest.mark.parametrize("data", ["epochs", "steps"])
def test_killed_and_run_again_it_ends_bit_identical(tmp_path, data):
    straight = run_module(FIT, tmp_path / "straight", data)
    assert straight.returncode == 0, straight.stderr
    for kill_at in (7, 20, 33):
        assert run_module(FIT, tmp_path / "killed", data, kill_at).returncode == -9
    resumed = run_module(FIT, tmp_path / "killed", data)
    assert resumed.returncode == 0, resumed.stderr
    weights = [json.loads(result.stdout.splitlines()[-1]) for result in (straight, resumed)]
    assert weights[0] == weights[1]
    assert read_card(tmp_path / "killed" / "ckpt-40").epoch == 4
