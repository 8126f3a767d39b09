"""Finding a checkpoint by what a user calls it: 440, best, epoch:10, wide@440."""

import re
from collections.abc import Callable, Sequence
from typing import TypeVar

from etils import epath

from ..checkpoint import bundle
from ..checkpoint.card import read_card
from ..checkpoint.retention import Best
from ..errors import CardMissing, ConfigurationError, DamagedCheckpoint
from ..untrusted import Maybe, fits, is_count
from .paths import RunPaths
from .settings import read_settings

T = TypeVar("T")
TRIES = 4  # a trainer that saves all the time may be that quick again
RULE_OF_BEST = {
    "best_metric": str,
    "best_mode": re.compile("max|min"),
    "best_to_keep": Maybe(is_count),
}
CHECKPOINT = re.compile(rf"latest|best|(?:epoch:)?{bundle.STEP}")


def locate(paths: RunPaths, reference: str) -> epath.Path:
    """The checkpoint that a reference names.

    Args:
        paths: of the run that is meant where the reference names none.
        reference: latest, best, a step, or epoch:N for the last one of that epoch; with RUN@ before
            it, of that run; or RUN alone, for its latest.

    Raises:
        ConfigurationError: there is none of that name, or the name can mean two things.
    """
    return find(*resolve(paths, reference))


def again_if_removed(read: Callable[[], T]) -> T:
    """Calls what chooses a checkpoint and reads it; again, where a trainer removed it meanwhile."""
    for _ in range(TRIES):
        try:
            return read()
        except DamagedCheckpoint as error:
            if bundle.is_there(error.checkpoint):
                raise
        except FileNotFoundError:
            continue
    return read()


def resolve(paths: RunPaths, reference: str) -> tuple[RunPaths, str]:
    """The run that a reference means, and the checkpoint's name in it; see `locate`.

    Raises:
        ConfigurationError: it can mean two things, or nothing.
    """
    run, separator, at = reference.rpartition("@")
    if separator:
        return paths.of(run), at
    is_run = reference in names_of_runs(paths)
    if not CHECKPOINT.fullmatch(reference):
        if is_run:
            return paths.of(reference), "latest"
        raise ConfigurationError(
            f"{reference!r} is not a checkpoint: give latest, best, a step such as 440, epoch:10, "
            "or one of another run, such as wide@440."
        )
    if is_run and reference != paths.run:
        raise ConfigurationError(
            f"{reference!r} is ambiguous: there is a run of that name. "
            f"Give {paths.run}@{reference} or {reference}@latest."
        )
    return paths, reference


def find(paths: RunPaths, at: str) -> epath.Path:
    """The checkpoint of a run that `at` names: latest, best, a step, or the last one of epoch:N.

    Raises:
        ConfigurationError: there is none of that name.
    """
    checkpoints = all_checkpoints(paths)
    if not CHECKPOINT.fullmatch(at):
        raise ConfigurationError(
            f"{at!r} is not a checkpoint: give latest, best, a step such as 440, or epoch:10."
        )
    if at == "latest":
        return checkpoints[-1]
    if at == "best":
        best = bundle.find_checkpoints(paths.best)
        if not best:
            raise ConfigurationError(f"Run {paths.run!r} has no best checkpoint in {paths.best}.")
        return best[0] if len(best) == 1 else best_of_all(paths, best)
    kind, _, number = at.rpartition(":")
    value_of = epoch_of if kind else bundle.step_of
    matching = [checkpoint for checkpoint in checkpoints if value_of(checkpoint) == int(number)]
    if not matching:
        known = ", ".join(str(value_of(checkpoint)) for checkpoint in checkpoints)
        raise ConfigurationError(
            f"Run {paths.run!r} has no checkpoint of {kind or 'step'} {number}. "
            f"It has those of {kind or 'step'} {known}."
        )
    return matching[-1]


def best_of_all(paths: RunPaths, best: Sequence[epath.Path]) -> epath.Path:
    """The best of the checkpoints in best/; the newest where no card tells."""
    return next(iter(rule_of_best(paths, best[-1]).rank(best)), best[-1])


def rule_of_best(paths: RunPaths, checkpoint: epath.Path) -> Best:
    """What decides which checkpoints of a run are the best, as it was told at its last start.

    Args:
        paths: of the run.
        checkpoint: one of the run, whose card tells it if config.json does not.
    """
    settings = read_settings(paths.config)
    if not fits(settings, RULE_OF_BEST):
        settings = read_card(checkpoint).settings
    if not fits(settings, RULE_OF_BEST):
        raise ConfigurationError(
            f"Nothing tells which checkpoint of run {paths.run!r} is the best: restore "
            f"{paths.config}, or resume the run to write it anew."
        )
    count = settings.get("best_to_keep", 1)  # there was one before
    return Best(paths.best, settings["best_metric"], settings["best_mode"], count)


def all_checkpoints(paths: RunPaths) -> list[epath.Path]:
    """The checkpoints of a run, oldest first, a copy in best/ only where it is the last one.

    Raises:
        ConfigurationError: there is no such run, or it has no checkpoints.
    """
    if not paths.folder.exists():
        raise ConfigurationError(
            f"There is no run {paths.run!r} in {paths.runs}. "
            f"Runs: {', '.join(names_of_runs(paths)) or 'none'}."
        )
    found = bundle.find_checkpoints(paths.checkpoints)
    steps = {bundle.step_of(checkpoint) for checkpoint in found}
    best = bundle.find_checkpoints(paths.best)
    found += [checkpoint for checkpoint in best if bundle.step_of(checkpoint) not in steps]
    if not found:
        raise ConfigurationError(f"Run {paths.run!r} has no checkpoints in {paths.checkpoints}.")
    return sorted(found, key=bundle.step_of)


def newest_step(paths: RunPaths) -> int:
    """The step of the newest whole checkpoint; 0 where there is none."""
    found = bundle.find_checkpoints(paths.checkpoints)
    return max((bundle.step_of(path) for path in found if bundle.is_whole(path)), default=0)


def names_of_runs(paths: RunPaths) -> list[str]:
    """The names of all runs."""
    if not paths.runs.exists():
        return []
    return sorted(run.name for run in paths.runs.iterdir() if run.is_dir())


def epoch_of(checkpoint: epath.Path) -> int | None:
    """The epoch in the card of a checkpoint; None where it cannot be read."""
    try:
        return read_card(checkpoint).epoch
    except (DamagedCheckpoint, CardMissing):
        return None
