"""Resuming: what comes back, and from where."""

import logging
import shutil

import pytest
import tensorflow as tf

from ..checkpoint.card import read_card
from ..compat import keras
from ..run.start import fork
from ..run.state import TrainState
from .helpers import (
    disturb,
    files_in,
    finish,
    log_of,
    manager_of,
    run_main,
    saved_values,
    small_state,
    small_task,
    start,
    train_a_little,
    values_of,
)
from .program import training
from .program.experiment import Config, Paths

SMALL = ["--model.hidden", "8", "--log-every", "10"]


def run(root, *settings):
    """Trains in this process; gives the exit code."""
    return run_main(training.main, "--root", root, *SMALL, *settings)


@pytest.fixture(scope="module")
def trained_once(tmp_path_factory):
    root = tmp_path_factory.mktemp("trained")
    assert run(root, "--epochs", "1") == 0
    return root


@pytest.fixture
def trained(root, trained_once):
    """A run of one epoch of 44 steps."""
    shutil.copytree(trained_once, root, dirs_exist_ok=True)
    return root


def weights_of(state):
    return [weights.tobytes() for weights in state.task.model.get_weights()]


def test_model_slots_step_generators_and_means_come_back(tmp_path):
    state = small_state()
    train_a_little(state)
    manager_of(state, tmp_path).save()
    other = small_state(seed=2)
    assert values_of(other) != values_of(state)
    assert manager_of(other, tmp_path).restore_or_initialize() == str(tmp_path / "ckpt-2")
    assert values_of(other) == values_of(state)
    train_a_little(state)
    train_a_little(other)
    assert values_of(other) == values_of(state)


def test_tensorflows_own_restore_does_not_come_in_between(tmp_path):
    state = small_state()
    manager = manager_of(state, tmp_path)
    path = manager.save()
    manager.checkpoint.restore(path).expect_partial()  # it adds a counter of saves
    assert manager.restore_or_initialize() == path


def test_the_learning_rate_is_the_configurations(tmp_path):
    state = small_state()
    train_a_little(state)
    manager_of(state, tmp_path).save()
    resumed = small_state(learning_rate=1e-20)
    manager_of(resumed, tmp_path).restore_or_initialize()
    before = weights_of(resumed)
    train_a_little(resumed)
    assert weights_of(resumed) == before
    train_a_little(state)
    assert weights_of(state) != before


class Smallest(keras.metrics.Metric):
    """A metric that does not start at zero."""

    def __init__(self):
        super().__init__(name="smallest")
        start = keras.initializers.Constant(9.0)
        self.smallest = self.add_weight(name="smallest", shape=(), initializer=start)

    def update_state(self, _y, outputs, sample_weight=None):
        self.smallest.assign(tf.minimum(self.smallest, tf.reduce_min(outputs)))

    def result(self):
        return tf.convert_to_tensor(self.smallest)


@pytest.mark.parametrize("forked", [False, True], ids=["resumed", "forked"])
def test_means_start_anew_where_the_metrics_are_others(root, caplog, forked):
    caplog.set_level(logging.INFO)
    state, paths = small_state(), Paths(root)
    train_a_little(state)
    manager_of(state, paths.checkpoints).save()
    task, element_spec = small_task(seed=2)
    metrics = task.metrics
    task.metrics = lambda: metrics() | {"smallest": Smallest()}
    other = TrainState(task, element_spec)
    new = paths.of("new") if forked else paths
    manager = manager_of(other, new.checkpoints)
    if forked:
        fork(Config(fork_from="default"), new, manager)
    else:
        disturb(other)
        manager.restore_or_initialize()
    assert weights_of(other) == weights_of(state)
    for means in (other.line, other.epoch):
        assert means.result() == {"loss": 0.0, "accuracy": 0.0, "smallest": 9.0}
    (told,) = [message for message in caplog.messages if "start anew" in message]
    assert told.startswith("The means since the last line of the log, and since the epoch began,")
    assert told.endswith("start anew: ckpt-2 has those of other metrics.")


def test_a_first_start_and_a_resume_say_so(root, capsys):
    checkpoints = root / "runs" / "default" / "checkpoints"
    run(root, "--epochs", "1")
    assert f"No checkpoint in {checkpoints}: starting from scratch.\n" in capsys.readouterr().out
    run(root, "--epochs", "2")
    restored = f"Restored step 44 (epoch 1) from {checkpoints / 'ckpt-44'}.\n"
    assert restored in capsys.readouterr().out


