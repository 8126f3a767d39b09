"""Kills a training run again and again, and looks whether anything was lost.

Usage: python -m tests.torture --kills 100
"""

import random
import shutil
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from subprocess import Popen

import tyro

from .helpers import finish, log_of, saved_values, start, steps_in


@dataclass(frozen=True)
class Options:
    """Kill a training run again and again, and look whether anything was lost."""

    kills: int = 10
    """How often to kill it."""
    seed: int | None = None
    """Seed of the moments; drawn and printed where it is not given."""
    model: str = "cnn"
    """The model to train."""
    save_mode: str = "auto"
    """How to save: blocking or background."""


def main(options: Options) -> int:
    """Gives exit code 0 where nothing was lost, else 1."""
    seed = random.randrange(2**32) if options.seed is None else options.seed
    print(f"{options.kills} kills with --seed {seed}", flush=True)
    moments = random.Random(seed)
    folder = Path(tempfile.mkdtemp(prefix="torture "))
    # Enough epochs that the run is never complete before the last kill.
    settings = ["--root", folder, "--model.name", options.model, "--model.hidden", 8]
    settings += ["--save-mode", options.save_mode, "--save-every", 15, "--log-every", 10]
    settings += ["--epochs", 10 * options.kills]
    problems = []
    for number in range(1, options.kills + 1):
        problems += kill_once(number, moments, settings, folder / "runs/killed/checkpoints")
    step = max(steps_in(folder / "runs/killed/checkpoints"), default=0)
    settings[-1] = step // 44 + 1  # to the end of the epoch that it got to
    for run in ("killed", "straight"):
        code, _, errors = finish(start(*settings, "--run", run))
        problems += [f"run {run!r} ended with code {code}: {errors}"] if code else []
    problems += compare(folder / "runs/killed", folder / "runs/straight", settings[-1] * 44)
    if problems:
        print("\n".join(["Something was lost:", *problems, f"See {folder}."]))
        return 1
    shutil.rmtree(folder)
    print(f"Nothing was lost in {options.kills} kills over {step} steps.")
    return 0


def kill_once(number: int, moments: random.Random, settings: list, checkpoints: Path) -> list[str]:
    """Starts the run, kills it at a random moment, and tells if a checkpoint had been lost."""
    saved = max(steps_in(checkpoints), default=0)
    in_a_save, changes = moments.random() < 0.5, moments.randrange(1, 60)
    process = start(*settings, "--run", "killed")
    first = next(line for line in process.stdout if line.startswith(("Restored", "No checkpoint")))
    wait_for(process, checkpoints, changes, in_a_save=in_a_save)
    process.kill()
    code, _, errors = finish(process)
    place = "in a save" if in_a_save else "anywhere"
    reached = max(steps_in(checkpoints), default=0)
    print(f"kill {number:3}: {place} after {changes} changes, saved step {reached}", flush=True)
    problems = []
    if code != -9:
        problems.append(f"kill {number}: it ended by itself with code {code}: {errors}")
    if saved and f"Restored step {saved} " not in first:
        problems.append(f"kill {number}: step {saved} was saved, and it said: {first.strip()}")
    if "damaged" in errors:
        problems.append(f"kill {number}: {errors}")
    return problems


def wait_for(process: Popen, checkpoints: Path, changes: int, *, in_a_save: bool) -> None:
    """Waits until the folder has changed so often and, if so asked, a save is under way."""
    seen: set[str] = set()
    while process.poll() is None:
        names = {path.name for path in checkpoints.glob("*")}
        if names != seen:
            seen, changes = names, changes - 1
        if changes <= 0 and (not in_a_save or any("_temp" in name for name in names)):
            return


def compare(killed: Path, straight: Path, step: int) -> list[str]:
    """What differs between the two runs at their end."""
    problems = []
    last = f"checkpoints/ckpt-{step}"
    if saved_values(killed / last) != saved_values(straight / last):
        problems.append(f"the values of {last} differ")
    if log_of(killed) != log_of(straight):
        problems.append("the lines of metrics.jsonl differ")
    return problems


if __name__ == "__main__":
    sys.exit(main(tyro.cli(Options)))
