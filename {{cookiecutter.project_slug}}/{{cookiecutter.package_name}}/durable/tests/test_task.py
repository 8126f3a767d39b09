"""The seam: tasks of any kind train, resume exactly and are refused where they do not fit."""

import doctest
import importlib
import logging
import os
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

from ..checkpoint.card import read_card
from ..compat import keras
from ..data.arrays import ArrayData
from ..errors import PACKAGE, ConfigurationError
from ..run.experiment import Hook
from ..run.means import Validation
from ..run.start import with_best_metric
from ..run.state import TrainState
from .helpers import PROJECT, manager_of, train, values_of
from .program.experiment import Config
from .tasks import Adversarial, TwoHeads, images, two_inputs


def fresh(task_class, data, seed=0, hooks=()):
    keras.backend.clear_session()
    keras.utils.set_random_seed(seed)
    return TrainState(task_class(), data.element_spec, hooks)


@pytest.mark.parametrize(
    ("task", "data"), [(Adversarial, images()), (TwoHeads, two_inputs())], ids=["gan", "heads"]
)
def test_a_resumed_task_ends_as_if_it_had_never_stopped(tmp_path, task, data):
    straight = fresh(task, data)
    train(straight, data, 0, 9)

    stopped = fresh(task, data)
    train(stopped, data, 0, 4)
    manager_of(stopped, tmp_path).save()
    resumed = fresh(task, data, seed=1)
    train(resumed, data, 0, 2)  # its generators have drawn numbers already
    manager_of(resumed, tmp_path).restore_or_initialize()
    train(resumed, data, 4, 9)

    assert values_of(resumed) == values_of(straight)
    assert resumed.line.result() == straight.line.result()
    assert Validation(resumed.task, data)() == Validation(straight.task, data)()


def test_slots_are_called_after_the_variables_of_their_own_model(tmp_path):
    state = fresh(Adversarial, images())
    card = read_card(manager_of(state, tmp_path).save())
    shapes = {entry.path: entry.shape for entry in card.structure.variables}
    slots = [path for path, entry in shapes.items() if "_optimizer/" in path and entry != ()]
    assert len(slots) == 2 * 2 * 6
    for path in slots:
        optimizer, _, owner = path.split("/", 2)
        assert owner.startswith(optimizer.removesuffix("_optimizer") + "/"), path
        assert shapes[path] == shapes[owner], path


def test_one_optimizer_may_train_two_models_that_share_names(tmp_path):
    class Pair(Adversarial):
        def __init__(self):
            super().__init__()
            self.optimizers = {"optimizer": keras.optimizers.SGD(0.1, momentum=0.9)}
            self.models = {"first": self._model(16, 2), "second": self._model(2, 1)}

        def forward(self, batch, *, training):
            x = tf.reshape(batch[0], (-1, 16))
            x = self.models["first"](x, training=training)
            x = self.models["second"](x, training=training)
            return x, x

        def step(self, batch):
            return super(Adversarial, self).step(batch)

    state = fresh(Pair, images())
    card = read_card(manager_of(state, tmp_path).save())
    shapes = {entry.path: entry.shape for entry in card.structure.variables}
    slots = [path for path in shapes if path.startswith("optimizer/") and path.count("/") > 2]
    assert len(slots) == 2 * 6
    for path in slots:
        assert shapes[path] == shapes[path.split("/", 2)[2]]


def test_weights_count_in_loss_and_metrics():
    data = two_inputs()
    state = fresh(TwoHeads, data)
    (batch,) = data.batches(0, 0, 1)
    _, y, weight = batch
    outputs = state.task.forward(batch, training=False)
    losses = state.task.loss(y, outputs).numpy()
    state.line.update(batch, outputs)
    apart = np.abs(outputs["sum"].numpy()[:, 0] - y["sum"].numpy())
    found = state.line.result()
    assert found["loss"] == pytest.approx(np.mean(losses * weight.numpy()), 1e-5)
    assert found["error"] == pytest.approx(np.average(apart, weights=weight.numpy()), 1e-5)


def test_validation_is_that_of_each_example_once():
    data = images(41)  # the last batch is a short one
    state = fresh(Adversarial, data)
    x, y = data.validation.arrays
    outputs = state.task.forward((tf.constant(x), y), training=False)
    losses = state.task.loss(y, outputs)
    validate = Validation(state.task, data)
    for _ in range(2):
        found = validate()
        assert found["val_loss"] == pytest.approx(float(tf.reduce_mean(losses)), 1e-6)


