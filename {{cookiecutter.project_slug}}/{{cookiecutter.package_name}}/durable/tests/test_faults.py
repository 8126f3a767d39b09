"""Damaged files: the newest good checkpoint is restored, or nothing is touched."""

import json
import logging
import os
import random
import resource
import shutil
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from etils import epath

from ..checkpoint.reader import condition_of
from ..checkpoint.tensor_bundle import CARD_KEY
from ..errors import NoUsableCheckpoint, UnreadableCheckpoint
from .helpers import disturb, files_in, manager_of, rewrite, small_state, values_of


def cut_in_half(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def flip_a_byte(path):
    position = random.randrange(path.stat().st_size)
    print(f"flipped byte {position} of {path.name}")
    contents = bytearray(path.read_bytes())
    contents[position] ^= 0xFF
    path.write_bytes(contents)


def remove(path):
    path.unlink()


def empty(path):
    path.write_bytes(b"")


DAMAGE = {
    "data cut in half": ("data-00000-of-00001", cut_in_half),
    "one byte of the data flipped": ("data-00000-of-00001", flip_a_byte),
    "data removed": ("data-00000-of-00001", remove),
    "data empty": ("data-00000-of-00001", empty),
    "index removed": ("index", remove),
    "index cut in half": ("index", cut_in_half),
    "index empty": ("index", empty),
}
damages = pytest.mark.parametrize(("ending", "damage"), DAMAGE.values(), ids=DAMAGE.keys())


@pytest.fixture
def run(tmp_path):
    """A state with three checkpoints, and the values that each of them holds."""
    state = small_state()
    manager = manager_of(state, tmp_path)
    values = {}
    for step in (2, 4, 6):
        disturb(state)
        state.step.assign(step)
        manager.save()
        values[int(state.step)] = values_of(state)
    disturb(state)
    return state, tmp_path, values


@damages
def test_the_next_older_one_is_restored_and_the_damaged_set_aside(run, ending, damage, caplog):
    state, directory, values = run
    damage(directory / f"ckpt-6.{ending}")
    left = {path.name: contents for path, contents in files_in(directory).items()}
    manager = manager_of(state, directory)
    with caplog.at_level(logging.INFO):
        assert manager.restore_or_initialize() == str(directory / "ckpt-4")
    assert values_of(state) == values[4]
    assert f"Checkpoint {directory / 'ckpt-6'} is damaged: " in caplog.text
    assert f"Restored step 4 from {directory / 'ckpt-4'}." in caplog.messages
    aside = {path.name: contents for path, contents in files_in(directory / "damaged").items()}
    assert aside == {name: left[name] for name in left if name.startswith("ckpt-6.")}
    assert manager.latest_checkpoint == str(directory / "ckpt-4")
    state.step.assign(6)
    manager.save()  # the number is free again


@damages
def test_nothing_is_touched_where_none_is_usable(run, ending, damage):
    state, directory, _ = run
    for step in (2, 4, 6):
        damage(directory / f"ckpt-{step}.{ending}")
    values, files = values_of(state), files_in(directory)
    del files[directory / "checkpoint"]
    for _ in range(2):  # the second time it is no fresh start either
        with pytest.raises(NoUsableCheckpoint, match="Nothing was changed") as caught:
            manager_of(state, directory, init_fn=pytest.fail).restore_or_initialize()
        assert caught.value.exit_code == 4
        names = [error.checkpoint.name for error in caught.value.damaged]
        assert names == ["ckpt-6", "ckpt-4", "ckpt-2"]
        assert values_of(state) == values
        found = files_in(directory)
        found.pop(directory / "checkpoint", None)
        assert found == files


@pytest.mark.parametrize("damage", [cut_in_half, flip_a_byte, remove, empty])
def test_damage_to_the_state_file_does_no_harm(run, damage):
    state, directory, values = run
    damage(directory / "checkpoint")
    assert manager_of(state, directory).restore_or_initialize() == str(directory / "ckpt-6")
    assert values_of(state) == values[6]


def test_a_checkpoint_that_is_gone_altogether_is_reported(run, caplog):
    state, directory, values = run
    for file in directory.glob("ckpt-6.*"):
        file.unlink()
    assert manager_of(state, directory).restore_or_initialize() == str(directory / "ckpt-4")
    assert values_of(state) == values[4]
    assert "ckpt-6 is damaged: its files are missing" in caplog.text


def test_where_all_are_gone_it_is_no_fresh_start(run):
    state, directory, _ = run
    for file in directory.glob("ckpt-*"):
        file.unlink()
    for _ in range(2):
        with pytest.raises(NoUsableCheckpoint, match="its files are missing"):
            manager_of(state, directory).restore_or_initialize()


def test_where_only_damaged_ones_were_left_it_is_no_fresh_start(run):
    state, directory, _ = run
    cut_in_half(directory / "ckpt-6.index")
    manager_of(state, directory).restore_or_initialize()
    for file in [*directory.glob("ckpt-*"), directory / "checkpoint"]:
        file.unlink()
    with pytest.raises(NoUsableCheckpoint):
        manager_of(state, directory).restore_or_initialize()


def test_no_flipped_byte_is_ever_restored(run):
    state, directory, values = run
    for ending in ("data-00000-of-00001", "index"):
        file = directory / f"ckpt-6.{ending}"
        good = file.read_bytes()
        for _ in range(10):
            flip_a_byte(file)
            disturb(state)
            step = manager_of(state, directory).restore_or_initialize().rpartition("-")[2]
            assert values_of(state) == values[int(step)]
            for aside in directory.glob("damaged/*"):
                aside.rename(directory / aside.name)
            file.write_bytes(good)


def test_setting_aside_overwrites_nothing(run):
    state, directory, _ = run
    for _ in range(2):
        cut_in_half(directory / "ckpt-6.index")
        manager = manager_of(state, directory)
        manager.restore_or_initialize()
        state.step.assign(6)
        manager.save()
    assert {file.name for file in (directory / "damaged").glob("*index*")} == {
        "ckpt-6.index",
        "ckpt-6.index.1",
    }


@contextmanager
def no_more_open_files():
    """A process that can open no file: nothing on the disk is damaged by that."""
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    used = max(int(descriptor.name) for descriptor in Path("/proc/self/fd").iterdir())
    resource.setrlimit(resource.RLIMIT_NOFILE, (used, limits[1]))
    held = []
    try:
        with suppress(OSError):
            while True:
                held.append(os.open(os.devnull, os.O_RDONLY))
        yield
    finally:
        for descriptor in held:
            os.close(descriptor)
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)


