"""Keeping a copy of the best checkpoint."""

import logging
import math
from collections.abc import Iterable, Mapping
from typing import Literal

from etils import epath

from . import files
from .errors import DamagedCheckpoint, ForeignCheckpoint
from .reader import read_card

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

    def consider(self, checkpoint: epath.Path, metrics: Mapping[str, float]) -> None:
        """Keeps a copy of the checkpoint if its metrics are better than the best so far."""
        value = metrics.get(self.metric, math.nan)
        if math.isnan(value) or (self.directory / f"{checkpoint.name}.index").exists():
            return
        previous = files.find_checkpoints(self.directory, checkpoint.name.rpartition("-")[0])
        if not self._is_better(value, previous):
            return
        self.directory.mkdir(parents=True, exist_ok=True)
        files.copy(checkpoint, self.directory)
        for outdone in previous:
            files.remove(outdone)

    def among(self, checkpoints: Iterable[epath.Path]) -> epath.Path | None:
        """The best of some checkpoints, the first of equals; None where no card tells."""
        values = {}
        for checkpoint in checkpoints:
            try:
                value = read_card(checkpoint).metrics.get(self.metric, math.nan)
            except (DamagedCheckpoint, ForeignCheckpoint):
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
