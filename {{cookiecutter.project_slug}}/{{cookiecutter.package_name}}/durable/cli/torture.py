"""torture: kill a training run again and again, and look whether anything was lost."""

import json
import os
import random
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import tyro
from etils import epath

from ..checkpoint import bundle
from ..checkpoint.card import read_card
from ..checkpoint.reader import Tensors
from ..checkpoint.tensor_bundle import CARD_KEY
from ..errors import ConfigurationError, WorkerLost
from ..files import TEMPORARY, absolute
from ..run.history import read_objects
from ..run.paths import RunPaths
from ..run.references import newest_step
from ..run.settings import Project, require
from ..run.worker import Trainer, local_clusters

KILLED, STRAIGHT = "killed", "straight"
SAVE_EVERY, LOG_EVERY = 15, 10  # steps: often, so that many kills hit a save
LOOK_EVERY = 0.001  # seconds, for changes: less than a save takes
BEGUN = ("Restored step ", "No checkpoint in ")
LOST, STOPPED = "A worker was lost", 128 + signal.SIGTERM
SECONDS_TO_CHANGE = 600  # for the next save, or they wait for each other for ever
# For the others to notice that one was killed, which takes TensorFlow about 10, or to stop.
SECONDS_TO_END = 120


@tyro.conf.configure(tyro.conf.OmitArgPrefixes)
@dataclass(frozen=True)
class TortureOptions:
    """Kill your own training again and again, and look whether anything was lost.

    What stands after -- is given to train.py: torture --kills 20 -- --model.name cnn. Training
    is killed with SIGKILL at random moments, half of them in a save, started again each time, and
    compared at the end with a run that was never stopped: every value of the last checkpoint and
    every line of the log. Exit code 0 if nothing was lost, 1 if something was.

    Of several workers, the chief, another one or all are killed, or one is asked to stop by
    SIGTERM; the others must end by themselves, and say why.
    """

    kills: int = 10
    """How often to kill it."""
    seed: int | None = None
    """Seed of the moments; drawn and printed where it is not given."""
    workers: int = 1
    """How many workers train it on this machine, by --strategy multi-worker."""
    root: str | None = None
    """Folder to do it in, to try its file system; by default one for temporary files."""
    debug: bool = False
    """Show the traceback of an error."""

    def __post_init__(self) -> None:
        """Raises ConfigurationError for a value that is not possible."""
        require(self.kills >= 1, "kills", self.kills, "at least 1")
        require(self.workers >= 1, "workers", self.workers, "at least 1")
        if self.workers > 1 and os.name != "posix":
            raise ConfigurationError("--workers is for Linux and macOS: it lives by their signals.")


class Fault(NamedTuple):
    """What is done to a run that trains.

    Attributes:
        told: what the line of the round says of it.
        targets: the numbers of the workers that get a signal.
        kills: whether that is SIGKILL; else it is SIGTERM, which asks to stop.
    """

    told: str
    targets: Sequence[int]
    kills: bool = True

    def code_of(self, index: int) -> int:
        """The exit code that a worker is to end with, or -9 if it is killed."""
        if not self.kills:
            return STOPPED
        return -9 if index in self.targets else WorkerLost.exit_code


def torture(project: Project, options: TortureOptions) -> int:
    """Kills training, and returns the exit code."""
    seed = random.randrange(2**32) if options.seed is None else options.seed  # noqa: S311
    print(f"{options.kills} kills with --seed {seed}", flush=True)
    moments = random.Random(seed)  # noqa: S311
    parent = None if options.root is None else absolute(options.root)
    folder = Path(tempfile.mkdtemp(prefix="torture ", dir=parent))
    killed, straight = (project.paths(folder, run) for run in (KILLED, STRAIGHT))
    start = partial(start_all, project, folder, options.workers)
    problems: list[str] = []
    for number in range(1, options.kills + 1):
        # Far more epochs than it can train before the last kill.
        with start(KILLED, epochs=10**6) as trainers:
            found = inject_fault(number, moments, trainers, killed)
        problems += [f"kill {number}: {problem}" for problem in found]
    step = newest_step(killed)
    if step == 0 and not problems:
        problems.append("nothing was ever saved: give more --kills, or a smaller model")
    if not problems:
        problems = finish_and_compare(start, killed, straight)
    if problems:
        print("\n".join(["Something was lost:", *problems, f"See {folder}."]))
        return 1
    shutil.rmtree(folder)
    print(f"Nothing was lost in {options.kills} kills over {step} steps.")
    return 0


@contextmanager
def start_all(
    project: Project, folder: Path, workers: int, run: str, epochs: int
) -> Iterator[list[Trainer]]:
    """Starts a run in a folder, which saves and logs often; none of its workers is left."""
    command = [*project.train, *project.arguments, "--root", str(folder), "--run", run]
    command += ["--epochs", str(epochs)]
    command += ["--save-every", str(SAVE_EVERY), "--log-every", str(LOG_EVERY)]
    environments: list[dict[str, str]] = [{}]
    if workers > 1:
        command += ["--strategy", "multi-worker"]
        # What a killed worker has in TMPDIR is removed with the folder.
        environments = [
            {"TF_CONFIG": cluster, "TMPDIR": str(folder)} for cluster in local_clusters(workers)
        ]
    with ExitStack() as started:
        yield [started.enter_context(Trainer(command, each)) for each in environments]