PREDICTIONS = 400  # MB, of all held-out examples together
MEASURED = f"""
import resource
import numpy as np
import tensorflow as tf
from {__package__.rpartition(".")[0]}.compat import keras
from {__package__.rpartition(".")[0]}.data.arrays import ArrayData
from {__package__.rpartition(".")[0]}.evaluation.scoring import score
from {__package__.rpartition(".")[0]}.run.experiment import Task
from {__package__.rpartition(".")[0]}.run.means import Validation

class Wide(Task):
    def __init__(self):
        inputs = keras.Input((1,))
        self.models = {{"model": keras.Model(inputs, keras.layers.Dense(1000)(inputs))}}
        self.optimizers = {{"optimizer": keras.optimizers.SGD()}}

    def loss(self, y, outputs):
        return tf.reduce_mean((outputs - y[:, None]) ** 2, axis=1)

    def metrics(self):
        return {{}}

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1000

def data_of(size):
    examples = np.zeros((size, 1), np.float32), np.zeros(size, np.float32)
    return ArrayData(examples, examples, 250)

task = Wide()
for size in 1000, {PREDICTIONS} * 250:
    data = data_of(size)
    Validation(task, data)()
    score([task, task], data)
    print(peak())
"""


@pytest.mark.skipif(os.name == "nt", reason="Windows tells no peak of memory this way")
def test_validation_and_evaluation_run_in_flat_memory():
    process = subprocess.run(
        [sys.executable, "-c", MEASURED], cwd=PROJECT, capture_output=True, text=True, check=True
    )
    few, many = map(int, process.stdout.split())
    assert many - few < PREDICTIONS / 4


class Mistaken(TwoHeads):
    """Fits; the tests break one thing at a time."""


@pytest.mark.parametrize(
    ("name", "mistake", "message"),
    [
        ("loss", lambda *_: tf.constant(1.0), r"is to be one number for each example.*shape \(\)"),
        ("loss", lambda _self, y, _: y["larger"], "is to be one number for each .*type int32"),
        ("loss", lambda _self, y, outputs: outputs["sum"] @ tf.ones((2, 2)), "cannot learn from"),
        ("loss", lambda _self, y, _: y["nothing"], "cannot learn from batches"),
        ("metrics", lambda _: {"step": keras.metrics.Mean()}, "cannot be called 'step'"),
        (
            "update_metrics",
            lambda _self, metrics, _batch, outputs: metrics["error"].update_state(
                tf.ones((2, 3)), tf.ones((5, 7))
            ),
            "cannot learn from batches",
        ),
    ],
)
def test_what_does_not_fit_is_an_error_at_the_start(monkeypatch, name, mistake, message):
    monkeypatch.setattr(Mistaken, name, mistake, raising=False)
    with pytest.raises(ConfigurationError, match=message):
        fresh(Mistaken, two_inputs())


def test_a_metric_of_several_numbers_is_an_error_at_the_start(monkeypatch):
    class PerClass(keras.metrics.Mean):
        def result(self):
            return tf.stack([super().result()] * 3)

    monkeypatch.setattr(Mistaken, "metrics", lambda _: {"error": PerClass()})
    monkeypatch.setattr(Mistaken, "update_metrics", lambda *_: None)
    with pytest.raises(
        ConfigurationError, match=r"'error' of Mistaken is to be one number.*\(3,\)"
    ):
        fresh(Mistaken, two_inputs())


def test_names_of_parts_must_differ():
    task = TwoHeads()
    task.optimizers = {"model": task.optimizer}
    with pytest.raises(ConfigurationError, match="'model'"):
        TrainState(task, two_inputs().element_spec)


@pytest.mark.parametrize(
    ("given", "metric", "mode"),
    [
        ({}, "val_loss", "min"),
        ({"best_metric": "error"}, "error", "min"),
        ({"best_metric": "error", "best_mode": "max"}, "error", "max"),
        ({"best_metric": "val_right"}, "val_right", "max"),
        ({"best_metric": "loss"}, "loss", "min"),
    ],
)
def test_the_best_is_decided_by_a_metric_of_the_task(given, metric, mode):
    config = with_best_metric(Config(**given), fresh(TwoHeads, two_inputs()))
    assert (config.best_metric, config.best_mode) == (metric, mode)


