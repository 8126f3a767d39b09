"""Which checkpoints are kept."""

import logging
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from etils import epath

from .. import files
from ..errors import CardMissing, DamagedCheckpoint
from . import bundle
from .card import Card, read_card
from .tensor_bundle import index_file


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
        kept = {*self._first_of_every_so_many_hours(older), *filter(bundle.is_pinned, older)}
        return [*(checkpoint for checkpoint in older if checkpoint in kept), *newest]

    def _first_of_every_so_many_hours(self, checkpoints: list[epath.Path]) -> list[epath.Path]:
        if self.hours is None:
            return []
        first: dict[int, epath.Path] = {}
        for checkpoint in checkpoints:
            written = files.time_of(index_file(checkpoint))
            first.setdefault(int(written // (self.hours * 3600)), checkpoint)
        return list(first.values())


log = logging.getLogger(__name__)


class Best:
    """Keeps the checkpoints that are best by a metric in a directory of their own.

    How good they are stands in their cards, so that a restart knows it.

    Args:
        directory: where the copies lie.
        metric: name of the metric that decides.
        mode: whether the largest or the smallest value is the best.
        count: how many to keep.
    """

    def __init__(
        self,
        directory: epath.PathLike,
        metric: str,
        mode: Literal["max", "min"],
        count: int = 1,
    ) -> None:
        self.directory = epath.Path(directory)
        self.metric = metric
        self.mode = mode
        self.count = count
        self._waiting: dict[epath.Path, Mapping[str, float]] = {}

    def keep_if_better(self, checkpoint: epath.Path, metrics: Mapping[str, float]) -> None:
        """Keeps a copy of the checkpoint if it is one of the best so far.

        Where that fails, the next call tries it again.

        Raises:
            OSError, tf.errors.OpError: the copy cannot be written.
            UnreadableCheckpoint: the best so far cannot be read at present.
        """
        self._waiting[checkpoint] = metrics
        for waiting, values in list(self._waiting.items()):
            if bundle.is_whole(waiting):
                self._compare(waiting, values)
            del self._waiting[waiting]

    def _compare(self, checkpoint: epath.Path, metrics: Mapping[str, float]) -> None:
        value = metrics.get(self.metric, math.nan)
        if math.isnan(value) or files.exists(index_file(self.directory / checkpoint.name)):
            return
        found = bundle.find_checkpoints(self.directory, checkpoint.name.rpartition("-")[0])
        cards = {kept: card_if_any(kept) for kept in found}
        values = self._values(cards)
        staying = self._sorted(values)[: self.count]
        if len(staying) == self.count and not self._is_better(value, values[staying[-1]]):
            return
        bundle.copy(checkpoint, self.directory)
        staying = staying[: self.count - 1]
        for outdone in (kept for kept in found if kept not in staying):
            if cards[outdone]:
                bundle.remove(outdone)
            else:
                log.warning("%s does not tell its %s; it is set aside.", outdone, self.metric)
                bundle.set_aside(outdone)

    def rank(self, checkpoints: Iterable[epath.Path]) -> list[epath.Path]:
        """Those checkpoints whose cards tell the metric, the best and of equals the first first."""
        return self._sorted(self._values({path: card_if_any(path) for path in checkpoints}))

    def _values(self, cards: Mapping[epath.Path, Card | None]) -> dict[epath.Path, float]:
        values = {
            checkpoint: card.metrics.get(self.metric, math.nan)
            for checkpoint, card in cards.items()
            if card
        }
        return {path: value for path, value in values.items() if not math.isnan(value)}

    def _sorted(self, values: Mapping[epath.Path, float]) -> list[epath.Path]:
        return sorted(values, key=values.__getitem__, reverse=self.mode == "max")

    def _is_better(self, value: float, best: float) -> bool:
        return value > best if self.mode == "max" else value < best


def card_if_any(checkpoint: epath.Path) -> Card | None:
    """The card of a checkpoint; None where it is damaged, or has none."""
    try:
        return read_card(checkpoint)
    except (DamagedCheckpoint, CardMissing):
        return None
