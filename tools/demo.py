"""Shows that nothing is lost: interrupts a run, resumes it, and compares it with another."""

import shutil
import signal
import subprocess
import sys
from pathlib import Path

from bake import TEMPLATE, bake, smallest_tensorflow
from claim import Outcome, find_differences, read_metrics, read_step

EPOCHS = 30
INTERRUPT_AT = f"epoch 5/{EPOCHS}"

SAVED = r"^Saved step (\d+) and stopped by signal 15\.$"
RESTORED = r"^Restored step (\d+) \(epoch \d+\) from .+\.$"
COMPLETE_STEP = r"^Run '\w+' is complete: step (\d+), epoch \d+\.$"
COMPLETE_EPOCH = r"^Run '\w+' is complete: step \d+, epoch (\d+)\.$"

STATEMENT = """\
Checked:
  interrupted     stopped by SIGTERM at step {saved}, restored step {restored},
                  finished epoch {epoch} at step {step}
  uninterrupted   finished epoch {epoch} at step {step}
  final weights   SHA-256 {weights} in both
  metrics.jsonl   {lines} lines in both, equal but for the times
Nothing was lost."""


def main(folder: Path) -> None:
    """Runs the demo in a folder, which is deleted first.

    Ends with exit code 1 if it does not show what it claims.
    """
    project = set_up(folder)

    announce(f"Training run 'interrupted', which gets a SIGTERM at '{INTERRUPT_AT}'")
    saved = read_step(SAVED, train(project, "interrupted", interrupt=True))
    announce("Training it again: it resumes")
    output = train(project, "interrupted")
    restored = read_step(RESTORED, output)
    interrupted = read_outcome(project, "interrupted", output)

    announce("Training run 'uninterrupted' from start to end")
    uninterrupted = read_outcome(project, "uninterrupted", train(project, "uninterrupted"))

    announce("Comparing them")
    differences = list(find_differences(saved, restored, EPOCHS, interrupted, uninterrupted))
    if differences:
        sys.exit("The demo does not show what it claims: " + "; ".join(differences) + ".")
    print(
        STATEMENT.format(
            saved=saved,
            restored=restored,
            epoch=interrupted.epoch,
            step=interrupted.step,
            weights=interrupted.weights,
            lines=len(interrupted.metrics),
        )
    )


def set_up(folder: Path) -> Path:
    """Generates the default project and installs it in an environment of its own."""
    announce(f"Generating a project in {folder}")
    shutil.rmtree(folder, ignore_errors=True)
    project = bake(folder, tensorflow=smallest_tensorflow())
    announce("Installing it")
    subprocess.run(["make", ".venv/installed"], cwd=project, check=True)
    return project


def train(project: Path, run: str, *, interrupt: bool = False) -> str:
    """Trains a run and gives what it printed, having sent SIGTERM on the way if so asked.

    Raises:
        ValueError: it ended with another exit code than it should.
    """
    options = ["--run", run, "--epochs", str(EPOCHS), "--save-every", "epoch"]
    output = []
    with subprocess.Popen(
        [python_of(project), "train.py", *options], cwd=project, stdout=subprocess.PIPE, text=True
    ) as process:
        for line in process.stdout or ():
            print(f"  {line}", end="", flush=True)
            output.append(line)
            if interrupt and line.startswith(INTERRUPT_AT):
                process.send_signal(signal.SIGTERM)
    expected = 128 + signal.SIGTERM if interrupt else 0
    if process.returncode != expected:
        raise ValueError(f"train.py ended with exit code {process.returncode}, not {expected}.")
    return "".join(output)


def read_outcome(project: Path, run: str, output: str) -> Outcome:
    """Reads how a run ended from its output and its files."""
    step = read_step(COMPLETE_STEP, output)
    folder = project / "runs" / run
    digest = subprocess.run(
        [
            python_of(project),
            str(TEMPLATE / "tools" / "digest.py"),
            str(folder / "checkpoints" / f"ckpt-{step}"),
        ],
        capture_output=True,  # what TensorFlow says as it starts is shown only if it fails
        text=True,
        check=False,
    )
    if digest.returncode:
        sys.exit(digest.stderr)
    return Outcome(
        step=step,
        epoch=read_step(COMPLETE_EPOCH, output),
        weights=digest.stdout.strip(),
        metrics=read_metrics(folder / "metrics.jsonl"),
    )


def python_of(project: Path) -> str:
    """The Python of the project's own environment."""
    return str(project / ".venv" / "bin" / "python")


def announce(text: str) -> None:
    """Prints what comes next, at once, so that it stands above what the next process prints."""
    print(f"\n== {text}", flush=True)


if __name__ == "__main__":
    try:
        main(TEMPLATE / "build" / "demo")
    except (ValueError, subprocess.CalledProcessError) as error:
        sys.exit(f"The demo failed: {error}")
