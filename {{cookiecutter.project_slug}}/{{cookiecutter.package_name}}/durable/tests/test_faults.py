"""Damaged files: the newest good checkpoint is restored, or nothing is touched."""

import logging
import random

import pytest

from ..errors import NoUsableCheckpoint
from .helpers import disturb, files_in, manager_of, small_state, values_of


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
