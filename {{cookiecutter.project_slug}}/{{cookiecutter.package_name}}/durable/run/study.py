"""The study of a sweep: its trials and what decides between them, kept by Optuna in a file."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from math import inf
from types import ModuleType, NoneType
from typing import Any, Literal
from urllib.parse import quote

import tensorflow as tf

from ..checkpoint.bundle import step_of
from ..errors import ConfigurationError
from ..files import make_folder
from ..untrusted import require_kinds
from .command_line import parse_settings
from .paths import RunPaths
from .references import find
from .settings import Project
from .space import Choices, Range, chosen_settings, first_values
from .start import resolve_parent, with_best_metric
from .state import TrainState

PLAN = "plan"
KINDS = {
    **{name: [str] for name in ("space", "settings")},
    **dict.fromkeys(("fork_from", "trunk"), (str, NoneType)),
    "metric": str,
    "mode": re.compile("max|min"),
}
STATES = {"COMPLETE": "complete", "PRUNED": "pruned", "FAIL": "failed"}  # others are unfinished
# What must stay the same, and what is said where it does not.
COMMON = {"space": "another space", "settings": "other settings", "fork_from": "another trunk"}


@dataclass(frozen=True)
class Plan:
    """What all trials of a sweep have in common, as JSON can hold it.

    Attributes:
        space: as the command line has it.
        settings: of train.py.
        fork_from: the trunk, as the command line has it; None where they start from scratch.
        trunk: the same with its step, RUN@STEP.
        metric: of validation; it decides which trial is the best.
        mode: whether its largest or its smallest value is the best.
    """

    space: list[str]
    settings: list[str]
    fork_from: str | None
    trunk: str | None = None
    metric: str = ""
    mode: Literal["max", "min"] = "max"


@dataclass(frozen=True)
class Trial:
    """A trial as it stands.

    Attributes:
        number: from 0 up.
        paths: of its run.
        state: complete, pruned, failed or unfinished: running, stopped or killed.
        settings: the values that were chosen for it, by the names of the settings.
        values: the metric at the end of each epoch.
        best: the epoch with the best value, and that; None where no epoch has ended.
    """

    number: int
    paths: RunPaths
    state: str
    settings: Mapping[str, Any]
    values: Mapping[int, float] = field(default_factory=dict)
    best: tuple[int, float] | None = None

    @property
    def summary(self) -> dict[str, Any]:
        """All of it, as JSON can hold it."""
        epoch, value = self.best or (None, None)
        return {
            "run": self.paths.run,
            "state": self.state,
            "best": value,
            "epoch": epoch,
            "settings": self.settings,
            "values": self.values,
        }


def import_optuna() -> ModuleType:
    """Imports Optuna.

    Raises:
        ConfigurationError: it is not installed.
    """
    try:
        import optuna  # noqa: PLC0415  (an extra)
    except ImportError as error:
        raise ConfigurationError(
            "A sweep needs Optuna: install it with pip install --editable '.[sweep]'"
        ) from error
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna


def errors_of_studies() -> tuple[type[Exception], ...]:
    """What is raised where a file is no study, or cannot be written.

    Raises:
        ConfigurationError: Optuna is not installed.
    """
    optuna = import_optuna()
    from sqlalchemy.exc import SQLAlchemyError  # noqa: PLC0415  (Optuna brings it)

    return (optuna.exceptions.OptunaError, SQLAlchemyError)


class Study:
    """The trials of a sweep, in an SQLite file.

    What is chosen for a trial follows from the seed and the trials before it: a sweep that was
    killed and started again makes the same choices as one that never was.

    Args:
        paths: of the sweep, whose lock is held.
        space: what is searched.
        plan: what the trials are to have in common, without trunk, metric and mode.
        complete: adds these, for a new study.
        seed: of the choices.
        prune_after: how many trials must be complete before others are ended early; None ends none.

    Attributes:
        plan: what the trials have in common.
        logarithmic: the settings that are searched on a logarithmic scale.

    Raises:
        ConfigurationError: Optuna is not installed, or the study has another plan.
    """

    def __init__(
        self,
        paths: RunPaths,
        space: Sequence[Choices | Range],
        plan: Plan,
        complete: Callable[[Plan], Plan],
        seed: int = 0,
        prune_after: int | None = None,
    ) -> None:
        optuna = self._optuna = import_optuna()
        self._paths = paths
        self._space = space
        self._seed = seed
        self._storage = self._open()
        before = self._find_plan()
        if before is not None:
            self._require(before, plan)
        self.plan = before or complete(plan)
        self.logarithmic = {setting.name for setting in space if setting.is_logarithmic}
        self._study = optuna.create_study(
            storage=self._storage,
            study_name=paths.run,
            direction={"max": "maximize", "min": "minimize"}[self.plan.mode],
            load_if_exists=True,
        )
        self._study.set_user_attr(PLAN, asdict(self.plan))
        self._study.pruner = (
            optuna.pruners.NopPruner()
            if prune_after is None
            else optuna.pruners.MedianPruner(n_startup_trials=prune_after)
        )

    def _open(self) -> Any:
        """The file, made if it is not there."""
        make_folder(self._paths.runs)
        # The form of an address: a folder's name may have characters that mean something in it.
        address = f"sqlite:///{quote(str(self._paths.sweep('.db')))}"
        return self._optuna.storages.RDBStorage(address)

    def _find_plan(self) -> Plan | None:
        """The plan of the study that is in the file; None where it was killed before it had one."""
        for study in self._storage.get_all_studies():
            if study.study_name == self._paths.run and PLAN in study.user_attrs:
                return read_plan(study.user_attrs[PLAN], self._paths)
        return None

    def _require(self, before: Plan, plan: Plan) -> None:
        for name, what in COMMON.items():
            old = getattr(before, name)
            if old != getattr(plan, name):
                told = old if isinstance(old, str) else " ".join(old or ["none"])
                raise ConfigurationError(
                    f"Sweep {self._paths.run!r} was begun with {what}: {told}. "
                    "Give the same again, or another --name."
                )

    def paths_of(self, number: int) -> RunPaths:
        """Those of the run of a trial."""
        return self._paths.of(f"{self._paths.run}-{number}")

    @property
    def trials(self) -> list[Trial]:
        """All trials, in their order."""
        return [
            Trial(
                found.number,
                self.paths_of(found.number),
                STATES.get(found.state.name, "unfinished"),
                found.params,
                found.intermediate_values,
                self._best(found.intermediate_values),
            )
            for found in self._study.trials
        ]

    def _best(self, values: Mapping[int, float]) -> tuple[int, float] | None:
        choose = max if self.plan.mode == "max" else min
        return choose(values.items(), key=lambda item: item[1]) if values else None

    @property
    def ranked(self) -> list[Trial]:
        """All trials, those that are complete first, and of each state the best first."""
        order = [*STATES.values(), "unfinished"]
        sign = -1 if self.plan.mode == "max" else 1

        def place(trial: Trial) -> tuple[int, float]:
            return order.index(trial.state), sign * trial.best[1] if trial.best else inf

        return sorted(self.trials, key=place)

    def begin(self) -> Trial:
        """A new trial."""
        self._study.sampler = self._sampler(len(self.trials))
        return self.choose(self._study.ask().number)

    def choose(self, number: int) -> Trial:
        """A trial with all its settings, those too that a kill kept it from being given."""
        handle = self._handle(number)
        for setting in self._space:
            setting.suggest(handle)
        return self.trials[number]

    def report(self, number: int, epoch: int, value: float) -> None:
        """Takes note of a trial's metric at the end of an epoch."""
        self._handle(number).report(value, epoch)

    def is_hopeless(self, number: int, epochs: int) -> bool:
        """Whether a trial, which is to have so many epochs, should be ended at its present one."""
        epoch = max(self.trials[number].values, default=epochs)
        return epoch < epochs and self._handle(number).should_prune()

    def finish(self, number: int, state: str) -> None:
        """Takes note of how a trial ended: complete, pruned or failed."""
        best = self.trials[number].best
        value = best[1] if best and state == "complete" else None
        names = {told: name for name, told in STATES.items()}
        self._study.tell(number, value, self._optuna.trial.TrialState[names[state]])

    def _handle(self, number: int) -> Any:
        """Optuna's object of a trial that is running, by whatever process it was begun."""
        self._study.sampler = self._sampler(number)
        study = self._storage.get_study_id_from_name(self._paths.run)
        trial = self._storage.get_trial_id_from_study_id_trial_number(study, number)
        return self._optuna.trial.Trial(self._study, trial)

    def _sampler(self, number: int) -> Any:
        """What chooses for a trial. With one seed for all, a restart would choose anew."""
        return self._optuna.samplers.TPESampler(seed=self._seed + number)


