"""Saving: what is in a checkpoint, and which checkpoints are kept."""

import os
from collections import Counter

import pytest
import tensorflow as tf
from etils import epath

from .. import files
from ..checkpoint import bundle, retention, saver
from ..checkpoint.card import read_card
from ..checkpoint.directory import Directory
from ..checkpoint.manager import CheckpointManager
from ..checkpoint.reader import condition_of
from ..checkpoint.retention import Best
from ..checkpoint.saver import Snapshot
from ..compat import keras, variables_of
from ..errors import CheckpointExists, SaveFailed, UnreadableCheckpoint
from .helpers import (
    disturb,
    files_in,
    flip,
    manager_of,
    saved_values,
    small_state,
    steps_in,
    train_a_little,
    values_of,
)


def save_steps(manager, state, *steps):
    for step in steps:
        state.step.assign(step)
        manager.save()


def test_a_checkpoint_holds_model_slots_step_generators_and_means(tmp_path):
    state = small_state()
    train_a_little(state)
    path = manager_of(state, tmp_path).save()
    saved = set(saved_values(path).values())
    assert all(value in saved for value in values_of(state))
    roles = {entry.path: entry.role for entry in read_card(path).structure.variables}
    assert roles["hidden_1/kernel"] == "model"
    assert roles["step"] == "run"
    means = {path: role for path, role in roles.items() if path.startswith("metrics/")}
    assert means.keys() == {
        f"metrics/{period}/{metric}/{part}"
        for period in ("line", "epoch")
        for metric in ("loss", "accuracy")
        for part in ("total", "count")
    }
    assert set(means.values()) == {"metric"}
    assert sum(role == "optimizer" for role in roles.values()) >= 2 * 6
    assert any("generator" in name for name in roles)


def test_the_card_tells_step_epoch_metrics_settings_and_versions(tmp_path):
    state = small_state()
    state.step.assign(25)
    manager = manager_of(
        state, tmp_path, steps_per_epoch=10, settings={"seed": 3}, identity={"seed": 3}
    )
    card = read_card(manager.save(metrics={"val_loss": 0.5}))
    assert (card.step, card.epoch, card.metrics) == (25, 2, {"val_loss": 0.5})
    assert card.settings == {"seed": 3}
    assert card.structure.identity.items() > {"seed": 3}.items()
    assert card.versions["tensorflow"] == tf.__version__
    assert card.structure.optimizers == {"optimizer": "Adam"}
    assert [layer.path for layer in card.structure.layers][:2] == ["flatten", "hidden_1"]
    assert card.created.endswith("+00:00")


def test_stock_tensorflow_reads_what_is_saved(tmp_path):
    state = small_state()
    train_a_little(state)
    expected = values_of(state)
    path = manager_of(state, tmp_path).save()
    disturb(state)
    checkpoint = tf.train.Checkpoint(**state.parts)
    checkpoint.restore(path).assert_existing_objects_matched()
    assert values_of(state) == expected
    assert tf.train.latest_checkpoint(str(tmp_path)) == path


def test_it_takes_the_place_of_tensorflows_manager(tmp_path):
    state = small_state()
    manager = manager_of(
        state, tmp_path, step_counter=state.step, checkpoint_interval=10, checkpoint_name="model"
    )
    assert isinstance(manager, tf.train.CheckpointManager)
    assert manager.latest_checkpoint is None
    assert manager.save() == str(tmp_path / "model-0")
    state.step.assign(9)
    assert manager.save() is None
    assert manager.save(check_interval=False) == str(tmp_path / "model-9")
    assert manager.checkpoints == [str(tmp_path / "model-0"), str(tmp_path / "model-9")]
    assert manager.latest_checkpoint == manager.checkpoints[-1]


