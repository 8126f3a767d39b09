"""How often to save."""

import logging
import time

from .settings import RunSettings, seconds_of, steps_to_profile

log = logging.getLogger(__name__)


class Cadence:
    """Says when a save is due: at each epoch's end, every so many steps, or after some time.

    With `--save-every auto`, the time follows from what a save was seen to cost: so long that the
    saves take the share of the time that the budget allows, within the two limits.

    Attributes:
        steps: a save is due at the multiples of it; None where that does not decide.
    """

    def __init__(self, config: RunSettings) -> None:
        every = config.save_every
        self.steps = int(every) if every.isdecimal() else None
        self._budget = config.save_budget if every == "auto" else None
        self._shortest = seconds_of("save-shortest", config.save_shortest)
        self._longest = seconds_of("save-longest", config.save_longest)
        profiled = steps_to_profile(config.profile)
        self._profiled = {profiled.start, profiled.stop}
        self._told: float | None = None
        self._seconds: float | None = None
        if every == "auto":
            self._seconds = self._shortest
        elif self.steps is None and every != "epoch":
            self._seconds = seconds_of("save-every", every)
        self._saved_at = time.monotonic()

    def is_due(self, step: int, epoch_ended: bool) -> bool:
        """Whether to save at this step."""
        if self.steps is not None:
            return step % self.steps == 0
        if self._seconds is not None:
            return time.monotonic() - self._saved_at >= self._seconds
        return epoch_ended

    def saved(self, cost: float) -> None:
        """Takes note of a save for which training stood still `cost` seconds."""
        self._saved_at = time.monotonic()
        if self._budget is None:
            return
        self._seconds = min(max(cost / self._budget, self._shortest), self._longest)
        if self._told is None or not self._told / 2 < self._seconds < self._told * 2:
            self._told = self._seconds
            share = 100 * cost / self._seconds
            message = "A save costs %.2g s: saving every %.0f s, for %.1f %% of the time."
            log.info(message, cost, self._seconds, share)

    def next_stop(self, step: int, *intervals: int) -> int:
        """The first step after `step` at which something else is to be done than to train.

        It is a multiple of an interval, or one where a save is due or a profile begins or ends.
        """
        every = [*intervals, self.steps] if self.steps else intervals
        multiples = [(step // interval + 1) * interval for interval in every]
        return min([*multiples, *(edge for edge in self._profiled if edge > step)])
