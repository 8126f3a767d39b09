"""Ensembles: the mean of what several models predict."""

import json
import shutil
from types import SimpleNamespace

import numpy as np
import pytest
import tensorflow as tf

from ..checkpoint.card import read_card
from ..evaluation.results import EvaluationResult
from ..evaluation.scoring import Scores
from ..run.rebuild import rebuild, restore
from .helpers import log_of, run_main
from .program import commands, training
from .program.experiment import PROJECT, DataConfig, load_data
from .tasks import TwoHeads

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


def test_it_is_what_the_task_makes_of_its_members(trained, capsys):
    members = ["--ensemble", "mlp@44", "mlp@88", "cnn"]
    assert run_main(commands.evaluate, "--root", trained, *members, "--json") == 0
    found = json.loads(capsys.readouterr().out)["ensemble"]
    data = load_data(DataConfig())
    x, y = data.validation.arrays
    paths = [
        trained / "runs" / run / f"checkpoints/ckpt-{step}"
        for run, step in (("mlp", 44), ("mlp", 88), ("cnn", 44))
    ]
    logits = []
    for path in paths:
        state = rebuild(PROJECT, read_card(path)).state
        restore(path, state)
        logits.append(state.task.model(x, training=False).numpy().astype(np.float64))
    exponentials = np.exp(logits)
    probabilities = (exponentials / exponentials.sum(axis=-1, keepdims=True)).mean(axis=0)
    assert found["val_accuracy"] == pytest.approx(np.mean(probabilities.argmax(axis=1) == y))
    losses = -np.log(probabilities[np.arange(len(y)), y])
    assert found["val_loss"] == pytest.approx(losses.mean(), rel=1e-5)


def test_outputs_of_any_form_are_averaged():
    first = {"a": tf.constant([1.0, 2.0]), "b": (tf.constant([[4.0]]),)}
    second = {"a": tf.constant([3.0, 6.0]), "b": (tf.constant([[0.0]]),)}
    found = TwoHeads().combine([first, second])
    assert found["a"].numpy().tolist() == [2, 4]
    assert found["b"][0].numpy().tolist() == [[2]]


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
    assert (folder / "losses.png").exists()

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


@pytest.mark.parametrize("count", [3, 14])
def test_many_or_long_metrics_stay_readable_at_80_columns(monkeypatch, capsys, count):
    monkeypatch.setenv("COLUMNS", "80")
    metrics = {f"mean_intersection_over_union_{number}": 0.25 for number in range(count)}
    member = SimpleNamespace(name="a-run-of-some-length@123456", card=SimpleNamespace(epoch=12))
    result = EvaluationResult("ensemble", [member] * 2, Scores([metrics] * 2, metrics, None))

    result.print(as_json=False)

    printed = capsys.readouterr().out
    assert {*metrics, member.name} <= {*printed.split()}
    assert printed.count("0.2500") == 3 * count
    assert max(map(len, printed.splitlines())) <= 80
