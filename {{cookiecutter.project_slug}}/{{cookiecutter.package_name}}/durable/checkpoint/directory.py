"""A directory of checkpoints: what is in it, whatever its `checkpoint` file says."""

import re

from etils import epath

from .. import files
from . import bundle
from .reader import condition_of
from .retention import Retention

STATE_FILE = "checkpoint"


class Directory:
    """The checkpoints of one name in a directory.

    Args:
        folder: the directory; it need not be there yet.
        name: the part of the checkpoints' names before the step.
    """

    def __init__(self, folder: epath.PathLike, name: str = "ckpt") -> None:
        self.folder = epath.Path(folder)
        self.name = name

    def found(self) -> list[epath.Path]:
        """Every checkpoint that at least one file belongs to, oldest first."""
        return bundle.find_checkpoints(self.folder, self.name)

    def whole(self) -> list[epath.Path]:
        """The checkpoints whose files are all there, oldest first."""
        return [checkpoint for checkpoint in self.found() if bundle.is_whole(checkpoint)]

    def damaged(self) -> list[epath.Path]:
        """The checkpoints that were set aside because they are damaged, oldest first."""
        return bundle.find_checkpoints(self.folder / bundle.DAMAGED, self.name)

    def missing(self) -> list[epath.Path]:
        """Checkpoints newer than any that is there, of which only the state file knows."""
        found = self.found()
        newest = bundle.step_of(found[-1]) if found else -1
        recorded = recorded_checkpoints(self.folder)
        return [path for path in recorded if bundle.step_of(path) > newest]

    def is_empty(self) -> bool:
        """Whether there is no trace of a checkpoint: no usable, no damaged and no missing one."""
        return not (self.found() or self.missing() or self.damaged())

    def tidy(self) -> None:
        """Removes what killed saves left, and puts the state file right."""
        if self.folder.exists():
            sweep(self.folder)
            repair_state(self.folder, self.whole())

    def prune(self, retention: Retention) -> None:
        """Removes the checkpoints that the retention does not keep."""
        whole = self.whole()
        kept = retention.choose(whole)
        write_state(self.folder, kept)
        for checkpoint in whole:
            if checkpoint not in kept and not bundle.is_pinned(checkpoint):  # it may be by now
                bundle.remove(checkpoint)

    def bring_back(self, copied: epath.Path) -> bool:
        """Copies a checkpoint that is elsewhere back into the directory, if it is not good there.

        Args:
            copied: a good copy.

        Returns:
            Whether it had to be copied. What was there of it was set aside.
        """
        place = self.folder / copied.name
        if place == copied or condition_of(place).state == "good":
            return False
        if bundle.files_of(place):
            bundle.set_aside(place)
        bundle.copy(copied, self.folder)
        return True


def recorded_checkpoints(directory: epath.Path) -> list[epath.Path]:
    """The checkpoints that the state file names, as far as it can be read."""
    state = directory / STATE_FILE
    if not state.exists():
        return []
    text = state.read_bytes().decode(errors="replace")
    names = re.findall(r'^all_model_checkpoint_paths: "(?:.*/)?([^"/]+-\d+)"', text, re.MULTILINE)
    return [directory / name for name in names]


def write_state(directory: epath.Path, checkpoints: list[epath.Path]) -> None:
    """Writes the state file, from which `tf.train.latest_checkpoint` knows the newest."""
    names = [checkpoint.name for checkpoint in checkpoints]
    lines = [f'model_checkpoint_path: "{names[-1]}"'] if names else []
    lines += [f'all_model_checkpoint_paths: "{name}"' for name in names]
    text = "".join(f"{line}\n" for line in lines)
    state = directory / STATE_FILE
    if not state.exists() or state.read_bytes() != text.encode():
        files.write_text(state, text)


def repair_state(directory: epath.Path, checkpoints: list[epath.Path]) -> None:
    """Makes the state file name the checkpoints that are there, and readable in any case."""
    named = checkpoints or recorded_checkpoints(directory)
    if named or (directory / STATE_FILE).exists():
        write_state(directory, named)


def sweep(directory: epath.Path) -> None:
    """Removes what killed saves and removals left in the directory."""
    for left_over in directory.glob(f"*{files.TEMPORARY}"):
        if left_over.is_dir():
            bundle.clear_unfinished(directory / left_over.name.removesuffix(files.TEMPORARY))
        else:
            left_over.unlink()
