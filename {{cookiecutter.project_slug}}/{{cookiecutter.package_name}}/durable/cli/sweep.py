"""sweep: search for the best settings, by trials that are runs of their own."""

import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import tyro
from filelock import FileLock, Timeout
from rich import box
from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

from ..errors import ConfigurationError, RunLocked, in_one_line
from ..evaluation.results import png
from ..files import make_folder, size_of, write_bytes
from ..remote import is_remote
from ..report.curves import VALIDATION_PREFIX
from ..report.drawing import draw_trials
from ..run.command_line import parse_settings
from ..run.history import read_objects
from ..run.paths import RunPaths
from ..run.references import newest_step
from ..run.session import Signals
from ..run.settings import Project, require
from ..run.space import Choices, Range, check_values, chosen_settings, parse_space
from ..run.start import require_new
from ..run.study import Plan, Study, Trial, complete_plan, errors_of_studies
from .console import CommonOptions, number, print_json

Space = Sequence[Choices | Range]
LOOK_EVERY = 0.5  # seconds


@tyro.conf.configure(tyro.conf.OmitArgPrefixes)
@dataclass(frozen=True)
class SweepOptions(CommonOptions):
    """Search for the best settings by Optuna: each trial is a run, NAME-0 and so on.

    What stands after -- is given to train.py: sweep --space model.dropout=0..0.5 -- --seed 1.
    Stopped or killed, and started again, it goes on: trials that were not finished resume from
    their own checkpoints, and the others are what they would have been. One that fails is told, and
    the next begins. Exit code 0 if one is complete, else 1.
    """

    space: Annotated[tuple[str, ...], tyro.conf.arg(metavar="NAME=VALUES ...")] = ()
    """What to search: NAME=LOW..HIGH, NAME=LOW..HIGH:log, NAME=LOW..HIGH:STEP or NAME=A,B,C."""
    name: str = "sweep"
    """Name of the sweep."""
    trials: int = 20
    """How many trials there are to be in all."""
    epochs: int | None = None
    """Train each up to this many epochs in all."""
    fork_from: str | None = None
    """Start each from the state of another run: RUN, RUN@STEP, RUN@best or RUN@epoch:N."""
    prune_after: int | None = 5
    """Once so many are complete, end a trial early that does worse than the median of them at the
    same epoch; None ends none."""
    seed: int = 0
    """Seed of what is chosen; training has its own."""

    def __post_init__(self) -> None:
        """Raises ConfigurationError for a value that is not possible."""
        require(self.trials >= 1, "trials", self.trials, "at least 1")
        after = self.prune_after
        require(after is None or after >= 1, "prune-after", after, "at least 1, or None")
        require(0 <= self.seed < 2**31, "seed", self.seed, "0 to 2147483647")


def sweep(project: Project, options: SweepOptions) -> int:
    """Trains the trials of a sweep, and tells which is the best."""
    failures = errors_of_studies()
    space = parse_space(project.config, options.space)
    paths = project.paths(options.root, options.name)
    if is_remote(paths.runs):
        raise ConfigurationError(f"{paths.runs} is not on a local disk, which a study needs.")
    plan = Plan(list(options.space), common_settings(project, options), options.fork_from)
    check_values(project.config, space, plan.settings)
    complete = partial(complete_plan, project, paths, space)
    with lock(paths), Signals() as signals:
        try:
            study = Study(paths, space, plan, complete, options.seed, options.prune_after)
            code = Trainer(project, options, space, study, signals).train()
            tell(study, paths, as_json=options.json)
        except failures as error:
            cause = error.__cause__ if isinstance(error.__cause__, Exception) else error
            raise ConfigurationError(
                f"The study {paths.sweep('.db')} cannot be used: {in_one_line(cause)}."
            ) from error
    return code


def common_settings(project: Project, options: SweepOptions) -> list[str]:
    """What train.py is told in all trials."""
    epochs = [] if options.epochs is None else ["--epochs", str(options.epochs)]
    return [*project.arguments, *epochs]


@contextmanager
def lock(paths: RunPaths) -> Iterator[None]:
    """Sees to it that one process alone runs a sweep.

    Raises:
        RunLocked: another one does.
    """
    make_folder(paths.runs)
    try:
        with FileLock(Path(paths.sweep(".lock")), timeout=0):
            yield
    except Timeout:
        raise RunLocked(
            f"Another process runs the sweep {paths.run!r}. Wait for it, stop it, or start another "
            "sweep with --name NAME."
        ) from None


