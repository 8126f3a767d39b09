"""Hooks: their variables are a part of the run, whatever is done with it."""

import json

import pytest
import tensorflow as tf

from ..run.experiment import Hook
from .helpers import log_of, run_main
from .program import commands, training
from .program.experiment import Experiment


class Counter(Hook):
    """Counts the epochs."""

    name = "counter"

    def __init__(self):
        self.count = tf.Variable(0)
        self.variables = {"count": self.count}
        self.told = []

    def on_start(self, step):
        self.told.append(step)

    def on_epoch_end(self, step, epoch, metrics):
        self.told.append((step, epoch, sorted(metrics)))
        self.count.assign_add(1)


@pytest.fixture
def hook(monkeypatch):
    """Gives the program such a hook, a new one for each start; holds the newest."""
    made = []

    def hooks(_experiment):
        made.append(Counter())
        return made[-1:]

    monkeypatch.setattr(Experiment, "hooks", hooks)
    return lambda: made[-1]


def train(root, epochs, *arguments):
    return run_main(training.main, "--root", root, "--epochs", epochs, *arguments)


def test_a_hook_is_told_and_its_variables_are_resumed(root, hook):
    names = ["accuracy", "loss", "val_accuracy", "val_loss"]
    assert train(root, 2) == 0
    assert hook().told == [0, (44, 1, names), (88, 2, names)]
    assert train(root, 3) == 0
    assert hook().told == [88, (132, 3, names)]
    assert int(hook().count) == 3


def test_a_run_with_a_hook_is_evaluated_averaged_exported_and_imported(root, hook, capsys):
    assert train(root, 2) == 0
    run = root / "runs/default"
    assert run_main(commands.evaluate, "--root", root, "--json") == 0
    found = json.loads("{" + capsys.readouterr().out.partition("{")[2])
    assert found["val_loss"] == log_of(run)[-1]["val_loss"]
    assert run_main(commands.evaluate, "--root", root, "--average", 2, "--save-as", "mean") == 0
    assert train(root, 3, "--run", "mean") == 0
    assert int(hook().count) == 3
    assert run_main(commands.main, "export", "--root", root) == 0
    file = run / "checkpoints/ckpt-88"
    assert run_main(commands.main, "import", file, "--root", root, "--run", "new") == 0
    assert train(root, 3, "--run", "new") == 0
