"""Which checkpoints are kept."""

import logging
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from etils import epath

from ..errors import CardMissing, DamagedCheckpoint
from . import bundle
from .card import read_card


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
        kept += [checkpoint for checkpoint in older if bundle.is_pinned(checkpoint)]
        return [*(checkpoint for checkpoint in older if checkpoint in kept), *newest]

    def _first_of_every_so_many_hours(self, checkpoints: list[epath.Path]) -> list[epath.Path]:
        if self.hours is None:
            return []
        first: dict[int, epath.Path] = {}
        for checkpoint in checkpoints:
            written = bundle.index_file(checkpoint).stat().mtime
            first.setdefault(int(written // (self.hours * 3600)), checkpoint)
        return list(first.values())


log = logging.getLogger(__name__)


class Best:
    """Keeps the checkpoint that is best by a metric in a directory of its own.

    What the best is so far stands in its card, so that a restart knows it.

    Args:
        directory: where the copy lies.
        metric: name of the metric that decides.
        mode: whether the largest or the smallest value is the best.
    """

    def __init__(self, directory: epath.PathLike, metric: str, mode: Literal["max", "min"]) -> None:
        self.directory = epath.Path(directory)
        self.metric = metric
        self.mode = mode

    def keep_if_better(self, checkpoint: epath.Path, metrics: Mapping[str, float]) -> None:
        """Keeps a copy of the checkpoint if its metrics are better than the best so far."""
        value = metrics.get(self.metric, math.nan)
        if math.isnan(value) or (self.directory / f"{checkpoint.name}.index").exists():
            return
        previous = bundle.find_checkpoints(self.directory, checkpoint.name.rpartition("-")[0])
        if not self._is_better(value, previous):
            return
        self.directory.mkdir(parents=True, exist_ok=True)
        bundle.copy(checkpoint, self.directory)
        for outdone in previous:
            bundle.remove(outdone)

    def choose_best(self, checkpoints: Iterable[epath.Path]) -> epath.Path | None:
        """The best of some checkpoints, the first of equals; None where no card tells."""
        values = {}
        for checkpoint in checkpoints:
            try:
                value = read_card(checkpoint).metrics.get(self.metric, math.nan)
            except (DamagedCheckpoint, CardMissing):
                continue
            if not math.isnan(value):
                values[checkpoint] = value
        choose = max if self.mode == "max" else min
        return choose(values, key=values.__getitem__, default=None)

    def _is_better(self, value: float, previous: list[epath.Path]) -> bool:
        for checkpoint in previous:
            try:
                best = read_card(checkpoint).metrics[self.metric]
            except (DamagedCheckpoint, KeyError):
                log.warning("%s does not tell its %s; it is replaced.", checkpoint, self.metric)
                continue
            if not (value > best if self.mode == "max" else value < best):
                return False
        return True
