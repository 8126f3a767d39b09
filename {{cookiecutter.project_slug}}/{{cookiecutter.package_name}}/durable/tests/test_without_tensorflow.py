"""The commands that read and move checkpoints, where no TensorFlow is installed."""

import json
import os
import shutil
import subprocess
import sys

import pytest

from .helpers import PROJECT, finish, flip, points_of, start, steps_in
from .program import bare, hiding


@pytest.fixture
def command(three_epochs, tmp_path):
    """Runs a command on a run of three epochs, in a process that finds no TensorFlow."""
    shutil.copy(hiding.__file__, tmp_path / "sitecustomize.py")
    path = os.pathsep.join([str(tmp_path), str(PROJECT)])

    def run(*arguments, code=0):
        process = subprocess.run(
            [sys.executable, "-m", bare.__name__, *arguments, "--root", str(three_epochs)],
            env=os.environ | {"PYTHONPATH": path, "PYTHONUTF8": "1"},
            capture_output=True,
            text=True,
            encoding="utf-8",
            check=False,
        )
        assert process.returncode == code, process.stdout + process.stderr
        return process.stdout + process.stderr

    return run


def test_what_looks_at_checkpoints(command, run):
    listed = json.loads(command("list", "--json"))
    assert [(entry["step"], entry["state"]) for entry in listed] == [
        (44, "good"),
        (88, "good"),
        (132, "good"),
    ]
    assert "hidden_1/kernel" in command("show")
    assert command("verify", "--all").count("every byte agrees with its checksum") == 4
    assert "They differ." in command("diff", "44", "88", code=1)
    assert "They are identical" in command("diff", "44", "default@44")
    command("report")
    assert (run.parent / "report-default.png").stat().st_size > 0
    flip(run / "checkpoints/ckpt-44.data-00000-of-00001")
    assert "ckpt-44 is damaged" in command("verify", "44", code=4)


def test_what_moves_checkpoints(command, run, three_epochs):
    assert "is pinned now" in command("pin", "44")
    assert "is not pinned any more" in command("unpin", "44")
    assert "is at step 88 (epoch 2) now" in command("rewind", "88")
    assert steps_in(run / "checkpoints") == [44, 88]
    assert max(points_of(run / "tensorboard")) == 88
    (aside,) = (run / "superseded").iterdir()
    assert steps_in(aside / "checkpoints") == [132]
    code, output, _ = finish(start("--root", three_epochs, "--epochs", 3, "--model.hidden", 8))
    assert code == 0
    assert "Restored step 88 (epoch 2)" in output


def test_what_needs_tensorflow_says_so(command):
    for arguments in (("export",), ("diff", "44", "--model")):
        assert command(*arguments, code=2).strip() == (
            "This needs TensorFlow, which is not installed here."
        )