def test_the_name_is_the_step(tmp_path):
    state = small_state()
    state.step.assign(280)
    manager = manager_of(state, tmp_path)
    assert manager.save() == str(tmp_path / "ckpt-280")
    assert manager.save(checkpoint_number=7) == str(tmp_path / "ckpt-7")
    assert {file.name for file in tmp_path.iterdir()} == {
        "checkpoint",
        "ckpt-7.data-00000-of-00001",
        "ckpt-7.index",
        "ckpt-280.data-00000-of-00001",
        "ckpt-280.index",
    }


def test_variables_that_are_made_later_are_saved_too(tmp_path):
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    optimizer = keras.optimizers.Adam()
    checkpoint = tf.train.Checkpoint(model=model, optimizer=optimizer)
    manager = CheckpointManager(checkpoint, tmp_path)
    optimizer.apply_gradients([(tf.ones_like(weights), weights) for weights in model.weights])
    expected = [variable.numpy().tobytes() for variable in variables_of(optimizer)]
    manager.save()
    for variable in variables_of(optimizer):
        variable.assign(tf.zeros_like(variable))
    manager.restore_or_initialize()
    assert [variable.numpy().tobytes() for variable in variables_of(optimizer)] == expected
    assert len(expected) >= 4


def test_two_variables_never_share_a_name(tmp_path):
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1, name="head")])
    head = tf.Module()
    head.kernel = tf.Variable(7.0)
    checkpoint = tf.train.Checkpoint(model=model, head=head)
    manager = CheckpointManager(checkpoint, tmp_path)
    manager.save()
    head.kernel.assign(0.0)
    manager.restore_or_initialize()
    assert float(head.kernel) == 7.0


def test_the_best_goes_by_the_checkpoints_own_name(tmp_path):
    state = small_state()
    best = Best(tmp_path / "best", "score", "max")
    manager = manager_of(state, tmp_path, checkpoint_name="model", best=best)
    for step, value in enumerate([0.5, 0.9, 0.1]):
        manager.save(checkpoint_number=step, metrics={"score": value})
    assert [file.name for file in (tmp_path / "best").glob("*.index")] == ["model-1.index"]


def test_an_existing_checkpoint_is_never_overwritten(tmp_path):
    state = small_state()
    manager = manager_of(state, tmp_path)
    manager.save()
    before = files_in(tmp_path)
    disturb(state)
    with pytest.raises(CheckpointExists, match="ckpt-0 exists already"):
        manager.save(checkpoint_number=0)
    assert files_in(tmp_path) == before


def test_the_newest_are_kept_and_the_count_outlives_a_restart(tmp_path):
    state = small_state()
    save_steps(manager_of(state, tmp_path, max_to_keep=3), state, 1, 2, 3, 4)
    assert steps_in(tmp_path) == [2, 3, 4]
    save_steps(manager_of(state, tmp_path, max_to_keep=3), state, 5)
    assert steps_in(tmp_path) == [3, 4, 5]


def test_at_least_two_are_kept(tmp_path):
    state = small_state()
    save_steps(manager_of(state, tmp_path, max_to_keep=1), state, 1, 2, 3)
    assert steps_in(tmp_path) == [2, 3]


def test_one_is_kept_for_every_so_many_hours(tmp_path):
    state = small_state()
    manager = manager_of(state, tmp_path, max_to_keep=2, keep_checkpoint_every_n_hours=1)
    for step, hours in enumerate([0.1, 0.2, 1.1, 1.2, 2.1]):
        save_steps(manager, state, step)
        written = 3600 * (1000 + hours)
        os.utime(tmp_path / f"ckpt-{step}.index", (written, written))
    save_steps(manager, state, 5)
    assert steps_in(tmp_path) == [0, 2, 4, 5]


