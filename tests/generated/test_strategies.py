"""Every starter on two devices, and then, from where that ended, with two workers."""

import json
from functools import partial
from math import isfinite
from pathlib import Path

import my_experiment.paths
import my_forecasting.paths
import my_segmentation.paths
import pytest
from conftest import copy_of, run_in

STARTERS = {
    "my_experiment": Path(my_experiment.paths.PROJECT),
    "my_segmentation": Path(my_segmentation.paths.PROJECT),
    "my_forecasting": Path(my_forecasting.paths.PROJECT),
}
SHORT = ["--log-every", "1", "--limit-validation", "1", "--max-steps"]
MIRRORED = ["train.py", "--strategy", "mirrored", "--cpu-devices", "2"]


@pytest.mark.parametrize("package", STARTERS)
def test_it_trains_on_two_devices_and_goes_on_with_two_workers(package: str, tmp_path: Path):
    project = copy_of(STARTERS[package], tmp_path / "a project")
    run = partial(run_in, project)

    begun = run(*MIRRORED, *SHORT, 2).stdout
    assert "Training on 2 devices." in begun
    assert "starting from scratch" in begun
    launch = ["-m", package, "launch", "--workers", 2, "--", "train.py"]
    launched = run(*launch, *SHORT, 4).stdout
    assert "[worker 0] Training with 2 workers, on 2 devices in all." in launched
    assert "[worker 0] Restored step 2 " in launched
    assert "[worker 1]" not in launched
    log = (project / "runs/default/metrics.jsonl").read_text(encoding="utf-8")
    lines = [json.loads(line) for line in log.splitlines()]
    assert [line["step"] for line in lines] == [1, 2, 3, 4]
    assert all(isfinite(line["loss"]) for line in lines)
