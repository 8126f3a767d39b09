"""Making a run from a file to import: everything is read and checked before anything is changed."""

from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any

import tensorflow as tf

from .. import beginning
from ..checkpoints.card import Origin
from ..checkpoints.errors import ImportMismatch
from ..compat import keras
from ..config import Config
from ..config_file import config_from
from ..data import Data
from ..datasets import load_data
from ..optimizers import build_optimizer, build_schedule
from ..state import TrainState
from .foreign import Foreign
from .names import targets_of
from .plan import Plan


@dataclass(frozen=True)
class Start:
    """A run before its first step: what a file is imported into.

    Attributes:
        config: its settings.
        data: its data.
        state: its state, with fresh weights.
    """

    config: Config
    data: Data
    state: TrainState


def settings_of(foreign: Foreign, given: Config) -> Config:
    """The settings of a file's card, if it has one; given ones that are not the default win."""
    if foreign.card is None:
        return given
    own = merged(config_from(foreign.card.settings), given, Config())
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


def prepare(config: Config) -> Start:
    """Builds the fresh state of a run, as train.py does.

    Raises:
        ConfigurationError: the model or the data cannot be had from these settings.
    """
    # Here, so that other commands work while a model's file is being written.
    from ..models import build_model  # noqa: PLC0415

    keras.utils.set_random_seed(config.seed)
    data = load_data(config.data)
    model = build_model(config.model, data.shape, data.classes)
    optimizer = build_optimizer(config.optimizer, data.steps_per_epoch)
    return Start(config, data, TrainState(model, optimizer, data.shape))


def require_whole(foreign: Foreign, plan: Plan, *, partial: bool) -> None:
    """Raises ImportMismatch unless everything fits or, if `partial`, at least something does."""
    if plan.differences and not (partial and plan.moves):
        # An optimizer follows the weights: it is worth a line only where nothing else is.
        weights = [entry for entry in plan.differences if not entry.path.startswith("optimizer/")]
        raise ImportMismatch(foreign.path, weights or plan.differences)


def assign(foreign: Foreign, plan: Plan, start: Start) -> None:
    """Reads a file and puts its values into the fresh state.

    Raises:
        DamagedCheckpoint: it cannot be read; nothing was assigned.
    """
    schedule = build_schedule(start.config.optimizer, start.data.steps_per_epoch)
    values = foreign.read(lambda step: float(schedule(step)))
    variables = targets_of(start.state)
    for move in plan.moves:
        _, variable = variables[move.target]
        variable.assign(tf.cast(values[move.name], variable.dtype))


def save(foreign: Foreign, start: Start) -> str | None:
    """Saves the state as the first checkpoint of a run, and gives its path.

    Raises:
        ConfigurationError: the run has checkpoints.
        RunLocked: another process trains it.
        SaveFailed: it cannot be written.
    """
    origin = Origin("import", (str(foreign.path),))
    return beginning.begin(origin, start.config, start.data, start.state)