@pytest.mark.parametrize(
    ("mode", "expected"), [("max", [2]), ("min", [3]), ("max", [0, 2]), ("min", [1, 3])]
)
def test_the_best_are_kept_and_remembered(tmp_path, mode, expected):
    state = small_state()
    for step, value in enumerate([0.5, 0.4, 0.9, 0.1, float("nan"), 0.5]):
        best = Best(tmp_path / "best", "score", mode, len(expected))
        state.step.assign(step)
        manager = manager_of(state, tmp_path, max_to_keep=2, best=best)  # as after a restart
        manager.save(metrics={"score": value})
    manager.save(checkpoint_number=6, metrics={"another": 1.0})
    assert steps_in(tmp_path / "best") == expected
    assert read_card(tmp_path / "best" / f"ckpt-{expected[0]}").step == expected[0]


def test_left_overs_of_killed_saves_are_swept(tmp_path):
    state = small_state()
    save_steps(manager_of(state, tmp_path), state, 1)
    before = files_in(tmp_path)
    (tmp_path / "ckpt-2_temp").mkdir()
    (tmp_path / "ckpt-2_temp" / "part-00000-of-00001.data-00000-of-00001").write_bytes(b"half")
    (tmp_path / "ckpt-3_temp").mkdir()
    (tmp_path / "ckpt-3_temp" / "ckpt-3.index").write_bytes(b"index")
    (tmp_path / "ckpt-3.data-00000-of-00001").write_bytes(b"moved, and its index not yet")
    (tmp_path / "ckpt-0_temp").mkdir()
    (tmp_path / "ckpt-0.data-00000-of-00001").write_bytes(b"of a removal that was interrupted")
    (tmp_path / "ckpt-1_temp").mkdir()
    (tmp_path / "checkpoint_temp").write_text("half")
    left_over = files_in(tmp_path)
    manager = manager_of(state, tmp_path)
    assert manager.restore_or_initialize() == str(tmp_path / "ckpt-1")
    assert files_in(tmp_path) == left_over  # another process may be saving
    save_steps(manager, state, 4)
    assert files_in(tmp_path).keys() >= before.keys()
    assert steps_in(tmp_path) == [1, 4]
    assert not list(tmp_path.glob("*_temp"))


def test_a_step_is_saved_again_after_its_save_was_killed(tmp_path):
    v = tf.Variable(1.0)
    (tmp_path / "ckpt-1_temp").mkdir()
    (tmp_path / "ckpt-1.data-00000-of-00001").write_bytes(b"moved, and killed then")
    manager = CheckpointManager(tf.train.Checkpoint(v=v), tmp_path)
    assert manager.restore_or_initialize() is None
    assert condition_of(epath.Path(manager.save(1))).state == "good"


def test_what_others_wrote_is_left_alone(tmp_path):
    names = ["export_temp", "ckpt_temp", "ckpt-x_temp", "model-3_temp", "ckpt-1.backup_temp"]
    for name in names:
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_text("mine")
    (tmp_path / "notes_temp").write_text("mine")
    state = small_state()
    save_steps(manager_of(state, tmp_path, max_to_keep=2), state, 1, 2, 3)
    assert (tmp_path / "notes_temp").read_text() == "mine"
    assert all((tmp_path / name / "file").read_text() == "mine" for name in names)


def test_a_save_is_never_its_own_victim(tmp_path):
    state = small_state()
    manager = manager_of(state, tmp_path, max_to_keep=2)
    for number in (100, 200, 3):
        path = manager.save(number)
        assert (tmp_path / f"ckpt-{number}.index").exists(), path
    assert steps_in(tmp_path) == [3, 100, 200]
    manager.save(300)
    assert steps_in(tmp_path) == [200, 300]


def test_what_replaced_an_object_is_saved(tmp_path):
    checkpoint = tf.train.Checkpoint(v=tf.Variable(1.0), many=[tf.Variable(2.0)])
    manager = CheckpointManager(checkpoint, tmp_path)
    manager.save(1)
    checkpoint.v = tf.Variable(5.0)
    checkpoint.many = [tf.Variable(6.0), tf.Variable(7.0)]
    reader = tf.train.load_checkpoint(manager.save(2))
    saved = [reader.get_tensor(f"{path}/.ATTRIBUTES/VARIABLE_VALUE") for path in ("v", "many/0")]
    assert saved == [5.0, 6.0]
    checkpoint.v.assign(0.0)
    manager.restore_or_initialize()
    assert checkpoint.v.numpy() == 5.0


