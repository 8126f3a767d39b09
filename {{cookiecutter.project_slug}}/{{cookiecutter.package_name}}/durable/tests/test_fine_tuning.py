"""Fine-tuning: a body that stays as it is, for some steps or for ever, and its optimizer."""

import logging

import numpy as np
import pytest
import tensorflow as tf
from etils import epath

from ..checkpoint.card import read_card
from ..checkpoint.restore import Restorer
from ..checkpoint.structure import describe_variables
from ..compat import keras, loss_scale
from ..convert.export import export_model
from ..errors import PACKAGE, ConfigurationError
from ..run.experiment import Task
from ..run.layers import InferenceMode
from ..run.settings import RunSettings
from ..run.state import TrainState
from .helpers import manager_of
from .tasks import Adversarial, images

layers = keras.layers
SPEC = (tf.TensorSpec((8, 3)), tf.TensorSpec((8,)))
FROZEN = 3


def adamw():
    """An optimizer that would change weights without a gradient: it lets them decay."""
    return keras.optimizers.AdamW(0.01, weight_decay=0.1, global_clipnorm=0.5)


class Tuning(Task):
    """A body with batch normalisation and dropout, and a head."""

    def __init__(self, frozen=FROZEN, make=adamw, dtype="float32", trains_body=True):
        keras.utils.set_random_seed(3)
        stack = [keras.Input((3,)), layers.Dense(4, "relu", dtype=dtype, name="inner")]
        stack += [layers.BatchNormalization(name="norm"), layers.Dropout(0.5, name="dropout")]
        body = keras.Sequential(stack, name="inside")
        body.trainable = trains_body
        inputs = keras.Input((3,))
        x = InferenceMode(body, name="body")(inputs)
        x = layers.Dropout(0.2, name="drop")(layers.Dense(4, name="middle", dtype=dtype)(x))
        head = layers.Dense(1, dtype=dtype, name="head")(x)
        self.models = {"model": keras.Model(inputs, head)}
        self.optimizers = {"optimizer": make()}
        if trains_body:
            self.optimizers["body_optimizer"] = make()
            self.frozen_until = {"body_optimizer": frozen}

    def loss(self, y, outputs):
        return (tf.cast(outputs[:, 0], tf.float32) - y) ** 2

    def metrics(self):
        return {}


def batches(start, stop):
    for number in range(start, stop):
        random = np.random.default_rng(number)
        x, y = random.normal(2, 3, (8, 3)), random.normal(size=8)
        yield tf.constant(x, tf.float32), tf.constant(y, tf.float32)


def trained(state, *batches):
    """Trains on the batches, in a graph that is traced once; gives the losses."""

    @tf.function(input_signature=[SPEC])
    def step(batch):
        outputs, loss = state.task.step(batch)
        state.update_means(batch, outputs, loss)
        state.average_weights()
        state.step.assign_add(1)
        return loss

    if not hasattr(state, "trace"):
        state.trace = step
    return [float(state.trace(batch)) for batch in batches]


def values_by_path(state):
    """The bytes of every variable of a state, by its path."""
    described = describe_variables(tf.train.Checkpoint(**state.parts))
    return {path: variable.numpy().tobytes() for path, (_, variable) in described.items()}


def of_the_body(values):
    """Those of the body and of its optimizer."""
    return {p: v for p, v in values.items() if p.startswith(("body/", "body_optimizer/"))}


# An average of the weights and slices are kept right as well.
CONFIG = RunSettings(ema=0.9, accumulate=2)
LAST = FROZEN + 3


def state_of(config=CONFIG, **settings):
    return TrainState(Tuning(**settings), SPEC, config=config)


@pytest.fixture(scope="module")
def straight(tmp_path_factory):
    """A run that never stopped: its folder, and its values after each step, the first one's 0."""
    folder, state = tmp_path_factory.mktemp("straight"), state_of()
    manager = manager_of(state, folder, max_to_keep=None)
    values = [values_by_path(state)]
    for step in range(LAST):
        trained(state, *batches(step, step + 1))
        manager.save()
        values.append(values_by_path(state))
    return folder, values


@pytest.fixture(scope="module")
def other():
    """A state of the same run, of which nothing is left when another one is restored into it."""
    return state_of()


def test_each_optimizer_trains_its_part_from_its_step_on(straight, other):
    counts = {name: len(other.task.trained_variables(name)) for name in other.task.optimizers}
    assert counts == {"optimizer": 4, "body_optimizer": 4}
    _, values = straight
    before, frozen, after = (values[step] for step in (0, FROZEN, FROZEN + 1))
    assert of_the_body(frozen) == of_the_body(before), "no decay, no slot, no counter"
    assert frozen["head/kernel"] != before["head/kernel"]
    changed = {path for path, value in of_the_body(after).items() if value != frozen[path]}
    words = ("moving", "learning_rate", "seed_generator")
    fixed = {path for path in of_the_body(frozen) if any(word in path for word in words)}
    assert len([path for path in fixed if "moving" in path]) == 2
    assert changed == of_the_body(after).keys() - fixed
    assert after["body_optimizer/iteration"] == values[1]["optimizer/iteration"], "its first step"


def test_while_the_body_is_frozen_the_head_learns_as_if_it_could_not_be_trained(straight):
    """Its gradients alone are clipped, as where the body is not trainable in Keras's sense."""
    state = state_of(trains_body=False)
    trained(state, *batches(0, FROZEN))
    assert values_by_path(state).items() <= straight[1][FROZEN].items()


