"""Name-based checkpoints: variables of TensorFlow 1, matched by name and by --map."""

import json

import numpy as np
import pytest
import tensorflow as tf

from ..checkpoint.card import read_card
from ..checkpoint.restore import read_variables
from ..convert.names import canonical_path
from . import v1_network
from .helpers import files_in, run_main
from .program import commands

MLP = ["--model.hidden", "8", "--model.dropout", "0"]
SGD = ["--optimizer.name", "sgd", "--optimizer.learning-rate", "0.01"]


@pytest.fixture(scope="module")
def scoped(tmp_path_factory):
    """A checkpoint after three steps with Adam, all names below `net`."""
    path = tmp_path_factory.mktemp("version 1") / "model.ckpt-3"
    examples = v1_network.batches(0, 3)
    with v1_network.session(v1_network.adam, "net") as (running, train_on):
        for batch in examples:
            train_on(batch)
        v1_network.save(running, path)
    return path


def run(root, path, *settings):
    """Imports a file as the run `new`; returns the exit code."""
    command = ["import", path, "--run", "new", "--root", root, *MLP, *settings]
    return run_main(commands.main, *command)


def values_of(root, step):
    """The values of a checkpoint of the run `new`, by canonical path."""
    path = root / f"runs/new/checkpoints/ckpt-{step}"
    values = read_variables(path, read_card(path).structure.variables)
    return {canonical_path(name): value.numpy() for name, value in values.items()}


def write(path, **values):
    """Writes a name-based checkpoint; in the names, _of_ stands for a slash."""
    names = [name.replace("_of_", "/") for name in values]
    tensors = [*values.values()]
    slices = [""] * len(names)
    tf.raw_ops.SaveV2(
        prefix=str(path), tensor_names=names, shape_and_slices=slices, tensors=tensors
    )
    return path


WEIGHTS = {
    "hidden_1_of_kernel": np.ones((64, 8), np.float32),
    "hidden_1_of_bias": np.ones(8, np.float32),
    "logits_of_kernel": np.ones((8, 10), np.float32),
    "logits_of_bias": np.ones(10, np.float32),
}


def test_slots_follow_the_variables_that_are_mapped(root, scoped):
    assert run(root, scoped, "--map", r"net/(.*)=\1") == 0
    values = values_of(root, 3)
    reader = tf.train.load_checkpoint(str(scoped))
    for weight in ("hidden_1/kernel", "hidden_1/bias", "logits/kernel", "logits/bias"):
        for target, name in (
            (weight, f"net/{weight}"),
            (f"optimizer/momentum/{weight}", f"net/{weight}/Adam"),
            (f"optimizer/velocity/{weight}", f"net/{weight}/Adam_1"),
        ):
            assert values[target].tobytes() == reader.get_tensor(name).tobytes(), target
    assert (values["step"], values["optimizer/iteration"]) == (3, 3)


def test_a_file_of_patterns_does_the_same(root, scoped, tmp_path):
    mapping = tmp_path / "names.txt"
    mapping.write_text("# The network\nnet/hidden_1/(.*) = hidden_1/\\1\n\nnet/(l.*)=\\1  # rest\n")
    assert run(root, scoped, "--map-file", mapping) == 0
    assert (root / "runs/new/checkpoints/ckpt-3.index").exists()


def test_the_momentum_of_version_1_is_that_of_keras_times_the_learning_rate(root, tmp_path):
    examples = v1_network.batches(0, 3)
    with v1_network.session(v1_network.momentum) as (running, train_on):
        for batch in examples:
            train_on(batch)
        v1_network.save(running, tmp_path / "saved")
    assert run(root, tmp_path / "saved", *SGD) == 0
    found = values_of(root, 3)["optimizer/momentum/logits/kernel"]
    wanted = tf.train.load_checkpoint(str(tmp_path / "saved")).get_tensor("logits/kernel/Momentum")
    np.testing.assert_allclose(found, -0.01 * wanted, rtol=1e-6)
    assert np.abs(found).max() > 0


