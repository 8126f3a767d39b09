"""Paths: absolute, and all below one root."""

import os
import sys
from pathlib import Path

import pytest
import tensorflow as tf
from etils import epath

from ..checkpoint.manager import CheckpointManager
from ..errors import ConfigurationError, UnreadableCheckpoint
from .helpers import run_main
from .program import commands, training
from .program.experiment import ROOT_VARIABLE, Paths


def test_the_root_is_the_given_one_then_the_environments_then_the_default(tmp_path, monkeypatch):
    assert Paths().root == Path.cwd()
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


def test_another_run_is_below_the_same_root(tmp_path):
    other = Paths(tmp_path, "a").of("b")
    assert (other.root, other.run) == (tmp_path, "b")
    assert isinstance(other, Paths)


def test_a_place_that_a_project_moves_is_moved_in_what_was_set_aside_too(tmp_path):
    class Moved(Paths):
        @property
        def metrics(self):
            return self.folder / "logs" / "log.jsonl"

    aside = Moved(tmp_path, "a").superseded_at("T1")
    assert aside.metrics == aside.folder / "logs" / "log.jsonl"


@pytest.mark.parametrize("scheme", ["s3", "hdfs", "ram", "unheard-of"])
def test_storage_without_a_file_system_is_refused_in_one_line(scheme, capsys):
    for main, arguments in ((training.main, ["--epochs", 1]), (commands.main, ["list"])):
        assert run_main(main, *arguments, "--root", f"{scheme}://bucket/runs") == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert f"there is no file system for {scheme}:// here. Give another folder." in line
    with pytest.raises(ConfigurationError, match=f"no file system for {scheme}://"):
        CheckpointManager(tf.train.Checkpoint(v=tf.Variable(1)), f"{scheme}://bucket/x")


def test_a_root_may_be_a_file_url(tmp_path, capsys):
    root = tmp_path / "a b"
    run = ["--epochs", 1, "--model.hidden", 8, "--root", f"file://{root}"]
    assert run_main(training.main, *run) == 0
    assert run_main(commands.main, "list", "--root", f"file://{root}", "--json") == 0
    assert (root / "runs/default/checkpoints/ckpt-44.index").exists()
    assert run_main(training.main, *run) == 0
    assert "is complete" in capsys.readouterr().out

    v = tf.Variable(1.0)
    saved = CheckpointManager(tf.train.Checkpoint(v=v), f"file://{tmp_path}/manager").save(3)
    assert saved == str(tmp_path / "manager/ckpt-3")
    v.assign(2.0)
    CheckpointManager(
        tf.train.Checkpoint(v=v), f"file://{tmp_path}/manager"
    ).restore_or_initialize()
    assert v.numpy() == 1


@pytest.mark.parametrize(
    ("error", "kind", "told"),
    [
        (TimeoutError(), UnreadableCheckpoint, "cannot be read at present: TimeoutError"),
        (ValueError(), ConfigurationError, "cannot hold checkpoints: ValueError"),
    ],
)
def test_storage_that_fails_without_a_word_is_told_too(error, kind, told, monkeypatch):
    def fail(_):
        raise error

    monkeypatch.setattr(type(epath.Path("s3://silent")), "exists", fail)
    with pytest.raises(kind, match=f"s3://silent/runs {told}"):
        Paths("s3://silent/runs")


def test_a_root_whose_name_is_too_long_is_refused_in_one_line(tmp_path, capsys):
    root = tmp_path.joinpath(*["e" * 200] * 18)
    assert run_main(training.main, "--root", root) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "its name has more than 3500 bytes" in line
    assert not (tmp_path / ("e" * 200)).exists()


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no such names")
def test_a_root_that_is_not_utf_8_is_refused_in_one_line(tmp_path, capsys):
    root = os.fsdecode(os.fsencode(tmp_path) + b"/\xff")
    for main, arguments in ((training.main, []), (commands.main, ["list"])):
        assert run_main(main, *arguments, "--root", root) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert "its name must be UTF-8" in line
