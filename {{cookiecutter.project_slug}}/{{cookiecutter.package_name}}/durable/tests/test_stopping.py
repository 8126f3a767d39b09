"""What ends a run before its last step, and at the same step after a kill."""

import json
import shlex

import numpy as np
import pytest
import tensorflow as tf

from ..checkpoint import bundle
from .helpers import files_in, finish, log_of, read_until, run_main, saved_values, start, steps_in
from .program import training
from .program.experiment import Classes

# With so high a rate the validation gets worse soon.
ENDING = ["--patience", 2, "--epochs", 40, "--model.hidden", 8, "--optimizer.learning-rate", 0.05]


def train(root, *arguments):
    return run_main(training.main, "--root", root, *arguments)


def checkpoints_of(root, run="default"):
    return root / f"runs/{run}/checkpoints"


def test_a_run_without_progress_ends_at_the_same_step_though_it_was_killed(root, capsys):
    assert train(root, *ENDING, "--run", "straight") == 0
    assert "ended: no better val_accuracy than 0." in capsys.readouterr().out
    (*_, last) = steps_in(checkpoints_of(root, "straight"))
    assert last < 40 * 44
    values = [line["val_accuracy"] for line in log_of(root / "runs/straight") if "val_loss" in line]
    assert len(values) - np.argmax(values) - 1 == 2

    before = files_in(root / "runs/straight")
    assert train(root, *ENDING, "--run", "straight") == 0
    assert "is complete: step" in (told := capsys.readouterr().out)
    assert "It ended early: no better val_accuracy" in told
    assert files_in(root / "runs/straight") == before

    killed = start("--root", root, *ENDING, "--run", "killed")
    read_until(killed, f"epoch {last // 44 - 1}/")  # the first of those without progress
    killed.kill()
    finish(killed)
    assert steps_in(checkpoints_of(root, "killed"))[-1] < last
    assert train(root, *ENDING, "--run", "killed") == 0
    name = f"ckpt-{last}"
    expected = saved_values(checkpoints_of(root, "straight") / name)
    assert saved_values(checkpoints_of(root, "killed") / name) == expected

    assert train(root, *ENDING, "--run", "straight", "--patience", 3) == 0
    assert steps_in(checkpoints_of(root, "straight"))[-1] > last, "more patience goes on"


def test_patience_begins_and_ends_in_any_run_and_anew_in_a_fork(root, capsys):
    small = ["--model.hidden", 8]
    assert train(root, *small, "--epochs", 1) == 0
    assert train(root, *small, "--epochs", 2, "--patience", 1) == 0
    assert "Early stopping begins now: ckpt-44 has none that fits." in capsys.readouterr().out
    fork = ["--run", "fork", "--fork-from", "default", "--patience", 1, "--epochs", 3]
    assert train(root, *small, *fork) == 0
    values = saved_values(checkpoints_of(root, "fork") / "ckpt-88")
    (waited,) = [values[key] for key in values if "epochs_seen" in key]
    assert np.frombuffer(waited, np.int64) == 0
    assert train(root, *small, "--epochs", 3) == 0
    assert "Early stopping in ckpt-88 is not gone on with." in capsys.readouterr().err


class Breaking(Classes):
    """Divides by 0 at step 60: the loss of that step, or its gradient alone."""

    only_gradient = False

    def __init__(self, config, data):
        super().__init__(config, data)
        self._breaks_at = 60 if config.optimizer.learning_rate > 1e-4 else 10**6

    def mean_loss(self, batch, outputs):
        loss = super().mean_loss(batch, outputs)
        breaks = tf.cast(self.optimizer.iterations + 1 == self._breaks_at, tf.float32)
        if self.only_gradient:
            return loss + breaks * tf.sqrt(tf.reduce_sum(outputs**2) * (1 - breaks))
        return loss / (1 - breaks)


@pytest.fixture
def breaking(monkeypatch):
    from .program import experiment  # noqa: PLC0415  (the class is looked up in it)

    monkeypatch.setattr(experiment, "Classes", Breaking)
    return monkeypatch


@pytest.mark.parametrize("only_gradient", [False, True], ids=["loss", "gradient"])
def test_a_loss_that_is_no_number_ends_a_run_and_keeps_its_last_good_state(
    root, capsys, breaking, only_gradient
):
    breaking.setattr(Breaking, "only_gradient", only_gradient)
    settings = ["--epochs", 3, "--model.hidden", 8]
    settings += ["--save-every", 60, "--log-every", 59] if only_gradient else []
    if only_gradient:  # a checkpoint before
        assert train(root, *settings, "--max-steps", 44) == 0
    assert train(root, *settings) == 1
    told = capsys.readouterr().err
    step = "The weights after step 60 are" if only_gradient else "The loss of step 60 is"
    assert told.startswith(f"{step} not")
    checkpoints = checkpoints_of(root)
    assert steps_in(checkpoints) == [44], "no state with such numbers is saved"
    assert bundle.is_pinned(checkpoints / "ckpt-44")

    command = shlex.split(told.rpartition("another rate: ")[2])
    assert command[:2] == ["python", "train.py"]
    assert train(root, *command[2:], "--root", root) == 0
    assert steps_in(checkpoints_of(root, "default-lower-rate"))[-1] == 132
    config = json.loads((root / "runs/default-lower-rate/config.json").read_text())
    assert config["optimizer"]["learning_rate"] == 1e-4
