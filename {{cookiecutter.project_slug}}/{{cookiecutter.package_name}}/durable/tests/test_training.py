"""How far to train, and on what: each exact across a stop."""

import json
import subprocess

import pytest

from ..checkpoint.card import read_card
from ..run import start as start_module
from ..run.debugging import LimitedData
from .helpers import log_of, run_main, saved_values, steps_in
from .program import commands, training
from .tasks import images

SMALL = ["--model.hidden", "8", "--log-every", "10"]


@pytest.fixture
def train(root):
    """Trains a run in this process, and gives its exit code."""
    return lambda run, *settings: run_main(
        training.main, "--root", root, *SMALL, "--run", run, *settings
    )


def checkpoint(root, run, step):
    return root / f"runs/{run}/checkpoints/ckpt-{step}"


def test_steps_end_a_run_within_an_epoch_and_it_goes_on_from_there(root, train, capsys):
    assert train("stopped", "--epochs", 2, "--max-steps", 51) == 0
    assert "Run 'stopped' is complete: step 51, epoch 1." in capsys.readouterr().out
    assert steps_in(root / "runs/stopped/checkpoints") == [44, 51]
    assert train("stopped", "--epochs", 2, "--max-steps", 51) == 0
    assert steps_in(root / "runs/stopped/checkpoints") == [44, 51]

    assert train("stopped", "--epochs", 2, "--max-steps", 1000) == 0
    assert train("straight", "--epochs", 2) == 0
    expected = saved_values(checkpoint(root, "straight", 88))
    assert saved_values(checkpoint(root, "stopped", 88)) == expected
    assert log_of(root / "runs/stopped") == log_of(root / "runs/straight")


def test_several_best_are_kept_found_and_rewound(root, train, capsys):
    settings = ["--epochs", 5, "--best-to-keep", 2, "--max-to-keep", 2]
    assert train("many", *settings, "--optimizer.learning-rate", 0.1) == 0
    values = {
        line["step"]: line["val_accuracy"]
        for line in log_of(root / "runs/many")
        if "val_accuracy" in line
    }
    first, second, *_ = sorted(values, key=values.get, reverse=True)
    best = root / "runs/many/checkpoints/best"
    assert steps_in(best) == sorted([first, second])
    assert run_main(commands.main, "show", "best", "--root", root, "--run", "many", "--quick") == 0
    assert f"ckpt-{first}\n" in capsys.readouterr().out

    earlier = min(first, second)
    assert earlier < max(first, second), "else this tests nothing"
    assert run_main(commands.main, "rewind", earlier, "--root", root, "--run", "many") == 0
    assert steps_in(best) == [earlier]


def first_pixels(batches):
    return [batch[0][0, 0, 0].numpy() for batch in batches]


def test_few_batches_come_again_and_again_from_any_step():
    data = images()
    few = LimitedData(data, overfit=3, validation=1)
    once = first_pixels(data.batches(5, 0, 3))
    assert first_pixels(few.batches(5, 0, 7)) == [*once, *once, once[0]]
    assert first_pixels(few.batches(5, 4, 9)) == [*once[1:], *once]
    assert first_pixels(few.validation_batches()) == first_pixels(data.validation_batches())[:1]
    assert (few.steps_per_epoch, few.element_spec) == (data.steps_per_epoch, data.element_spec)


def test_a_run_on_few_batches_is_exact_and_is_not_gone_on_with_as_another(root, train, capsys):
    few = ["--overfit-batches", 3, "--limit-validation", 2, "--log-every", 5]
    assert train("stopped", *few, "--epochs", 2, "--max-steps", 50) == 0
    assert train("stopped", *few, "--epochs", 2) == 0
    assert train("straight", *few, "--epochs", 2) == 0
    expected = saved_values(checkpoint(root, "straight", 88))
    assert saved_values(checkpoint(root, "stopped", 88)) == expected
    accuracy = log_of(root / "runs/straight")[-1]["val_accuracy"]
    assert accuracy == pytest.approx(round(accuracy * 64) / 64), "of two batches of 32"
    assert train("straight", "--epochs", 3) == 3
    assert "overfit_batches" in capsys.readouterr().err


AVERAGED = ["--ema", 0.99, "--accumulate", 4, "--max-to-keep", 9]


