"""Several devices: the same numbers as on one, and runs that go on with more or fewer of them."""

import json
from functools import partial

import numpy as np
import pytest
import tensorflow as tf

from ..compat import keras
from ..errors import ConfigurationError
from ..run import tracing
from ..run.layers import ExampleDropout
from ..run.replicas import deal, draw_by_example, single_device, start_strategy
from ..run.settings import RunSettings
from ..run.state import TrainState
from .helpers import (
    log_of,
    manager_of,
    require_exact_after_a_kill,
    require_same_run,
    run_main,
    train,
    variables_of,
)
from .program import training
from .replicated import Numbers, arrays_of, require_same, scaled, state_of, trained
from .tasks import Adversarial, images

layers = keras.layers
MIRRORED = ["--strategy", "mirrored", "--cpu-devices"]


class Frozen(Numbers):
    def __init__(self):
        super().__init__(body_optimizer=keras.optimizers.Adam(0.02))
        self.frozen_until = {"body_optimizer": 5}


TASKS = {
    "adam": Numbers,
    "together clipped": lambda: Numbers(
        optimizer=keras.optimizers.SGD(0.1, momentum=0.9, global_clipnorm=0.5)
    ),
    "one by one clipped": lambda: Numbers(optimizer=keras.optimizers.SGD(0.1, clipnorm=0.3)),
    "cut off": lambda: Numbers(optimizer=keras.optimizers.SGD(0.1, clipvalue=0.1)),
    "scaled": lambda: Numbers(optimizer=scaled(keras.optimizers.Adam(0.01, global_clipnorm=0.5))),
    "frozen": Frozen,
    "dropout by example": lambda: Numbers([ExampleDropout(0.4, seed=3)]),
}


def replicated(count, task, steps=8, **settings):
    """What comes out of some steps on so many replicas."""
    kind = "none" if count == 1 else "mirrored"
    config = RunSettings(strategy=kind, cpu_devices=count, **settings)
    return trained(task, images(), start_strategy(config), steps, config)


@pytest.mark.parametrize("task", TASKS.values(), ids=TASKS)
def test_two_replicas_make_the_numbers_of_one(task):
    require_same(replicated(2, task), replicated(1, task))


def test_four_replicas_with_slices_and_an_average():
    settings = {"accumulate": 2, "ema": 0.9}
    require_same(replicated(4, Numbers, **settings), replicated(1, Numbers, **settings))


def test_statistics_of_batches_are_the_mean_of_all_replicas():
    """They are those of parts, not of the whole batch; but every replica has the same ones."""

    def normalized():
        return Numbers([layers.BatchNormalization(name="norm")])

    strategy, data = start_strategy(RunSettings(strategy="mirrored", cpu_devices=2)), images()
    state = state_of(normalized, data, strategy)
    train(state, data, 0, 5, strategy)
    for variable in variables_of(state):
        parts = [part.numpy() for part in strategy.experimental_local_results(variable)]
        assert all(np.array_equal(parts[0], part) for part in parts)
    mean, variance = state.task.model.get_layer("norm").non_trainable_variables
    assert not np.allclose(mean, 0)
    assert not np.allclose(variance, 1)


def test_a_part_of_the_state_is_put_back_on_every_replica(tmp_path):
    strategy, data = start_strategy(RunSettings(strategy="mirrored", cpu_devices=2)), images()
    state = state_of(lambda: Numbers([layers.Dropout(0.5)]), data, strategy)
    manager = manager_of(state, tmp_path)
    train(state, data, 0, 3, strategy)
    path = manager.save()
    train(state, data, 3, 6, strategy)
    straight = arrays_of(state)
    assert manager.restore_or_initialize() == path
    train(state, data, 3, 6, strategy)
    for variable, value in zip(variables_of(state), straight, strict=True):
        for part in strategy.experimental_local_results(variable):
            assert part.numpy().tobytes() == value.tobytes()


def run_to(epochs, root, devices, *arguments):
    every = ["--log-every", "10", "--model.hidden", "8", "--epochs", epochs]
    return run_main(training.main, "--root", root, *every, *MIRRORED, devices, *arguments)


def test_a_run_goes_on_with_more_and_with_fewer_devices(tmp_path, capsys):
    by_example = ["--model.dropout", "0"]
    assert run_to(3, tmp_path / "straight", 1, *by_example) == 0
    for epochs, devices in enumerate((2, 4, 1), start=1):
        assert run_to(epochs, tmp_path / "elastic", devices, *by_example) == 0
    printed = capsys.readouterr().out
    assert "Restored step 44 (epoch 1)" in printed
    assert "Changed since the last start: cpu_devices 2 → 4." in printed
    straight, elastic = (log_of(tmp_path / run / "runs/default") for run in ("straight", "elastic"))
    for found, wanted in zip(elastic, straight, strict=True):
        assert found == pytest.approx(wanted, rel=1e-4)


def test_a_pipeline_goes_on_with_the_same_bits(tmp_path):
    for epochs, root in ((2, "straight"), (1, "resumed"), (2, "resumed")):
        assert run_to(epochs, tmp_path / root, 2, "--data.name", "pipeline") == 0
    require_same_run(tmp_path / "resumed", tmp_path / "straight", 88)


def test_killed_in_the_middle(tmp_path):
    run = partial(run_main, training.main)
    require_exact_after_a_kill(tmp_path, run, *MIRRORED, "2", "--data.noise", "0.1")


