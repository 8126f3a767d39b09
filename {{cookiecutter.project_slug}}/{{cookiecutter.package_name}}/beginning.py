"""How a run begins: from scratch, resumed, or from a state that was made elsewhere."""

import logging
from collections.abc import Mapping
from dataclasses import asdict

import tensorflow as tf
from etils import epath

from . import history
from .checkpoints import Best, CheckpointManager
from .checkpoints.card import Origin
from .checkpoints.difference import table_of
from .checkpoints.directory import Directory
from .checkpoints.files import step_of
from .checkpoints.locate import find, resolve
from .checkpoints.restore import Restorer
from .checkpoints.verification import condition_of
from .config import Config
from .config_file import record_config
from .data import Data
from .errors import ConfigurationError
from .paths import Paths
from .session import RunLock
from .state import TrainState

log = logging.getLogger(__name__)


def check_resume(config: Config, manager: CheckpointManager) -> None:
    """Raises ConfigurationError if --resume forbids what is there."""
    if config.resume == "never" and manager.has_checkpoints:
        raise ConfigurationError(
            f"There are checkpoints in {manager.directory}, and --resume never was given. "
            "Start another run with --run NAME, or resume this one."
        )
    if config.resume == "require" and not manager.has_checkpoints:
        raise ConfigurationError(
            f"There is no checkpoint in {manager.directory}, and --resume require was given."
        )


def fork(reference: str, paths: Paths, manager: CheckpointManager, *, partial: bool) -> None:
    """Starts the run from the checkpoint of another one.

    Args:
        reference: what --fork-from names.
        paths: those of the new run.
        manager: the new run's.
        partial: whether to take over what fits, where not everything does.

    Raises:
        ConfigurationError: there is no such checkpoint.
        CheckpointMismatch: it does not fit, and `partial` is false.
    """
    parent, at = named_parent(reference, paths)
    source = find(parent, at)
    restorer = Restorer(manager.checkpoint, identity={})
    card, differences = restorer.take_over(source, partial=partial)
    log.info("Forked %s from %s.", card.place, source)
    if differences:
        log.warning("Not everything was taken over:\n%s", table_of(differences).rstrip())
    kind = "partial fork" if differences else "fork"
    manager.origin = Origin(kind, (f"{parent.run}@{step_of(source)}",))
    manager.save()  # at once: killed before the next save is due, it would be a fresh start


def require_new(paths: Paths) -> None:
    """Raises ConfigurationError if a run has any trace of a checkpoint."""
    if not Directory(paths.checkpoints).is_empty():
        raise ConfigurationError(
            f"Run {paths.run!r} has checkpoints already: give the new run another name."
        )


def begin(
    origin: Origin,
    config: Config,
    data: Data,
    state: TrainState,
    metrics: Mapping[str, float] | None = None,
) -> str | None:
    """Makes a new run whose first checkpoint is a state that comes from elsewhere.

    Args:
        origin: where it comes from.
        config: the settings of the run, which has no checkpoints yet.
        data: its data.
        state: its state.
        metrics: of the state, for the card.

    Returns:
        The path of the checkpoint.

    Raises:
        ConfigurationError: the run has checkpoints.
        RunLocked: another process trains it.
        SaveFailed: it cannot be written; nothing is left of it.
    """
    paths = Paths(config.root, config.run)
    with RunLock(paths):
        require_new(paths)
        manager = CheckpointManager(
            tf.train.Checkpoint(**state.parts),
            paths.checkpoints,
            best=Best(paths.best, config.best_metric, config.best_mode),
            steps_per_epoch=data.steps_per_epoch,
            settings=asdict(config),
            identity=config.identity() | data.identity,
        )
        record_config(config, paths.config)
        manager.origin = origin
        saved = manager.save(metrics=metrics)
        record(paths, int(state.step), manager)
    return saved


def check_origin(config: Config, paths: Paths, manager: CheckpointManager) -> None:
    """Raises ConfigurationError if --fork-from names what a resumed run was not forked from."""
    if config.fork_from is None:
        return
    newest_first = map(epath.Path, reversed(manager.checkpoints))
    cards = (condition_of(checkpoint, quick=True).card for checkpoint in newest_first)
    card = next(filter(None, cards), None)
    if card is None:
        return
    parent, at = named_parent(config.fork_from, paths)
    source = card.origin.sources[0] if card.origin else "no other run"
    run, _, step = source.partition("@")
    # A name such as best may mean another step by now.
    if run != parent.run or (at.isdecimal() and at != step):
        raise ConfigurationError(
            f"Run {paths.run!r} has checkpoints already, and was forked from {source}: "
            f"--fork-from {config.fork_from} needs a new run, with --run NAME."
        )


def named_parent(reference: str, paths: Paths) -> tuple[Paths, str]:
    """The run and the checkpoint that --fork-from names."""
    return resolve(paths, reference if "@" in reference else f"{reference}@latest")


def record(paths: Paths, step: int, manager: CheckpointManager) -> None:
    """Adds the beginning to the history of the run."""
    if history.read_history(paths):
        history.record(paths, "resume", step)
    elif manager.origin is None:
        history.record(paths, "start", step)
    else:
        sources = list(manager.origin.sources)
        history.record(paths, manager.origin.kind, step, sources=sources)
