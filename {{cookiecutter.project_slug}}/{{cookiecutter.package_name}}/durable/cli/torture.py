"""torture: kill a training run again and again, and look whether anything was lost."""

import json
import random
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO

import numpy as np
import tyro
from etils import epath

from ..checkpoint import bundle
from ..checkpoint.card import read_card
from ..checkpoint.reader import Tensors
from ..checkpoint.tensor_bundle import CARD_KEY
from ..errors import ConfigurationError
from ..files import TEMPORARY, absolute
from ..run.history import read_objects
from ..run.paths import RunPaths
from ..run.references import newest_step
from ..run.settings import Project

KILLED, STRAIGHT = "killed", "straight"
SAVE_EVERY, LOG_EVERY = 15, 10  # steps: often, so that many kills hit a save
BEGUN = ("Restored step ", "No checkpoint in ")


@tyro.conf.configure(tyro.conf.OmitArgPrefixes)
@dataclass(frozen=True)
class TortureOptions:
    """Kill your own training again and again, and look whether anything was lost.

    What stands after -- is given to train.py: torture --kills 20 -- --model.name cnn. Training
    is killed with SIGKILL at random moments, half of them in a save, started again each time, and
    compared at the end with a run that was never stopped: every value of the last checkpoint and
    every line of the log. Exit code 0 if nothing was lost, 1 if something was.
    """

    kills: int = 10
    """How often to kill it."""
    seed: int | None = None
    """Seed of the moments; drawn and printed where it is not given."""
    root: str | None = None
    """Folder to do it in, to try its file system; by default one for temporary files."""
    debug: bool = False
    """Show the traceback of an error."""

    def __post_init__(self) -> None:
        """Raises ConfigurationError for a value that is not possible."""
        if self.kills < 1:
            raise ConfigurationError(f"--kills {self.kills} is not possible: give at least 1.")


def torture(project: Project, options: TortureOptions) -> int:
    """Kills training, and returns the exit code."""
    seed = random.randrange(2**32) if options.seed is None else options.seed  # noqa: S311
    print(f"{options.kills} kills with --seed {seed}", flush=True)
    moments = random.Random(seed)  # noqa: S311
    parent = None if options.root is None else absolute(options.root)
    folder = Path(tempfile.mkdtemp(prefix="torture ", dir=parent))
    killed, straight = (project.paths(folder, run) for run in (KILLED, STRAIGHT))
    # Far more epochs than it can train before the last kill.
    command = training_command(project, folder, epochs=10**6)
    problems: list[str] = []
    for number in range(1, options.kills + 1):
        problems += kill_once(number, moments, [*command, "--run", KILLED], killed)
    step = newest_step(killed)
    if step == 0 and not problems:
        problems.append("nothing was ever saved: give more --kills, or a smaller model")
    if not problems:
        problems = finish_and_compare(project, folder, killed, straight)
    if problems:
        print("\n".join(["Something was lost:", *problems, f"See {folder}."]))
        return 1
    shutil.rmtree(folder)
    print(f"Nothing was lost in {options.kills} kills over {step} steps.")
    return 0


def training_command(project: Project, folder: Path, epochs: int) -> list[str]:
    """The command line that trains so many epochs in a folder, with many saves and log lines."""
    settings = ["--root", str(folder), "--epochs", str(epochs)]
    settings += ["--save-every", str(SAVE_EVERY), "--log-every", str(LOG_EVERY)]
    return [*project.train, *project.arguments, *settings]


def kill_once(
    number: int, moments: random.Random, command: list[str], paths: RunPaths
) -> list[str]:
    """Starts the run, kills it at a random moment, and tells if a checkpoint had been lost."""
    saved = newest_step(paths)
    in_a_save, changes = moments.random() < 0.5, moments.randrange(1, 60)
    # Files, not pipes: training would stand still when one of them was full.
    new_file = partial(tempfile.TemporaryFile, "w+", encoding="utf-8")
    with new_file() as output, new_file() as error_output:
        with subprocess.Popen(command, stdout=output, stderr=error_output) as process:  # noqa: S603
            wait_for_changes(process, paths.checkpoints, changes, in_a_save=in_a_save)
            process.kill()
        printed, errors = (read_from_start(file) for file in (output, error_output))
    first = next((line for line in printed.splitlines() if line.startswith(BEGUN)), "nothing")
    place = "in a save" if in_a_save else "anywhere"
    reached = newest_step(paths)
    print(f"kill {number:3}: {place} after {changes} changes, saved step {reached}", flush=True)
    problems = []
    if process.returncode >= 0:
        code = process.returncode
        problems.append(f"kill {number}: it ended by itself with code {code}: {errors}")
    if saved and first != "nothing" and f"Restored step {saved} " not in first:
        problems.append(f"kill {number}: step {saved} was saved, and it said: {first}")
    if "damaged" in errors:
        problems.append(f"kill {number}: {errors}")
    return problems


def read_from_start(file: IO[str]) -> str:
    """All that was written to a file."""
    file.seek(0)
    return file.read()


def wait_for_changes(
    process: subprocess.Popen[bytes], folder: epath.Path, changes: int, *, in_a_save: bool
) -> None:
    """Waits until a folder has changed so often and, if so asked, a save is under way."""
    seen = {path.name for path in Path(folder).glob("*")}
    while process.poll() is None:
        names = {path.name for path in Path(folder).glob("*")}
        if names != seen:
            seen, changes = names, changes - 1
        if changes <= 0 and (not in_a_save or any(TEMPORARY in name for name in names)):
            return


def finish_and_compare(
    project: Project, folder: Path, killed: RunPaths, straight: RunPaths
) -> list[str]:
    """Trains both runs to the end of the epoch that was reached, and tells what differs."""
    card = read_card(bundle.find_checkpoints(killed.checkpoints)[-1])
    epochs = card.step // (card.steps_per_epoch or 1) + 1
    problems = []
    for run in (KILLED, STRAIGHT):
        command = [*training_command(project, folder, epochs), "--run", run]
        process = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
        if process.returncode:
            problems.append(f"run {run!r} ended with code {process.returncode}: {process.stderr}")
    return problems or compare(killed, straight)


def compare(killed: RunPaths, straight: RunPaths) -> list[str]:
    """What differs between the two runs at their end."""
    last = f"ckpt-{newest_step(straight)}"
    problems = []
    values = [values_of(run.checkpoints / last) for run in (killed, straight)]
    differing = [key for key in values[1] if values[0].get(key) != values[1][key]]
    if differing or values[0].keys() != values[1].keys():
        problems.append(f"{len(differing)} values of {last} differ: {', '.join(differing[:5])}")
    if log_of(killed) != log_of(straight):
        problems.append("the lines of metrics.jsonl differ")
    return problems


def values_of(checkpoint: epath.Path) -> dict[str, bytes]:
    """The bytes of everything in a checkpoint but its card, which tells the time."""
    tensors = Tensors(checkpoint)
    values = {key: tensors.read(key) for key in tensors.keys if key != CARD_KEY}
    return {key: as_bytes(value) for key, value in values.items()}


def as_bytes(value: np.ndarray) -> bytes:
    """The bytes of a tensor of numbers or of texts."""
    return repr(value.tolist()).encode() if value.dtype == object else value.tobytes()


def log_of(paths: RunPaths) -> list[str]:
    """The lines of a log without their times."""
    lines = read_objects(paths.metrics)
    return [json.dumps({name: line[name] for name in line if name != "time"}) for line in lines]
