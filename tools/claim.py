"""What the demo claims: a run that was interrupted ends like one that was not."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Outcome:
    """How a run ended.

    Attributes:
        step: the last step, as the run reports it.
        epoch: the last epoch, as the run reports it.
        weights: SHA-256 of the last checkpoint.
        metrics: the lines of its metrics.jsonl.
    """

    step: int
    epoch: int
    weights: str
    metrics: list[dict[str, Any]]


def read_step(pattern: str, output: str) -> int:
    """Gives the step that the one line of a run's output that fits the pattern names.

    Raises:
        ValueError: no line fits it, or more than one does.
    """
    found = re.findall(pattern, output, re.MULTILINE)
    if len(found) != 1:
        raise ValueError(f"The output has {len(found)} lines like {pattern!r}; one was expected.")
    return int(found[0])


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """Reads metrics.jsonl without the times, in which two runs always differ."""
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    return [{name: value for name, value in line.items() if name != "time"} for line in lines]


def find_differences(
    saved: int, restored: int, epochs: int, interrupted: Outcome, uninterrupted: Outcome
) -> Iterator[str]:
    """Finds all that contradicts the claim.

    Args:
        saved: the step at which the interrupted run was saved and stopped.
        restored: the step from which it went on.
        epochs: how many epochs were asked for.
        interrupted: how the run ended that was interrupted.
        uninterrupted: how the other one ended.
    """
    if not 0 < saved < uninterrupted.step:
        yield f"the run was stopped at step {saved}, which is not in the middle"
    if restored != saved:
        yield f"the run was stopped at step {saved}, but went on from step {restored}"
    for name, outcome in [("interrupted", interrupted), ("uninterrupted", uninterrupted)]:
        if outcome.epoch != epochs:
            yield f"the {name} run ended after {outcome.epoch} epochs instead of {epochs}"
        if not outcome.metrics:
            yield f"the {name} run has logged nothing"
    if interrupted.step != uninterrupted.step:
        yield f"the runs ended at steps {interrupted.step} and {uninterrupted.step}"
    if interrupted.weights != uninterrupted.weights:
        yield f"the final weights are {interrupted.weights} and {uninterrupted.weights}"
    if interrupted.metrics != uninterrupted.metrics:
        yield "the runs have logged different metrics"
