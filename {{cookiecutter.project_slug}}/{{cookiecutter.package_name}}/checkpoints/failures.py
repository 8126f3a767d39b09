"""Living with saves that fail."""

import logging
from contextlib import AbstractContextManager

import tensorflow as tf
from etils import epath

from .errors import SaveFailed

log = logging.getLogger(__name__)

# What a disk that is full, gone or read-only shows as.
SAVING_ERRORS = (OSError, tf.errors.OpError)


class Failures(AbstractContextManager["Failures"]):
    """Tolerates some failures in a row: save inside of it.

    Args:
        directory: where is saved.
        limit: how many failures in a row are an error.
    """

    def __init__(self, directory: epath.Path, limit: int) -> None:
        self._directory = directory
        self._limit = limit
        self._errors: list[BaseException] = []

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> bool:
        if not isinstance(error, SAVING_ERRORS):
            return False
        self._errors.append(error)
        if len(self._errors) >= self._limit:
            self.raise_last()
        log.warning(
            "Saving to %s failed (%d of %d in a row): %s. Going on; the next save tries again.",
            self._directory,
            len(self._errors),
            self._limit,
            error,
        )
        return True

    def end(self) -> None:
        """Ends the row: a save has succeeded."""
        self._errors.clear()

    def raise_last(self) -> None:
        """Raises SaveFailed if the last save failed."""
        if self._errors:
            error = self._errors[-1]
            raise SaveFailed(self._directory, len(self._errors), error) from error
