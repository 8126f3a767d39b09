"""How a run begins: from scratch, resumed, or from a state that was made elsewhere."""

import logging
import subprocess
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import tensorflow as tf
from etils import epath

from ..checkpoint import shared
from ..checkpoint.bundle import step_of
from ..checkpoint.card import Origin
from ..checkpoint.directory import Directory
from ..checkpoint.graph import SAVING_ERRORS
from ..checkpoint.manager import CheckpointManager
from ..checkpoint.reader import condition_of
from ..checkpoint.restore import Restorer
from ..checkpoint.retention import Best
from ..data.protocol import Data, data_state, spec_as_json
from ..errors import ConfigurationError, format_differences
from . import history
from .experiment import Experiment
from .paths import RunPaths
from .references import find, resolve
from .rewind import tidy_rewinds
from .session import RunLock
from .settings import RunSettings, Settings, record_config
from .state import TrainState
from .stopping import best_metric
from .trackers import prepare_tracker

log = logging.getLogger(__name__)

GIT_TIMEOUT = 10  # seconds; a run is worth more than to wait for a slow file system


def check_start(config: RunSettings, paths: RunPaths, manager: CheckpointManager) -> None:
    """Raises ConfigurationError if a setting forbids what is there, or a tracker cannot be used."""
    has_checkpoints = manager.has_checkpoints
    if config.resume == "never" and has_checkpoints:
        raise ConfigurationError(
            f"There are checkpoints in {manager.directory}, and --resume never was given. "
            "Start another run with --run NAME, or resume this one."
        )
    if config.resume == "require" and not has_checkpoints:
        raise ConfigurationError(
            f"There is no checkpoint in {manager.directory}, and --resume require was given."
        )
    manager.workers.lead(lambda: prepare_tracker(config, paths))
    if config.fork_from is not None and has_checkpoints:
        manager.workers.lead(partial(check_origin, config.fork_from, paths, manager))


def fork(config: RunSettings, paths: RunPaths, manager: CheckpointManager) -> None:
    """Starts the run from the checkpoint of another one, which --fork-from names.

    Args:
        config: with --partial, what fits is taken over, where not everything does.
        paths: those of the new run.
        manager: the new run's.

    Raises:
        ConfigurationError: there is no such checkpoint.
        CheckpointMismatch: it does not fit, and not a part of it was asked for.
    """
    workers = manager.workers
    parent, at = resolve_parent(str(config.fork_from), paths)
    source = epath.Path(workers.lead(lambda: str(find(parent, at))) or "")
    restorer = Restorer(manager.checkpoint, identity={})
    with workers.together():
        card, differences = restorer.transfer(source, partial=config.partial)
    log.info("Forked %s from %s.", card.place, source)
    restorer.tell_fresh_means(source, card)
    if differences:
        log.warning("Not everything was taken over:\n%s", format_differences(differences).rstrip())
    kind = "partial fork" if differences else "fork"
    if workers.is_chief:
        with suppress(*SAVING_ERRORS):  # what cannot be linked is written anew
            shared.bring(source, epath.Path(manager.directory))
    manager.origin = Origin(kind, (f"{parent.run}@{step_of(source)}",))
    manager.save()  # at once: killed before the next save is due, it would be a fresh start


def require_new(paths: RunPaths) -> None:
    """Raises ConfigurationError if a run has any trace of a checkpoint."""
    if not Directory(paths.checkpoints).is_empty():
        raise ConfigurationError(
            f"Run {paths.run!r} has checkpoints already: give the new run another name."
        )


