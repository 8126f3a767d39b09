"""Settings: defaults, bad values, cadences, and JSON there and back."""

import json
import logging
from dataclasses import asdict, replace

import pytest

from ..errors import ConfigurationError
from ..run.command_line import parse_settings
from ..run.settings import config_from, record_config, seconds_of
from .program.experiment import Config, DataConfig, ModelConfig


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"epochs": 0}, "--epochs 0 is not possible: give at least 1"),
        ({"epochs": 10**10}, "--epochs 10000000000 is not possible: give at most"),
        ({"seed": -1}, "--seed -1"),
        ({"seed": 2**32}, "--seed 4294967296"),
        ({"max_to_keep": 1}, "--max-to-keep 1"),
        ({"log_every": 0}, "--log-every 0"),
        ({"best_to_keep": 0}, "--best-to-keep 0 is not possible: give at least 1"),
        ({"overfit_batches": 0}, "--overfit-batches 0 is not possible: give at least 1"),
        ({"limit_validation": 0}, "--limit-validation 0 is not possible: give at least 1"),
        ({"accumulate": 0}, "--accumulate 0 is not possible: give at least 1"),
        ({"ema": 1.0}, "--ema 1.0 is not possible: give between 0 and 1"),
        ({"profile": "10"}, "--profile 10 is not possible: give two steps FROM:TO"),
        ({"profile": "20:20"}, "--profile 20:20 is not possible: give two steps FROM:TO"),
        ({"patience": 0}, "--patience 0 is not possible: give at least 1"),
        ({"max_steps": 0}, "--max-steps 0 is not possible: give at least 1"),
        ({"keep_every_hours": 0.0}, "--keep-every-hours 0"),
        ({"save_every": "sometimes"}, "--save-every 'sometimes' is not possible"),
        ({"save_longest": "soon"}, "--save-longest 'soon' is not possible: give a time"),
        ({"save_budget": 1.0}, "--save-budget 1.0"),
        (
            {"save_every": "auto", "worker_fails_every": "rarely"},
            "--worker-fails-every 'rarely' is not possible: give a time such as 30s, 10m, 2h or",
        ),
        ({"worker_fails_every": "30d"}, "--worker-fails-every goes with --save-every auto."),
        ({"max_save_failures": 0}, "--max-save-failures 0"),
    ],
)
def test_impossible_values_are_refused_by_name(settings, message):
    with pytest.raises(ConfigurationError) as caught:
        Config(**settings)
    assert str(caught.value).startswith(message)
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(
    ("text", "seconds"), [("30s", 30), ("10m", 600), ("2h", 7200), ("1d", 86400)]
)
def test_times(text, seconds):
    assert seconds_of("save-longest", text) == seconds
    assert Config(save_every=text).save_every == text


@pytest.mark.parametrize("text", ["", "0s", "-5", "1.5", "10 m", "5w", "m", "epochs", "0"])
def test_other_cadences_are_refused(text):
    with pytest.raises(ConfigurationError, match="give epoch, auto, a number of steps"):
        Config(save_every=text)


def test_limits_of_the_cadence_must_be_in_order():
    with pytest.raises(ConfigurationError, match="--save-shortest must not be longer"):
        Config(save_shortest="1h", save_longest="30m")


def test_json_there_and_back():
    config = Config(
        epochs=3, model=ModelConfig(hidden=(4,), name="cnn"), data=DataConfig(batch_size=2)
    )
    values = json.loads(json.dumps(asdict(config)))
    assert config_from(values, Config) == config
    assert config_from(values | {"from": "another version"}, Config) == config


def test_a_file_that_cannot_be_read_is_written_anew(tmp_path, caplog):
    path = tmp_path / "config.json"
    path.write_text("")
    record_config(Config(epochs=30), path)
    assert f"{path} cannot be read" in caplog.text
    assert json.loads(path.read_text())["epochs"] == 30


def test_a_data_path_is_made_absolute(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert DataConfig(path="my.npz").path == str(tmp_path / "my.npz")
    assert DataConfig().path is None


def test_only_changes_are_told(tmp_path, caplog):
    caplog.set_level(logging.INFO)
    path = tmp_path / "config.json"
    config = Config(epochs=30, model=ModelConfig(hidden=(64, 128)))
    record_config(config, path)
    record_config(config, path)
    assert caplog.messages == []
    record_config(replace(config, epochs=31, model=ModelConfig(hidden=(4,))), path)
    assert caplog.messages == [
        "Changed since the last start: epochs 30 → 31.",
        "Changed since the last start: model.hidden [64, 128] → [4].",
    ]
    assert json.loads(path.read_text())["epochs"] == 31


def written(path, values):
    path.write_text(json.dumps(values))
    return ["--config", str(path)]


def test_a_file_of_settings_counts_and_the_command_line_wins(tmp_path):
    path = tmp_path / "config.json"
    record_config(Config(epochs=3, seed=7, model=ModelConfig(hidden=(4, 5))), path)
    given = parse_settings(Config, ["--config", str(path), "--seed", "8", "--model.dropout", "0.5"])
    assert given == Config(
        epochs=3, seed=8, model=ModelConfig(hidden=(4, 5), dropout=0.5), config=str(path)
    )
    assert parse_settings(Config, [f"--config={path}"]).seed == 7
    few = parse_settings(Config, written(path, {"model": {"name": "cnn"}, "save_budget": 0.5}))
    assert (few.model, few.save_budget) == (ModelConfig(name="cnn"), 0.5)
    assert parse_settings(Config, ["--seed", "9"]) == Config(seed=9)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"epoch": 3}, "there is no setting epoch; did you mean epochs?"),
        ({"model": {"hiden": [3]}}, "there is no setting model.hiden; did you mean model.hidden?"),
        ({"model": {"x": 1}}, "there is no setting model.x; known are name, hidden, activation"),
        ({"epochs": 2.5}, "epochs is to be a whole number, not 2.5"),
        ({"epochs": True}, "epochs is to be a whole number, not True"),
        ({"max_steps": "9"}, "max_steps is to be a whole number or null, not '9'"),
        ({"model": {"hidden": [4, "5"]}}, "model.hidden is to be a list, each a whole number"),
        ({"save_mode": "later"}, "save_mode is to be one of auto, blocking, background, not"),
        ({"model": "cnn"}, "model is to be an object with settings, not 'cnn'"),
        ([], "holds no settings: give a JSON object"),
    ],
)
def test_a_setting_of_a_file_that_is_not_possible_is_named(tmp_path, values, message):
    with pytest.raises(ConfigurationError) as caught:
        parse_settings(Config, written(tmp_path / "mine.json", values))
    assert message in str(caught.value)
    assert str(caught.value).startswith(f"--config {tmp_path / 'mine.json'}")
    assert caught.value.exit_code == 2


def test_a_file_of_settings_that_cannot_be_read_is_named(tmp_path):
    with pytest.raises(ConfigurationError, match=r"none\.json cannot be read: .*No such file"):
        parse_settings(Config, ["--config", str(tmp_path / "none.json")])
    with pytest.raises(ConfigurationError, match="--epochs 0 is not possible"):
        parse_settings(Config, written(tmp_path / "mine.json", {"epochs": 0}))
