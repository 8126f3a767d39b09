"""diff: what differs between two checkpoints, or between one and the present code."""

import json
import math

import numpy as np
import pytest
import tensorflow as tf

from ..checkpoint.card import read_card
from ..compat import keras
from ..evaluation.comparison import value_difference
from .helpers import flip, manager_of, run_main, saved_values, small_model, small_state
from .program import commands, models


def diff(root, *arguments):
    return run_main(commands.main, "diff", *arguments, "--root", root)


def save(root, run, model=None, *, state=None, optimizer="adam", **settings):
    """Saves a small state as the checkpoint of step 0 of a run."""
    keras.backend.clear_session()
    state = state or small_state(model and small_model(**model), optimizer)
    manager_of(state, root / "runs" / run / "checkpoints", **settings).save()
    return state


def test_a_checkpoint_is_identical_with_itself_and_its_copy(three_epochs, capsys):
    (best,) = (three_epochs / "runs/default/checkpoints/best").glob("*.index")
    step = best.stem.partition("-")[2]
    assert diff(three_epochs, step, "best") == 0
    printed = capsys.readouterr().out
    assert f"- default@{step}: {best.parents[1] / best.stem}\n" in printed
    assert f"+ default@best: {best.parent / best.stem}\n" in printed
    assert "They are identical: structure, settings and every byte of " in printed


def test_largest_differences_and_a_count_of_the_equal_ones(three_epochs, capsys):
    assert diff(three_epochs, "44", "default@88") == 1
    printed = capsys.readouterr().out
    assert "They differ." in printed
    assert "identical" not in printed
    assert diff(three_epochs, "44", "88", "--json") == 1
    found = json.loads(capsys.readouterr().out)
    assert (found["identical"], found["structure"], found["settings"]) == (False, [], [])
    values = {entry["path"]: entry for entry in found["values"]}
    assert values["step"] == {"path": "step", "absolute": 44, "relative": 0.5}
    assert "hidden_1/kernel" in values
    assert "metrics/line/loss/total" not in values
    folder = three_epochs / "runs/default/checkpoints"
    first, second = saved_values(folder / "ckpt-44"), saved_values(folder / "ckpt-88")
    entries = read_card(folder / "ckpt-44").structure.variables
    equal = {entry.path for entry in entries if first[entry.key] == second[entry.key]}
    assert found["equal"] == len(equal) > 0
    assert values.keys() == {entry.path for entry in entries} - equal


def test_one_bit_is_a_difference(root):
    state = save(root, "a")
    kernel = state.task.model.trainable_variables[0]
    values = kernel.numpy()
    values[0, 0] = np.nextafter(values[0, 0], np.float32(9))
    kernel.assign(values)
    save(root, "b", state=state)
    assert diff(root, "a@0", "a@0") == 0
    assert diff(root, "a@0", "b@0") == 1


def test_the_structure_in_the_form_of_a_mismatch(root, capsys):
    save(root, "a", {"hidden": (5, 6)})
    save(root, "b", {"hidden": (7, 6), "activation": "tanh"}, optimizer="sgd")
    assert diff(root, "a@0", "b@0") == 1
    printed = capsys.readouterr().out
    assert "  ! hidden_1/kernel  shape (16, 5) in a@0, (16, 7) in b@0\n" in printed
    assert "activation relu in a@0, tanh in b@0\n" in printed
    assert "Adam in a@0, SGD in b@0\n" in printed
    save(root, "c", {"hidden": (5,)})
    assert diff(root, "a@0", "c@0") == 1
    assert "  - hidden_2/kernel  only in a@0 (5, 6) float32\n" in capsys.readouterr().out


def test_settings_that_differ(root, capsys):
    state = save(root, "a", settings={"run": "a", "seed": 1, "old": 2, "model": {"dropout": 0.1}})
    settings = {"run": "b", "seed": 1, "new": 3, "model": {"dropout": 0.2}}
    save(root, "b", state=state, settings=settings)
    assert diff(root, "a@0", "b@0") == 1
    printed = capsys.readouterr().out
    assert "  ~ model.dropout  0.1 in a@0, 0.2 in b@0\n" in printed
    assert "  - old            only in a@0: 2\n" in printed
    assert "  + new            only in b@0: 3\n" in printed
    assert "seed" not in printed
    assert "Values" not in printed
    settings = {"run": "c", "seed": 1, "old": 2, "model": {"dropout": 0.1}}
    save(root, "c", state=state, settings=settings)
    assert diff(root, "a@0", "c@0") == 0


