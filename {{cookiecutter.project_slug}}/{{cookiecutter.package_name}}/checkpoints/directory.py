"""A directory of checkpoints: what is in it, whatever its `checkpoint` file says."""

from etils import epath

from . import files
from .retention import Retention
from .verification import condition_of


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
        return files.find_checkpoints(self.folder, self.name)

    def whole(self) -> list[epath.Path]:
        """The checkpoints whose files are all there, oldest first."""
        return [checkpoint for checkpoint in self.found() if files.is_whole(checkpoint)]

    def damaged(self) -> list[epath.Path]:
        """The checkpoints that were set aside because they are damaged, oldest first."""
        return files.find_checkpoints(self.folder / files.DAMAGED, self.name)

    def missing(self) -> list[epath.Path]:
        """Checkpoints newer than any that is there, of which only the state file knows."""
        found = self.found()
        newest = files.step_of(found[-1]) if found else -1
        recorded = files.recorded_checkpoints(self.folder)
        return [path for path in recorded if files.step_of(path) > newest]

    def is_empty(self) -> bool:
        """Whether there is no trace of a checkpoint: no usable, no damaged and no missing one."""
        return not (self.found() or self.missing() or self.damaged())

    def tidy(self) -> None:
        """Removes what killed saves left, and puts the state file right."""
        if self.folder.exists():
            files.sweep(self.folder)
            files.repair_state(self.folder, self.whole())

    def prune(self, retention: Retention) -> None:
        """Removes the checkpoints that the retention does not keep."""
        whole = self.whole()
        kept = retention.choose(whole)
        files.write_state(self.folder, kept)
        for checkpoint in whole:
            if checkpoint not in kept and not files.is_pinned(checkpoint):  # it may be by now
                files.remove(checkpoint)

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
        if files.files_of(place):
            files.set_aside(place)
        files.copy(copied, self.folder)
        return True
