"""Averages: the mean of several checkpoints' weights, also as a run of its own."""

import json
import shutil

import numpy as np
import pytest
import tensorflow as tf

from ..checkpoint.card import read_card
from ..compat import as_variable, keras
from ..errors import ConfigurationError
from ..evaluation.averaging import (
    average,
    keep_average,
    normalizing_layers,
    recompute_statistics,
)
from ..evaluation.members import find_members
from ..run.rebuild import rebuild
from .helpers import (
    SHAPE,
    files_in,
    log_of,
    run_main,
    saved_values,
    small_state,
    train_a_little,
    values_of,
    variables_of,
)
from .program import commands, training
from .program.experiment import PROJECT, DataConfig, ModelConfig, Paths, load_data
from .program.models import Listed

SMALL = ["--model.hidden", 8, "--model.dropout", 0.5]


@pytest.fixture(scope="module")
def trained_once(tmp_path_factory):
    root = tmp_path_factory.mktemp("trained")
    assert run_main(training.main, "--root", root, "--run", "a", *SMALL, "--epochs", 3) == 0
    arguments = ["--root", root, "--run", "a", "--average", 3, "--save-as", "b"]
    assert run_main(commands.evaluate, *arguments) == 0
    return root


@pytest.fixture
def trained(root, trained_once):
    """A run `a` with checkpoints at the steps 44, 88 and 132, and their average `b`."""
    shutil.copytree(trained_once, root, dirs_exist_ok=True)
    return root


@pytest.fixture(scope="module")
def cnn(tmp_path_factory):
    """A run of a network with batch normalisation."""
    root = tmp_path_factory.mktemp("cnn")
    settings = ["--model.name", "cnn", "--model.hidden", 4, "--data.noise", 0.1, "--epochs", 2]
    assert run_main(training.main, "--root", root, *settings) == 0
    return root


def one_batch():
    return tf.data.Dataset.from_tensors((tf.random.normal((8, *SHAPE)), tf.zeros(8, tf.int32)))


def test_weights_are_the_mean_and_all_else_is_the_newest_members(trained):
    folder = trained / "runs/a/checkpoints"
    readers = [tf.train.load_checkpoint(str(folder / f"ckpt-{step}")) for step in (44, 88, 132)]
    newest = saved_values(folder / "ckpt-132")
    card = read_card(trained / "runs/b/checkpoints/ckpt-132")
    saved = saved_values(trained / "runs/b/checkpoints/ckpt-132")
    weights = 0
    for entry in card.structure.variables:
        if entry.role == "model" and entry.dtype == "float32":
            weights += 1
            members = [reader.get_tensor(entry.key).astype(np.float64) for reader in readers]
            mean = (np.sum(members, axis=0) / 3).astype(np.float32)
            assert saved[entry.key] == mean.tobytes() != newest[entry.key]
        else:
            assert saved[entry.key] == newest[entry.key]
    assert weights == 4


def test_the_average_stands_beside_its_members(trained, capsys):
    assert (
        run_main(commands.evaluate, "--root", trained, "--run", "a", "--average", 3, "--json") == 0
    )
    found = json.loads(capsys.readouterr().out)
    lines = [line for line in log_of(trained / "runs/a") if "val_loss" in line]
    assert [member["checkpoint"] for member in found["members"]] == ["a@44", "a@88", "a@132"]
    for member, line in zip(found["members"], lines, strict=True):
        assert member["val_accuracy"] == line["val_accuracy"]
        assert member["val_loss"] == pytest.approx(line["val_loss"], abs=1e-12)
    assert (trained / "runs/a/evaluations/average-a@44-a@88-a@132/metrics.json").exists()

    assert run_main(commands.evaluate, "--root", trained, "--average", "a@44", "a@88", "a") == 0
    printed = capsys.readouterr().out
    for text in ("a@44", "a@132", "average of 3", f"{found['average']['val_loss']:.4f}"):
        assert text in printed

    assert run_main(commands.evaluate, "--root", trained, "--run", "b", "--json") == 0
    kept = json.loads(capsys.readouterr().out)
    assert {name: kept[name] for name in ("val_loss", "val_accuracy")} == found["average"]