def test_a_new_process_resumes_from_any_working_directory_and_after_a_move(trained, tmp_path):
    moved = tmp_path / "elsewhere"
    shutil.move(trained, moved)
    process = start("--root", moved, *SMALL, "--epochs", "2", cwd=tmp_path)
    code, output, errors = finish(process)
    assert code == 0, errors
    assert f"Restored step 44 (epoch 1) from {moved / 'runs'}" in output
    run(tmp_path / "straight", "--epochs", "2")
    last = "runs/default/checkpoints/ckpt-88"
    assert saved_values(moved / last) == saved_values(tmp_path / "straight" / last)


def test_a_run_stopped_within_an_epoch_ends_as_if_it_never_had_been(root, tmp_path):
    run(root, "--epochs", "1", "--save-every", "30")
    (root / "runs/default/checkpoints/ckpt-44.index").unlink()  # so that ckpt-30 is the newest
    (root / "runs/default/checkpoints/ckpt-44.data-00000-of-00001").unlink()
    assert run(root, "--epochs", "2", "--save-every", "30") == 0
    assert run(tmp_path, "--epochs", "2", "--save-every", "30") == 0
    resumed, straight = root / "runs/default", tmp_path / "runs/default"
    for name in ("checkpoints/ckpt-60", "checkpoints/ckpt-88"):
        assert saved_values(resumed / name) == saved_values(straight / name)
    assert log_of(resumed) == log_of(straight)
    assert [line["step"] for line in log_of(resumed)] == [10, 20, 30, 40, 44, 50, 60, 70, 80, 88]


def test_a_complete_run_changes_nothing(trained, capsys):
    folder = trained / "runs" / "default"

    def state():
        times = {path: path.stat().st_mtime_ns for path in files_in(folder / "checkpoints")}
        return files_in(folder), times

    before = state()
    assert run(trained, "--epochs", "1") == 0
    assert "Run 'default' is complete: step 44, epoch 1." in capsys.readouterr().out
    assert state() == before


def test_changed_settings_are_told(trained, capsys):
    assert run(trained, "--epochs", "2", "--optimizer.learning-rate", "0.01") == 0
    output = capsys.readouterr().out
    assert "Changed since the last start: epochs 1 → 2.\n" in output
    assert "Changed since the last start: optimizer.learning_rate 0.001 → 0.01.\n" in output
    card = read_card(trained / "runs/default/checkpoints/ckpt-88")
    assert card.settings["optimizer"]["learning_rate"] == 0.01


def test_resume_never_refuses_where_there_are_checkpoints(trained, capsys):
    before = files_in(trained)
    assert run(trained, "--epochs", "2", "--resume", "never") == 2
    assert "--resume never was given" in capsys.readouterr().err
    assert files_in(trained) == before
    assert run(trained, "--epochs", "1", "--resume", "never", "--run", "another") == 0


def test_resume_require_refuses_where_there_is_none(trained, capsys):
    assert run(trained, "--epochs", "2", "--resume", "require", "--run", "another") == 2
    assert "--resume require was given" in capsys.readouterr().err
    assert run(trained, "--epochs", "2", "--resume", "require") == 0


@pytest.mark.parametrize(
    ("settings", "culprit"),
    [
        (["--model.hidden", "9"], "hidden_1/kernel"),
        (["--model.activation", "tanh"], "activation relu in the checkpoint, tanh in the model"),
        (["--model.dtype", "float64"], "dtype float32 in the checkpoint, float64 in the model"),
        (["--optimizer.name", "sgd"], "Adam in the checkpoint, SGD in the model"),
        (["--seed", "1"], "0 in the checkpoint, 1 in the configuration"),
        (["--data.batch-size", "16"], "32 in the checkpoint, 16 in the configuration"),
    ],
)
def test_what_does_not_fit_ends_with_code_3(trained, capsys, settings, culprit):
    before = files_in(trained)
    assert run(trained, "--epochs", "2", *settings) == 3
    errors = capsys.readouterr().err
    assert "does not fit this model. Nothing was restored." in errors
    assert culprit in errors
    assert files_in(trained) == before


def test_where_no_checkpoint_is_usable_it_ends_with_code_4(trained, capsys):
    index = trained / "runs/default/checkpoints/ckpt-44.index"
    index.write_bytes(index.read_bytes()[:50])
    before = files_in(trained)
    assert run(trained, "--epochs", "2") == 4
    assert "is usable. Nothing was changed." in capsys.readouterr().err
    assert files_in(trained) == before
