"""Any `tf.data` pipeline: what has no order by number keeps its place in the checkpoint."""

import logging
import re
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import tensorflow as tf

from ..errors import ConfigurationError, in_one_line

log = logging.getLogger(__name__)


class PipelineData:
    """A `tf.data` pipeline, whose iterator is saved and restored with the run; a `Data`.

    What is in its buffers when the run is saved is a part of each checkpoint: a shuffle buffer of
    10,000 images is 10,000 images. `IndexedData` saves nothing; this is for what has no numbers.

    Args:
        pipeline: makes the training batches of a seed, each of the same form. It is repeated: where
            it ends, the next epoch begins, and where it shuffles, in another order.
        validation: the batches held out, in the same order each time.
        steps_per_epoch: how many batches are called an epoch.
        identity: what one run must keep of its data, as JSON can hold it; its entry `data` tells
            the examples from others.
    """

    def __init__(
        self,
        pipeline: Callable[[int], tf.data.Dataset],
        validation: tf.data.Dataset,
        steps_per_epoch: int,
        identity: Mapping[str, Any],
    ) -> None:
        self._pipeline = pipeline
        self._validation = validation
        self._iterators: dict[int, Any] = {}
        self.steps_per_epoch = steps_per_epoch
        self.identity = identity
        self.element_spec = pipeline(0).element_spec

    def saved(self, seed: int) -> Any:
        """The iterator, which begins with the first batch unless a checkpoint is restored into it.

        Raises:
            ConfigurationError: TensorFlow cannot save its state.
        """
        if seed not in self._iterators:
            options = tf.data.Options()
            options.deterministic = True
            dataset = self._pipeline(seed).repeat().with_options(options)
            tell_size(dataset)
            self._iterators[seed] = iter(dataset)
        return self._iterators[seed]

    def batches(self, seed: int, start: int, stop: int) -> Iterator[Any]:  # noqa: ARG002
        """The batches that follow where the iterator is: at `start`, once it was restored."""
        return self.saved(seed)

    def validation_batches(self) -> tf.data.Dataset:
        """The batches held out."""
        return self._validation


def tell_size(dataset: tf.data.Dataset) -> None:
    """Tells what the iterator of a dataset takes in each checkpoint, once its buffers are full.

    Raises:
        ConfigurationError: TensorFlow cannot save its state.
    """
    iterator = iter(dataset)
    next(iterator)  # which fills them
    with tempfile.TemporaryDirectory() as folder:
        try:
            tf.train.Checkpoint(data=iterator).write(str(Path(folder) / "data"))
        except tf.errors.FailedPreconditionError as error:
            raise ConfigurationError(refusal(error)) from error
        size = sum(file.stat().st_size for file in Path(folder).iterdir())
    log.info("The iterator of the pipeline takes %.1f MB of each checkpoint.", size / 1e6)


def refusal(error: Exception) -> str:
    """Why an iterator cannot be saved, by the name of the operation."""
    found = re.search(r"(\w+) is stateful", str(error))
    if found is None:
        return f"TensorFlow cannot save the state of the pipeline: {in_one_line(error)}"
    operation = found[1]
    advice = "Draw random numbers by tf.random.stateless_…, from a seed that the pipeline counts"
    if operation.endswith("PyFunc"):
        advice = "Use TensorFlow's operations in place of Python's, or SourceExamples"
    return (
        f"The pipeline has state in {operation}, which no checkpoint can hold: a resumed run would "
        f"be another one. {advice}."
    )
