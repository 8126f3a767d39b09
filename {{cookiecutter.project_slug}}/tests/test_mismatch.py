"""A model that was changed is refused, and nothing of it is: every registered model and task."""

from pathlib import Path

from {{ cookiecutter.package_name }}.durable import CheckpointManager, CheckpointMismatch

import pytest
import tensorflow as tf

from .helpers import Case
from .test_save import manager_of, weights_of


def test_a_layer_more_is_refused_and_nothing_is_changed(case: Case, tmp_path: Path):
    manager_of(case.state(), tmp_path).save()

    changed = case.state()
    parts = changed.parts | {"more": tf.Variable(1.0, name="more")}
    before = weights_of(changed)
    manager = CheckpointManager(tf.train.Checkpoint(**parts), tmp_path)
    with pytest.raises(CheckpointMismatch, match=r"more +only in the model"):
        manager.restore_or_initialize()
    assert weights_of(changed) == before


def test_other_settings_are_refused_and_named(case: Case, tmp_path: Path):
    state = case.state()
    checkpoint = tf.train.Checkpoint(**state.parts)
    CheckpointManager(checkpoint, tmp_path, identity={"seed": 1}).save()

    other = CheckpointManager(checkpoint, tmp_path, identity={"seed": 2})
    with pytest.raises(CheckpointMismatch, match=r"seed +1 in the checkpoint, 2 in the config"):
        other.restore_or_initialize()
