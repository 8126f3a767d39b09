"""Every setting of the training at once: a run that was killed ends like one that was not."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import tensorflow as tf
from my_experiment.paths import PROJECT

# An epoch has 44 steps; the last is within one.
SETTINGS = (
    "--max-steps 100 --save-every 11 --log-every 7 --model.hidden 8 12 "
    "--model.dtype mixed_float16 --optimizer.schedule cosine --optimizer.warmup-epochs 0.5 "
    "--optimizer.clip-norm 0.5 --task.label-smoothing 0.1 "
    "--task.class-weights 1 2 1 1 1 1 1 1 1 0.5 --accumulate 2 --ema 0.99 --patience 3 "
    "--best-to-keep 2"
)


def start(root: Path, run: str) -> subprocess.Popen[str]:
    """Starts train.py in a process of its own."""
    command = [sys.executable, str(PROJECT / "train.py"), *SETTINGS.split(), "--root", str(root)]
    return subprocess.Popen(
        [*command, "--run", run],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        encoding="utf-8",
    )


def finish(process: subprocess.Popen[str]) -> str:
    """Waits for a process that ends well, and returns what it printed."""
    output, errors = process.communicate()
    assert process.returncode == 0, errors
    return output


def values_in(checkpoint: Path) -> dict[str, bytes]:
    """The bytes of everything in a checkpoint but its card, which tells the time."""
    reader = tf.train.load_checkpoint(str(checkpoint))
    keys = [key for key in reader.get_variable_to_shape_map() if not key.startswith("card/")]
    return {key: np.asarray(reader.get_tensor(key)).tobytes() for key in keys}


def test_a_killed_run_with_every_setting_ends_like_one_that_never_stopped(tmp_path):
    straight = start(tmp_path, "straight")
    killed = start(tmp_path, "killed")
    folders = {run: tmp_path / "runs" / run / "checkpoints" for run in ("straight", "killed")}
    while killed.poll() is None and not list(folders["killed"].glob("ckpt-*.index")):
        pass
    killed.kill()
    _, errors = killed.communicate()
    assert killed.returncode == -9, errors
    finish(straight)
    assert "Restored step" in finish(start(tmp_path, "killed"))

    expected = values_in(folders["straight"] / "ckpt-100")
    assert values_in(folders["killed"] / "ckpt-100") == expected
    for part in ("ema/", "hooks/early_stopping/", "optimizer/"):
        assert any(key.startswith(part) for key in expected), part
    assert any("scale" in key for key in expected), "that of the loss"
    names = [{path.name for path in folder.glob("best/ckpt-*")} for folder in folders.values()]
    assert names[0] == names[1]
