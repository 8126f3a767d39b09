"""The starters beside classification: their first minute, and all that a run is good for."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import my_forecasting.paths
import my_segmentation.paths
import pytest
from conftest import copy_of, on_the_newest, run_in
from test_snippets import write_snippets

STARTERS = {
    "segmentation": Path(my_segmentation.paths.PROJECT),
    "forecasting": Path(my_forecasting.paths.PROJECT),
}
FIGURES = {"segmentation": {"scenes.png"}, "forecasting": {"forecasts.png", "errors.png"}}
SNIPPETS = {
    "segmentation": ("plain", "disks", "dice"),
    "forecasting": ("convolutional", "tides", "quantile"),
}
Run = Callable[..., str]


@pytest.fixture(params=STARTERS)
def starter(request: pytest.FixtureRequest) -> str:
    """The name of a starter."""
    return request.param


@pytest.fixture
def project(starter: str, tmp_path: Path) -> Path:
    """A copy of the starter's project."""
    return copy_of(STARTERS[starter], tmp_path / "project")


@pytest.fixture
def run(project: Path) -> Run:
    """Runs the Python of this environment in the project, and returns what was printed."""

    def run_python(*arguments: object, code: int = 0) -> str:
        process = run_in(project, *arguments, code=code)
        return process.stdout + process.stderr

    return run_python


def last_line(project: Path, run_name: str) -> dict[str, float]:
    """The last line of a run's log."""
    text = (project / "runs" / run_name / "metrics.jsonl").read_text(encoding="utf-8")
    return json.loads(text.splitlines()[-1])


def test_its_own_tests_pass(run: Run):
    """Among them: killed by SIGKILL and resumed, every registered model ends bit for bit equal."""
    assert " passed" in run("-m", "pytest", "-q", "-rN", "-p", "no:cacheprovider", "tests")


@on_the_newest
def test_the_first_minute_and_what_comes_after(starter: str, project: Path, run: Run):
    package = f"my_{starter}"
    run("train.py")
    metrics = last_line(project, "default")
    if starter == "segmentation":
        assert metrics["val_iou"] > 0.6
    else:
        run("train.py", "--run", "linear", "--model.name", "linear")
        linear = last_line(project, "linear")["val_mae"]
        assert metrics["val_mae"] < linear < 0.7 * metrics["val_naive_mae"]

    run("train.py", "--run", "other", "--seed", 1, "--epochs", 2)
    found = re.search(r"pictures in (.+)\.", run("evaluate.py", "--at", "best"))
    assert found
    names = {path.name for path in Path(project, found[1]).iterdir()}
    assert names == {"metrics.json", *FIGURES[starter]}
    assert "average of 3" in run("evaluate.py", "--average", 3, "--save-as", "mean")
    assert "ensemble of 2" in run("evaluate.py", "--ensemble", "best", "other@best")
    assert "at most 0 apart" in run("-m", package, "export", "best")
    assert "Drew" in run("-m", package, "report", "--run", "default", "other")
    assert "They differ" in run("-m", package, "diff", "best", "other@best", code=1)
    forked = run("train.py", "--run", "fork", "--fork-from", "other@best", "--epochs", 3)
    assert "Forked step" in forked
    told = run("train.py", "--model.dropout", 0.5, "--epochs", 20, code=3)
    assert "rate 0.1 in the checkpoint, 0.5 in the model" in told
    assert last_line(project, "default") == metrics


@pytest.mark.long
def test_what_the_readme_adds_trains_and_passes_the_tests(starter: str, project: Path, run: Run):
    written = write_snippets(project)

    assert len(written) == 8
    run("-m", "ruff", "check", "--no-cache")
    run("-m", "ruff", "format", "--no-cache", "--check")
    model, data, task = SNIPPETS[starter]
    few = ["--epochs", 1, "--run", "few"]
    run("train.py", *few, "--model.name", model, "--data.name", data, "--task.name", task)
    assert "val_" in run("evaluate.py", "--run", "few")
    for name in (model, task):
        tested = run(
            "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/test_save.py", "-k", name
        )
        assert "1 passed" in tested
    tested = run("-m", "pytest", "-q", "-p", "no:cacheprovider", "tests", "-k", data)
    assert "4 passed" in tested
