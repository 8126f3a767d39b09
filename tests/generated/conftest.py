"""The tests in this folder need TensorFlow, and a project that is installed in editable form."""

import shutil
import subprocess
import sys
from collections.abc import Callable
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
    skipped = shutil.ignore_patterns("runs", ".*", "__pycache__")
    return shutil.copytree(PROJECT, tmp_path / "copy", ignore=skipped)


@pytest.fixture
def run(copy: Path) -> Run:
    """Runs the Python of this environment in the copy: run("train.py", "--epochs", 1)."""

    def run_python(*arguments: object, code: int = 0) -> subprocess.CompletedProcess[str]:
        process = subprocess.run(
            [sys.executable, *map(str, arguments)],
            cwd=copy,
            env={"PATH": "", "HOME": str(copy), "PYTHONPATH": str(copy), "PYTHONUTF8": "1"},
            capture_output=True,
            text=True,
            encoding="utf-8",
            check=False,
        )
        assert process.returncode == code, process.stdout + process.stderr
        return process

    return run_python
