"""The command that kills training again and again: nothing is lost, and a loss would be found."""

import os
import sys
from dataclasses import replace

import pytest

from .helpers import PROGRAM, PROJECT, run_main
from .program import commands, experiment

SMALL = ["--", "--model.hidden", "8"]
# Trains, and changes a weight a little whenever it resumes: as if something had been lost.
FORGETFUL = f"""
import sys
from {PROGRAM} import experiment, training
from {PROGRAM.rpartition(".")[0].rpartition(".")[0]}.checkpoint.restore import Restorer
put_back = Restorer.put_back
def forgetful(self, readied):
    put_back(self, readied)
    self._variables["hidden_1/bias"].assign_add([1e-3] * 8)
Restorer.put_back = forgetful
sys.exit(training.main(sys.argv[1:]))
"""


@pytest.fixture(autouse=True)
def _importable(monkeypatch):
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(PROJECT)]))


def test_nothing_is_lost(tmp_path, capsys):
    arguments = ["torture", "--kills", 1, "--seed", 1, "--root", tmp_path, *SMALL]
    assert run_main(commands.main, *arguments) == 0
    printed = capsys.readouterr().out.splitlines()
    assert printed[0] == "1 kills with --seed 1"
    assert printed[-1].startswith("Nothing was lost in 1 kills over ")
    assert list(tmp_path.iterdir()) == []


def test_what_is_lost_is_found_and_kept(tmp_path, capsys, monkeypatch):
    forgetful = replace(experiment.PROJECT, train=(sys.executable, "-c", FORGETFUL))
    monkeypatch.setattr(commands, "PROJECT", forgetful)
    arguments = ["torture", "--kills", 1, "--seed", 1, "--root", tmp_path, *SMALL]
    assert run_main(commands.main, *arguments) == 1
    printed = capsys.readouterr().out
    assert "Something was lost:" in printed
    assert "values of ckpt-" in printed
    (folder,) = tmp_path.iterdir()
    assert f"See {folder}." in printed
    assert (folder / "runs/killed/checkpoints").is_dir()


def test_training_that_cannot_start_is_told(tmp_path, capsys):
    arguments = ["torture", "--kills", 1, "--root", tmp_path, "--", "--model.name", "nope"]
    assert run_main(commands.main, *arguments) == 1
    printed = capsys.readouterr().out
    assert "it ended by itself with code 2" in printed
    assert "--model.name 'nope' is unknown" in printed


def test_wrong_usage(capsys):
    assert run_main(commands.main, "torture", "--kills", 0) == 2
    assert "--kills 0 is not possible" in capsys.readouterr().err
