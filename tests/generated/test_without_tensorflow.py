"""The commands that read and move checkpoints import no TensorFlow, from any starter's project."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import my_experiment.paths
import my_forecasting.paths
import my_segmentation.paths
import pytest
import tensorflow as tf
from my_experiment.durable import CheckpointManager, keras
from my_experiment.durable.tests.program import hiding

PROJECTS = [
    Path(paths.PROJECT)
    for paths in (my_experiment.paths, my_segmentation.paths, my_forecasting.paths)
]
COMMANDS = [
    "list",
    "verify --all",
    "show",
    "diff 2 default@2",
    "pin 1",
    "unpin 1",
    "report",
    "rewind 1",
]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A folder with a run in it."""
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    checkpoint = tf.train.Checkpoint(model=model, step=tf.Variable(0, dtype=tf.int64))
    manager = CheckpointManager(checkpoint, tmp_path / "runs/default/checkpoints")
    for _ in range(2):
        checkpoint.step.assign_add(1)
        manager.save(metrics={"loss": 1.0})
    return tmp_path


@pytest.mark.parametrize("project", PROJECTS, ids=lambda project: project.name)
def test_a_users_project_needs_no_tensorflow_to_look(project: Path, root: Path):
    package = project.name.replace("-", "_")
    shutil.copy(hiding.__file__, root / "sitecustomize.py")
    for command in COMMANDS:
        process = subprocess.run(
            [sys.executable, "-m", package, *command.split(), "--root", str(root)],
            env=os.environ | {"PYTHONPATH": os.pathsep.join([str(root), str(project)])},
            capture_output=True,
            text=True,
            check=False,
        )
        assert process.returncode == 0, command + process.stdout + process.stderr
