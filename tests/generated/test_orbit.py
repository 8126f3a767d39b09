"""Orbit's `Controller` with the manager, killed and run again: it ends as with TensorFlow's."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("orbit", reason="Orbit is not there for this TensorFlow")

PROGRAM = """
import json, os, signal, sys
import orbit
import tensorflow as tf
from my_experiment.durable import CheckpointManager

kind, folder, kill_at = sys.argv[1], sys.argv[2], int(sys.argv[3])


class Both(orbit.StandardTrainer, orbit.StandardEvaluator):
    def __init__(self):
        self.weights = tf.Variable([1.0, 2.0])
        self.step = tf.Variable(0, dtype=tf.int64)
        data = tf.data.Dataset.range(1000)
        orbit.StandardTrainer.__init__(self, data)
        orbit.StandardEvaluator.__init__(self, data.take(3))

    def train_step(self, iterator):
        next(iterator)
        self.weights.assign(self.weights * 0.9 + tf.cast(self.step, tf.float32) * 0.01)
        self.step.assign_add(1)

    def train_loop_end(self):
        if kill_at and int(self.step) >= kill_at:
            os.kill(os.getpid(), signal.SIGKILL)
        return {"weight": float(self.weights[0])}

    def eval_step(self, iterator):
        next(iterator)

    def eval_end(self):
        return {"weight": float(self.weights[0])}


both = Both()
kinds = {"ours": CheckpointManager, "stock": tf.train.CheckpointManager}
manager = kinds[kind](
    tf.train.Checkpoint(weights=both.weights, step=both.step),
    folder,
    max_to_keep=3,
    step_counter=both.step,
    checkpoint_interval=10,
)
controller = orbit.Controller(
    global_step=both.step,
    trainer=both,
    evaluator=both,
    steps_per_loop=5,
    checkpoint_manager=manager,
)
started_at = int(both.step)
controller.train_and_evaluate(train_steps=40, eval_steps=3, eval_interval=20)
controller.train(50)
names = [os.path.basename(path) for path in manager.checkpoints]
print(json.dumps([started_at, both.weights.numpy().tolist(), names]))
"""


def run(kind: str, folder: Path, kill_at: int = 0) -> Any:
    """What the program prints at its end; None where it was killed."""
    process = subprocess.run(
        [sys.executable, "-c", PROGRAM, kind, str(folder), str(kill_at)],
        capture_output=True,
        text=True,
        check=False,
    )
    if process.returncode == -9:
        return None
    assert process.returncode == 0, process.stderr
    return json.loads(process.stdout.splitlines()[-1])


def test_it_trains_evaluates_and_resumes_as_with_tensorflows_manager(tmp_path: Path):
    ended = {}
    for kind in ("ours", "stock"):
        assert run(kind, tmp_path / kind, kill_at=27) is None
        ended[kind] = run(kind, tmp_path / kind)
        assert run(kind, tmp_path / kind)[0] == 50  # a step that is saved already ends nothing
    assert ended["ours"] == ended["stock"]
    assert ended["ours"][0] > 0
    straight = run("ours", tmp_path / "straight")
    assert straight[1] == ended["ours"][1]
