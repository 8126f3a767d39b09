"""Making a run from a file to import: everything is read and checked before anything is changed."""

from dataclasses import dataclass, fields, is_dataclass, replace
from functools import partial
from typing import Any

import tensorflow as tf

from ..checkpoint.card import Origin
from ..compat import keras, learning_rate_at
from ..data.protocol import Data
from ..errors import ImportMismatch
from ..run.experiment import Experiment, Project
from ..run.settings import RunSettings, config_from
from ..run.start import create_run
from ..run.state import TrainState
from .names import targets_of
from .plan import Plan
from .source import SourceFile


@dataclass(frozen=True)
class Start:
    """A run before its first step: what a file is imported into.

    Attributes:
        experiment: with its settings.
        data: its data.
        state: its state, with fresh weights.
    """

    experiment: Experiment
    data: Data
    state: TrainState


def settings_of(source: SourceFile, given: RunSettings) -> RunSettings:
    """The settings of a file's card, if it has one; given ones that are not the default win."""
    if source.card is None:
        return given
    kind = type(given)
    own = merged(config_from(source.card.settings, kind), given, kind())
    return replace(own, run=given.run, root=given.root, resume="auto", debug=given.debug)


def merged(base: Any, given: Any, default: Any) -> Any:
    """The base with those settings, of `given`, that are not the default."""
    changes = {}
    for name in (field.name for field in fields(base)):
        old, new, usual = (getattr(settings, name) for settings in (base, given, default))
        if is_dataclass(old):
            changes[name] = merged(old, new, usual)
        elif new != usual:
            changes[name] = new
    return replace(base, **changes)


def prepare(project: Project, config: RunSettings) -> Start:
    """Builds the fresh state of a run, as train.py does.

    Raises:
        ConfigurationError: the models or the data cannot be had from these settings.
    """
    keras.utils.set_random_seed(config.seed)
    experiment = project.load_experiment()(config)
    data = experiment.data()
    state = TrainState(experiment.task(data), data.element_spec, experiment.hooks())
    return Start(experiment, data, state)


def require_whole(source: SourceFile, plan: Plan, *, partial: bool) -> None:
    """Raises ImportMismatch unless everything fits or, if `partial`, at least something does."""
    if plan.differences and not (partial and plan.moves):
        # An optimizer follows the weights: it is worth a line only where nothing else is.
        weights = [entry for entry in plan.differences if not entry.path.startswith("optimizer/")]
        raise ImportMismatch(source.path, weights or plan.differences)


def assign(source: SourceFile, plan: Plan, start: Start) -> None:
    """Reads a file and puts its values into the fresh state.

    Raises:
        DamagedCheckpoint: it cannot be read; nothing was assigned.
    """
    values = source.read(partial(learning_rate_at, start.state.task.optimizer))
    variables = targets_of(start.state)
    for move in plan.moves:
        _, variable = variables[move.target]
        variable.assign(tf.cast(values[move.name], variable.dtype))


def save(source: SourceFile, start: Start) -> str | None:
    """Saves the state as the first checkpoint of a run, and gives its path.

    Raises:
        ConfigurationError: the run has checkpoints.
        RunLocked: another process trains it.
        SaveFailed: it cannot be written.
    """
    origin = Origin("import", (str(source.path),))
    return create_run(origin, start.experiment, start.data, start.state)