def test_the_average_of_the_weights_is_exact_evaluated_and_exported(root, train, capsys):
    assert train("stopped", *AVERAGED, "--epochs", 2, "--max-steps", 50) == 0
    assert train("stopped", *AVERAGED, "--epochs", 2) == 0
    assert train("straight", *AVERAGED, "--epochs", 2) == 0
    expected = saved_values(checkpoint(root, "straight", 88))
    assert saved_values(checkpoint(root, "stopped", 88)) == expected
    assert any(key.startswith("ema/") for key in expected)

    of_run = ["--root", root, "--run", "straight"]
    found = {}
    for weights in ("trained", "ema"):
        capsys.readouterr()
        assert run_main(commands.evaluate, *of_run, "--weights", weights, "--json") == 0
        found[weights] = json.loads("{" + capsys.readouterr().out.partition("{")[2])
        arguments = ["export", *of_run, "--weights", weights, "--forms", "arrays"]
        assert run_main(commands.main, *arguments) == 0
    assert found["trained"]["val_loss"] == log_of(root / "runs/straight")[-1]["val_loss"]
    assert found["ema"]["val_loss"] != found["trained"]["val_loss"]
    assert found["ema"]["folder"] != found["trained"]["folder"]
    exports = root / "runs/straight/exports"
    trained, average = (next((exports / n).glob("*.npz")) for n in ("ckpt-88", "ckpt-88-ema"))
    assert trained.read_bytes() != average.read_bytes()


def test_an_average_begins_and_ends_in_any_run_and_its_fork_goes_on(root, train, capsys):
    assert train("default", "--epochs", 1) == 0
    assert train("default", "--epochs", 2, "--ema", 0.9) == 0
    assert "The average of the weights begins now: ckpt-44" in capsys.readouterr().out
    evaluated = [commands.evaluate, "--root", root, "--weights", "ema", "--at"]
    assert run_main(*evaluated, 44) == 2
    assert "ckpt-44 has no average of its weights" in capsys.readouterr().err
    fork = ["--fork-from", "default", "--ema", 0.9, "--epochs", 3]
    assert train("fork", *fork, "--max-steps", 89) == 0
    values = saved_values(checkpoint(root, "fork", 89))
    (updates,) = [values[key] for key in values if key.startswith("ema/updates")]
    assert int.from_bytes(updates, "little") == 45
    assert train("default", "--epochs", 3) == 0
    assert "The average of the weights in ckpt-88 is not gone on with." in capsys.readouterr().err
    assert not any(key.startswith("ema/") for key in saved_values(checkpoint(root, "default", 132)))


def test_a_profile_of_some_steps_is_kept_and_changes_nothing(root, train, capsys):
    assert train("profiled", "--epochs", 1, "--profile", "5:8") == 0
    assert "Saved a profile in" in capsys.readouterr().out
    assert list((root / "runs/profiled/tensorboard").rglob("*.xplane.pb"))
    assert train("straight", "--epochs", 1) == 0
    expected = saved_values(checkpoint(root, "straight", 44))
    assert saved_values(checkpoint(root, "profiled", 44)) == expected
    assert train("profiled", "--epochs", 2, "--profile", "5:8") == 0, "those steps are over"
    assert "Saved a profile in" not in capsys.readouterr().out


def git(folder, *words):
    settings = ["-c", "user.name=A", "-c", "user.email=a@example.org"]
    command = ["git", "-C", str(folder), *settings, *words]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def test_the_commit_of_the_code_is_in_the_card_shown_and_compared(
    root, train, tmp_path, monkeypatch, capsys
):
    code = tmp_path / "code"
    code.mkdir()
    monkeypatch.setattr(start_module, "__file__", str(code / "start.py"))
    assert train("other", "--epochs", 1) == 0
    assert read_card(checkpoint(root, "other", 44)).commit is None, "there is no repository"

    git(code, "init")
    git(code, "commit", "--allow-empty", "--message", "One")
    commit = git(code, "rev-parse", "HEAD")
    assert train("clean", "--epochs", 1) == 0
    (code / "new.py").touch()
    assert train("changed", "--epochs", 1) == 0
    capsys.readouterr()
    common = ["--root", root, "--run", "changed"]
    assert run_main(commands.main, "show", *common, "--quick") == 0
    assert f"{commit} with changes" in capsys.readouterr().out.replace("\n" + " " * 16, " ")
    assert run_main(commands.main, "diff", "clean@44", "changed@44", *common) == 1
    told = capsys.readouterr().out
    assert f"{commit} in clean@44, {commit} with changes in changed@44" in told
    assert run_main(commands.main, "diff", "clean@44", "other@44", *common) == 0
