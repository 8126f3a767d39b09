"""To find mistakes: less data, and where the time goes."""

import logging
from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager
from typing import Any

import tensorflow as tf

from ..data.protocol import Data, SavedData
from ..errors import ConfigurationError
from .paths import RunPaths
from .settings import RunSettings, steps_to_profile

log = logging.getLogger(__name__)


class LimitedData:
    """A part of a data set; a `Data`.

    A model that cannot learn a few batches by heart has a mistake somewhere: the first check in
    Karpathy's "A Recipe for Training Neural Networks" (2019).

    Args:
        data: the whole.
        overfit: train on its first so many batches again and again; None trains on all.
        validation: validate on its first so many held-out batches; None takes all.
    """

    def __init__(self, data: Data, overfit: int | None, validation: int | None) -> None:
        self._data = data
        self._overfit = overfit
        self._validation = validation

    @property
    def element_spec(self) -> Any:
        """Those of the whole."""
        return self._data.element_spec

    @property
    def identity(self) -> Mapping[str, Any]:
        """That of the whole; the settings of a run tell how many batches are trained on."""
        return self._data.identity

    @property
    def steps_per_epoch(self) -> int:
        """Those of the whole: schedules, validations and saves come as they would."""
        return self._data.steps_per_epoch

    def batches(self, seed: int, start: int, stop: int) -> tf.data.Dataset:
        """The training batches of the steps `start` to `stop - 1`."""
        if self._overfit is None:
            return self._data.batches(seed, start, stop)
        few = self._data.batches(seed, 0, self._overfit).cache().repeat()
        return few.skip(start % self._overfit).take(stop - start)

    def first_bad(self, seed: int, steps: Iterable[int]) -> str | None:
        """Where the first example is that cannot be used, and why; as `IndexedData` tells it."""
        first_bad = getattr(self._data, "first_bad", None)
        trained = steps if self._overfit is None else range(self._overfit)
        return first_bad(seed, trained) if first_bad else None

    def validation_batches(self) -> tf.data.Dataset:
        """The first of the held-out batches, in their order."""
        batches = self._data.validation_batches()
        return batches if self._validation is None else batches.take(self._validation)


def limit(data: Data, config: RunSettings) -> Data:
    """The part of a data set that a run uses: all of it, unless its settings say otherwise."""
    if config.overfit_batches is None and config.limit_validation is None:
        return data
    if isinstance(data, SavedData):
        raise ConfigurationError(
            "--overfit-batches and --limit-validation need data whose batches are found by the "
            "step: limit this pipeline where it is made."
        )
    return LimitedData(data, config.overfit_batches, config.limit_validation)


class Profiler(AbstractContextManager["Profiler"]):
    """Records, for TensorBoard, what the steps that --profile names spend their time on."""

    def __init__(self, config: RunSettings, paths: RunPaths) -> None:
        self._steps = steps_to_profile(config.profile)
        self._folder = str(paths.tensorboard)
        self._is_running = False

    def __exit__(self, *_: object) -> None:
        self._stop()

    def at(self, step: int) -> None:
        """Begins or ends, if it is time for that; call it between two chunks of steps."""
        if step in self._steps and not self._is_running:
            tf.profiler.experimental.start(self._folder)
            self._is_running = True
        elif step not in self._steps:
            self._stop()

    def _stop(self) -> None:
        if self._is_running:
            self._is_running = False
            tf.profiler.experimental.stop()
            log.info("Saved a profile in %s: see it in TensorBoard.", self._folder)
