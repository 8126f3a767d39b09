"""The starter's models, settings and paths."""

import json
from dataclasses import asdict
from pathlib import Path

import pytest
import tensorflow as tf
from my_experiment import paths
from my_experiment.config import Config, DataConfig, ModelConfig, OptimizerConfig
from my_experiment.durable import ConfigurationError
from my_experiment.models import MODELS, build_model
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
