"""How a run begins: resumed, forked from another one, or from scratch."""

from . import history
from .checkpoints import CheckpointManager
from .checkpoints.files import step_of
from .checkpoints.locate import find, resolve
from .config import Config
from .errors import ConfigurationError
from .paths import Paths


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
    manager.fork(source, f"{parent.run}@{step_of(source)}", partial=partial)


def check_origin(config: Config, paths: Paths, manager: CheckpointManager) -> None:
    """Raises ConfigurationError if --fork-from names what a resumed run was not forked from."""
    if config.fork_from is None:
        return
    parent, at = named_parent(config.fork_from, paths)
    source = manager.origin.sources[0] if manager.origin else "no other run"
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
