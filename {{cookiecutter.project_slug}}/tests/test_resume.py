"""Killed and resumed, against never stopped: every registered model, task and data set."""

from pathlib import Path

from {{ cookiecutter.package_name }}.paths import Paths

from .helpers import Case, log_of, start, train, values_in


def test_a_killed_run_ends_like_one_that_never_stopped(case: Case, tmp_path: Path):
    train(case, tmp_path, "straight", epochs=2)

    killed = Paths(tmp_path, "killed")
    # Killed by SIGKILL when a checkpoint or two are there, wherever training is by then.
    process = start(case, tmp_path, "killed", epochs=10**6)
    while process.poll() is None and len(list(Path(killed.checkpoints).glob("*.index"))) < 2:
        pass
    process.kill()
    process.communicate()
    assert process.returncode < 0
    newest = sorted(Path(killed.checkpoints).glob("*.index"), key=step_of)[-1]
    epochs = max(2, step_of(newest) // case.steps_per_epoch + 1)
    if epochs > 2:
        train(case, tmp_path, "straight", epochs)
    output = train(case, tmp_path, "killed", epochs)

    assert f"Restored step {step_of(newest)} " in output
    last = f"ckpt-{epochs * case.steps_per_epoch}"
    straight = Paths(tmp_path, "straight")
    assert values_in(killed.checkpoints / last) == values_in(straight.checkpoints / last)
    assert log_of(killed) == log_of(straight)


def step_of(index: Path) -> int:
    """The step of a checkpoint, given its index file."""
    return int(index.stem.rpartition("-")[2])
