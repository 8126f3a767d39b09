"""Ensembles: the mean of what several models predict."""

import json
import shutil

import numpy as np
import pytest

from ..evaluation.scoring import Predictions, combine
from .helpers import log_of, run_main
from .program import commands, training

MLP = ["--run", "mlp", "--model.hidden", 8]
CNN = ["--run", "cnn", "--model.name", "cnn", "--model.hidden", 4]


@pytest.fixture(scope="module")
def trained_once(tmp_path_factory):
    root = tmp_path_factory.mktemp("trained")
    assert run_main(training.main, "--root", root, *MLP, "--epochs", 2) == 0
    assert run_main(training.main, "--root", root, *CNN, "--epochs", 1) == 0
    return root


@pytest.fixture
def trained(root, trained_once):
    """A run `mlp` with checkpoints at the steps 44 and 88, and `cnn` with one at 44."""
    shutil.copytree(trained_once, root, dirs_exist_ok=True)
    return root


def predictions_of(labels, log_probabilities):
    losses = -log_probabilities[np.arange(len(labels)), labels]
    return Predictions(labels, log_probabilities, losses)


def test_it_is_the_mean_of_the_probabilities():
    random = np.random.default_rng(0)
    labels = random.integers(0, 3, 50)
    probabilities = random.dirichlet(np.ones(3), (4, 50))
    found = combine([predictions_of(labels, np.log(member)) for member in probabilities])
    mean = probabilities.mean(axis=0)
    np.testing.assert_allclose(np.exp(found.log_probabilities), mean, rtol=1e-12)
    np.testing.assert_allclose(found.losses, -np.log(mean[np.arange(50), labels]), rtol=1e-12)
    assert found.metrics["val_accuracy"] == np.mean(mean.argmax(axis=1) == labels)


def test_probabilities_too_small_for_a_number_still_count():
    labels = np.array([0])
    found = combine([predictions_of(labels, np.array([[-2000.0, 0.0]]))] * 2)
    assert found.losses == pytest.approx([2000])


def test_members_may_be_of_several_runs_and_kinds(trained, capsys):
    members = ["--ensemble", "mlp@44", "mlp@best", "cnn"]
    assert run_main(commands.evaluate, "--root", trained, *members, "--json") == 0
    found = json.loads(capsys.readouterr().out)
    logged = [*log_of(trained / "runs/mlp"), *log_of(trained / "runs/cnn")]
    assert [member["checkpoint"] for member in found["members"]] == ["mlp@44", "mlp@88", "cnn@44"]
    for member, line in zip(found["members"], logged, strict=True):
        assert member["val_accuracy"] == line["val_accuracy"]
    # No member beats the mean of the members' losses: the negative logarithm is convex.
    assert found["ensemble"]["val_loss"] < np.mean([m["val_loss"] for m in found["members"]])
    folder = trained / "runs/mlp/evaluations/ensemble-mlp@44-mlp@88-cnn@44"
    assert str(folder) == found.pop("folder")
    assert json.loads((folder / "metrics.json").read_text()) == found
    assert (folder / "confusion.png").exists()

    assert run_main(commands.evaluate, "--root", trained, "--run", "mlp", "--ensemble", 2) == 0
    printed = capsys.readouterr().out
    for text in ("mlp@44", "mlp@88", "ensemble of 2", "val_accuracy"):
        assert text in printed


def test_members_must_hold_out_the_same_examples(trained, capsys):
    other = ["--run", "other", "--model.hidden", 8, "--data.validation", 0.3, "--epochs", 1]
    assert run_main(training.main, "--root", trained, *other) == 0
    for kind in ("--ensemble", "--average"):
        assert run_main(commands.evaluate, "--root", trained, kind, "mlp", "other") == 2
        assert "mlp@88 and other@39 cannot be combined" in capsys.readouterr().err


def test_a_damaged_member_ends_with_code_4(trained, capsys):
    data = trained / "runs/cnn/checkpoints/ckpt-44.data-00000-of-00001"
    data.write_bytes(data.read_bytes()[:-100])
    assert run_main(commands.evaluate, "--root", trained, "--ensemble", "mlp", "cnn") == 4
    assert "ckpt-44 is damaged" in capsys.readouterr().err