class Trainer:
    """Trains the trials of a study, one after the other, each in a process of its own.

    Args:
        project: whose train.py it is.
        options: of the sweep.
        space: what is searched.
        study: with the trials.
        signals: that ask the sweep to stop.
    """

    def __init__(
        self,
        project: Project,
        options: SweepOptions,
        space: Space,
        study: Study,
        signals: Signals,
    ) -> None:
        self._project = project
        self._options = options
        self._space = space
        self._study = study
        self._signals = signals
        self._read = 0  # bytes of the log of the present trial

    def train(self) -> int:
        """Trains all trials that are not finished, or until a signal; returns the exit code."""
        while (trial := self._next()) is not None:
            code = self._train(trial)
            if self._signals.stop:
                return 128 + self._signals.stop
            if code:
                return code
        return 0 if any(trial.state == "complete" for trial in self._study.trials) else 1

    def _next(self) -> Trial | None:
        """The trial that was not finished, or else a new one, if there is to be one."""
        trials = self._study.trials
        for trial in trials:
            if trial.state == "unfinished":
                return self._study.choose(trial.number)
        if len(trials) >= self._options.trials:
            return None
        require_new(self._study.paths_of(len(trials)))  # which may be of a study that was deleted
        return self._study.begin()

    def _train(self, trial: Trial) -> int:
        """Trains a trial; returns the exit code with which the sweep is to end, if it is."""
        words = chosen_settings(self._space, trial.settings)
        last = parse_settings(self._project.config, [*self._study.plan.settings, *words]).epochs
        name = trial.paths.run
        self._say(f"{name}: {shlex.join(words)}")
        pruned, code = self._study.is_hopeless(trial.number, last), 0
        while not pruned:
            step = newest_step(trial.paths)
            code, pruned = self._run(trial, words, last)
            if code >= 0 or self._signals.stop or newest_step(trial.paths) == step:
                break
            self._say(f"{name} was killed by signal {-code}; it goes on from its checkpoint.")
        if pruned:
            self._finish(trial, "pruned")
        elif code == 0:
            self._finish(trial, "complete")
        elif self._signals.stop or code == RunLocked.exit_code or code > 128:
            self._say(f"{name} is not finished: start the sweep again to go on.")
            return code
        elif code < 0:
            how = f": it was killed by signal {-code} before it had saved anything new"
            self._finish(trial, "failed", how)
        else:
            self._finish(trial, "failed", f" with exit code {code}")
        return 0

    def _run(self, trial: Trial, words: Sequence[str], last: int) -> tuple[int, bool]:
        """Starts train.py for a trial; returns its exit code, and whether it was ended early."""
        command = [*self._project.train, *self._study.plan.settings, *words]
        command += ["--run", trial.paths.run, "--root", str(trial.paths.root), "--resume", "auto"]
        if self._study.plan.trunk is not None:
            command += ["--fork-from", self._study.plan.trunk]
        self._read = 0
        asked = pruned = False
        # In a session of its own: Ctrl-C in a terminal reaches it once, and from here.
        with subprocess.Popen(  # noqa: S603
            command, stdout=2 if self._options.json else None, start_new_session=True
        ) as process:
            try:
                while process.poll() is None:
                    with suppress(subprocess.TimeoutExpired):
                        process.wait(LOOK_EVERY)
                    pruned = pruned or self._look(trial, last)
                    if not asked and (pruned or self._signals.stop):
                        asked = True
                        process.send_signal(self._signals.stop or signal.SIGTERM)
            except Exception:  # the study cannot be written, say
                process.terminate()  # which lets it save
                raise
        return process.returncode, pruned or self._look(trial, last)

    def _look(self, trial: Trial, last: int) -> bool:
        """Reports the epochs that have ended; returns whether the trial is to be ended early."""
        log = trial.paths.metrics
        size = size_of(log) if log.exists() else 0
        if size == self._read:
            return False
        self._read = size
        known = self._study.trials[trial.number].values
        for line in read_objects(log):
            epoch, value = line.get("epoch"), line.get(self._study.plan.metric)
            ended = any(name.startswith(VALIDATION_PREFIX) for name in line)
            if not isinstance(epoch, int) or not isinstance(value, int | float):
                continue
            if ended and epoch not in known:
                self._study.report(trial.number, epoch, value)
                if self._study.is_hopeless(trial.number, last):
                    return True
        return False

    def _finish(self, trial: Trial, state: str, how: str = "") -> None:
        best, metric = self._study.trials[trial.number].best, self._study.plan.metric
        if state == "complete" and best is None:
            state, how = "failed", f": it has logged no {metric} at the end of an epoch"
        self._study.finish(trial.number, state)
        value = f"; {metric} {best[1]:.4g} at epoch {best[0]}" if best else ""
        self._say(f"{trial.paths.run} {state}{how}{value}")

    def _say(self, text: str) -> None:
        """Prints a line, which must not stand among the JSON."""
        print(text, file=sys.stderr if self._options.json else sys.stdout, flush=True)


def tell(study: Study, paths: RunPaths, *, as_json: bool) -> None:
    """Draws the trials, and prints them."""
    trials, metric = study.ranked, study.plan.metric
    picture = paths.sweep(".png")
    write_bytes(picture, png(draw_trials(trials, metric, study.logarithmic)))
    if as_json:
        print_json(
            {
                "sweep": paths.run,
                "metric": metric,
                "mode": study.plan.mode,
                "picture": str(picture),
                "trials": [trial.summary for trial in trials],
            }
        )
        return
    Console().print(trials_table(trials, metric))
    print(f"Drew {picture}")


def trials_table(trials: Sequence[Trial], metric: str) -> Table:
    """The trials, the best first, with the best value of each and what was chosen for it."""
    names = list(dict.fromkeys(name for trial in trials for name in trial.settings))
    short = [name.rpartition(".")[2] for name in names]
    labels = [
        last if short.count(last) == 1 else name for name, last in zip(names, short, strict=True)
    ]
    table = Table(
        Column("run", overflow="fold"),
        "state",
        *(Column(Text(name), justify="right") for name in (metric, "epoch", *labels)),
        box=box.SIMPLE_HEAD,
        pad_edge=False,
    )
    for trial in trials:
        epoch, value = trial.best or ("", None)
        cells = [trial.paths.run, trial.state, number(value), str(epoch)]
        cells += [cell(trial.settings.get(name, "")) for name in names]
        table.add_row(*map(Text, cells))
    return table


def cell(value: Any) -> str:
    """A chosen value, for the table."""
    return number(value) if isinstance(value, float) else str(value)