@pytest.mark.parametrize("stop", [FROZEN - 1, FROZEN, FROZEN + 1])
def test_a_resumed_run_ends_as_if_it_had_never_stopped(straight, other, stop):
    folder, values = straight
    checkpoint = tf.train.Checkpoint(**other.parts)
    Restorer(checkpoint, {}).restore(epath.Path(folder / f"ckpt-{stop}"))
    trained(other, *batches(stop, LAST))
    assert values_by_path(other) == values[LAST]


def test_a_fork_that_unfreezes_goes_on_as_the_run_that_did_so_by_itself(straight, other, tmp_path):
    frozen = state_of(frozen=1000)
    trained(frozen, *batches(0, FROZEN))
    path = epath.Path(manager_of(frozen, tmp_path).save())
    Restorer(tf.train.Checkpoint(**other.parts), {}).transfer(path, partial=False)
    trained(other, *batches(FROZEN, LAST))
    assert values_by_path(other) == straight[1][LAST]


def test_a_body_that_begins_at_once_takes_the_step_of_both():
    """Of one optimizer for all, where nothing is clipped."""

    def plain():
        return keras.optimizers.Adam(0.01)

    parts = state_of(None, frozen=0, make=plain)
    task = Tuning(make=plain)
    task.optimizers, task.frozen_until = {"optimizer": plain()}, {}
    whole = TrainState(task, SPEC)
    losses = trained(whole, *batches(0, 4))
    np.testing.assert_allclose(trained(parts, *batches(0, 4)), losses, rtol=1e-6)


def test_each_optimizer_has_a_scale_of_its_own_and_one_that_waits_keeps_no_run_alive():
    def make():
        return keras.mixed_precision.LossScaleOptimizer(keras.optimizers.SGD(0.01))

    state = state_of(None, make=make, dtype="mixed_float16", frozen=1000)
    huge = [(x * 1e9, y) for x, y in batches(0, 15)]
    trained(state, *huge)
    scales = {name: float(loss_scale(one)) for name, one in state.task.optimizers.items()}
    assert scales == {"optimizer": 1, "body_optimizer": 2**15}
    assert state.first_bad_step == 15
    small = [(x / 100, y / 10) for x, y in batches(0, 3)]
    unscaled = state_of(None, make=lambda: keras.optimizers.SGD(0.01), frozen=1)
    scaled = state_of(None, make=make, dtype="mixed_float16", frozen=1)
    np.testing.assert_allclose(trained(scaled, *small), trained(unscaled, *small), rtol=0.02)


def test_it_is_told_when_an_optimizer_begins(caplog, monkeypatch):
    monkeypatch.setattr(logging.getLogger(PACKAGE), "propagate", True)
    caplog.set_level(logging.INFO)

    def told(state, call, *arguments):
        caplog.clear()
        for hook in state.hooks:
            getattr(hook, call)(*arguments)
        return caplog.text

    state = state_of(None, frozen=2)
    assert "body_optimizer begins after step 2: the 4 variables" in told(state, "on_start", 0)
    assert told(state, "on_log", 1, 0, {}) == ""
    assert "has begun after step 2, with slots of zeros" in told(state, "on_log", 2, 0, {})
    assert told(state, "on_log", 3, 0, {}) == ""
    assert "has begun after step 7, with slots of zeros" in told(state, "on_start", 7), "in a fork"
    trained(state, *batches(0, 3))
    assert told(state, "on_start", 3) == ""
    assert "hooks" not in state.parts


def test_what_cannot_be_frozen_is_refused():
    task = Tuning()
    task.frozen_until = {"bdy_optimizer": 3}
    with pytest.raises(ConfigurationError, match=r"'bdy_optimizer'\. Its optimizers are"):
        TrainState(task, SPEC)
    task = Adversarial()
    task.frozen_until = {"generator_optimizer": 3}
    with pytest.raises(ConfigurationError, match="Adversarial has a step of its own"):
        TrainState(task, images().element_spec)
    task = Tuning()
    task.optimizers = {"optimizer": adamw(), "other": adamw()}
    task.frozen_until = {}
    with pytest.raises(ConfigurationError, match="optimizer and other of Tuning both train"):
        TrainState(task, SPEC)


def test_a_body_in_inference_drops_nothing_and_is_exported(tmp_path):
    state = state_of(None)
    body = state.task.model.get_layer("body")
    x = next(batches(0, 1))[0]
    before = values_by_path(state)
    outputs = [body(x, training=training).numpy() for training in (True, False)]
    assert (outputs[0] == outputs[1]).all()
    whole = keras.Model(state.task.model.inputs, body.output)
    assert (whole(x, training=True).numpy() == outputs[1]).all(), "whatever it is inside of"
    assert values_by_path(state) == before
    assert export_model(state.task, SPEC, epath.Path(tmp_path)) is not None
    assert (tmp_path / "model.keras").exists()


def test_the_card_has_the_layers_of_the_body_once(straight):
    layers = {entry.path: entry for entry in read_card(straight[0] / "ckpt-1").structure.layers}
    assert {"body", "body/inside", "body/inside/norm"} <= layers.keys()
    assert "body" not in layers["body"].settings
