"""Scoring checkpoints on the data that they were trained on."""

from collections.abc import Sequence
from dataclasses import replace

from ..config_file import config_from
from ..data import Data
from ..datasets import load_data
from ..rebuild import rebuild, restore
from .members import Member, newest_of
from .predictions import Predictions, predict


def data_of(members: Sequence[Member], path: str | None = None) -> Data:
    """The data that checkpoints were trained on, as the newest of them has them.

    Args:
        members: at least one; all were trained on the same examples.
        path: of the data file, if it was moved since.

    Raises:
        ConfigurationError: the data cannot be read.
    """
    config = config_from(newest_of(members).card.settings).data
    return load_data(replace(config, path=path or config.path))


def score(member: Member, data: Data) -> Predictions:
    """What a checkpoint predicts for the held-out examples.

    Raises:
        CheckpointMismatch: it does not fit the present code, or was trained on other data.
        DamagedCheckpoint: its files are damaged.
    """
    state = rebuild(member.card)
    restore(member.path, state, data)
    return predict(state.model, data)
