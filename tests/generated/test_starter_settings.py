"""The starter's models, settings and paths."""

import json
import math
from dataclasses import asdict
from pathlib import Path

import pytest
import tensorflow as tf
from my_experiment import paths
from my_experiment.config import Config, DataConfig, ModelConfig, OptimizerConfig, TaskConfig
from my_experiment.durable import ConfigurationError
from my_experiment.durable.data.protocol import SavedSpec
from my_experiment.models import MODELS, build_model
from my_experiment.optimizers import build_optimizer, build_schedule
from my_experiment.paths import PROJECT, ROOT_VARIABLE, Paths


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("shape", [(8, 8), (6, 5, 3)])
def test_each_model_gives_logits(name, shape):
    model = build_model(ModelConfig(name=name, hidden=(4,)), shape, 7)
    logits = model(tf.ones((2, *shape)))
    assert logits.shape == (2, 7)
    assert logits.dtype == tf.float32


def test_mlp_takes_vectors_and_cnn_says_that_it_does_not():
    assert build_model(ModelConfig(), (5,), 2)(tf.ones((1, 5))).shape == (1, 2)
    with pytest.raises(ConfigurationError, match=r"Cannot build .* 'cnn': it needs images"):
        build_model(ModelConfig(name="cnn"), (5,), 2)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"name": "nope"}, "--model.name 'nope' is unknown. Known are: mlp, .*cnn"),
        ({"activation": "nope"}, "Cannot build the model 'mlp': .*nope"),
        ({"dtype": "float99"}, "Cannot build the model 'mlp': .*"),
    ],
)
def test_what_cannot_be_built_is_refused(settings, message):
    with pytest.raises(ConfigurationError, match=message):
        build_model(ModelConfig(**settings), (8, 8), 10)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"optimizer": OptimizerConfig(learning_rate=float("inf"))}, "--optimizer.learning-rate"),
        ({"task": TaskConfig(label_smoothing=1.0)}, "--task.label-smoothing 1.0"),
        ({"task": TaskConfig(class_weights=(1.0, -1.0))}, "--task.class-weights (1.0, -1.0)"),
        ({"optimizer": OptimizerConfig(schedule="steps")}, "--optimizer.milestones go with"),
        ({"optimizer": OptimizerConfig(milestones=(3,))}, "--optimizer.milestones go with"),
        (
            {"optimizer": OptimizerConfig(schedule="steps", milestones=(3, 2))},
            "--optimizer.milestones (3, 2) is not possible",
        ),
        ({"optimizer": OptimizerConfig(warmup_steps=-1)}, "--optimizer.warmup-steps -1"),
        ({"optimizer": OptimizerConfig(warmup_epochs=-0.5)}, "--optimizer.warmup-epochs -0.5"),
        ({"optimizer": OptimizerConfig(clip_norm=0.0)}, "--optimizer.clip-norm 0.0"),
        ({"optimizer": OptimizerConfig(clip_value=-1.0)}, "--optimizer.clip-value -1.0"),
        ({"optimizer": OptimizerConfig(clip_norm=1.0, clip_value=1.0)}, "Give --optimizer.clip-n"),
        ({"model": ModelConfig(hidden=(8, 0))}, "--model.hidden"),
        ({"model": ModelConfig(dropout=1.0)}, "--model.dropout 1.0"),
        ({"data": DataConfig(validation=1.0)}, "--data.validation 1.0"),
        ({"data": DataConfig(batch_size=0)}, "--data.batch-size 0"),
        ({"data": DataConfig(shift=-1)}, "--data.shift -1"),
    ],
)
def test_impossible_values_are_refused_by_name(settings, message):
    with pytest.raises(ConfigurationError) as caught:
        Config(**settings)
    assert str(caught.value).startswith(message)
    assert caught.value.exit_code == 2


def test_the_settings_are_flat_as_in_the_first_edition():
    values = json.loads(json.dumps(asdict(Config())))
    assert values["epochs"] == 30
    assert values["model"]["hidden"] == [64, 128]
    assert {"seed", "save_every", "best_metric"} <= values.keys()


def test_the_root_is_the_given_one_then_the_environments_then_the_project(tmp_path, monkeypatch):
    monkeypatch.delenv(ROOT_VARIABLE, raising=False)
    assert Paths().root == PROJECT == Path(paths.__file__).resolve().parents[1]
    monkeypatch.setenv(ROOT_VARIABLE, str(tmp_path / "environment"))
    assert Paths().root == tmp_path / "environment"
    assert Paths(tmp_path / "given").root == tmp_path / "given"


def test_the_embedded_data_is_found_from_anywhere(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert Paths().digits.exists()


def rates(steps, epochs=10, **settings):
    """The rates of some steps, counted from 0, where an epoch has ten."""
    config = Config(epochs=epochs, optimizer=OptimizerConfig(learning_rate=0.1, **settings))
    schedule = build_schedule(config.optimizer, 10, config.last_step(10))
    return [float(schedule(tf.constant(step, tf.int64))) for step in steps]


def test_the_schedules_give_the_same_rates_on_every_keras():
    assert rates([0, 9, 10, 99], decay=0.5) == pytest.approx([0.1, 0.1, 0.05, 0.1 * 0.5**9])
    assert rates([0, 10, 99], decay=0.5, schedule="constant") == pytest.approx([0.1] * 3)
    cosine = [0.05 * (1 + math.cos(math.pi * step / 100)) for step in (0, 25, 100)]
    assert rates([0, 25, 100], schedule="cosine") == pytest.approx(cosine, abs=1e-8)
    stepped = {"schedule": "steps", "milestones": (2, 5), "decay": 0.1}
    found = rates([0, 19, 20, 49, 50, 99], **stepped)
    assert found == pytest.approx([0.1, 0.1, 0.01, 0.01, 0.001, 0.001])
    warm = rates([0, 1, 7, 8], warmup_steps=3, warmup_epochs=0.5, schedule="constant")
    assert warm == pytest.approx([0.1 / 8, 0.2 / 8, 0.1, 0.1])


@pytest.mark.parametrize(
    ("settings", "expected"),
    [({}, [3.0, 4.0]), ({"clip_norm": 1.0}, [0.6, 0.8]), ({"clip_value": 3.5}, [3.0, 3.5])],
)
def test_gradients_are_clipped_alike_on_every_keras(settings, expected):
    config = Config(optimizer=OptimizerConfig("sgd", learning_rate=1.0, **settings))
    optimizer = build_optimizer(config, SavedSpec(None, {}, 10))
    variables = [tf.Variable(0.0), tf.Variable(0.0)]
    optimizer.build(variables)
    optimizer.apply_gradients(zip([tf.constant(3.0), tf.constant(4.0)], variables, strict=True))
    assert [-float(variable) for variable in variables] == pytest.approx(expected)