def test_a_kept_average_is_listed_forked_and_resumed_as_any_run(trained, capsys):
    card = read_card(trained / "runs/b/checkpoints/ckpt-132")
    assert str(card.origin) == "average of a@44, a@88, a@132"
    assert (card.step, card.epoch, card.settings["run"]) == (132, 3, "b")
    assert card.metrics.keys() == {"val_loss", "val_accuracy"}
    (begun,) = map(json.loads, (trained / "runs/b/history.jsonl").read_text().splitlines())
    assert (begun["event"], begun["step"]) == ("average", 132)
    assert begun["sources"] == ["a@44", "a@88", "a@132"]
    assert json.loads((trained / "runs/b/config.json").read_text())["model"]["hidden"] == [8]
    assert (trained / "runs/b/checkpoints/best/ckpt-132.index").exists()

    assert run_main(commands.main, "list", "--root", trained, "--run", "b") == 0
    assert "average of a@44, a@88, a@132" in capsys.readouterr().out
    assert run_main(training.main, "--root", trained, "--run", "b", *SMALL, "--epochs", 4) == 0
    assert "Restored step 132 (epoch 3)" in capsys.readouterr().out
    assert [line["step"] for line in log_of(trained / "runs/b")] == [176]
    fork = ["--run", "c", "--fork-from", "b@132", *SMALL, "--epochs", 4]
    assert run_main(training.main, "--root", trained, *fork) == 0
    last = "checkpoints/ckpt-176"
    assert saved_values(trained / "runs/c" / last) == saved_values(trained / "runs/b" / last)


def test_a_run_with_checkpoints_is_not_overwritten(trained, capsys):
    before = files_in(trained)
    for name in ("a", "b"):
        keep = ["--run", "a", "--average", 2, "--save-as", name]
        assert run_main(commands.evaluate, "--root", trained, *keep) == 2
        assert f"Run '{name}' has checkpoints already" in capsys.readouterr().err
    assert files_in(trained) == before


def test_a_run_that_has_begun_meanwhile_is_not_overwritten(trained):
    before = files_in(trained)
    members = find_members(Paths(trained), "average", ["a@44", "a"])
    state, data = rebuild(PROJECT, members[-1].card).state, load_data(DataConfig())
    with pytest.raises(ConfigurationError, match="has checkpoints already"):
        keep_average(PROJECT, "b", members, state, data, {})
    assert files_in(trained) == before


def test_members_of_another_structure_are_refused(trained, capsys):
    other = ["--run", "c", "--model.hidden", 12, "--epochs", 1]
    assert run_main(training.main, "--root", trained, *other) == 0
    assert (
        run_main(commands.evaluate, "--root", trained, "--average", "c", "a", "--save-as", "d") == 3
    )
    errors = capsys.readouterr().err
    assert "shape (64, 12) in the checkpoint, (64, 8) in the model" in errors
    assert "The model is that of a@132" in errors
    assert "--ensemble" in errors
    assert not (trained / "runs/d").exists()


def test_members_may_have_other_seeds_and_batches(trained):
    other = ["--run", "c", "--fork-from", "a", *SMALL, "--epochs", 4]
    other += ["--seed", 5, "--data.batch-size", 16, "--data.noise", 0.1]
    assert run_main(training.main, "--root", trained, *other) == 0
    assert (
        run_main(commands.evaluate, "--root", trained, "--average", "a", "c", "--save-as", "d") == 0
    )
    assert read_card(trained / "runs/d/checkpoints/ckpt-356").settings["seed"] == 5


