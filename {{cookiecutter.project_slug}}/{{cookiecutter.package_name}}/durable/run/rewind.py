"""Making an earlier checkpoint the newest of its run. What came after it is set aside.

At every moment each checkpoint is whole in one place at least, the log of what is left in the run
has no gap, and train.py can go on: copies come before removals, the newest is moved first, and the
log is cut last.
"""

from dataclasses import dataclass
from datetime import UTC, datetime

from etils import epath

from .. import files
from ..checkpoint import bundle, directory
from ..checkpoint.directory import Directory
from ..errors import RewindFailed, UserError
from ..remote import storage_errors
from . import history
from .history import copy_log, lines_after, rewind_lines, rewind_log
from .paths import RunPaths, SupersededPaths
from .references import rule_of_best


@dataclass(frozen=True)
class Rewound:
    """What a rewind did.

    Attributes:
        steps: of the checkpoints that were set aside.
        folder: where they are; None where there was none to set aside.
    """

    steps: list[int]
    folder: epath.Path | None


def rewind(paths: RunPaths, target: epath.Path) -> Rewound | None:
    """Makes a checkpoint the newest of its run.

    Args:
        paths: of the run, whose lock is held.
        target: a good checkpoint of it, that has a card.

    Returns:
        What was done; None where it is the newest already.

    Raises:
        RewindFailed: the disk is full or read-only, say. Nothing is lost.
    """
    try:
        tidy(paths)
        step = bundle.step_of(target)
        returned = Directory(paths.checkpoints).bring_back(target)
        later = after(step, paths.checkpoints)
        later_best = after(step, paths.best)
        if not later and not later_best:
            return Rewound([], None) if returned else None
        aside = new_folder(paths)
        files.require_space(paths.folder, sum(map(bundle.size_of, [*later, *later_best])))
        set_aside(paths, step, aside)
    except UserError:
        raise
    except storage_errors(paths.folder) as error:
        raise RewindFailed(
            f"The rewind of run {paths.run!r} was not finished: {error}\n"
            "Nothing is lost. Put this right and run it again."
        ) from error
    steps = {bundle.step_of(checkpoint) for checkpoint in [*later, *later_best]}
    return Rewound(sorted(steps), aside.folder)


def tidy(paths: RunPaths) -> None:
    """Removes what killed saves and rewinds left."""
    Directory(paths.checkpoints).tidy()
    Directory(paths.best).sweep()
    tidy_rewinds(paths)


def tidy_rewinds(paths: RunPaths) -> None:
    """Removes what rewinds that were not finished left in the run and where they set it aside."""
    asides = [paths.superseded_at(name) for name in files.entry_names(paths.superseded)]
    texts = [text for aside in asides for text in (aside.metrics, aside.history)]
    for text in (paths.metrics, paths.history, *texts):
        (text.parent / f"{text.name}{files.TEMPORARY}").unlink(missing_ok=True)
    for aside in asides:
        for folder in (aside.checkpoints, aside.best):
            Directory(folder).sweep()


def after(step: int, folder: epath.Path) -> list[epath.Path]:
    """The checkpoints of later steps in a folder, newest first."""
    found = reversed(bundle.find_checkpoints(folder))
    return [checkpoint for checkpoint in found if bundle.step_of(checkpoint) > step]


def new_folder(paths: RunPaths) -> SupersededPaths:
    """Makes a folder, named after the present time in UTC, for what is set aside."""
    time = f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}"
    name, number = time, 0
    while files.exists(paths.superseded_at(name).folder):
        number += 1
        name = f"{time}-{number}"
    aside = paths.superseded_at(name)
    files.make_folder(aside.best)
    return aside


def set_aside(paths: RunPaths, step: int, aside: SupersededPaths) -> None:
    """Moves what came after a step; see the order at the head of this file."""
    copy_log(paths, step, aside)
    if text := lines_after(paths.history, step):
        files.write_text(aside.history, text)
    later = after(step, paths.checkpoints)
    staying = [path for path in Directory(paths.checkpoints).whole() if path not in later]
    choose_best(paths, staying)
    # Before the files go: TensorFlow's managers take one that is named and missing for damaged.
    directory.write_state(paths.checkpoints, staying)
    for checkpoint in later:
        if bundle.is_whole(checkpoint):
            bundle.move(checkpoint, aside.checkpoints)
        else:
            bundle.set_aside(checkpoint)
    for checkpoint in after(step, paths.best):
        bundle.move(checkpoint, aside.best)
    rewind_log(paths, step)
    rewind_lines(paths.history, step)
    history.record(paths, "rewind", step, superseded=aside.folder.name)


def choose_best(paths: RunPaths, staying: list[epath.Path]) -> None:
    """Copies into best/ those that become the best, where one that is in it goes."""
    later = after(bundle.step_of(staying[-1]), paths.best)
    if not later:
        return
    kept = [path for path in bundle.find_checkpoints(paths.best) if path not in later]
    names = {path.name for path in kept}
    candidates = [*kept, *(path for path in staying if path.name not in names)]
    best = rule_of_best(paths, staying[-1])
    for chosen in best.rank(sorted(candidates, key=bundle.step_of))[: best.count]:
        if chosen not in kept:
            bundle.copy(chosen, paths.best)
