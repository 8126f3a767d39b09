"""Killed and resumed, against never stopped: bit for bit."""

import random

import pytest

from .helpers import files_in, finish, log_of, saved_values, start, steps_in
from .program import training

SETTINGS = ["--epochs", 3, "--save-every", 11, "--log-every", 5, "--model.hidden", 8, 12]
LAST = "ckpt-132"


def kill_at_random(process, checkpoints):
    """Kills a training process when so many changes were seen in its checkpoint folder."""
    changes = random.randrange(1, 20)  # far fewer than the run makes
    print(f"killed at change {changes} of the folder of checkpoints")
    seen = set()
    while changes and process.poll() is None:
        names = {path.name for path in checkpoints.glob("*")}
        if names != seen:
            seen, changes = names, changes - 1
    process.kill()
    code, _, errors = finish(process)
    assert code == -9, f"it was to be killed, and ended with {code}: {errors}"


def test_a_run_killed_within_an_epoch_logs_the_same_means(root):
    """A line is due every 10 steps, an epoch has 44, and a save comes between."""
    settings = ["--root", root, "--save-every", 43, "--log-every", 10, "--model.hidden", 8]
    killed = start(*settings, "--run", "killed", "--epochs", 1000)
    while killed.poll() is None and not steps_in(root / "runs/killed/checkpoints"):
        pass
    killed.kill()
    code, _, errors = finish(killed)
    assert code == -9, errors
    step = steps_in(root / "runs/killed/checkpoints")[-1]
    assert step % 10, "there are means since the last line"
    assert step % 44, "there are means since the epoch began"

    settings += ["--epochs", step // 44 + 2]
    for run in ("killed", "straight"):
        assert training.main([*map(str, settings), "--run", run]) == 0
    log = log_of(root / "runs/killed")
    assert log == log_of(root / "runs/straight")
    assert any(line["step"] < step for line in log)


@pytest.mark.parametrize("model", ["mlp", "cnn", "listed"])
def test_a_killed_run_ends_like_one_that_never_stopped(root, model):
    settings = [*SETTINGS, "--model.name", model, "--root", root]
    assert training.main([*map(str, settings), "--run", "straight"]) == 0

    killed = start(*settings, "--run", "killed")
    kill_at_random(killed, root / "runs" / "killed" / "checkpoints")
    code, output, errors = finish(start(*settings, "--run", "killed"))
    assert code == 0, errors
    print(output)

    straight, resumed = root / "runs" / "straight", root / "runs" / "killed"
    expected = saved_values(straight / "checkpoints" / LAST)
    assert saved_values(resumed / "checkpoints" / LAST) == expected
    assert log_of(resumed) == log_of(straight)
    assert not list(resumed.rglob("*_temp"))
    names = {path.relative_to(straight) for path in files_in(straight / "checkpoints")}
    assert {path.relative_to(resumed) for path in files_in(resumed / "checkpoints")} == names
