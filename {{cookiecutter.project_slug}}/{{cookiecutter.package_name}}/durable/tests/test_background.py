"""Saving in the background: the state at the step of the save, while training goes on."""

import logging
import threading

import pytest
import tensorflow as tf

from .. import files
from ..checkpoint import graph, saver
from ..checkpoint.graph import ObjectGraph
from ..checkpoint.manager import CheckpointManager
from ..checkpoint.saver import Snapshot
from ..compat import keras
from ..errors import SaveFailed
from .helpers import (
    files_in,
    manager_of,
    saved_values,
    small_model,
    small_state,
    train_a_little,
    values_of,
)


@pytest.fixture
def gate(monkeypatch):
    """Keeps the writer from starting until it is opened."""
    opened = threading.Event()
    write = Snapshot.write

    def wait_and_write(self, path, card):
        assert opened.wait(timeout=60)
        write(self, path, card)

    monkeypatch.setattr(Snapshot, "write", wait_and_write)
    yield opened
    opened.set()


def embedding_model():
    return keras.Sequential(
        [
            keras.Input((4, 4)),
            keras.layers.Flatten(),
            keras.layers.Rescaling(9.0),
            keras.layers.Embedding(10, 5),
            keras.layers.BatchNormalization(),
            keras.layers.Flatten(),
            keras.layers.Dropout(0.3),
            keras.layers.Dense(3),
        ]
    )


def state_of(model, optimizer):
    if model == "embedding":
        return small_state(embedding_model(), optimizer)
    return small_state(small_model(dtype=model), optimizer)


@pytest.mark.parametrize(
    ("model", "optimizer", "compiled"),
    [
        ("embedding", "adam", False),
        ("embedding", "sgd", False),
        ("embedding", "adam", True),
        ("float32", "sgd", True),
        ("mixed_bfloat16", "adam", False),
    ],
)
def test_what_is_saved_is_the_state_of_its_step(tmp_path, gate, model, optimizer, compiled):
    state = state_of(model, optimizer)
    x = tf.random.stateless_uniform((16, 4, 4), (1, 2))

    @tf.function(jit_compile=compiled)
    def step():
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(tf.cast(state.task.model(x, training=True), tf.float32) ** 2)
        weights = state.task.model.trainable_variables
        gradients = tape.gradient(loss, weights)
        if compiled:  # no compiler has sparse gradients
            gradients = [tf.convert_to_tensor(gradient) for gradient in gradients]
        state.task.optimizer.apply_gradients(zip(gradients, weights, strict=True))
        state.step.assign_add(1)

    step()
    expected = sorted(values_of(state))
    manager = manager_of(state, tmp_path, background=True)
    path = manager.save()
    for _ in range(3):
        step()
    assert not list(tmp_path.glob("*.index"))  # it is still to be written
    later = sorted(values_of(state))
    gate.set()
    manager.finish()
    saved = saved_values(path)
    del saved["_CHECKPOINTABLE_OBJECT_GRAPH"], saved["save_counter/.ATTRIBUTES/VARIABLE_VALUE"]
    assert sorted(saved.values()) == expected
    assert later != expected
    assert manager.restore_or_initialize() == path
    assert sorted(values_of(state)) == expected


@pytest.mark.parametrize("background", [False, True], ids=["blocking", "background"])
def test_many_variables_are_read_by_one_traced_function(tmp_path, monkeypatch, background):
    prepared = threading.Event()
    prepare = ObjectGraph.prepare

    def prepare_and_tell(self):
        prepare(self)
        prepared.set()

    monkeypatch.setattr(ObjectGraph, "prepare", prepare_and_tell)
    dense = [tf.Variable(tf.fill((4,), float(number))) for number in range(saver.MANY)]
    sparse = tf.Variable(tf.zeros((8, 4)))
    checkpoint = tf.train.Checkpoint(dense=dense, sparse=sparse, step=tf.Variable(0))
    manager = CheckpointManager(checkpoint, tmp_path, background=background)
    manager.save()
    assert prepared.wait(timeout=60)
    monkeypatch.delattr(graph, "read_value")  # none is read by itself any more
    for step in (1, 2):
        path = manager.save(step)
        for variable in dense:
            variable.assign_add(tf.ones((4,)))
        sparse.scatter_nd_add([[3]], [[1.0] * 4])
        manager.finish()
        reader = tf.train.load_checkpoint(path)
        for number in range(saver.MANY):
            value = reader.get_tensor(f"dense/{number}/.ATTRIBUTES/VARIABLE_VALUE")
            assert value.tolist() == [number + step - 1.0] * 4
        value = reader.get_tensor("sparse/.ATTRIBUTES/VARIABLE_VALUE")
        assert value[3].tolist() == [step - 1.0] * 4


