"""A checkpoint holds everything, and gives it back: every registered model, task and data set."""

from pathlib import Path

from {{ cookiecutter.package_name }}.durable import CheckpointManager, TrainState

import tensorflow as tf

from .helpers import Case


def manager_of(state: TrainState, folder: Path) -> CheckpointManager:
    """A manager of a state."""
    return CheckpointManager(tf.train.Checkpoint(**state.parts), folder)


def weights_of(state: TrainState) -> list[bytes]:
    """The bytes of every weight."""
    models = state.task.models.values()
    return [weight.tobytes() for model in models for weight in model.get_weights()]


def test_a_saved_state_is_restored_into_a_fresh_one(case: Case, tmp_path: Path):
    saved = case.state()
    saved.step.assign(7)
    path = manager_of(saved, tmp_path).save()

    fresh = case.state()
    for model in fresh.task.models.values():
        model.set_weights([weight + 1 for weight in model.get_weights()])
    assert manager_of(fresh, tmp_path).restore_or_initialize() == path
    assert int(fresh.step) == 7
    assert weights_of(fresh) == weights_of(saved)