def test_tensorflow_counts_on_from_our_number(tmp_path):
    checkpoint = tf.train.Checkpoint(v=tf.Variable(1.0))
    saved = CheckpointManager(checkpoint, tmp_path).save()
    assert saved == str(tmp_path / "ckpt-1")
    checkpoint.v.assign(2.0)
    assert checkpoint.save(str(tmp_path / "ckpt")) == str(tmp_path / "ckpt-2")
    assert tf.train.load_variable(saved, "v/.ATTRIBUTES/VARIABLE_VALUE") == 1.0


@pytest.mark.parametrize("background", [False, True])
def test_a_large_state_is_written_in_several_shards(tmp_path, monkeypatch, background):
    monkeypatch.setattr(saver, "SHARD_BYTES", 10)
    monkeypatch.setattr("os.cpu_count", lambda: 3)
    state = small_state()
    manager = manager_of(state, tmp_path, max_to_keep=2, background=background)
    save_steps(manager, state, 1, 2, 3)
    manager.finish()
    assert steps_in(tmp_path) == [2, 3]
    assert len(list(tmp_path.glob("ckpt-3.data-*-of-00003"))) == 3
    assert condition_of(epath.Path(tmp_path / "ckpt-3")).state == "good"
    expected = values_of(state)
    for restore in (
        manager.restore_or_initialize,
        lambda: manager.checkpoint.restore(str(tmp_path / "ckpt-3")).assert_consumed(),
    ):
        disturb(state)
        restore()
        assert values_of(state) == expected
    flip(tmp_path / "ckpt-3.data-00001-of-00003")
    assert condition_of(epath.Path(tmp_path / "ckpt-3")).state == "damaged"


def test_a_second_manager_does_not_disturb_a_save(tmp_path, monkeypatch):
    state = small_state()
    write = Snapshot.write

    def look_on(self, path, card):
        write(self, path, card)
        bystander = manager_of(small_state(), tmp_path)
        assert bystander.latest_checkpoint is None
        assert bystander.restore_or_initialize() is None

    monkeypatch.setattr(Snapshot, "write", look_on)
    save_steps(manager_of(state, tmp_path), state, 1)
    assert steps_in(tmp_path) == [1]


def test_a_failed_save_leaves_nothing(tmp_path, monkeypatch):
    state = small_state()
    manager = manager_of(state, tmp_path)
    save_steps(manager, state, 1)
    before = files_in(tmp_path)
    write = Snapshot.write

    def fail(self, path, card):
        write(self, path, card)
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Snapshot, "write", fail)
    with pytest.raises(SaveFailed, match="No space left"):
        save_steps(manager, state, 2)
    assert files_in(tmp_path) == before
    assert not list(tmp_path.glob("*_temp"))


def test_many_checkpoints_are_not_looked_for_one_by_one(tmp_path, monkeypatch):
    state = small_state()
    looks = Counter()
    for function in ("listdir", "scandir"):
        monkeypatch.setattr(os, function, counted(getattr(os, function), looks))
    counts = []
    for number in (10, 100):
        folder = tmp_path / str(number)
        manager = manager_of(state, folder, max_to_keep=number)
        save_steps(manager, state, 0)
        for step in range(1, number):
            for file in folder.glob("ckpt-0.*"):
                os.link(file, folder / file.name.replace("ckpt-0.", f"ckpt-{step}."))
        looks.clear()
        save_steps(manager, state, number)
        counts.append(looks["calls"])
        assert len(steps_in(folder)) == number
    assert counts[0] == counts[1]


def counted(function, calls):
    """The function, whose calls are counted."""

    def call(*arguments, **keywords):
        calls["calls"] += 1
        return function(*arguments, **keywords)

    return call