def create_run(
    origin: Origin,
    experiment: Experiment,
    data: Data,
    state: TrainState,
    metrics: Mapping[str, float] | None = None,
) -> str | None:
    """Makes a new run whose first checkpoint is a state that comes from elsewhere.

    Args:
        origin: where it comes from.
        experiment: with the settings of the run, which has no checkpoints yet.
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
    paths = experiment.paths
    config = with_best_metric(experiment.config, state)
    with RunLock(paths):
        require_new(paths)
        # Nothing trains meanwhile, and nothing would try again.
        options = manager_options(config, paths, data) | {"background": False, "max_failures": 1}
        checkpoint = tf.train.Checkpoint(**state.parts, **data_state(data, config.seed))
        manager = CheckpointManager(checkpoint, paths.checkpoints, **options)
        manager.origin = origin
        saved = manager.save(metrics=metrics)
        record_start(config, paths, int(state.step), manager)
    return saved


def manager_options(
    config: RunSettings,
    paths: RunPaths,
    data: Data,
    strategy: tf.distribute.Strategy | None = None,
) -> dict[str, Any]:
    """What the manager of a run is told beside what to save and where."""
    return {
        "max_to_keep": config.max_to_keep,
        "keep_checkpoint_every_n_hours": config.keep_every_hours,
        "best": Best(
            paths.best, str(config.best_metric), config.best_mode or "max", config.best_to_keep
        ),
        "steps_per_epoch": data.steps_per_epoch,
        "element_spec": spec_as_json(data.element_spec),
        "settings": asdict(config),
        "code": version_of_code(),
        "identity": config.identity() | dict(data.identity),
        "background": is_background(config.save_mode),
        "max_failures": config.max_save_failures,
        "strategy": strategy,
    }


def version_of_code() -> dict[str, Any]:
    """The git commit of this project's code, and whether files were changed since; else nothing."""
    # It must not lock the index: the user may be committing.
    git = ["git", "--no-optional-locks", "-C", str(Path(__file__).resolve().parent)]
    options: dict[str, Any] = {"capture_output": True, "text": True, "timeout": GIT_TIMEOUT}
    try:
        commit, changes = (
            subprocess.run([*git, *words], check=True, **options).stdout  # noqa: S603
            for words in (["rev-parse", "HEAD"], ["status", "--porcelain"])
        )
    except (OSError, subprocess.SubprocessError):  # no git, no repository, no commit yet
        return {}
    return {"commit": commit.strip(), "changed": bool(changes)}


def is_background(save_mode: str) -> bool:
    """Whether to save in the background. Without an accelerator, writing would slow training."""
    accelerated = any(device.device_type != "CPU" for device in tf.config.list_physical_devices())
    return save_mode == "background" or (save_mode == "auto" and accelerated)


def with_best_metric(config: Settings, state: TrainState) -> Settings:
    """The configuration with the metric and the mode that decide which checkpoint is the best.

    Raises:
        ConfigurationError: the task has no such metric.
    """
    task = state.task
    metric, mode = best_metric(config, task)
    known = [*state.line.names, *(f"val_{name}" for name in state.line.names)]
    if metric not in known:
        raise ConfigurationError(
            f"--best-metric {metric} is unknown. Known are: {', '.join(known)}."
        )
    return replace(config, best_metric=metric, best_mode=mode)


def check_origin(reference: str, paths: RunPaths, manager: CheckpointManager) -> None:
    """Raises ConfigurationError if --fork-from names what a resumed run was not forked from."""
    newest_first = map(epath.Path, reversed(manager.checkpoints))
    cards = (condition_of(checkpoint, quick=True).card for checkpoint in newest_first)
    card = next(filter(None, cards), None)
    if card is None:
        return
    parent, at = resolve_parent(reference, paths)
    source = card.origin.sources[0] if card.origin else "no other run"
    run, _, step = source.partition("@")
    # A name such as best may mean another step by now.
    if run != parent.run or (at.isdecimal() and at != step):
        raise ConfigurationError(
            f"Run {paths.run!r} has checkpoints already, and was forked from {source}: "
            f"--fork-from {reference} needs a new run, with --run NAME."
        )


def resolve_parent(reference: str, paths: RunPaths) -> tuple[RunPaths, str]:
    """The run and the checkpoint that --fork-from names."""
    return resolve(paths, reference if "@" in reference else f"{reference}@latest")


def record_start(
    config: RunSettings, paths: RunPaths, step: int, manager: CheckpointManager
) -> None:
    """Writes the configuration, and adds the start to the history of the run.

    What a rewind that was not finished has left is removed: nobody may ever rewind again.
    """
    tidy_rewinds(paths)
    record_config(config, paths.config)
    if history.read_history(paths):
        history.record(paths, "resume", step)
    elif manager.origin is None:
        history.record(paths, "start", step)
    else:
        sources = list(manager.origin.sources)
        history.record(paths, manager.origin.kind, step, sources=sources)
