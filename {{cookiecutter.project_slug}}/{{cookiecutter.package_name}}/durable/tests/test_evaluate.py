"""Evaluating a checkpoint: its metrics, and the pictures of what it got wrong."""

import json
import shutil
import subprocess
import sys

import numpy as np
import pytest

from .helpers import PROJECT, log_of, run_main
from .program import commands, training
from .program.experiment import DataConfig, load_data

SMALL = ["--model.hidden", 8]
PNG = b"\x89PNG\r\n\x1a\n"


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run `a` of two epochs of 44 steps."""
    root = tmp_path_factory.mktemp("a folder")
    assert run_main(training.main, "--root", root, "--run", "a", *SMALL, "--epochs", 2) == 0
    return root


@pytest.mark.parametrize("at", ["latest", "88", "epoch:2", "best", "a@44"])
def test_the_metrics_are_those_of_training(trained, capsys, at):
    reference = ["--at", at] if "@" in at else ["--run", "a", "--at", at]
    assert run_main(commands.evaluate, "--root", trained, *reference, "--json") == 0
    found = json.loads(capsys.readouterr().out)
    (line,) = [line for line in log_of(trained / "runs/a") if line["step"] == found["step"]]
    assert found["checkpoint"] == f"a@{line['step']}"
    assert found["epoch"] == line["epoch"]
    assert found["val_accuracy"] == line["val_accuracy"]
    assert found["val_loss"] == pytest.approx(line["val_loss"], abs=1e-12)


def test_metrics_and_pictures_are_kept_in_the_runs_folder(trained, capsys):
    assert run_main(commands.evaluate, "--root", trained, "--run", "a", "--json") == 0
    printed = json.loads(capsys.readouterr().out)
    folder = trained / "runs/a/evaluations/ckpt-88"
    assert printed.pop("folder") == str(folder)
    assert {path.name for path in folder.iterdir()} == {"losses.png", "metrics.json"}
    assert json.loads((folder / "metrics.json").read_text()) == printed
    assert (folder / "losses.png").read_bytes().startswith(PNG)

    assert run_main(commands.evaluate, "--root", trained, "--run", "a") == 0
    first, second = capsys.readouterr().out.splitlines()
    assert "ckpt-88 (epoch 2): val_loss " in first
    assert second.startswith(f"Saved the metrics and pictures in {folder}.")
    assert second.endswith("No picture of the mistakes: there are none.")


def test_data_that_was_moved(root, tmp_path, capsys):
    x, y = load_data(DataConfig()).training.arrays
    data = tmp_path / "here.npz"
    np.savez(data, x=x, y=y)
    assert run_main(training.main, "--root", root, "--epochs", 1, *SMALL, "--data.path", data) == 0
    data.rename(tmp_path / "there.npz")
    assert run_main(commands.evaluate, "--root", root) == 2
    assert "There is no data file" in capsys.readouterr().err
    assert run_main(commands.evaluate, "--root", root, "--data-path", tmp_path / "there.npz") == 0


def test_a_picture_that_cannot_be_drawn_leaves_no_older_one(root, trained):
    shutil.copytree(trained, root, dirs_exist_ok=True)
    folder = root / "runs/a/evaluations/ckpt-88"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "mistakes.png").write_bytes(b"of an earlier evaluation")
    assert run_main(commands.evaluate, "--root", root, "--run", "a") == 0
    assert {path.name for path in folder.iterdir()} == {"losses.png", "metrics.json"}


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--at", "1"], 2, "has no checkpoint of step 1"),
        (["--at", "nope@1"], 2, "There is no run 'nope'"),
        (["--run", "nope"], 2, "There is no run 'nope'"),
        (["--save-as", "b"], 2, "--save-as goes with --average"),
        (["--at", "88", "--average", "2"], 2, "Give --at or --average, not both"),
        (["--at", "88", "--ensemble", "2"], 2, "Give --at or --ensemble, not both"),
        (["--average", "2", "--ensemble", "2"], 2, "Give --average or --ensemble, not both"),
    ],
)
def test_wrong_usage(trained, arguments, code, message, capsys):
    assert run_main(commands.evaluate, "--root", trained, "--run", "a", *arguments) == code
    assert message in capsys.readouterr().err


def test_a_damaged_checkpoint(root, trained, capsys):
    shutil.copytree(trained, root, dirs_exist_ok=True)
    data = root / "runs/a/checkpoints/ckpt-88.data-00000-of-00001"
    data.write_bytes(data.read_bytes()[:-100])
    assert run_main(commands.evaluate, "--root", root, "--run", "a") == 4
    assert "ckpt-88 is damaged" in capsys.readouterr().err


def test_a_folder_that_cannot_be_written(root, trained, capsys):
    shutil.copytree(trained, root, dirs_exist_ok=True)
    shutil.rmtree(root / "runs/a/evaluations", ignore_errors=True)
    (root / "runs/a/evaluations").write_text("a file")
    assert run_main(commands.evaluate, "--root", root, "--run", "a") == 2
    captured = capsys.readouterr()
    assert "cannot be written" in captured.err
    assert "val_loss" in captured.out


def test_training_does_not_wait_for_what_draws():
    # Keras 3 imports matplotlib itself, where it is installed.
    code = (
        f"import sys, {__package__}.program.training; "
        "sys.exit(any('.durable.evaluation' in name for name in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=PROJECT, check=False).returncode == 0
