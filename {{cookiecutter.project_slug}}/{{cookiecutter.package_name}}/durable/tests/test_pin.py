"""pin and unpin: what retention leaves alone."""

import json

import pytest
import tensorflow as tf
from etils import epath

from .. import files
from ..checkpoint import bundle
from ..checkpoint.directory import Directory
from ..checkpoint.retention import Retention
from .helpers import (
    finish,
    flip,
    manager_of,
    read_until,
    run_main,
    saved_values,
    small_state,
    start,
)
from .program import commands


@pytest.fixture
def run(root):
    """A run with the checkpoints 1, 2 and 3, that keeps the newest three; save one more with it."""
    state = small_state()
    manager = manager_of(state, root / "runs/default/checkpoints", max_to_keep=3)

    def save(step):
        state.step.assign(step)
        manager.save()

    for step in (1, 2, 3):
        save(step)
    return save


@pytest.fixture
def folder(run, root):
    """The checkpoints of that run."""
    return epath.Path(root / "runs/default/checkpoints")


def steps_in(folder):
    return [bundle.step_of(path) for path in Directory(folder).whole()]


def pin(root, *arguments, command="pin"):
    return run_main(commands.main, command, *arguments, "--root", root)


def test_a_pinned_one_is_kept_besides_the_newest_until_it_is_unpinned(run, root, folder, capsys):
    assert pin(root, "1") == 0
    path = folder / "ckpt-1"
    assert capsys.readouterr().out == f"{path} is pinned now.\n"
    run(4)
    run(5)
    assert steps_in(folder) == [1, 3, 4, 5]
    state_file = (path.parent / "checkpoint").read_text()
    assert state_file.count('all_model_checkpoint_paths: "ckpt-1"') == 1
    assert pin(root, "1", command="unpin") == 0
    assert capsys.readouterr().out == f"{path} is not pinned any more.\n"
    run(6)
    assert steps_in(folder) == [4, 5, 6]
    assert not list(path.parent.glob("ckpt-1*"))


def test_twice_says_so(folder, root, capsys):
    assert pin(root, "latest") == pin(root, "3") == 0
    assert "ckpt-3 was pinned already." in capsys.readouterr().out
    assert pin(root, "3", "--json", command="unpin") == 0
    found = json.loads(capsys.readouterr().out)
    path = str(folder / "ckpt-3")
    assert found == {"path": path, "pinned": False, "changed": True}
    assert pin(root, "3", command="unpin") == 0
    assert "ckpt-3 was not pinned." in capsys.readouterr().out


def test_one_that_is_only_in_best_is_copied(three_epochs):
    folder = three_epochs / "runs/default/checkpoints"
    (best,) = (folder / "best").glob("*.index")
    for file in folder.glob(f"{best.stem}.*"):
        file.unlink()
    assert pin(three_epochs, "best") == 0
    assert saved_values(folder / best.stem) == saved_values(best.with_suffix(""))
    assert (folder / f"{best.stem}.pinned").exists()
    assert not list(folder.rglob("*_temp"))


def test_the_pin_goes_with_the_checkpoint(folder, root):
    pin(root, "2")
    path = folder / "ckpt-2"
    bundle.move(path, path.parent / "elsewhere")
    assert not bundle.pin_file(path).exists()
    moved = path.parent / "elsewhere/ckpt-2"
    assert bundle.is_pinned(moved)
    damaged = bundle.set_aside(moved)
    assert bundle.is_pinned(damaged / "ckpt-2")
    bundle.remove(damaged / "ckpt-2")
    assert list(damaged.iterdir()) == []


def test_a_removal_that_was_interrupted_takes_the_pin_with_it(folder, root, monkeypatch):
    pin(root, "2")
    path = folder / "ckpt-2"
    with monkeypatch.context() as patch:
        patch.delattr(bundle, "clear_unfinished")
        with pytest.raises(NameError):
            bundle.remove(path)
    Directory(path.parent).sweep()
    assert not list(path.parent.glob("ckpt-2*"))


def test_one_that_is_pinned_while_a_save_removes_others_is_kept(run, root, folder, monkeypatch):
    choose = Retention.choose

    def meanwhile(self, found):
        chosen = choose(self, found)
        pin(root, "1")
        return chosen

    monkeypatch.setattr(Retention, "choose", meanwhile)
    run(4)
    assert steps_in(folder) == [1, 2, 3, 4]


def test_one_that_a_save_removes_meanwhile_is_told(folder, root, monkeypatch, capsys):
    write_text = files.write_text

    def removed(path, text):
        write_text(path, text)
        bundle.remove(path.parent / path.stem)

    monkeypatch.setattr(files, "write_text", removed)
    assert pin(root, "1") == 2
    # It is looked for again: of the latest, another one would be pinned.
    assert "Run 'default' has no checkpoint of step 1." in capsys.readouterr().err
    assert not list(folder.glob("*pinned*"))


def test_it_works_while_the_run_is_being_trained(folder, root):
    process = start(root, command="hold")
    try:
        read_until(process, "locked")
        assert pin(root, "1") == 0
        assert (folder / "ckpt-1.pinned").exists()
        assert pin(root, "1", command="unpin") == 0
    finally:
        process.kill()
        finish(process)


def test_damaged_ones_are_refused_and_those_without_a_card_are_not(folder, root, capsys):
    flip(folder / "ckpt-1.data-00000-of-00001")
    assert pin(root, "1") == 4
    assert "ckpt-1 is damaged" in capsys.readouterr().err
    assert not list(folder.glob("*.pinned"))
    tf.train.Checkpoint(a=tf.Variable(1.0)).write(str(folder / "ckpt-9"))
    assert pin(root, "9") == 0
