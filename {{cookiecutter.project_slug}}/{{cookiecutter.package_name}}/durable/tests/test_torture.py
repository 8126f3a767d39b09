"""The command that kills training again and again: nothing is lost, and a loss would be found."""

import os
import sys
from dataclasses import replace

import pytest

from ..cli import torture
from ..compat import KERAS_3
from .helpers import PROGRAM, PROJECT, run_main
from .mutants import Mutant, project_with
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

UNAGREED = Mutant(
    "a worker stops by itself, whatever the others do",
    "run/agreement.py",
    "stop = next((int(number) for number in stops if number), None)",
    "stop = signals.stop",
)
# Changes the folder of checkpoints, until a signal kills it or it has seen 1,000 of its own.
DEAF = """
import pathlib, signal, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
folder = pathlib.Path(sys.argv[sys.argv.index("--root") + 1], "runs/killed/checkpoints")
folder.mkdir(parents=True, exist_ok=True)
for number in range(1000):
    (folder / f"temporary-{number}").touch()
    time.sleep(0.01)
"""


# `test_workers.py` kills workers on the oldest as well.
on_the_newest = pytest.mark.skipif(not KERAS_3, reason="it is tortured on the newest TensorFlow")


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


@on_the_newest
def test_nothing_is_lost_with_two_workers(tmp_path, capsys):
    arguments = ["--workers", 2, "--kills", 1, "--seed", 7, "--root", tmp_path]
    assert run_main(commands.main, "torture", *arguments, *SMALL) == 0
    printed = capsys.readouterr().out.splitlines()
    assert printed[1].startswith("kill   1: SIGKILL to worker 0, in a save after 10 changes, ")
    assert printed[-1].startswith("Nothing was lost in 1 kills over ")
    assert list(tmp_path.iterdir()) == []


@on_the_newest
def test_a_stop_that_is_not_agreed_on_is_found(tmp_path, capsys, monkeypatch):
    folder = tmp_path / "code"
    monkeypatch.setenv("PYTHONPATH", str(project_with(UNAGREED, folder)))
    monkeypatch.chdir(folder)
    arguments = ["--workers", 2, "--kills", 1, "--seed", 722, "--root", tmp_path]
    assert run_main(commands.main, "torture", *arguments, *SMALL) == 1
    printed = capsys.readouterr().out
    assert "kill 1: worker 0 ended by itself with code 1: " in printed
    assert "A worker was lost" in printed


@pytest.fixture
def deaf(monkeypatch):
    """A project whose workers hear no SIGTERM."""
    project = replace(experiment.PROJECT, train=(sys.executable, "-c", DEAF))
    monkeypatch.setattr(commands, "PROJECT", project)
    return project


@pytest.mark.usefixtures("deaf")
def test_workers_that_do_not_stop_are_told(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(torture, "SECONDS_TO_END", 0)
    arguments = ["--workers", 2, "--kills", 1, "--seed", 722, "--root", tmp_path]
    assert run_main(commands.main, "torture", *arguments) == 1
    printed = capsys.readouterr().out
    assert "kill 1: worker 0 did not end within 0 s\n" in printed
    assert "kill 1: worker 1 did not end within 0 s\n" in printed


@pytest.mark.usefixtures("deaf")
def test_a_run_that_saves_nothing_is_told(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(torture, "SECONDS_TO_CHANGE", 0)
    assert run_main(commands.main, "torture", "--kills", 1, "--root", tmp_path) == 1
    assert "kill 1: nothing was saved for 0 s\n" in capsys.readouterr().out


def test_no_worker_is_left_behind(deaf, tmp_path):
    started = torture.start_all(deaf, tmp_path, 2, "killed", epochs=1)
    with pytest.raises(KeyboardInterrupt), started as trainers:
        raise KeyboardInterrupt
    assert [trainer.process.returncode for trainer in trainers] == [-9, -9]


def test_wrong_usage(capsys):
    assert run_main(commands.main, "torture", "--kills", 0) == 2
    assert "--kills 0 is not possible" in capsys.readouterr().err
    assert run_main(commands.main, "torture", "--workers", 0) == 2
    assert "--workers 0 is not possible: give at least 1." in capsys.readouterr().err
