"""Which checkpoints are kept."""

from dataclasses import dataclass

from etils import epath

from . import files


@dataclass(frozen=True)
class Retention:
    """The newest ones, the pinned ones, and one for every so many hours.

    The rule looks at the files alone, so that it needs no memory between restarts.

    Attributes:
        newest: how many of the newest to keep, at least 2; None keeps all.
        hours: keep the first of every so many hours besides; None keeps no others.
    """

    newest: int | None
    hours: float | None

    def choose(self, checkpoints: list[epath.Path]) -> list[epath.Path]:
        """Those to keep, of checkpoints given from the oldest to the newest."""
        if self.newest is None:
            return checkpoints
        newest = checkpoints[-max(2, self.newest) :]
        older = checkpoints[: len(checkpoints) - len(newest)]
        kept = self._first_of_every_so_many_hours(older)
        kept += [checkpoint for checkpoint in older if files.is_pinned(checkpoint)]
        return [*(checkpoint for checkpoint in older if checkpoint in kept), *newest]

    def _first_of_every_so_many_hours(self, checkpoints: list[epath.Path]) -> list[epath.Path]:
        if self.hours is None:
            return []
        first: dict[int, epath.Path] = {}
        for checkpoint in checkpoints:
            written = files.index_file(checkpoint).stat().mtime
            first.setdefault(int(written // (self.hours * 3600)), checkpoint)
        return list(first.values())
