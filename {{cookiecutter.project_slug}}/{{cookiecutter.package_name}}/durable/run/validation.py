"""Validation, and the means of a loss and of metrics that training and validation log alike.

The examples held out are taken batch by batch, in memory that does not grow.
"""

from collections.abc import Callable, Iterator
from typing import Any

import tensorflow as tf

from ..compat import keras, named_variables
from ..data.protocol import Data, any_batch_size
from ..errors import ConfigurationError
from .experiment import Batch, Outputs, Task

LOG_COLUMNS = {"step", "epoch", "loss", "time"}


class Means:
    """The mean loss and the metrics of a task over some examples.

    Training and validation both go through it, so that their numbers mean the same.
    """

    def __init__(self, task: Task) -> None:
        self._task = task
        self._loss = keras.metrics.Mean(name="loss", dtype="float64")
        self._metrics = task.metrics()
        if taken := LOG_COLUMNS & self._metrics.keys():
            raise ConfigurationError(
                f"A metric of {type(task).__name__} cannot be called {min(taken)!r}: the log "
                "has a column of that name. Give it another."
            )

    def update(self, batch: Batch, outputs: Outputs, loss: tf.Tensor | None = None) -> None:
        """Takes in a batch.

        Args:
            batch: (x, y) or (x, y, weight).
            outputs: what the task's `forward` gave for it.
            loss: () its mean loss, if it is known already.
        """
        if loss is None:
            loss = self._task.mean_loss(batch, outputs)
        size = tf.shape(tf.nest.flatten(batch)[0], tf.int64)[0]
        self._loss.update_state(loss, sample_weight=size)
        self._task.update_metrics(self._metrics, batch, outputs)

    @property
    def names(self) -> list[str]:
        """The names of the results, the loss first."""
        return [*self._all()]

    def result(self) -> dict[str, float]:
        """The means by name, the loss first."""
        return {name: float(metric.result()) for name, metric in self._all().items()}

    def shapes(self) -> dict[str, tf.TensorShape]:
        """The shapes of the results, by name."""
        metrics = self._all().items()
        return {name: tf.convert_to_tensor(metric.result()).shape for name, metric in metrics}

    def reset(self) -> None:
        """Starts again from no examples."""
        for metric in self._all().values():
            metric.reset_state()

    @property
    def variables(self) -> dict[str, dict[str, tf.Variable]]:
        """The variables of each metric, by name."""
        return {
            name: {path.rpartition("/")[2]: variable for path, variable in named_variables(metric)}
            for name, metric in self._all().items()
        }

    def _all(self) -> dict[str, keras.metrics.Metric]:
        return {"loss": self._loss, **self._metrics}


class Validation:
    """Computes the `val_…` metrics with the present weights, as often as it is called.

    Args:
        task: with the models.
        data: whose held-out examples are used.
    """

    def __init__(self, task: Task, data: Data) -> None:
        self._means = Means(task)
        batches = data.validation_batches()
        self._count = count_batches(batches)
        # One iterator for all validations: making one takes longer than a small validation.
        self._batches = iter(batches.repeat())
        update = build_update(task, self._means, batches.element_spec)

        @tf.function
        def update_all(batches: Iterator[Batch], count: tf.Tensor) -> None:
            for _ in tf.range(count):
                update(next(batches))

        self._update_all = update_all

    def __call__(self) -> dict[str, float]:
        """The metrics by name, each with `val_` before it."""
        self._means.reset()
        self._update_all(self._batches, self._count)
        return with_prefix(self._means.result())


def build_update(task: Task, means: Means, element_spec: Any) -> Callable[[Batch], Outputs]:
    """Returns a function that takes a batch into the means, and returns the task's outputs."""

    @tf.function(input_signature=[any_batch_size(element_spec)])
    def update(batch: Batch) -> Outputs:
        outputs = task.forward(batch, training=False)
        means.update(batch, outputs)
        return outputs

    return update


def with_prefix(metrics: dict[str, float]) -> dict[str, float]:
    """The metrics as validation logs them."""
    return {f"val_{name}": value for name, value in metrics.items()}


def count_batches(batches: tf.data.Dataset) -> tf.Tensor:
    """How many batches there are: () int64."""
    count = batches.cardinality()
    if count >= 0:
        return count
    return batches.reduce(tf.constant(0, tf.int64), lambda total, *_: total + 1)
