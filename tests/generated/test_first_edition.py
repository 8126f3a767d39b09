"""A run that the first edition of the template began goes on, with its numbers."""

import json
import shutil
from pathlib import Path

import pytest
from bake import TEMPLATE
from my_experiment.durable import keras

FIXTURES = TEMPLATE / "tests/fixtures/first_edition"
HAS_KERAS_3 = hasattr(keras, "ops")
SAME, OTHER = ("tf221", "tf215") if HAS_KERAS_3 else ("tf215", "tf221")
SETTINGS = ["--run", "plain", "--model.hidden", 8, "--epochs", 4, "--save-every", 20]


def lines_of(path: Path) -> dict[int, dict[str, float]]:
    """The lines of a log, by step."""
    lines = map(json.loads, path.read_text(encoding="utf-8").splitlines())
    return {line["step"]: line for line in lines}


def test_it_goes_on(run, tmp_path: Path):
    shutil.copytree(FIXTURES / SAME / "run", tmp_path / "runs/plain")

    output = run("train.py", "--root", tmp_path, *SETTINGS).stdout

    assert "Restored step 120 (epoch 2) from" in output
    assert "start anew: ckpt-120 has those of other metrics." in output
    assert "Run 'plain' is complete: step 176, epoch 4." in output
    found = lines_of(tmp_path / "runs/plain/metrics.jsonl")
    expected = lines_of(FIXTURES / SAME / "continued.jsonl")
    assert found.keys() == expected.keys()
    for step in (132, 176):
        for name in ("val_loss", "val_accuracy"):
            assert found[step][name] == pytest.approx(expected[step][name], abs=1e-5)
    # The fourth epoch is the first whose means are whole.
    for name in ("loss", "accuracy"):
        assert found[176][name] == pytest.approx(expected[176][name], abs=1e-5)


def test_it_can_be_listed_shown_and_compared(run, tmp_path: Path):
    shutil.copytree(FIXTURES / SAME / "run", tmp_path / "runs/plain")
    options = ["--run", "plain", "--root", tmp_path]

    assert "newest" in run("-m", "my_experiment", "list", *options).stdout
    assert "hidden_1/kernel" in run("-m", "my_experiment", "show", *options).stdout
    printed = run("-m", "my_experiment", "diff", "120", "--model", *options, code=1).stdout
    # Nothing but the setting that the first edition did not have.
    assert "Structure" not in printed
    assert "task.name" in printed
    assert "val_accuracy" in run("evaluate.py", *options).stdout


def test_that_of_the_other_keras_is_refused_and_imported(run, tmp_path: Path):
    shutil.copytree(FIXTURES / OTHER / "run", tmp_path / "runs/plain")
    file = tmp_path / "runs/plain/checkpoints/ckpt-120"

    errors = run("train.py", "--root", tmp_path, *SETTINGS, code=3).stderr

    assert f"python -m my_experiment import {file} --run NAME" in errors
    run("-m", "my_experiment", "import", file, "--run", "new", "--root", tmp_path)
    run("train.py", "--root", tmp_path, "--run", "new", *SETTINGS[2:])
