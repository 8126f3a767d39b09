"""Keeping an average of checkpoints as a run of its own."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace

import tensorflow as tf

from . import history
from .checkpoints import Best, CheckpointManager
from .checkpoints.card import Origin
from .checkpoints.directory import Directory
from .config_file import config_from, record_config
from .data import Data
from .errors import ConfigurationError
from .members import Member, newest_of
from .paths import Paths
from .session import RunLock
from .state import TrainState


def require_new(paths: Paths) -> None:
    """Raises ConfigurationError if a run has any trace of a checkpoint."""
    directory = Directory(paths.checkpoints)
    if directory.found() or directory.missing() or directory.damaged():
        raise ConfigurationError(
            f"Run {paths.run!r} has checkpoints already: give another name to --save-as."
        )


def save_average(
    paths: Paths,
    members: Sequence[Member],
    state: TrainState,
    data: Data,
    metrics: Mapping[str, float],
) -> None:
    """Saves an average as the only checkpoint of a new run, with the newest member's settings.

    Args:
        paths: of the new run.
        members: of the average.
        state: the average.
        data: what the members were trained on.
        metrics: of the average.

    Raises:
        ConfigurationError: the run has checkpoints already.
        RunLocked: another process trains it.
        SaveFailed: it could not be written; nothing is left of it.
    """
    newest, names = newest_of(members), [member.name for member in members]
    config = config_from(newest.card.settings)
    config = replace(
        config, run=paths.run, root=str(paths.root), resume="auto", fork_from=None, partial=False
    )
    with RunLock(paths):
        require_new(paths)
        manager = CheckpointManager(
            tf.train.Checkpoint(**state.parts),
            paths.checkpoints,
            best=Best(paths.best, config.best_metric, config.best_mode),
            steps_per_epoch=data.steps_per_epoch,
            settings=asdict(config),
            identity=config.identity() | data.identity,
            origin=Origin("average", tuple(names)),
        )
        record_config(config, paths.config)
        manager.save(metrics=metrics)
        history.record(paths, "average", newest.card.step, sources=names)
