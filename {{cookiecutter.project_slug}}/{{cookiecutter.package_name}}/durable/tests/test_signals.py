"""Signals in every phase of a run: the promised end, and an exact resume."""

import os
import signal
import subprocess
import sys

import pytest

from ..checkpoint.saver import Snapshot
from .helpers import PROGRAM, PROJECT, finish, log_of, saved_values
from .program import training

SETTINGS = ["--epochs", "2", "--model.hidden", "8", "--log-every", "10"]
LAST = "runs/default/checkpoints/ckpt-88"


def run(root):
    return training.main([*SETTINGS, "--root", str(root)])


def signalling(function, numbers, call):
    """The function, which gets the signals at its call of that number."""
    calls = 0

    def wrapper(*arguments, **settings):
        nonlocal calls
        calls += 1
        if calls == call:
            for number in numbers:
                signal.raise_signal(number)
        return function(*arguments, **settings)

    return wrapper


def wrap_result(function, numbers, call):
    """The function, whose result gets the signals at its call of that number."""
    return lambda *arguments: signalling(function(*arguments), numbers, call)


PHASES = {
    "start-up": (training.Experiment, "data", signalling, 1),
    "training": (training, "build_train_steps", wrap_result, 3),
    "validation": (training.Validation, "__call__", signalling, 1),
    "no save being due": (training.Cadence, "is_due", signalling, 1),
    "saving": (Snapshot, "write", signalling, 1),
}


@pytest.fixture(scope="module")
def straight(tmp_path_factory):
    """A run that was never disturbed."""
    root = tmp_path_factory.mktemp("straight")
    assert run(root) == 0
    return root


def disturb(monkeypatch, phase, *numbers):
    place, name, wrap, call = PHASES[phase]
    monkeypatch.setattr(place, name, wrap(getattr(place, name), numbers, call))


def assert_equal(root, straight):
    assert saved_values(root / LAST) == saved_values(straight / LAST)
    assert log_of(root / "runs/default") == log_of(straight / "runs/default")


@pytest.mark.parametrize(
    ("phase", "number"), [*((phase, signal.SIGTERM) for phase in PHASES), ("saving", signal.SIGINT)]
)
def test_one_signal_saves_and_ends(root, straight, monkeypatch, phase, number):
    with monkeypatch.context() as patch:
        disturb(patch, phase, number)
        assert run(root) == 128 + number
    assert list((root / "runs/default/checkpoints").glob("ckpt-*.index"))
    assert run(root) == 0
    assert_equal(root, straight)


@pytest.mark.skipif(os.name != "posix", reason="Windows has no SIGUSR1")
@pytest.mark.parametrize("phase", ["start-up", "validation", "saving"])
def test_sigusr1_saves_and_goes_on(root, straight, monkeypatch, phase):
    saves = []
    disturb(monkeypatch, phase, signal.SIGUSR1)
    save = training.CheckpointManager.save
    monkeypatch.setattr(
        training.CheckpointManager,
        "save",
        lambda self, **settings: saves.append(int(self.checkpoint.step)) or save(self, **settings),
    )
    assert run(root) == 0
    assert {44, 88} <= set(saves)
    # Within validation, the save that is due anyway is the one that was asked for.
    assert len(saves) == (2 if phase == "validation" else 3)
    assert_equal(root, straight)


# Runs the program, and raises a signal when it begins to import TensorFlow.
WHILE_IMPORTING = """
import runpy, signal, sys
class Finder:
    def find_spec(self, name, path=None, target=None):
        if name == "tensorflow":
            sys.meta_path.remove(self)
            signal.raise_signal(int(number))
program, number, *sys.argv[1:] = sys.argv[1:]
sys.meta_path.insert(0, Finder())
runpy.run_module(program, run_name="__main__", alter_sys=True)
"""


@pytest.mark.parametrize(
    ("number", "code"),
    [
        (signal.SIGUSR1, 0),
        (signal.SIGINT, -signal.SIGINT),  # a shell calls it 128 + 2
        (signal.SIGTERM, -signal.SIGTERM),
    ],
)
def test_a_signal_while_tensorflow_is_imported(root, straight, number, code):
    arguments = map(str, [PROGRAM, int(number), "train", *SETTINGS, "--root", root])
    process = subprocess.Popen(
        [sys.executable, "-c", WHILE_IMPORTING, *arguments],
        env=os.environ | {"PYTHONPATH": str(PROJECT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    found, _, errors = finish(process)
    assert found == code, errors
    assert "Traceback" not in errors
    if code == 0:
        assert_equal(root, straight)
    else:
        assert list(root.iterdir()) == []


@pytest.mark.parametrize("phase", ["training", "saving"])
def test_two_signals_end_at_once_and_nothing_is_lost(root, straight, monkeypatch, phase):
    class Ended(BaseException):
        """Stands for the end of the process."""

    def end(code):
        raise Ended(code)

    with monkeypatch.context() as patch:
        patch.setattr("os._exit", end)
        disturb(patch, phase, signal.SIGTERM, signal.SIGTERM)
        with pytest.raises(Ended, match="143"):
            run(root)
    assert run(root) == 0
    assert_equal(root, straight)