def test_a_dry_run_shows_the_plan_and_writes_nothing(root, scoped, capsys):
    assert run(root, scoped, "--map", r"net/(.*)=\1", "--dry-run") == 0
    printed = capsys.readouterr().out
    assert "net/hidden_1/kernel/Adam_1" in printed
    assert "Not needed from the file: beta1_power, beta2_power." in printed
    assert files_in(root) == {}

    assert run(root, scoped, "--map", r"net/l(.*)=l\1", "--dry-run", "--json") == 3
    plan = json.loads(capsys.readouterr().out)
    assert {"from": "net/logits/bias", "to": "logits/bias", "shape": [10]} in plan["moves"]
    differences = {(entry["symbol"], entry["path"]) for entry in plan["differences"]}
    assert {("-", "net/hidden_1/bias"), ("+", "hidden_1/bias")} <= differences
    assert files_in(root) == {}


def test_weights_without_an_optimizer_start_a_new_one(root, tmp_path, capsys):
    path = write(tmp_path / "weights", **WEIGHTS, global_step=np.int32(7))
    assert run(root, path) == 0
    assert "Starts anew:" in capsys.readouterr().out
    values = values_of(root, 7)
    assert (values["step"], values["optimizer/iteration"]) == (7, 0)
    assert not values["optimizer/velocity/logits/kernel"].any()


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"more": np.float32(1)}, "- more             only in the file () float32"),
        ({"logits_of_bias": None}, "+ logits/bias  only in the model (10,) float32"),
        (
            {"logits_of_bias": np.ones(9, np.float32)},
            "! logits/bias  shape (9,) in the file, (10,) in the model",
        ),
        (
            {"logits_of_bias": np.ones(10, np.float64)},
            "! logits/bias  dtype float64 in the file, float32 in the model",
        ),
        (
            {"logits_of_bias_of_Adam": np.ones(10, np.float32)},
            "only in the model (8, 10) float32",  # some slots, but not all
        ),
    ],
)
def test_what_does_not_fit_is_named_and_partial_takes_the_rest(
    root, tmp_path, changes, line, capsys
):
    values = {name: value for name, value in (WEIGHTS | changes).items() if value is not None}
    path = write(tmp_path / "weights", **values)
    assert run(root, path) == 3
    errors = capsys.readouterr().err
    assert " ".join(line.split()) in " ".join(errors.split())
    assert "--map OLD=NEW" in errors
    assert files_in(root) == {}

    assert run(root, path, "--partial") == 0
    assert "Does not fit:" in capsys.readouterr().out
    values = values_of(root, 0)
    assert (values["hidden_1/kernel"] == 1).all()
    assert (values["logits/bias"] == ("logits_of_bias" not in changes)).all()


def test_partial_needs_something_that_fits(root, tmp_path):
    path = write(tmp_path / "weights", other=np.float32(1))
    assert run(root, path, "--partial") == 3
    assert files_in(root) == {}


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ("nothing=logits/bias", "--map nothing=logits/bias matches no variable of the file"),
        ("hidden_1/kernel", "it is not OLD=NEW"),
        ("(=x", "in the regular expression"),
        (r"logits/(.*)=\2", "invalid group reference"),
        ("hidden_1/(.*)=logits/bias", "would both become logits/bias"),
    ],
)
def test_a_map_that_cannot_be(root, tmp_path, entry, message, capsys):
    path = write(tmp_path / "weights", **WEIGHTS)
    assert run(root, path, "--map", entry) == 2
    assert message in capsys.readouterr().err
    assert files_in(root) == {}


def test_a_file_of_patterns_that_is_not_there(root, tmp_path, capsys):
    path = write(tmp_path / "weights", **WEIGHTS)
    assert run(root, path, "--map-file", tmp_path / "none") == 2
    assert "cannot be read" in capsys.readouterr().err
