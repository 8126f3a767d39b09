"""Paths: absolute, and all below one root."""

from pathlib import Path

import pytest

from ..errors import ConfigurationError
from .program import experiment as paths
from .program.experiment import PROJECT, ROOT_VARIABLE, Paths


def test_the_root_is_the_given_one_then_the_environments_then_the_project(tmp_path, monkeypatch):
    assert Paths().root == PROJECT == Path(__file__).resolve().parent.parent
    monkeypatch.setenv(ROOT_VARIABLE, str(tmp_path / "environment"))
    assert Paths().root == tmp_path / "environment"
    assert Paths(tmp_path / "given").root == tmp_path / "given"


def test_a_relative_root_is_made_absolute_once(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found = Paths("here")
    monkeypatch.chdir("/")
    assert found.checkpoints == tmp_path / "here" / "runs" / "default" / "checkpoints"


def test_a_home_folder_is_understood(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert Paths("~/runs here").root == tmp_path / "runs here"


def test_a_run_has_its_places(tmp_path):
    run = Paths(tmp_path, "a")
    folder = tmp_path / "runs" / "a"
    assert run.checkpoints == folder / "checkpoints"
    assert run.best == folder / "checkpoints" / "best"
    assert run.tensorboard == folder / "tensorboard"
    assert run.metrics == folder / "metrics.jsonl"
    assert run.config == folder / "config.json"
    assert run.exports == folder / "exports"
    assert run.superseded_at("T1").folder == run.superseded / "T1"
    assert run.superseded_at("T1").best == run.superseded / "T1" / "checkpoints" / "best"


@pytest.mark.parametrize("run", ["", ".", "..", "../x", "a/b", "a\\b", "-a", ".hidden", "a\n"])
def test_a_run_is_a_plain_folder_name(run):
    with pytest.raises(ConfigurationError, match="is not a folder name"):
        Paths(run=run)


def test_the_embedded_data_is_found_from_anywhere(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert paths.digits().exists()
