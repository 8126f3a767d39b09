"""Finding a checkpoint by what a user calls it."""

from etils import epath

from ..errors import ConfigurationError
from ..paths import Paths
from . import files
from .errors import DamagedCheckpoint
from .reader import read_card


def all_checkpoints(paths: Paths) -> list[epath.Path]:
    """The checkpoints of a run, oldest first, the copy in best/ only where it is the last one.

    Raises:
        ConfigurationError: there is no such run, or it has no checkpoints.
    """
    if not paths.folder.exists():
        runs = sorted(run.name for run in paths.runs.iterdir()) if paths.runs.exists() else []
        raise ConfigurationError(
            f"There is no run {paths.run!r} in {paths.runs}. Runs: {', '.join(runs) or 'none'}."
        )
    found = files.find_checkpoints(paths.checkpoints)
    steps = {files.step_of(checkpoint) for checkpoint in found}
    best = files.find_checkpoints(paths.best)
    found += [checkpoint for checkpoint in best if files.step_of(checkpoint) not in steps]
    if not found:
        raise ConfigurationError(f"Run {paths.run!r} has no checkpoints in {paths.checkpoints}.")
    return sorted(found, key=files.step_of)


def locate(paths: Paths, at: str) -> epath.Path:
    """The checkpoint that `at` names: latest, best, a step, or the last one of epoch:N.

    Raises:
        ConfigurationError: there is none of that name.
    """
    checkpoints = all_checkpoints(paths)
    if at == "latest":
        return checkpoints[-1]
    if at == "best":
        best = files.find_checkpoints(paths.best)
        if not best:
            raise ConfigurationError(f"Run {paths.run!r} has no best checkpoint in {paths.best}.")
        return best[-1]
    kind, _, number = at.rpartition(":")
    if kind not in ("", "epoch") or not number.isdecimal():
        raise ConfigurationError(
            f"{at!r} is not a checkpoint: give latest, best, a step such as 440, or epoch:10."
        )
    value_of = epoch_of if kind else files.step_of
    matching = [checkpoint for checkpoint in checkpoints if value_of(checkpoint) == int(number)]
    if not matching:
        known = ", ".join(str(value_of(checkpoint)) for checkpoint in checkpoints)
        raise ConfigurationError(
            f"Run {paths.run!r} has no checkpoint of {kind or 'step'} {number}. "
            f"It has those of {kind or 'step'} {known}."
        )
    return matching[-1]


def epoch_of(checkpoint: epath.Path) -> int | None:
    """The epoch in the card of a checkpoint; None where it cannot be read."""
    try:
        return read_card(checkpoint).epoch
    except DamagedCheckpoint:
        return None