def test_a_damaged_member_ends_with_code_4(trained, capsys):
    data = trained / "runs/a/checkpoints/ckpt-44.data-00000-of-00001"
    good = data.read_bytes()
    data.write_bytes(good[:100] + bytes([good[100] ^ 1]) + good[101:])
    keep = ["--run", "a", "--average", 3, "--save-as", "c"]
    assert run_main(commands.evaluate, "--root", trained, *keep) == 4
    assert "ckpt-44 is damaged" in capsys.readouterr().err
    assert not (trained / "runs/c").exists()


def test_statistics_of_batch_normalisation_are_the_mean_over_the_training_batches(cnn):
    data = load_data(DataConfig(noise=0.1))
    members = find_members(Paths(cnn), "average", ["2"])
    state = average(PROJECT, members, data)
    layer = state.task.model.get_layer("norm_1")
    convolution = keras.Model(state.task.model.inputs, state.task.model.get_layer("conv_1").output)
    batches = [x for x, _ in data.batches(0, 0, data.steps_per_epoch)]
    outputs = [convolution(x).numpy().astype(np.float64) for x in batches]
    means = np.mean([output.mean((0, 1, 2)) for output in outputs], axis=0)
    variances = np.mean([output.var((0, 1, 2)) for output in outputs], axis=0)
    # Keras 2 corrects the variance for the 2048 values that it was taken from.
    np.testing.assert_allclose(as_variable(layer.moving_mean), means, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(as_variable(layer.moving_variance), variances, rtol=6e-4)
    assert layer.momentum == 0.9


def test_nothing_but_the_statistics_changes_when_they_are_recomputed():
    state = small_state(Listed(ModelConfig(hidden=(5,), dropout=0.5), 3))
    train_a_little(state)
    before = values_of(state)
    recompute_statistics(state, one_batch())
    changed = [
        variable.shape
        for variable, value in zip(variables_of(state), before, strict=True)
        if variable.numpy().tobytes() != value
    ]
    assert changed == [(5,), (5,)]


class Fixed(keras.Model):
    """Has three layers of batch normalisation, and training moves only the nested one."""

    def __init__(self):
        super().__init__()
        layers = keras.layers
        self.nested = keras.Sequential([layers.Flatten(), layers.BatchNormalization(name="moved")])
        self.frozen = layers.BatchNormalization(trainable=False)
        self.fixed = layers.BatchNormalization()
        self.logits = layers.Dense(3)

    def call(self, x, training=False):
        x = self.frozen(self.nested(x, training=training), training=training)
        return self.logits(self.fixed(x, training=False))


def test_layers_that_training_does_not_move_keep_their_statistics():
    model = Fixed()
    state = small_state(model)
    assert normalizing_layers(state.task) == [model.nested.layers[-1], model.fixed]
    recompute_statistics(state, one_batch())
    for layer in (model.frozen, model.fixed):
        assert as_variable(layer.moving_mean).numpy().tolist() == [0] * 16
        assert as_variable(layer.moving_variance).numpy().tolist() == [1] * 16
    assert np.all(as_variable(model.nested.layers[-1].moving_mean).numpy() != 0)


@pytest.mark.parametrize("kind", ["average", "ensemble"])
@pytest.mark.parametrize(
    ("references", "message"),
    [
        (["4"], "4 is not possible: it takes at least 2 checkpoints, and run 'a' has 3"),
        (["1"], "1 is not possible"),
        (["0"], "0 is not possible"),
        (["-1"], "-1 is not possible"),
        ([], "needs how many of the newest checkpoints to take"),
        (["a@44"], "needs how many of the newest checkpoints to take"),
        (["88", "a@88"], "has a@88 more than once"),
        (["a@44", "nope@44"], "There is no run 'nope'"),
        (["a@44", "a@45"], "has no checkpoint of step 45"),
    ],
)
def test_wrong_usage(trained_once, kind, references, message, capsys):
    arguments = ["--root", trained_once, "--run", "a", f"--{kind}", *references]
    assert run_main(commands.evaluate, *arguments) == 2
    assert message in capsys.readouterr().err
