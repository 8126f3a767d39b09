"""Means: of the loss and the metrics over examples, those held out too, and of several models."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from ..checkpoint.workers import Workers
from ..compat import keras, named_variables
from ..data.protocol import Data, any_batch_size
from ..errors import ConfigurationError
from .experiment import Batch, Outputs, Task
from .replicas import WholeVariables, deal, is_on_a_replica, part_of, single_device

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
        self._loss.update_state(loss, sample_weight=examples_in(batch))
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

    def sums(self) -> list[tf.Tensor]:
        """What the metrics have added up, as Keras's do: the values of all their variables."""
        return [tf.convert_to_tensor(variable) for variable in self._variables()]

    def add(self, sums: Sequence[tf.Tensor]) -> None:
        """Adds what others of the same task have added up."""
        for variable, value in zip(self._variables(), sums, strict=True):
            variable.assign_add(value)

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

    def _variables(self) -> list[tf.Variable]:
        return [one for variables in self.variables.values() for one in variables.values()]

    def _all(self) -> dict[str, keras.metrics.Metric]:
        return {"loss": self._loss, **self._metrics}


def examples_in(batch: Batch) -> tf.Tensor:
    """How many examples a batch has: () int64."""
    return tf.shape(tf.nest.flatten(batch)[0], tf.int64)[0]


class MeansUpdate:
    """Takes batches into means: whole ones, or the parts that replicas have of them.

    What the replicas have added up is added in every step, so that the means are in one place, and
    are saved and restored like those of one replica.

    Args:
        task: whose means they are.
        strategy: that the replicas are run by.
        means: those that are kept.
    """

    def __init__(
        self, task: Task, strategy: tf.distribute.Strategy, means: Sequence[Means]
    ) -> None:
        self._means = means
        self._part: Means | None = None
        if isinstance(strategy, WholeVariables):
            with strategy.scope_apart():
                self._part = Means(task)

    def __call__(self, batch: Batch, outputs: Outputs, loss: tf.Tensor | None = None) -> None:
        """Takes in a batch; see `Means.update`."""
        if self._part is None or not is_on_a_replica():
            for means in self._means:
                means.update(batch, outputs, loss)
        else:
            self._part.reset()
            self._part.update(batch, outputs, loss)
            context = tf.distribute.get_replica_context()
            context.merge_call(self._add, args=tuple(self._part.sums()))

    def _add(self, strategy: tf.distribute.Strategy, *sums: Any) -> None:
        whole = [strategy.reduce("SUM", value, axis=None) for value in sums]
        for means in self._means:
            means.add(whole)


def mean_probabilities(members: Sequence[tf.Tensor]) -> tf.Tensor:
    """The logarithms of the mean of probabilities, such as those of an ensemble's members.

    Computed from logarithms, so that a probability too small for a number counts as it should.

    Args:
        members: logits of one shape, with the classes in the last axis.

    Returns:
        Of the same shape, float64.
    """
    logs = [tf.nn.log_softmax(tf.cast(logits, tf.float64)) for logits in members]
    return tf.reduce_logsumexp(tf.stack(logs), axis=0) - np.log(len(members))


class Validation:
    """Computes the `val_…` metrics with the present weights, as often as it is called.

    Args:
        task: with the models.
        data: whose held-out examples are used.
        strategy: of `tf.distribute`; by default that of one device.

    Attributes:
        taken: () int64, how many batches were taken in, which tells that it goes on.
    """

    def __init__(
        self, task: Task, data: Data, strategy: tf.distribute.Strategy | None = None
    ) -> None:
        strategy = single_device() if strategy is None else strategy
        workers, replicas = Workers(strategy), strategy.num_replicas_in_sync
        self.taken = tf.Variable(0, dtype=tf.int64, trainable=False)
        self._means = Means(task)
        batches = data.validation_batches()
        self._count = count_batches(batches)
        # One iterator for all validations: making one takes longer than a small validation.
        self._batches = iter(batches.repeat())
        update_means = MeansUpdate(task, strategy, [self._means])

        def take(batch: Batch) -> None:
            update_means(batch, task.forward(batch, training=False))

        def take_dealt(batch: Batch) -> None:
            own = part_of(batch, workers.index, workers.count)
            strategy.run(take, args=(deal(strategy, own),))

        @tf.function
        def update_all(batches: Iterator[Batch], count: tf.Tensor) -> None:
            for _ in tf.range(count):
                batch = next(batches)
                if examples_in(batch) % replicas == 0:
                    take_dealt(batch)
                else:  # the last examples, for which one replica is enough
                    take(batch)
                self.taken.assign_add(1)

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
