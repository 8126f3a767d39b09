"""What can be wrong with checkpoints."""

import shlex
from collections.abc import Sequence

from etils import epath

from ..errors import UserError
from .difference import Difference, table_of


class CheckpointMismatch(UserError):
    """A checkpoint does not fit. Nothing was restored.

    Attributes:
        checkpoint: the path of the checkpoint.
        differences: what differs, each with its symbol, path and text.
    """

    exit_code = 3

    def __init__(self, checkpoint: epath.Path, differences: Sequence[Difference]) -> None:
        self.checkpoint = checkpoint
        self.differences = list(differences)
        super().__init__(
            f"Checkpoint {checkpoint} does not fit this model. Nothing was restored.\n"
            f"{table_of(differences)}{self._way_out()}"
        )

    def _way_out(self) -> str:
        if any(difference.path == "keras" for difference in self.differences):
            path = shlex.quote(str(self.checkpoint))
            return f"Take it over with: python -m {__package__} import {path} --run NAME"
        run, step = self.checkpoint.parent.parent.name, self.checkpoint.name.rpartition("-")[2]
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


class ForeignCheckpoint(UserError):
    """A checkpoint has no card: something else wrote it. Nothing was restored."""

    exit_code = 3

    def __init__(self, checkpoint: epath.Path) -> None:
        super().__init__(
            f"Checkpoint {checkpoint} has no card: this project did not save it. Make a run of it "
            f"with: python -m {__package__} import {shlex.quote(str(checkpoint))} --run NAME"
        )


class DamagedCheckpoint(UserError):
    """A checkpoint's files are missing, cut short, altered or unreadable."""

    exit_code = 4

    def __init__(self, checkpoint: epath.Path, reason: str) -> None:
        self.checkpoint = checkpoint
        self.reason = reason
        super().__init__(f"Checkpoint {checkpoint} is damaged: {reason}")


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


class CheckpointExists(UserError):
    """A checkpoint would have been overwritten. Nothing was."""

    def __init__(self, checkpoint: epath.Path) -> None:
        super().__init__(f"Checkpoint {checkpoint} exists already, and is never overwritten.")
