"""Evaluating a checkpoint: its metrics, and the pictures of what it got wrong."""

import json
import shutil
import subprocess
import sys

import numpy as np
import pytest

from ..data.arrays import Examples

# TODO from evaluation.pictures import confusion_matrix
# TODO from evaluation.pictures import draw_confusion
# TODO from evaluation.pictures import draw_mistakes
# TODO from evaluation.pictures import is_image
# TODO from evaluation.pictures import worst_mistakes
from ..evaluation.scoring import Predictions
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


def predictions_of(labels, probabilities):
    probabilities = np.array(probabilities)
    losses = -np.log(probabilities[np.arange(len(labels)), labels])
    return Predictions(np.array(labels), np.log(probabilities), losses)


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
    assert {path.name for path in folder.iterdir()} == {
        "confusion.png",
        "metrics.json",
        "mistakes.png",
    }
    assert json.loads((folder / "metrics.json").read_text()) == printed
    for name in ("confusion.png", "mistakes.png"):
        assert (folder / name).read_bytes().startswith(PNG)

    assert run_main(commands.evaluate, "--root", trained, "--run", "a") == 0
    first, second = capsys.readouterr().out.splitlines()
    assert "ckpt-88 (epoch 2): val_loss " in first
    assert second == f"Saved the metrics and pictures in {folder}."


def test_data_that_was_moved_and_is_not_of_images(root, tmp_path, capsys):
    digits = load_data(DataConfig())
    data = tmp_path / "here.npz"
    np.savez(data, x=digits.training.x.reshape(len(digits.training), -1), y=digits.training.y)
    assert run_main(training.main, "--root", root, "--epochs", 1, *SMALL, "--data.path", data) == 0
    data.rename(tmp_path / "there.npz")
    assert run_main(commands.evaluate, "--root", root) == 2
    assert "There is no data file" in capsys.readouterr().err
    assert run_main(commands.evaluate, "--root", root, "--data-path", tmp_path / "there.npz") == 0
    expected = "No picture of the mistakes: examples of shape (64,) are not images."
    assert expected in capsys.readouterr().out
    assert not list((root / "runs/default/evaluations").rglob("mistakes.png"))


def test_a_model_without_mistakes(root, tmp_path, capsys):
    y = np.arange(80) % 2
    np.savez(tmp_path / "easy.npz", x=np.ones((80, 2, 2), np.float32) * y[:, None, None], y=y)
    easy = ["--data.path", tmp_path / "easy.npz", "--data.batch-size", 8, "--model.dropout", 0]
    settings = [*easy, "--epochs", 3, "--optimizer.learning-rate", 0.05]
    assert run_main(training.main, "--root", root, *settings) == 0
    folder = root / "runs/default/evaluations/ckpt-24"
    folder.mkdir(parents=True)
    (folder / "mistakes.png").write_bytes(b"of an earlier evaluation")
    assert run_main(commands.evaluate, "--root", root) == 0
    assert "No picture of the mistakes: there are none." in capsys.readouterr().out
    assert {path.name for path in folder.iterdir()} == {"confusion.png", "metrics.json"}


def test_the_confusion_matrix_counts_what_was_taken_for_what():
    first, second, third = [0.8, 0.1, 0.1], [0.2, 0.7, 0.1], [0.5, 0.3, 0.2]
    found = predictions_of([0, 0, 1, 2], [first, second, second, third])
    assert confusion_matrix(found).tolist() == [[1, 1, 0], [0, 1, 0], [1, 0, 0]]
    (axes,) = draw_confusion(found, "a@88").axes
    counts = {text.get_position(): text.get_text() for text in axes.texts}
    assert counts == {(0, 0): "1", (1, 0): "1", (1, 1): "1", (0, 2): "1"}  # (predicted, true)
    labels = [text.get_text() for text in axes.get_xticklabels()]
    assert labels == ["0", "1", "2"]


def test_the_worst_mistake_comes_first_and_right_answers_do_not_come():
    labels = [0, 0, 1, 1]
    found = predictions_of(labels, [[0.6, 0.4], [0.45, 0.55], [0.3, 0.7], [0.9, 0.1]])
    assert worst_mistakes(found).tolist() == [3, 1]
    images = Examples(np.zeros((4, 3, 3), np.float32), np.array(labels))
    titles = [axes.get_title() for axes in draw_mistakes(found, images, "a@88").axes]
    assert titles == [
        "true 1\npredicted 0 (90%)",
        "true 0\npredicted 1 (55%)",
    ]


@pytest.mark.parametrize(
    ("shape", "expected"),
    [((8, 8), True), ((8, 8, 1), True), ((8, 8, 3), True), ((8, 8, 2), False), ((64,), False)],
)
def test_what_is_an_image(shape, expected):
    assert is_image(shape) == expected
    if expected:
        found = predictions_of([0], [[0.1, 0.9]])
        images = Examples(np.full((1, *shape), -3, np.float32), np.array([0]))
        assert len(draw_mistakes(found, images, "a@88").axes) == 1


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
    package = "{{ cookiecutter.package_name }}"
    code = f"import sys, train; sys.exit('{package}.evaluation.pictures' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=PROJECT, check=False).returncode == 0
