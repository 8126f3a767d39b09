"""The mean loss and the metrics of a task, over the examples of training or of validation."""

import tensorflow as tf

from ..compat import keras, named_variables
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
