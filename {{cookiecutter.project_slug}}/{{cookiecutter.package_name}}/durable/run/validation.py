"""Validation: the metrics of a task on the examples held out, in memory that does not grow."""

from collections.abc import Callable, Iterator
from typing import Any

import tensorflow as tf

from ..data.protocol import Data, any_batch_size
from .experiment import Batch, Outputs, Task
from .means import Means, MeansUpdate, examples_in
from .replicas import deal, single_device


class Validation:
    """Computes the `val_…` metrics with the present weights, as often as it is called.

    Args:
        task: with the models.
        data: whose held-out examples are used.
        strategy: of `tf.distribute`; by default that of one device.
    """

    def __init__(
        self, task: Task, data: Data, strategy: tf.distribute.Strategy | None = None
    ) -> None:
        strategy = single_device() if strategy is None else strategy
        self._means = Means(task)
        batches = data.validation_batches()
        self._count = count_batches(batches)
        # One iterator for all validations: making one takes longer than a small validation.
        self._batches = iter(batches.repeat())
        update_means = MeansUpdate(task, strategy, [self._means])
        replicas = strategy.num_replicas_in_sync

        def take(batch: Batch) -> None:
            update_means(batch, task.forward(batch, training=False))

        def take_dealt(batch: Batch) -> None:
            strategy.run(take, args=(deal(strategy, batch),))

        @tf.function
        def update_all(batches: Iterator[Batch], count: tf.Tensor) -> None:
            for _ in tf.range(count):
                batch = next(batches)
                if examples_in(batch) % replicas == 0:
                    take_dealt(batch)
                else:  # the last examples, for which one replica is enough
                    take(batch)

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
