"""show: the card, and what is in the variables."""

import json
import math

import numpy as np
import pytest
import tensorflow as tf

from ..checkpoint.manager import CheckpointManager
from ..evaluation.comparison import Statistics
from .helpers import data_of, flip, manager_of, place_of, run_main, small_state
from .program import commands


def show(root, *arguments):
    return run_main(commands.main, "show", *arguments, "--root", root)


def strict(text):
    """What JSON text says; NaN and Infinity are not JSON."""
    return json.loads(text, parse_constant=pytest.fail)


def test_the_card_and_the_statistics(three_epochs, capsys):
    assert show(three_epochs, "44") == 0
    printed = capsys.readouterr().out
    assert "hidden_1/kernel" in printed
    assert "(64, 8)" in printed
    assert "Not finite" not in printed
    assert show(three_epochs, "--json") == 0
    card = strict(capsys.readouterr().out)
    assert card["step"] == 132
    assert card["settings"]["model"]["hidden"] == [8]
    (kernel,) = [
        entry for entry in card["structure"]["variables"] if entry["path"] == "hidden_1/kernel"
    ]
    path = str(three_epochs / "runs/default/checkpoints/ckpt-132")
    values = tf.train.load_checkpoint(path).get_tensor(kernel["key"]).astype(np.float64)
    found = kernel["statistics"]
    assert (kernel["shape"], kernel["dtype"], kernel["bytes"]) == ([64, 8], "float32", 64 * 8 * 4)
    assert found["mean"] == pytest.approx(values.mean())
    assert found["deviation"] == pytest.approx(values.std())
    assert (found["min"], found["max"]) == (values.min(), values.max())
    assert (found["zeros"], found["nan"], found["inf"]) == (0, 0, 0)


def test_no_word_is_broken_at_80_columns(root, capsys, monkeypatch):
    """However many metrics there are and however long their names and the paths."""
    monkeypatch.setenv("COLUMNS", "80")
    state = small_state()
    long = "a_part_with_a_long_name_" * 5
    parts = {**state.parts, long: tf.Variable(1.0)}
    names = [f"mean_intersection_over_union_of_{number}" for number in range(14)]
    folder = root / "runs/default/checkpoints"
    CheckpointManager(tf.train.Checkpoint(**parts), folder).save(
        metrics=dict.fromkeys(names, 0.25) | {long: 0.5}
    )
    for command in ("show", "list"):
        assert run_main(commands.main, command, "--root", root) == 0
        printed = capsys.readouterr().out
        words = printed.split()
        assert {*names, long} <= {*words}, command
        assert words.count("0.25") + words.count("0.2500") == 14
        wide = [line for line in printed.splitlines() if len(line) > 80]
        assert all(long in line or str(folder) in line for line in wide), wide


def test_what_is_not_finite_is_flagged(root, capsys):
    state = small_state()
    kernel = state.task.model.trainable_variables[0]
    values = np.zeros(kernel.shape, np.float32)
    values[0, :3] = math.nan, math.inf, -math.inf
    kernel.assign(values)
    manager_of(state, root / "runs/default/checkpoints").save(metrics={"loss": math.nan})
    assert show(root) == 0
    printed = capsys.readouterr().out
    assert "Not finite: hidden_1/kernel (1 NaN 2 Inf)\n" in printed
    assert show(root, "--json") == 0
    card = strict(capsys.readouterr().out)
    found = {entry["path"]: entry["statistics"] for entry in card["structure"]["variables"]}
    assert (found["hidden_1/kernel"]["nan"], found["hidden_1/kernel"]["inf"]) == (1, 2)
    assert card["metrics"] == {"loss": None}


def test_quick_shows_the_card_even_of_a_damaged_one(three_epochs, capsys):
    checkpoint = three_epochs / "runs/default/checkpoints/ckpt-44"
    flip(data_of(checkpoint), place_of(checkpoint, "hidden_1/kernel"))
    assert show(three_epochs, "44") == 4
    assert "ckpt-44 is damaged" in capsys.readouterr().err
    assert show(three_epochs, "44", "--quick") == 0
    assert "hidden_1/kernel" in capsys.readouterr().out


def test_a_checkpoint_without_a_card_is_an_error(three_epochs, capsys):
    folder = three_epochs / "runs/default/checkpoints"
    tf.train.Checkpoint(a=tf.Variable(1.0)).write(str(folder / "ckpt-200"))
    assert show(three_epochs, "200") == 3
    assert "ckpt-200 has no card" in capsys.readouterr().err


@pytest.mark.parametrize(
    "dtype",
    ["float16", "bfloat16", "float32", "float64", "int8", "uint8", "int32", "int64", "uint64"],
)
def test_statistics_of_every_kind_of_number(dtype):
    values = tf.cast([[0, 1], [2, 5]], dtype).numpy()
    assert Statistics.of(values) == Statistics(2.0, math.sqrt(3.5), 0.0, 5.0, 0.25, 0, 0)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (np.array([True, False]), Statistics(0.5, 0.5, 0, 1, 0.5, 0, 0)),
        (np.array(3.0), Statistics(3, 0, 3, 3, 0, 0, 0)),
        (np.zeros((0, 4)), Statistics(None, None, None, None, None, 0, 0)),
        (np.array([math.nan, 1.0, 0.0]), Statistics(0.5, 0.5, 0, 1, 1 / 3, 1, 0)),
        (np.array([math.nan, math.inf]), Statistics(None, None, None, None, 0, 1, 1)),
        (np.array([b"text"], object), None),
        (np.array(b"text", object), None),
        (np.array([1j]), None),
    ],
    ids=["bool", "scalar", "empty", "NaN", "nothing finite", "strings", "string", "complex"],
)
def test_statistics_of_other_tensors(values, expected):
    assert Statistics.of(values) == expected


def test_statistics_are_computed_in_float64():
    found = Statistics.of(np.full(10**6, 0.1, np.float16))
    assert found.mean == pytest.approx(float(np.float16(0.1)), rel=1e-9)
    assert Statistics.of(np.array([3e38, 3e38], np.float32)).mean == pytest.approx(3e38)