def test_a_second_save_waits_for_the_first(tmp_path, gate):
    state = small_state()
    manager = manager_of(state, tmp_path, background=True)
    manager.save()
    second = threading.Thread(target=manager.save, kwargs={"checkpoint_number": 9})
    second.start()
    assert second.is_alive()
    assert not list(tmp_path.glob("*.index"))
    gate.set()
    second.join(timeout=60)
    manager.finish()
    assert manager.checkpoints == [str(tmp_path / "ckpt-0"), str(tmp_path / "ckpt-9")]


def test_retention_and_the_best_work_in_the_background_too(tmp_path):
    state = small_state()
    manager = manager_of(state, tmp_path, max_to_keep=2, background=True)
    for _ in range(4):
        train_a_little(state)
        manager.save()
    manager.finish()
    assert [path.rpartition("-")[2] for path in manager.checkpoints] == ["6", "8"]


def failing(monkeypatch, *outcomes):
    """Makes the next saves fail where an outcome is an error."""
    coming = list(outcomes)
    write = Snapshot.write

    def write_or_fail(self, path, card):
        write(self, path, card)
        if coming and (error := coming.pop(0)):
            raise error

    monkeypatch.setattr(Snapshot, "write", write_or_fail)


FULL = OSError(28, "No space left on device")
modes = pytest.mark.parametrize("background", [False, True], ids=["blocking", "background"])


def save_and_wait(manager, state):
    state.step.assign_add(1)
    manager.save()
    manager.collect(wait=True)


@modes
def test_failures_are_told_and_the_next_save_tries_again(tmp_path, monkeypatch, caplog, background):
    state = small_state()
    manager = manager_of(state, tmp_path, background=background, max_failures=3)
    failing(monkeypatch, None, FULL, FULL, None, FULL, None)
    for _ in range(6):
        save_and_wait(manager, state)
    manager.finish()
    steps = [path.rpartition("-")[2] for path in manager.checkpoints]
    assert steps == ["1", "4", "6"]
    warnings = [r.message for r in caplog.records if r.levelno == logging.WARNING]
    assert len(warnings) == 3
    assert "failed (2 of 3 in a row): [Errno 28] No space left on device" in warnings[1]
    assert "failed (1 of 3 in a row)" in warnings[2]
    assert not list(tmp_path.glob("*_temp"))


@modes
def test_too_many_failures_in_a_row_are_an_error(tmp_path, monkeypatch, background):
    state = small_state()
    manager = manager_of(state, tmp_path, background=background, max_failures=2)
    save_and_wait(manager, state)
    before = files_in(tmp_path)
    failing(monkeypatch, FULL, FULL)
    save_and_wait(manager, state)
    with pytest.raises(SaveFailed, match=r"2 in a row: .* No space left") as caught:
        save_and_wait(manager, state)
    assert caught.value.exit_code == 1
    assert files_in(tmp_path) == before


@modes
def test_a_failure_of_the_last_save_is_an_error_however_many_are_tolerated(
    tmp_path, monkeypatch, background
):
    state = small_state()
    manager = manager_of(state, tmp_path, background=background, max_failures=9)
    failing(monkeypatch, FULL)
    manager.save()
    with pytest.raises(SaveFailed, match="No space left"):
        manager.finish()


@modes
def test_another_error_is_not_tolerated(tmp_path, monkeypatch, background):
    state = small_state()
    manager = manager_of(state, tmp_path, background=background, max_failures=9)
    failing(monkeypatch, ZeroDivisionError("a mistake"))
    with pytest.raises(ZeroDivisionError):
        save_and_wait(manager, state)


def test_too_little_free_space_is_seen_before_writing(tmp_path, monkeypatch):
    state = small_state()
    manager = manager_of(state, tmp_path)
    usage = files.shutil.disk_usage(tmp_path)
    monkeypatch.setattr(files.shutil, "disk_usage", lambda _: usage._replace(free=100))
    monkeypatch.setattr(Snapshot, "write", pytest.fail)
    with pytest.raises(SaveFailed, match="bytes are needed, 100 are free"):
        manager.save()
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_was_removed_is_told_and_made_again(tmp_path, caplog):
    state = small_state()
    manager = manager_of(state, tmp_path / "checkpoints")
    path = manager.save()
    for file in (tmp_path / "checkpoints").iterdir():
        file.unlink()
    (tmp_path / "checkpoints").rmdir()
    train_a_little(state)
    assert manager.save() != path
    assert len(manager.checkpoints) == 1
    (warning,) = [record.message for record in caplog.records]
    assert warning == f"{path} was saved and is no longer there. Going on."
    train_a_little(state)
    manager.save()
    assert len(caplog.records) == 1