def inject_fault(
    number: int, moments: random.Random, trainers: Sequence[Trainer], paths: RunPaths
) -> list[str]:
    """Kills or stops a run at a random moment, and tells what went wrong."""
    saved = newest_step(paths)
    in_a_save, changes = moments.random() < 0.5, moments.randrange(1, 60)
    fault = draw_fault(moments, len(trainers))
    processes = [trainer.process for trainer in trainers]
    hang = not wait_for_changes(processes, paths.checkpoints, changes, in_a_save=in_a_save)
    for target in fault.targets:
        if fault.kills:
            processes[target].kill()
        else:
            processes[target].terminate()
    seconds = wait_for_ends(processes)
    place = "in a save" if in_a_save else "anywhere"
    reached = newest_step(paths)
    print(
        f"kill {number:3}: {fault.told}{place} after {changes} changes, saved step {reached}"
        + (f", all ended {seconds:.0f} s later" if len(trainers) > 1 else ""),
        flush=True,
    )
    problems = [f"nothing was saved for {SECONDS_TO_CHANGE} s"] if hang else []
    return problems + wrong_ends(fault, trainers, reached) + wrong_start(trainers[0], saved)


def draw_fault(moments: random.Random, workers: int) -> Fault:
    """What is done to so many workers: drawn, where there are several."""
    everyone = range(workers)
    if workers == 1:
        return Fault("", everyone)
    another, any_one = moments.randrange(1, workers), moments.randrange(workers)
    faults = [
        Fault("SIGKILL to worker 0, ", [0]),
        Fault(f"SIGKILL to worker {another}, ", [another]),
        Fault("SIGKILL to all, ", everyone),
        Fault(f"SIGTERM to worker {any_one}, ", [any_one], kills=False),
    ]
    return moments.choice(faults)


def wait_for_changes(
    processes: Sequence[subprocess.Popen[bytes]],
    folder: epath.Path,
    changes: int,
    *,
    in_a_save: bool,
) -> bool:
    """Waits until a folder has changed so often and, if so asked, a save is under way.

    Returns:
        Whether it changed, or a process has ended by itself.
    """
    seen = {path.name for path in Path(folder).glob("*")}
    changed = time.monotonic()
    while all(process.poll() is None for process in processes):
        names = {path.name for path in Path(folder).glob("*")}
        if names != seen:
            seen, changes, changed = names, changes - 1, time.monotonic()
        if changes <= 0 and (not in_a_save or any(TEMPORARY in name for name in names)):
            return True
        if time.monotonic() - changed > SECONDS_TO_CHANGE:
            return False
        time.sleep(LOOK_EVERY)
    return True


def wait_for_ends(processes: Sequence[subprocess.Popen[bytes]]) -> float:
    """Waits for all, but not for ever; returns how many seconds it took."""
    began = time.monotonic()
    for process in processes:
        with suppress(subprocess.TimeoutExpired):
            process.wait(max(0, began + SECONDS_TO_END - time.monotonic()))
    return time.monotonic() - began


def wrong_ends(fault: Fault, trainers: Sequence[Trainer], reached: int) -> list[str]:
    """Tells which ends are not those of the fault, after which the run is at the step reached."""
    problems = []
    for index, trainer in enumerate(trainers):
        who = f"worker {index}" if len(trainers) > 1 else "it"
        code, wanted = trainer.process.poll(), fault.code_of(index)
        if code is None:
            problems.append(f"{who} did not end within {SECONDS_TO_END} s")
        elif code != wanted:
            problems.append(f"{who} ended by itself with code {code}: {trainer.errors}")
        elif wanted == WorkerLost.exit_code and LOST not in trainer.errors:
            problems.append(f"{who} did not say that one was lost: {trainer.errors}")
    if not fault.kills and f"Saved step {reached} and stopped" not in trainers[0].output:
        problems.append(f"step {reached} is the last that was saved, and not where it stopped")
    return problems


def wrong_start(chief: Trainer, saved: int) -> list[str]:
    """Tells if a run did not go on from the step that was saved last."""
    lines = chief.output.splitlines()
    begun = next((line for line in lines if line.startswith(BEGUN)), None)
    problems = []
    if saved and begun is not None and f"Restored step {saved} " not in begun:
        problems.append(f"step {saved} was saved, and it said: {begun}")
    if "damaged" in chief.errors:
        problems.append(chief.errors)
    return problems


def finish_and_compare(
    start: Callable[..., AbstractContextManager[list[Trainer]]],
    killed: RunPaths,
    straight: RunPaths,
) -> list[str]:
    """Trains both runs to the end of the epoch that was reached, and tells what differs."""
    card = read_card(bundle.find_checkpoints(killed.checkpoints)[-1])
    epochs = card.step // (card.steps_per_epoch or 1) + 1
    problems = []
    for run in (KILLED, STRAIGHT):
        with start(run, epochs=epochs) as trainers:
            codes = [trainer.process.wait() for trainer in trainers]
            errors = "".join(trainer.errors for trainer in trainers)
        if any(codes):
            problems.append(f"run {run!r} ended with code {max(codes, key=abs)}: {errors}")
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