def test_a_metric_that_the_task_has_not_is_refused():
    with pytest.raises(
        ConfigurationError, match=r"--best-metric accuracy is unknown. Known .*val_"
    ):
        with_best_metric(Config(best_metric="accuracy"), fresh(TwoHeads, two_inputs()))


class Counter(Hook):
    name = "counter"

    def __init__(self):
        self.variables = {"told": tf.Variable(0, trainable=False)}


def test_the_variables_of_a_hook_are_saved(tmp_path):
    hook = Counter()
    state = fresh(TwoHeads, two_inputs(), hooks=[hook])
    hook.variables["told"].assign(5)
    manager_of(state, tmp_path).save()
    hook.variables["told"].assign(9)
    manager_of(state, tmp_path).restore_or_initialize()
    assert int(hook.variables["told"]) == 5


def test_a_variable_of_the_task_itself_is_saved(tmp_path):
    class Counting(TwoHeads):
        def __init__(self):
            super().__init__()
            self.seen = tf.Variable(0, trainable=False, name="seen")

        def step(self, batch):
            self.seen.assign_add(tf.shape(batch[2])[0])
            return super().step(batch)

    data = two_inputs()
    state = fresh(Counting, data)
    train(state, data, 0, 3)
    path = manager_of(state, tmp_path).save()
    state.task.seen.assign(0)
    manager_of(state, tmp_path).restore_or_initialize()
    assert int(state.task.seen) == 24
    assert "untracked/seen" in {entry.path for entry in read_card(path).structure.variables}


def test_variables_without_a_name_are_each_saved(tmp_path):
    class Counting(TwoHeads):
        def __init__(self):
            super().__init__()
            self.counts = [tf.Variable(0), tf.Variable(0), tf.Variable(0)]

        def step(self, batch):
            for count, variable in enumerate(self.counts, start=1):
                variable.assign(count * tf.cast(self.steps_trained + 1, tf.int32))
            return super().step(batch)

    data = two_inputs()
    state = fresh(Counting, data)
    train(state, data, 0, 3)
    path = manager_of(state, tmp_path).save()
    for variable in state.task.counts:
        variable.assign(0)
    manager_of(state, tmp_path).restore_or_initialize()
    assert [int(variable) for variable in state.task.counts] == [3, 6, 9]
    saved = {entry.path for entry in read_card(path).structure.variables}
    assert {path for path in saved if path.startswith("untracked/")} == {
        "untracked/Variable",
        "untracked/Variable#1",
        "untracked/Variable#2",
    }


def test_a_model_with_hidden_randomness_beside_the_first_is_refused():
    def noisy(self, batch, *, training):
        true, false = Adversarial.forward(self, batch, training=training)
        return true, false + tf.random.normal(tf.shape(false))

    class Noisy(Adversarial):
        forward = noisy

    with pytest.raises(ConfigurationError, match="draws random numbers by RandomStandardNormal"):
        fresh(Noisy, images())


def test_texts_and_unknown_lengths():
    """A vocabulary in the data, sequences padded by it, and a mask in the model."""
    lengths = np.arange(40) % 5 + 1
    x = np.array([[1] * length + [0] * (5 - length) for length in lengths], np.int32)
    data = ArrayData((x, lengths), (x[:8], lengths[:8]), 8)

    class Length(TwoHeads):
        def __init__(self):
            stack = [layers.Embedding(2, 4, mask_zero=True), layers.LSTM(4), layers.Dense(1)]
            self.models = {"model": keras.Sequential(stack)}  # built by the first batch
            self.optimizers = {"optimizer": keras.optimizers.Adam(0.01)}

        def loss(self, y, outputs):
            return (outputs[:, 0] - tf.cast(y, tf.float32)) ** 2

        def metrics(self):
            return {}

        def update_metrics(self, *_):
            pass

    layers = keras.layers
    state = fresh(Length, data)
    before = Validation(state.task, data)()["val_loss"]
    train(state, data, 0, 60)
    assert Validation(state.task, data)()["val_loss"] < 0.7 * before


def test_the_synopsis_runs(monkeypatch):
    monkeypatch.setattr(logging.getLogger(PACKAGE), "disabled", True)
    for name in logging.getLogger(PACKAGE).manager.loggerDict:
        if name.startswith(PACKAGE):
            monkeypatch.setattr(logging.getLogger(name), "disabled", True)
    package = importlib.import_module("..", __package__)
    names = {name: getattr(package, name) for name in package.__all__}
    failed, attempted = doctest.testmod(package, extraglobs=names)
    assert (failed, attempted > 15) == (0, True)
