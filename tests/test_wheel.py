"""The project's wheel installs, and trains from where it is installed."""

import os
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

UV = [sys.executable, "-m", "uv"]


def run(folder: Path, *command: str) -> str:
    """Runs a command that should succeed, and gives what it printed."""
    process = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert process.returncode == 0, process.stdout + process.stderr
    return process.stdout


@pytest.fixture
def wheel(bake: Callable[..., Path]) -> Path:
    """The wheel of a project."""
    project = bake(tensorflow="tensorflow-cpu")
    run(project, *UV, "build", "--quiet", "--wheel", ".")
    (wheel,) = (project / "dist").glob("*.whl")
    return wheel


def test_a_wheel_puts_its_own_folders_into_the_environment_alone(wheel: Path):
    names = zipfile.ZipFile(wheel).namelist()

    assert {name.split("/")[0] for name in names} == {
        "my_experiment",
        "my_experiment-0.1.0.dist-info",
    }
    assert {"my_experiment/train.py", "my_experiment/evaluate.py"} <= set(names)
    assert "my_experiment/durable/__init__.pyi" in names
    assert not [name for name in names if name.startswith("my_experiment/durable/tests")]


def test_an_installed_wheel_trains(wheel: Path, tmp_path: Path):
    folder = tmp_path / "somewhere élse"
    folder.mkdir()
    environment = tmp_path / "environment"
    run(tmp_path, *UV, "venv", "--quiet", "--python", sys.executable, str(environment))
    run(tmp_path, *UV, "pip", "install", "--quiet", "--python", str(environment), str(wheel))
    python = str(environment / ("Scripts" if os.name == "nt" else "bin") / "python")
    before = sorted(environment.rglob("[!_]*"))

    first = run(folder, python, "-m", "my_experiment.train", "--epochs", "1")
    second = run(folder, python, "-m", "my_experiment.train", "--epochs", "2")

    checkpoints = folder / "runs" / "default" / "checkpoints"
    assert f"No checkpoint in {checkpoints}: starting from scratch." in first
    assert f"Restored step 44 (epoch 1) from {checkpoints / 'ckpt-44'}." in second
    assert "val_accuracy" in run(folder, python, "-m", "my_experiment.evaluate")
    assert "88" in run(folder, python, "-m", "my_experiment", "list")
    changed = set(environment.rglob("[!_]*")) - set(before)
    assert {path for path in changed if "__pycache__" not in path.parts} == set()
