"""The state that a checkpoint was saved from, built anew from what its card says."""

import tensorflow as tf
from etils import epath

from .checkpoints import Card
from .checkpoints.restore import Restorer
from .config_file import config_from
from .data import Data
from .errors import ConfigurationError
from .optimizers import build_optimizer
from .state import TrainState


def rebuild(card: Card) -> TrainState:
    """Builds the model and the optimizer of a card with the present code. Nothing is restored.

    Raises:
        ConfigurationError: the card does not tell enough, or the model cannot be built.
    """
    # Here, so that other commands work while a model's file is being written.
    from .models import build_model  # noqa: PLC0415

    identity = card.structure.identity
    if "data.shape" not in identity:
        raise ConfigurationError(
            "The checkpoint does not tell the shape of its examples: train.py did not save it."
        )
    config = config_from(card.settings)
    shape = tuple(identity["data.shape"])
    model = build_model(config.model, shape, identity["data.classes"])
    # Any length of an epoch will do: a schedule is not saved.
    return TrainState(model, build_optimizer(config.optimizer, steps_per_epoch=1), shape)


def restore(path: epath.Path, state: TrainState, data: Data | None = None) -> Card:
    """Restores a checkpoint into a state, all of it or nothing, and gives its card.

    Args:
        path: of the checkpoint.
        state: what to restore into.
        data: where it matters, the data that the checkpoint must have been trained on.

    Raises:
        CheckpointMismatch, DamagedCheckpoint, ForeignCheckpoint: as `Restorer.restore`.
    """
    identity = {} if data is None else data.identity
    return Restorer(tf.train.Checkpoint(**state.parts), identity).restore(path)
