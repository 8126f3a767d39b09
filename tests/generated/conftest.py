"""The tests in this folder need TensorFlow, and a project that is installed in editable form."""

import shutil
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from my_experiment.durable.compat import KERAS_3
from my_experiment.paths import PROJECT, ROOT_VARIABLE

Run = Callable[..., subprocess.CompletedProcess[str]]

# What the template gives, and not what TensorFlow makes of it.
on_the_newest = pytest.mark.skipif(not KERAS_3, reason="it is tested on the newest TensorFlow")


@pytest.fixture(autouse=True)
def _own_root(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv(ROOT_VARIABLE, raising=False)


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A copy of the project, to be edited."""
    return copy_of(PROJECT, tmp_path / "copy")


@pytest.fixture
def run(copy: Path) -> Run:
    """Runs the Python of this environment in the copy: run("train.py", "--epochs", 1)."""

    return partial(run_in, copy)


def run_in(project: Path, *arguments: object, code: int = 0) -> subprocess.CompletedProcess[str]:
    """Runs the Python of this environment in a project, to its end by that exit code."""
    process = subprocess.run(
        [sys.executable, *map(str, arguments)],
        cwd=project,
        env={"PATH": "", "HOME": str(project), "PYTHONPATH": str(project), "PYTHONUTF8": "1"},
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=False,
    )
    assert process.returncode == code, process.stdout + process.stderr
    return process


def copy_of(project: Path, folder: Path) -> Path:
    """A copy of a project, without what was made in it."""
    skipped = shutil.ignore_patterns("runs", ".*", "__pycache__")
    return shutil.copytree(project, folder, ignore=skipped)
