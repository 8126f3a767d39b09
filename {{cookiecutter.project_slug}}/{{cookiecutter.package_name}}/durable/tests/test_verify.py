"""verify: every byte against its checksum."""

import json

import numpy as np
import pytest
import tensorflow as tf
from etils import epath

from ..checkpoint import bundle
from ..checkpoint.reader import condition_of
from ..checkpoint.tensor_bundle import CARD_KEY
from ..cli import verify as command
from .helpers import flip, manager_of, run_main, small_state
from .program import commands


@pytest.fixture
def verify(three_epochs):
    def run(*arguments):
        return run_main(commands.main, "verify", *arguments, "--root", three_epochs)

    return run


@pytest.fixture
def folder(three_epochs):
    return three_epochs / "runs/default/checkpoints"


def write(directory, **variables):
    return epath.Path(tf.train.Checkpoint(**variables).write(str(directory / "ckpt-1")))


def test_good_ones(verify, capsys):
    assert verify("--all") == 0
    printed = capsys.readouterr().out
    assert printed.count("every byte agrees with its checksum.\n") == 4
    assert "best/ckpt-" in printed
    assert verify() == 0
    assert "ckpt-132: every byte" in capsys.readouterr().out


def test_a_damaged_one_ends_with_code_4(verify, folder, capsys):
    flip(folder / "ckpt-44.data-00000-of-00001")
    assert verify("44") == 4
    assert "ckpt-44 is damaged" in capsys.readouterr().out
    assert verify() == 0
    capsys.readouterr()
    assert verify("--all", "--json") == 4
    found = {entry["step"]: entry["state"] for entry in json.loads(capsys.readouterr().out)}
    assert found == {44: "damaged", 88: "good", 132: "good"}


def test_a_missing_file_is_damage(verify, folder):
    (folder / "ckpt-44.data-00000-of-00001").unlink()
    assert verify("--all") == 4


def test_a_damaged_copy_of_the_best_is_found(verify, folder):
    flip(next((folder / "best").glob("*.data-*")))
    assert verify("--all") == 4


def test_what_was_set_aside_is_not_counted(verify, folder):
    (folder / "damaged").mkdir()
    for file in folder.glob("ckpt-44.*"):
        file.rename(folder / "damaged" / file.name)
        flip(folder / "damaged" / file.name)
    assert verify("--all") == 0


def test_what_something_else_wrote_is_verified_too(verify, folder, capsys):
    write(folder, a=tf.Variable(1.0))
    assert verify("1") == 0
    assert "It has no card" in capsys.readouterr().out
    flip(folder / "ckpt-1.data-00000-of-00001")
    assert verify("1") == 4


def test_a_card_of_another_checkpoint_is_damage(tmp_path):
    state = small_state()
    path = epath.Path(manager_of(state, tmp_path).save())
    card = tf.train.load_checkpoint(str(path)).get_tensor(CARD_KEY)
    tf.train.Checkpoint(card=tf.Variable(card)).write(str(path))
    assert condition_of(path).reason.endswith("is not what the card says")


def test_a_flipped_byte_of_any_tensor_is_found(tmp_path):
    path = write(
        tmp_path,
        float32=tf.Variable(np.arange(1, 9, dtype=np.float32)),
        bfloat16=tf.Variable(tf.cast([17.0, 18.0, 19.0, 20.0, 21.0], tf.bfloat16)),
        int64=tf.Variable(2**40 + 12345, dtype=tf.int64),
        boolean=tf.Variable([True, False, True, True, False, True, True]),
        string=tf.Variable(b"a string of bytes"),
        strings=tf.Variable([b"another one", b"and one more"]),
    )
    data = tmp_path / "ckpt-1.data-00000-of-00001"
    good = data.read_bytes()
    reader = tf.train.load_checkpoint(str(path))
    for name in ("float32", "bfloat16", "int64", "boolean"):
        value = reader.get_tensor(f"{name}/.ATTRIBUTES/VARIABLE_VALUE")
        place = good.index(np.asarray(value).tobytes())
        flip(data, place + 3)
        assert condition_of(path).state == "damaged", name
        data.write_bytes(good)
    for text in (b"a string of bytes", b"another one", b"and one more"):
        flip(data, good.index(text) + 3)
        assert condition_of(path).state == "damaged", text
        data.write_bytes(good)
    assert condition_of(path).state == "no card"


@pytest.mark.parametrize("ending", ["index", "data-00000-of-00001"])
def test_no_byte_goes_unread(tmp_path, ending):
    path = write(tmp_path, a=tf.Variable([1.0, 2.0]))
    file = tmp_path / f"ckpt-1.{ending}"
    good = file.read_bytes()
    for position in range(len(good)):
        flip(file, position)
        assert condition_of(path).state == "damaged", position
        file.write_bytes(good)
    assert condition_of(path).state == "no card"


def test_the_new_latest_is_taken_where_a_trainer_removes_the_one_that_was(
    verify, monkeypatch, capsys
):
    def look(checkpoint):
        if checkpoint.name == "ckpt-132":
            bundle.remove(checkpoint)
        return condition_of(checkpoint)

    monkeypatch.setattr(command, "condition_of", look)
    assert verify() == 0
    assert "ckpt-88: every byte" in capsys.readouterr().out
