"""Other jobs than the starters': each takes a few files in the user's zone, and all else holds."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import my_experiment.paths
import my_forecasting.paths
import numpy as np
import pytest
from test_edits import edit

FILES = Path(__file__).parent / "jobs"
CLASSIFICATION = Path(my_experiment.paths.PROJECT)
FORECASTING = Path(my_forecasting.paths.PROJECT)
Run = Callable[..., str]


@dataclass(frozen=True)
class Job:
    """What a user does to a project.

    Attributes:
        project: the project that it begins with.
        settings: what train.py is given.
        files: the files that are added, by the folder of the package that they come to.
        lines: the lines that registries get: file, the line before, the line.
        metric: one that the log has.
    """

    project: Path
    settings: tuple[str, ...]
    files: tuple[str, ...] = ()
    lines: tuple[tuple[str, str, str], ...] = ()
    metric: str = "val_loss"


JOBS = {
    "a GAN": Job(
        CLASSIFICATION,
        ("--task.name", "gan"),
        ("tasks/gan.py", "models/adversaries.py"),
        (
            ("tasks/__init__.py", "import Classification\n", "from .gan import GAN\n"),
            ("tasks/__init__.py", ": Classification,\n", '    "gan": GAN,\n'),
        ),
        "val_fooled",
    ),
    "two inputs and two heads": Job(
        CLASSIFICATION,
        ("--task.name", "digit_and_ink", "--data.name", "halves"),
        ("data/halves.py", "models/two_heads.py", "tasks/digit_and_ink.py"),
        (
            ("data/__init__.py", "import digits, labeled, mnist\n", "from . import halves\n"),
            ("data/__init__.py", ": digits.load,\n", '    "halves": halves.load,\n'),
            (
                "tasks/__init__.py",
                "import Classification\n",
                "from .digit_and_ink import DigitAndInk\n",
            ),
            ("tasks/__init__.py", ": Classification,\n", '    "digit_and_ink": DigitAndInk,\n'),
        ),
        "val_ink_error",
    ),
    "a CSV file": Job(
        FORECASTING,
        ("--data.path", "my series.csv", "--data.target", "load", "--data.history", "30"),
        metric="val_naive_mae",
    ),
}


@pytest.fixture(params=JOBS)
def job(request: pytest.FixtureRequest) -> Job:
    """A job."""
    return JOBS[request.param]


@pytest.fixture
def project(job: Job, tmp_path: Path) -> Path:
    """A copy of the project, after the job's edits."""
    skipped = shutil.ignore_patterns("runs", ".*", "__pycache__")
    project = shutil.copytree(job.project, tmp_path / "project", ignore=skipped)
    package = project / job.project.name.replace("-", "_")
    for name in job.files:
        shutil.copy(FILES / Path(name).name, package / name)
    for name, before, line in job.lines:
        edit(package / name, (before, before + line))
    hours = np.arange(600)
    rows = [f"{hour},{hour % 24 + hour % 5},{hour % 7}" for hour in hours]
    text = "\n".join(["time,load,day", *rows])
    (project / "my series.csv").write_text(text, encoding="utf-8")
    return project


@pytest.fixture
def run(project: Path) -> Run:
    """Runs the Python of this environment in the project, and returns what was printed."""

    def run_python(*arguments: object, code: int = 0) -> str:
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
        return process.stdout + process.stderr

    return run_python


def test_it_needs_few_edits_and_all_else_holds(job: Job, project: Path, run: Run):
    assert len(job.files) <= 3
    run("-m", "ruff", "check", "--no-cache", "--fix", "--select", "I")  # as an editor does
    run("-m", "ruff", "check", "--no-cache")
    run("-m", "ruff", "format", "--no-cache", "--check")

    run("train.py", "--epochs", 2, *job.settings)
    lines = (project / "runs/default/metrics.jsonl").read_text(encoding="utf-8").splitlines()
    assert {job.metric, job.metric.removeprefix("val_"), "loss"} <= json.loads(lines[-1]).keys()
    package = job.project.name.replace("-", "_")
    assert job.metric in run("evaluate.py", "--at", "best")
    assert "average of 2" in run("evaluate.py", "--average", 2)
    assert "ensemble of 2" in run("evaluate.py", "--ensemble", "epoch:1", "latest")
    assert "Drew" in run("-m", package, "report")
    assert "at most 0 apart" in run("-m", package, "export", "best")


def test_a_killed_run_of_it_ends_like_one_that_never_stopped(job: Job, run: Run):
    if not job.files:
        pytest.skip("its model and its task are those that the project tests by itself")
    name = job.settings[1]
    tested = run("-m", "pytest", "-q", "-p", "no:cacheprovider", "tests", "-k", name)
    assert "4 passed" in tested