def read_plan(values: Any, paths: RunPaths) -> Plan:
    """The plan that a study holds; ConfigurationError where it is none."""
    try:
        require_kinds(values, KINDS, "its plan")
    except TypeError as error:
        raise ConfigurationError(
            f"{paths.sweep('.db')} holds no sweep of this project: {error}. Give another --name."
        ) from error
    return Plan(**{entry.name: values[entry.name] for entry in fields(Plan)})


def complete_plan(
    project: Project, paths: RunPaths, space: Sequence[Choices | Range], plan: Plan
) -> Plan:
    """The plan with the metric that decides, and the step of the trunk."""
    tf.config.set_visible_devices([], "GPU")  # the trials need all their memory
    words = chosen_settings(space, first_values(space))
    root = ["--root", str(paths.root)]
    config = parse_settings(project.config, [*plan.settings, *words, *root])
    experiment = project.load_experiment()(config)
    data = experiment.data()
    state = TrainState(experiment.task(data), data.element_spec, config=config)
    config = with_best_metric(config, state)
    trunk = None
    if plan.fork_from is not None:
        parent, at = resolve_parent(plan.fork_from, paths)
        trunk = f"{parent.run}@{step_of(find(parent, at))}"
    metric, mode = str(config.best_metric), config.best_mode or "max"
    return replace(plan, trunk=trunk, metric=metric, mode=mode)