def test_a_save_whose_folder_cannot_be_synchronized_leaves_nothing(tmp_path, monkeypatch):
    state = small_state()
    manager = manager_of(state, tmp_path)
    save_steps(manager, state, 1)
    before = files_in(tmp_path)
    synchronize = files.synchronize

    def fail(path):
        if path == epath.Path(tmp_path) and (tmp_path / "ckpt-2.index").exists():
            raise OSError(5, "Input/output error")
        synchronize(path)

    monkeypatch.setattr(files, "synchronize", fail)
    with pytest.raises(SaveFailed, match="Input/output error"):
        save_steps(manager, state, 2)
    assert files_in(tmp_path) == before


@pytest.mark.parametrize("background", [False, True])
@pytest.mark.parametrize("failing", ["prune", "copy"])
def test_tidying_that_fails_is_no_failed_save(tmp_path, monkeypatch, caplog, failing, background):
    state = small_state()
    best = Best(tmp_path / "best", "score", "max")
    manager = manager_of(state, tmp_path, max_to_keep=2, best=best, background=background)

    def fail(*_, **__):
        raise OSError(5, "Input/output error")

    for step in range(1, 5):
        state.step.assign(step)
        with monkeypatch.context() as patch:
            if step == 3:
                patch.setattr(Directory if failing == "prune" else bundle, failing, fail)
            assert manager.save(metrics={"score": float(step == 3)}) == f"{tmp_path}/ckpt-{step}"
            manager.finish()
        if step == 3:
            assert "Tidying up after ckpt-3 failed: [Errno 5]" in caplog.text
            assert steps_in(tmp_path) == [1, 2, 3]
    assert steps_in(tmp_path) == [3, 4]
    assert steps_in(tmp_path / "best") == [3]


def test_a_best_that_cannot_be_read_or_is_damaged_is_not_deleted(tmp_path, monkeypatch, caplog):
    state = small_state()
    best = Best(tmp_path / "best", "score", "max")
    manager = manager_of(state, tmp_path, best=best)
    state.step.assign(1)
    manager.save(metrics={"score": 0.9})
    kept = files_in(tmp_path / "best")

    def fail(checkpoint):
        raise UnreadableCheckpoint(checkpoint, OSError(5, "Input/output error"))

    state.step.assign(2)
    with monkeypatch.context() as patch:
        patch.setattr(retention, "read_card", fail)
        manager.save(metrics={"score": 0.5})
    assert files_in(tmp_path / "best") == kept
    assert "best/ckpt-1 cannot be read at present" in caplog.text

    (tmp_path / "best/ckpt-1.index").write_bytes(b"")
    state.step.assign(3)
    manager.save(metrics={"score": 0.4})
    assert steps_in(tmp_path / "best") == [2]  # which was still to be compared
    assert steps_in(tmp_path / "best/damaged") == [1]


@pytest.mark.parametrize(
    "contents",
    [
        None,
        b"",
        b'model_checkpoint_path: "ck',
        b"\xff\xfe\x00garbage",
        b'model_checkpoint_path: "elsewhere-9"\nall_model_checkpoint_paths: "elsewhere-9"\n',
    ],
)
def test_the_state_file_is_repaired(tmp_path, contents):
    state = small_state()
    save_steps(manager_of(state, tmp_path), state, 1, 2)
    (tmp_path / "checkpoint").unlink()
    if contents is not None:
        (tmp_path / "checkpoint").write_bytes(contents)
    manager = manager_of(state, tmp_path)
    assert manager.latest_checkpoint == str(tmp_path / "ckpt-2")
    assert manager.restore_or_initialize() == str(tmp_path / "ckpt-2")
    save_steps(manager, state, 3)
    assert tf.train.latest_checkpoint(str(tmp_path)) == str(tmp_path / "ckpt-3")
    state_file = tf.train.get_checkpoint_state(str(tmp_path))
    assert [*state_file.all_model_checkpoint_paths] == manager.checkpoints
    assert len(manager.checkpoints) == 3
