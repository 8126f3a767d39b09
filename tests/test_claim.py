"""The demo's claim is checked: whatever contradicts it is found."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from claim import Outcome, find_differences, read_metrics, read_step
from demo import COMPLETE_EPOCH, COMPLETE_STEP, RESTORED, SAVED

OUTCOME = Outcome(step=1320, epoch=30, weights="c0ffee", metrics=[{"step": 44, "loss": 1.5}])
OUTPUT = """\
Restored step 220 (epoch 5) from /a folder/runs/wide/checkpoints/ckpt-220.
epoch 6/30  step 264  loss 0.2681
Saved step 300 and stopped by signal 15.
Run 'wide' is complete: step 1320, epoch 30.
"""


def differences(
    saved: int = 220,
    restored: int = 220,
    interrupted: Outcome = OUTCOME,
    uninterrupted: Outcome = OUTCOME,
) -> list[str]:
    """The differences of two runs of 30 epochs that are equal but for what is given."""
    return list(find_differences(saved, restored, 30, interrupted, uninterrupted))


def test_equal_runs_do_not_differ():
    assert differences() == []


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"weights": "decade"}, "the final weights are decade and c0ffee"),
        ({"metrics": [{"step": 44, "loss": 1.5000001}]}, "have logged different metrics"),
        ({"metrics": OUTCOME.metrics * 2}, "have logged different metrics"),
        ({"step": 1276}, "ended at steps 1276 and 1320"),
        ({"epoch": 29}, "the interrupted run ended after 29 epochs instead of 30"),
    ],
)
def test_a_run_that_ended_differently_is_found(changes: dict[str, Any], message: str):
    [difference] = differences(interrupted=replace(OUTCOME, **changes))

    assert message in difference


def test_two_runs_that_are_wrong_alike_are_found():
    short = replace(OUTCOME, epoch=29, metrics=[])

    assert differences(interrupted=short, uninterrupted=short) == [
        "the interrupted run ended after 29 epochs instead of 30",
        "the interrupted run has logged nothing",
        "the uninterrupted run ended after 29 epochs instead of 30",
        "the uninterrupted run has logged nothing",
    ]


@pytest.mark.parametrize("step", [0, 1320])
def test_a_stop_at_either_end_proves_nothing(step: int):
    assert differences(saved=step, restored=step) == [
        f"the run was stopped at step {step}, which is not in the middle"
    ]


def test_a_run_that_went_on_from_elsewhere_is_found():
    assert differences(restored=176) == [
        "the run was stopped at step 220, but went on from step 176"
    ]


def test_the_times_alone_are_left_out_of_the_metrics(tmp_path: Path):
    path = tmp_path / "metrics.jsonl"
    lines = [{"step": 44, "loss": 1.5, "time": 1.0}, {"step": 88, "loss": 0.5, "time": 2.0}]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))

    assert read_metrics(path) == [{"step": 44, "loss": 1.5}, {"step": 88, "loss": 0.5}]


@pytest.mark.parametrize(
    ("pattern", "step"),
    [(RESTORED, 220), (SAVED, 300), (COMPLETE_STEP, 1320), (COMPLETE_EPOCH, 30)],
)
def test_steps_are_read_from_the_output(pattern: str, step: int):
    assert read_step(pattern, OUTPUT) == step


@pytest.mark.parametrize("output", ["", OUTPUT * 2])
def test_a_line_that_is_missing_or_there_twice_is_an_error(output: str):
    with pytest.raises(ValueError, match="one was expected"):
        read_step(RESTORED, output)
