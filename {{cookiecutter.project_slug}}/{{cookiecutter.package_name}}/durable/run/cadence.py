"""How often to save."""

import logging
import math
import time

from .settings import RunSettings, seconds_of, steps_to_profile

log = logging.getLogger(__name__)


class Cadence:
    """Says when a save is due: at each epoch's end, every so many steps, or after some time.

    With `--save-every auto`, the time follows from what a save was seen to cost: so long that the
    saves take the share of the time that the budget allows, or that saves and failures together
    lose the least where it is known how often workers fail; within the two limits.

    Args:
        config: the settings.
        workers: how many the job has: it stops when one of them fails.

    Attributes:
        steps: a save is due at the multiples of it; None where that does not decide.
    """

    def __init__(self, config: RunSettings, workers: int = 1) -> None:
        every = config.save_every
        self.steps = int(every) if every.isdecimal() else None
        self._budget = config.save_budget if every == "auto" else None
        self._between_failures: float | None = None
        if config.worker_fails_every is not None:
            seconds = seconds_of("worker-fails-every", config.worker_fails_every)
            self._between_failures = seconds / workers
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
        if self._between_failures is None:
            best = cost / self._budget
        else:
            best = best_interval(cost, self._between_failures)
        self._seconds = min(max(best, self._shortest), self._longest)
        if self._told is None or not self._told / 2 < self._seconds < self._told * 2:
            self._told = self._seconds
            self._tell(cost, self._seconds)

    def _tell(self, cost: float, seconds: float) -> None:
        failures = ""
        if self._between_failures is not None:
            failures = f", a failure is expected every {self._between_failures:.0f} s"
        message = "A save costs %.2g s%s: saving every %.0f s, for %.1f %% of the time."
        log.info(message, cost, failures, seconds, 100 * cost / seconds)

    def next_stop(self, step: int, *intervals: int) -> int:
        """The first step after `step` at which something else is to be done than to train.

        It is a multiple of an interval, or one where a save is due or a profile begins or ends.
        """
        every = [*intervals, self.steps] if self.steps else intervals
        multiples = [(step // interval + 1) * interval for interval in every]
        return min([*multiples, *(edge for edge in self._profiled if edge > step)])


def best_interval(cost: float, between_failures: float) -> float:
    """The seconds between two saves with which saves and failures together lose the least time.

    Saves every t seconds lose the share `cost / t`; a failure loses t / 2 on average, which is the
    share `t / (2 * between_failures)`. The sum is least at t = sqrt(2 * cost * between_failures):
    J. W. Young, A first order approximation to the optimum checkpoint interval, 1974. J. T. Daly,
    A higher order estimate of the optimum checkpoint interval for restart dumps, 2006, differs by
    less than a tenth while a save takes less than a fiftieth of the time between failures, and the
    time lost by less than a hundredth: failures are never known so well.

    Args:
        cost: for how many seconds training stands still for a save.
        between_failures: the mean seconds between two failures of the job.
    """
    return math.sqrt(2 * cost * between_failures)