def test_what_only_one_card_tells_is_not_called_identical(root, capsys):
    state = save(root, "a", identity={"seed": 1})
    save(root, "b", state=state, identity={"seed": 1, "more": 2})
    assert diff(root, "a@0", "b@0") == 1
    assert "~ structure  described in another way by" in capsys.readouterr().out


def test_a_checkpoint_fits_the_model_of_its_own_card(three_epochs, capsys):
    assert diff(three_epochs, "44", "--model") == 0
    printed = capsys.readouterr().out
    assert "The checkpoint fits the model." in printed
    assert "identical" not in printed
    assert diff(three_epochs, "44", "--model", "--json") == 0
    assert json.loads(capsys.readouterr().out)["fits"] is True


def test_a_checkpoint_that_the_present_code_does_not_fit(three_epochs, capsys, monkeypatch):
    def build(_config, shape, classes):
        layers = [keras.layers.Flatten(), keras.layers.Dense(9, name="hidden_1")]
        return keras.Sequential(
            [keras.Input(shape), *layers, keras.layers.Dense(classes, name="logits")]
        )

    monkeypatch.setitem(models.MODELS, "mlp", build)
    assert diff(three_epochs, "44", "--model") == 1
    printed = capsys.readouterr().out
    assert "  ! hidden_1/kernel " in printed
    assert "shape (64, 8) in the checkpoint, (64, 9) in the model\n" in printed
    assert "They differ." in printed


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["44"], "Give a second checkpoint or --model"),
        (["44", "88", "--model"], "Give a second checkpoint or --model"),
    ],
)
def test_wrong_usage(three_epochs, arguments, message, capsys):
    assert diff(three_epochs, *arguments) == 2
    assert message in capsys.readouterr().err


def test_damaged_ones_and_those_without_a_card(three_epochs, capsys):
    folder = three_epochs / "runs/default/checkpoints"
    tf.train.Checkpoint(a=tf.Variable(1.0)).write(str(folder / "ckpt-200"))
    for sides in (["44", "200"], ["200", "44"], ["200", "--model"]):
        assert diff(three_epochs, *sides) == 3
        assert "ckpt-200 has no card" in capsys.readouterr().err
    flip(folder / "ckpt-88.data-00000-of-00001")
    for sides in (["44", "88"], ["88", "44"], ["88", "--model"]):
        assert diff(three_epochs, *sides) == 4
        assert "ckpt-88 is damaged" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("first", "second", "absolute", "relative"),
    [
        (np.array([1.0, 2.0]), np.array([1.0, 4.0]), 2, 0.5),
        (np.array([-1.0, 0.0]), np.array([1.0, 0.0]), 2, 2),
        (np.array(3), np.array(4), 1, 0.25),
        (np.array(2**62), np.array(2**62 + 1), 1, 1 / 2**62),
        (np.array(-(2**63)), np.array(2**63 - 1), 2**64, 2),
        (np.array([0], np.uint8), np.array([255], np.uint8), 255, 1),
        (np.array([True, False]), np.array([True, True]), 1, 1),
        (np.array([math.nan, 1.0]), np.array([math.nan, 2.0]), 1, 0.5),
        (np.array([math.nan, 1.0]), np.array([0.0, 1.0]), math.inf, math.inf),
        (np.array([math.inf]), np.array([1.0]), math.inf, math.inf),
        (np.array([0.0]), np.array([-0.0]), 0, 0),
        (np.zeros(3 * 2**20), np.arange(3.0 * 2**20), 3 * 2**20 - 1, 1),
        (np.array([b"a"], object), np.array([b"b"], object), None, None),
        (tf.constant(1, tf.bfloat16).numpy(), tf.constant(3, tf.bfloat16).numpy(), 2, 2 / 3),
    ],
)
def test_the_difference_of_two_tensors(first, second, absolute, relative):
    found = value_difference("path", first, second)
    assert (found.path, found.absolute) == ("path", absolute)
    assert found.relative == (relative if relative is None else pytest.approx(relative))


@pytest.mark.parametrize(
    "values",
    [
        np.array([math.nan, -0.0]),
        np.zeros((0, 3)),
        np.array(7),
        np.array([b"a", b""], object),
        np.array([[1, 2], [3, 4]]).T,
    ],
)
def test_equal_tensors_do_not_differ(values):
    assert value_difference("path", values, values.copy()) is None
