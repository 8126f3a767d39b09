"""The README's recipe for fine-tuning: a body from a file, frozen for an epoch, then trained."""

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from conftest import Run
from my_experiment.durable import keras, read_card
from test_snippets import write_snippets

# An epoch has 5 steps: the body is frozen up to step 5.
NAMES = "--model.name finetuned --data.batch-size 256 --optimizer.name adamw"
MORE = "--optimizer.clip-norm 1 --ema 0.9 --save-every 1 --log-every 5 --max-to-keep 99"
SETTINGS = [*NAMES.split(), *MORE.split(), "--max-steps", "10"]
UNFREEZES, LAST = 5, 10


def write_body(file: Path, alpha: float = 0.25) -> None:
    """Writes the weights of a body that might have been trained."""
    body = keras.applications.MobileNet(
        (32, 32, 3), alpha=alpha, include_top=False, weights=None, pooling="avg"
    )
    random = np.random.default_rng(1)
    body.set_weights([w * random.uniform(0.9, 1.1, w.shape) for w in body.get_weights()])
    body.save_weights(str(file))


def values_in(checkpoint: Path) -> dict[str, bytes]:
    """The bytes of everything in a checkpoint but its card, by its path."""
    reader = tf.train.load_checkpoint(str(checkpoint))
    entries = read_card(checkpoint).structure.variables
    return {one.path: np.asarray(reader.get_tensor(one.key)).tobytes() for one in entries}


def kill_at(project: Path, step: int, *settings: str) -> None:
    """Trains the run `killed`, and kills it when a checkpoint of that step is there."""
    process = subprocess.Popen(
        [sys.executable, "train.py", *SETTINGS, "--run", "killed", *settings],
        cwd=project,
        env={"PATH": "", "PYTHONPATH": str(project)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    index = project / f"runs/killed/checkpoints/ckpt-{step}.index"
    while process.poll() is None and not index.exists():
        pass
    process.kill()
    _, errors = process.communicate()
    assert process.returncode == -9, errors


@pytest.mark.long  # the machinery's own tests prove it in seconds
def test_a_kill_before_or_at_the_unfreezing_changes_nothing(copy: Path, run: Run):
    write_snippets(copy)
    command = ["-m", "my_experiment", "import", "body.weights.h5", "--into", "body", *NAMES.split()]
    missing = run(*command, "--run", "straight", code=2).stderr
    assert "There is no file" in missing
    assert len(missing.splitlines()) == 1
    write_body(copy / "body.weights.h5", alpha=0.5)
    assert "! body/" in run(*command, "--run", "straight", code=3).stderr
    write_body(copy / "body.weights.h5")
    imported = run(*command, "--run", "straight").stdout
    (anew,) = [line for line in imported.splitlines() if line.startswith("Starts anew: ")]
    assert {"logits/kernel", "logits/bias"} <= {*anew.removeprefix("Starts anew: ").split(", ")}
    shutil.copytree(copy / "runs/straight", copy / "runs/killed")

    told = run("train.py", "--run", "straight", *SETTINGS).stdout
    assert f"body_optimizer begins after step {UNFREEZES}: the 81 variables" in told
    assert f"body_optimizer has begun after step {UNFREEZES}, with slots of zeros" in told
    for step in (UNFREEZES - 2, UNFREEZES):
        kill_at(copy, step)
    run("train.py", "--run", "killed", *SETTINGS)

    folder = copy / "runs/straight/checkpoints"
    values = [values_in(folder / f"ckpt-{step}") for step in (0, UNFREEZES, LAST)]
    assert values_in(copy / f"runs/killed/checkpoints/ckpt-{LAST}") == values[2]
    for path, value in values[0].items():
        if path.startswith(("body/", "body_optimizer/")):
            assert values[1][path] == value, "it is frozen"
            if path.startswith("body/"):
                assert (values[2][path] == value) == ("moving" in path), path

    # Of a run that had left it frozen for longer, the same state.
    fork = ["--run", "fork", "--fork-from", f"straight@{UNFREEZES}", *SETTINGS]
    assert f"has begun after step {UNFREEZES}" in run("train.py", *fork).stdout
    assert values_in(copy / f"runs/fork/checkpoints/ckpt-{LAST}") == values[2]
    assert (
        "at most 0 apart" in run("-m", "my_experiment", "export", "latest", "--run", "fork").stdout
    )