def test_what_cannot_be_read_is_not_damaged(run):
    state, directory, values = run
    manager = manager_of(state, directory)
    before, disturbed = files_in(directory), values_of(state)
    with no_more_open_files(), pytest.raises(UnreadableCheckpoint, match="open files") as caught:
        manager.restore_or_initialize()
    assert f"{directory} cannot be read at present: " in str(caught.value)
    assert caught.value.exit_code == 4
    assert files_in(directory) == before
    assert values_of(state) == disturbed
    assert manager.restore_or_initialize() == str(directory / "ckpt-6")
    assert values_of(state) == values[6]


@pytest.mark.parametrize("function", ["load_checkpoint", "RestoreV2"])
def test_a_read_that_fails_once_is_tried_again(run, monkeypatch, function):
    state, directory, values = run
    owner = tf.train if function == "load_checkpoint" else tf.raw_ops
    failures = [tf.errors.UnknownError(None, None, "Input/output error")]
    monkeypatch.setattr(owner, function, failing(getattr(owner, function), failures))
    assert manager_of(state, directory).restore_or_initialize() == str(directory / "ckpt-6")
    assert not failures
    assert values_of(state) == values[6]


def failing(function, failures):
    """The function, which raises the failures first."""

    def call(*arguments, **keywords):
        if failures:
            raise failures.pop()
        return function(*arguments, **keywords)

    return call


def test_a_checkpoint_under_the_name_of_another_is_damaged(run, caplog):
    state, directory, values = run
    for file in directory.glob("ckpt-6.*"):
        shutil.copy(file, directory / file.name.replace("ckpt-6", "ckpt-9"))
    condition = condition_of(epath.Path(directory / "ckpt-9"))
    assert condition.state == "damaged"
    assert "its name is not that of step 6, as its card says" in condition.reason
    manager = manager_of(state, directory)
    assert manager.restore_or_initialize() == str(directory / "ckpt-6")
    assert values_of(state) == values[6]
    assert "is damaged: its name is not that of step 6" in caplog.text


FORGED = {
    "no object": lambda card: [],
    "a number": lambda card: 5,
    "a step of another kind": lambda card: card | {"step": "6"},
    "a step of another number": lambda card: card | {"step": 10**30},
    "a metric that is a text": lambda card: card | {"metrics": {"loss": "[/]"}},
    "versions that are a list": lambda card: card | {"versions": ["[/]"]},
    "no structure": lambda card: {name: card[name] for name in card if name != "structure"},
    "a shape of texts": lambda card: (
        card | {"structure": card["structure"] | {"variables": [{"path": "a", "shape": ["b"]}]}}
    ),
    "a type that there is not": lambda card: (
        card
        | {
            "structure": card["structure"]
            | {"variables": [{**card["structure"]["variables"][0], "dtype": "float12"}]}
        }
    ),
    "an origin without a kind": lambda card: card | {"origin": {}},
    "a time that is none": lambda card: card | {"created": "[/]"},
}


@pytest.mark.parametrize("forge", FORGED.values(), ids=FORGED.keys())
def test_a_card_that_is_none_is_damage(run, forge):
    state, directory, values = run
    write_card(directory / "ckpt-6", forge)
    condition = condition_of(epath.Path(directory / "ckpt-6"))
    assert condition.state == "damaged"
    assert len(condition.reason.splitlines()) == 1
    assert manager_of(state, directory).restore_or_initialize() == str(directory / "ckpt-4")
    assert values_of(state) == values[4]


def test_what_a_newer_edition_says_besides_is_no_damage(run):
    state, directory, values = run
    write_card(directory / "ckpt-6", lambda card: card | {"weather": "[/]"})
    assert manager_of(state, directory).restore_or_initialize() == str(directory / "ckpt-6")
    assert values_of(state) == values[6]


def write_card(checkpoint, change):
    """Changes the card of a checkpoint."""

    def put(tensors):
        tensors[CARD_KEY] = json.dumps(change(json.loads(tensors[CARD_KEY]))).encode()

    rewrite(checkpoint, put)


STEP_KEY = "step/.ATTRIBUTES/VARIABLE_VALUE"


def test_another_step_than_that_of_the_card_is_damage(run, caplog):
    state, directory, values = run
    rewrite(directory / "ckpt-6", lambda tensors: tensors.update({STEP_KEY: np.int64(5)}))
    condition = condition_of(epath.Path(directory / "ckpt-6"))
    assert condition.state == "damaged"
    assert "step is not at the step of its card, 6" in condition.reason
    assert manager_of(state, directory).restore_or_initialize() == str(directory / "ckpt-4")
    assert values_of(state) == values[4]


def test_a_number_of_its_own_is_no_other_step(tmp_path):
    state = small_state()
    state.step.assign(3)
    path = manager_of(state, tmp_path).save(7)
    assert condition_of(epath.Path(path)).state == "good"
    assert manager_of(state, tmp_path).restore_or_initialize() == path
