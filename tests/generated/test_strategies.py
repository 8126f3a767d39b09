"""Every starter on two devices, and then, from where that ended, with two workers."""

import json
import shutil
import subprocess
import sys
from math import isfinite
from pathlib import Path

import my_experiment.paths
import my_forecasting.paths
import my_segmentation.paths
import pytest

STARTERS = {
    "my_experiment": Path(my_experiment.paths.PROJECT),
    "my_segmentation": Path(my_segmentation.paths.PROJECT),
    "my_forecasting": Path(my_forecasting.paths.PROJECT),
}
SHORT = ["--log-every", "1", "--limit-validation", "1", "--max-steps"]
MIRRORED = ["train.py", "--strategy", "mirrored", "--cpu-devices", "2"]


@pytest.mark.parametrize("package", STARTERS)
def test_it_trains_on_two_devices_and_goes_on_with_two_workers(package: str, tmp_path: Path):
    project = tmp_path / "a project"
    skipped = shutil.ignore_patterns("runs", ".*", "__pycache__")
    shutil.copytree(STARTERS[package], project, ignore=skipped)

    def run(*arguments: str) -> str:
        process = subprocess.run(
            [sys.executable, *arguments],
            cwd=project,
            env={"PATH": "", "HOME": str(project), "PYTHONPATH": str(project), "PYTHONUTF8": "1"},
            capture_output=True,
            text=True,
            encoding="utf-8",
            check=False,
        )
        assert process.returncode == 0, process.stdout + process.stderr
        return process.stdout

    assert "starting from scratch" in run(*MIRRORED, *SHORT, "2")
    launched = run("-m", package, "launch", "--workers", "2", "--", "train.py", *SHORT, "4")
    assert "[worker 0] Restored step 2 " in launched
    assert "[worker 1]" not in launched
    log = (project / "runs/default/metrics.jsonl").read_text(encoding="utf-8")
    lines = [json.loads(line) for line in log.splitlines()]
    assert [line["step"] for line in lines] == [1, 2, 3, 4]
    assert all(isfinite(line["loss"]) for line in lines)