def test_batches_that_have_no_equal_parts_are_refused(tmp_path, capsys):
    assert run_to(1, tmp_path, 4, "--data.batch-size", 30) == 2
    assert "Batches of 30 examples have no equal parts for 4 replicas" in capsys.readouterr().err
    assert run_to(1, tmp_path, 4, "--accumulate", 3) == 2
    assert "no so many equal slices on each of 4 replicas" in capsys.readouterr().err
    assert run_to(1, tmp_path, 9) == 2
    assert "--cpu-devices 9 is not possible" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


class AdversarialByExample(Adversarial):
    """The adversarial pair, without what differs with the number of replicas."""

    @staticmethod
    def _model(inputs, outputs):
        # Of a bias before a normalisation, the gradient is rounding alone, which Adam scales up.
        stack = [layers.Dense(8, use_bias=False, name="hidden")]
        if outputs > 1:  # the generator
            stack.append(layers.BatchNormalization(synchronized=True, name="norm"))
        stack += [ExampleDropout(0.5, seed=outputs, name="dropout"), layers.Dense(outputs)]
        return keras.Sequential([keras.Input((inputs,)), *stack])

    def __init__(self):
        super().__init__()
        self.optimizers = {
            "generator_optimizer": keras.optimizers.SGD(0.1, momentum=0.9),
            "discriminator_optimizer": keras.optimizers.Adam(1e-3, global_clipnorm=0.1),
        }

    def draw(self, size):
        seed = tf.stack([tf.constant(7, tf.int64), tf.convert_to_tensor(self.steps_trained)])
        return draw_by_example(lambda count: tf.random.stateless_normal((count, 3), seed), size)


def test_a_step_of_a_tasks_own_makes_the_numbers_of_one_replica():
    one = replicated(1, AdversarialByExample)
    for count in (2, 4):
        require_same(replicated(count, AdversarialByExample), one)


def values_of_replicas(state, strategy):
    """The bytes of every variable of a state, on each replica."""
    parts = map(strategy.experimental_local_results, variables_of(state))
    return [[part.numpy().tobytes() for part in each] for each in parts]


def test_a_step_of_a_tasks_own_goes_on_exactly_on_two_replicas(tmp_path):
    """With a generator, dropout and batch normalisation as they usually are."""
    strategy, data = start_strategy(RunSettings(strategy="mirrored", cpu_devices=2)), images()
    straight, stopped, resumed = (state_of(Adversarial, data, strategy) for _ in range(3))
    train(straight, data, 0, 6, strategy)
    train(stopped, data, 0, 3, strategy)
    manager_of(stopped, tmp_path).save()
    train(resumed, data, 0, 2, strategy)  # its generators have drawn numbers already
    manager_of(resumed, tmp_path).restore_or_initialize()
    train(resumed, data, 3, 6, strategy)
    assert values_of_replicas(resumed, strategy) == values_of_replicas(straight, strategy)


def test_a_step_of_a_tasks_own_is_refused_until_it_knows_replicas():
    class Unaware(Adversarial):
        replicable = False

    strategy, data = start_strategy(RunSettings(strategy="mirrored", cpu_devices=2)), images()
    with strategy.scope(), pytest.raises(ConfigurationError, match=r"self\.share\(loss\)"):
        TrainState(Unaware(), data.element_spec, strategy=strategy)


def test_variables_are_not_looked_for_in_the_graph(monkeypatch):
    """It is written out each time: with many variables, that takes minutes."""
    looked_at = []
    monkeypatch.setattr(tracing, "is_order_of_messages", looked_at.append)
    state_of(Numbers, images(), single_device())
    assert not looked_at


def test_auto_takes_one_device_where_there_is_no_accelerator():
    strategy = start_strategy(RunSettings(strategy="auto"))
    assert strategy.num_replicas_in_sync == 1


def test_dropout_by_example_drops_that_share():
    layer = ExampleDropout(0.25, seed=1)
    x = tf.ones((64, 1000))
    first, second = layer(x, training=True), layer(x, training=True)
    assert float(tf.reduce_mean(tf.cast(first == 0, tf.float32))) == pytest.approx(0.25, abs=0.01)
    assert float(tf.reduce_max(first)) == pytest.approx(1 / 0.75)
    assert not np.array_equal(first, second)
    assert np.array_equal(layer(x), x)
    assert ExampleDropout.from_config(layer.get_config()).rate == 0.25


def test_settings_are_told(tmp_path):
    assert run_to(1, tmp_path, 2) == 0
    config = json.loads((tmp_path / "runs/default/config.json").read_text(encoding="utf-8"))
    assert (config["strategy"], config["cpu_devices"]) == ("mirrored", 2)


def test_a_step_whose_gradients_are_not_finite_on_one_replica_is_dropped_by_all():
    """The scale is so high at first that the second half of each batch overflows."""
    config = RunSettings(strategy="mirrored", cpu_devices=2)
    strategy, data = start_strategy(config), images()

    def dropping():
        return Numbers(optimizer=scaled(keras.optimizers.SGD(0.01)))

    task = state_of(dropping, data, strategy, config).task
    before = [weight.numpy() for weight in task.model.trainable_variables]
    (x, y) = next(iter(data.batches(0, 0, 1)))
    one_bad = (tf.concat([x[:4], x[4:] * np.float32(3e38)], 0), y)

    @tf.function
    def step(batch):
        strategy.run(task.step, args=(deal(strategy, batch),))

    step(one_bad)
    after = [weight.numpy() for weight in task.model.trainable_variables]
    assert all(map(np.array_equal, before, after))
