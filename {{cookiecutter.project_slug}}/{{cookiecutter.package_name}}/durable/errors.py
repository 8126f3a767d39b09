"""The errors that a user can cause: one clear line each, and an exit code."""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass

from etils import epath

# The project's own package, whose commands the messages name.
PACKAGE = __package__.rpartition(".")[0]


class UserError(Exception):
    """Something that the user can put right; the message says how."""

    exit_code = 2


class ConfigurationError(UserError):
    """A setting or an input file is not usable."""


class RewindFailed(UserError):
    """The disk kept a rewind from coming to its end. Nothing is lost."""

    exit_code = 1


class ExportFailed(UserError):
    """A model could not be written, or does not predict what the live one does. Nothing is left."""

    exit_code = 1


class RunLocked(UserError):
    """Another process trains this run."""

    exit_code = 5


class WorkerFailed(UserError):
    """Another worker has failed, and this one ends like it: by the same message and code."""

    def __init__(self, exit_code: str, message: str) -> None:
        super().__init__(message)
        self.exit_code = int(exit_code)


class WorkerLost(UserError):
    """Another worker has ended, or does not answer."""

    exit_code = 1


def in_one_line(error: Exception) -> str:
    """The text of an error in one line; of one without, its class."""
    return " ".join(str(error).split()) or type(error).__name__


@dataclass(frozen=True)
class Difference:
    """One line of a mismatch report.

    Attributes:
        symbol: `!` another shape or type, `-` only in the checkpoint, `+` only in the model,
            `~` another setting or order. Of two checkpoints, the second stands for the model.
        path: of the variable, layer or setting.
        text: what differs.
    """

    symbol: str
    path: str
    text: str


def format_differences(differences: Sequence[Difference]) -> str:
    """The differences as lines of text, their columns aligned."""
    width = max(len(difference.path) for difference in differences)
    return "".join(
        f"  {entry.symbol} {entry.path:<{width}}  {entry.text}\n" for entry in differences
    )


class CheckpointMismatch(UserError):
    """A checkpoint does not fit. Nothing was restored.

    Attributes:
        checkpoint: the path of the checkpoint.
        differences: what differs, each with its symbol, path and text.

    Args:
        advice: what to do about it; by default, what can be done in a project.
    """

    exit_code = 3

    def __init__(
        self,
        checkpoint: epath.Path,
        differences: Sequence[Difference],
        advice: Sequence[str] = (),
    ) -> None:
        self.checkpoint = checkpoint
        self.differences = list(differences)
        super().__init__(
            f"Checkpoint {checkpoint} does not fit this model. Nothing was restored.\n"
            f"{format_differences(differences)}{' '.join(advice) or self._way_out()}"
        )

    def _way_out(self) -> str:
        if any(difference.path == "keras" for difference in self.differences):
            path = shlex.quote(str(self.checkpoint))
            return f"Take it over with: python -m {PACKAGE} import {path} --run NAME"
        folder, step = self.checkpoint.parent, self.checkpoint.name.rpartition("-")[2]
        run = (folder.parent if folder.name == "best" else folder).parent.name
        return (
            "Start another run with --run NAME, or take over what fits with "
            f"--fork-from {run}@{step} --partial."
        )


class ImportMismatch(CheckpointMismatch):
    """A file that was to be imported does not fit. Nothing was imported.

    Attributes:
        checkpoint: the path of the file.
        differences: what differs, each with its symbol, path and text.
    """

    def _way_out(self) -> str:
        return (
            "Look at the whole plan with --dry-run, match names with --map OLD=NEW, or take over "
            "what fits with --partial."
        )


class CardMissing(UserError):
    """A checkpoint has no card: something else wrote it. Nothing was restored."""

    exit_code = 3

    def __init__(self, checkpoint: epath.Path) -> None:
        super().__init__(
            f"Checkpoint {checkpoint} has no card: this project did not save it. Make a run of it "
            f"with: python -m {PACKAGE} import {shlex.quote(str(checkpoint))} --run NAME"
        )


class DamagedCheckpoint(UserError):
    """A checkpoint's files are missing, cut short, altered or unreadable."""

    exit_code = 4

    def __init__(self, checkpoint: epath.Path, reason: str) -> None:
        self.checkpoint = checkpoint
        self.reason = reason
        super().__init__(f"Checkpoint {checkpoint} is damaged: {reason}")


class UnreadableCheckpoint(UserError):
    """A checkpoint, or the folder of them, cannot be read at present, which is no damage."""

    exit_code = 4

    def __init__(self, checkpoint: epath.PathLike, error: Exception) -> None:
        super().__init__(
            f"{checkpoint} cannot be read at present: {in_one_line(error)}. "
            "Nothing was changed. Put this right and run it again."
        )


class NoUsableCheckpoint(UserError):
    """Checkpoints exist and none can be restored. Nothing was changed."""

    exit_code = 4

    def __init__(self, directory: epath.Path, damaged: Sequence[DamagedCheckpoint]) -> None:
        self.directory = directory
        self.damaged = list(damaged)
        reasons = "".join(f"  {error.checkpoint.name}: {error.reason}\n" for error in damaged)
        super().__init__(
            f"No checkpoint in {directory} is usable. Nothing was changed.\n"
            f"{reasons}Damaged ones may be in damaged/, and a good copy in best/: put it back, or "
            "start another run with --run NAME."
        )


class SaveFailed(UserError):
    """Saving failed as often in a row as is tolerated. What was saved before is untouched."""

    exit_code = 1

    def __init__(self, directory: epath.Path, failures: int, error: BaseException) -> None:
        super().__init__(
            f"Saving to {directory} failed, {failures} in a row: {error}\n"
            "What was saved before is untouched. Put this right and run it again to resume."
        )


class NotFinite(UserError):
    """The loss or the weights are no numbers any more. Such a state is never saved."""

    exit_code = 1


class CheckpointExists(UserError):
    """A checkpoint would have been overwritten. Nothing was."""

    def __init__(self, checkpoint: epath.Path) -> None:
        super().__init__(f"Checkpoint {checkpoint} exists already, and is never overwritten.")
