"""What a step can be told: a warm-up, slices, an average of the weights."""

from collections.abc import Sequence
from operator import itemgetter
from typing import TYPE_CHECKING, Any

import tensorflow as tf

from ..checkpoint.card import unique
from ..checkpoint.naming import variable_paths
from ..compat import as_variable, keras

if TYPE_CHECKING:  # a task makes its steps by what is here
    from .experiment import Task


@keras.utils.register_keras_serializable("durable")
class WarmUp(keras.optimizers.schedules.LearningRateSchedule):
    """Raises the rate of a schedule in equal parts, up to the whole at the last of some steps."""

    def __init__(
        self, schedule: keras.optimizers.schedules.LearningRateSchedule, steps: int
    ) -> None:
        self.schedule = schedule
        self.steps = steps

    def __call__(self, step: tf.Tensor) -> tf.Tensor:
        """The rate of a step, counted from 0: () float32."""
        part = (tf.cast(step, tf.float32) + 1) / self.steps
        return self.schedule(step) * tf.minimum(part, 1.0)

    def get_config(self) -> dict[str, Any]:
        """What it is made of."""
        return {
            "schedule": keras.optimizers.schedules.serialize(self.schedule),
            "steps": self.steps,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "WarmUp":
        """The schedule that `get_config` tells of."""
        return cls(keras.optimizers.schedules.deserialize(config["schedule"]), config["steps"])


def slices_of(batch: Any, count: int) -> list[Any]:
    """A batch in equal slices; its size, a multiple of their count, is known."""
    if count == 1:
        return [batch]
    size = tf.nest.flatten(batch)[0].shape[0] // count
    places = [slice(start, start + size) for start in range(0, count * size, size)]
    return [tf.nest.map_structure(itemgetter(place), batch) for place in places]


def joined(outputs: Sequence[Any]) -> Any:
    """The outputs for a batch, from those for its slices."""
    if len(outputs) == 1:
        return outputs[0]
    return tf.nest.map_structure(lambda *slices: tf.concat(slices, axis=0), *outputs)


def mean_gradients(gradients: Sequence[Sequence[Any]]) -> list[Any]:
    """The mean of the gradients that slices gave, for each variable; None where it has none."""
    if len(gradients) == 1:
        return [*gradients[0]]
    return [mean_of(slices) for slices in zip(*gradients, strict=True)]


def mean_of(gradients: Sequence[Any]) -> Any:
    """The mean of the gradients of one variable; those of an embedding stay sparse."""
    first, count = gradients[0], len(gradients)
    if first is None:
        return None
    if isinstance(first, tf.IndexedSlices):
        values = tf.concat([gradient.values for gradient in gradients], axis=0) / count
        indices = tf.concat([gradient.indices for gradient in gradients], axis=0)
        return tf.IndexedSlices(values, indices, first.dense_shape)
    return tf.add_n(gradients) / count


class WeightAverage:
    """The exponential moving average of the weights that a task trains.

    Polyak and Juditsky 1992 average all steps; the exponential form is that of
    `tf.train.ExponentialMovingAverage`. The first step's weights are where it begins.

    Args:
        task: whose weights are averaged; those that only follow, as the statistics of batch
            normalisation do, are not.
        decay: how much of the average stays at each step, between 0 and 1.

    Attributes:
        variables: its state by name; saved and restored with the run.
    """

    def __init__(self, task: "Task", decay: float) -> None:
        self._decay = decay
        paths, taken = variable_paths(task.models), set[str]()
        trained = [as_variable(v) for name in task.optimizers for v in task.trained_variables(name)]
        self._weights: dict[str, tf.Variable] = {}
        for weight in {id(weight): weight for weight in trained}.values():
            path, _ = paths.get(id(weight)) or ("variable", "run")
            self._weights[unique(path, taken)] = weight
        # In 16 bits, steps as small as those of an average would be lost.
        self._averages = {
            path: tf.Variable(
                tf.zeros(weight.shape, weight.dtype if weight.dtype.size >= 4 else tf.float32),
                trainable=False,
            )
            for path, weight in self._weights.items()
        }
        self._updates = tf.Variable(0, dtype=tf.int64, trainable=False)
        self.variables = {"updates": self._updates, "weights": self._averages}

    def update(self) -> None:
        """Takes in the weights after a step; called inside a `tf.function`."""
        share = tf.where(self._updates == 0, 1.0, 1.0 - self._decay)
        for path, average in self._averages.items():
            weight = tf.cast(self._weights[path], average.dtype)
            average.assign_add(tf.cast(share, average.dtype) * (weight - average))
        self._updates.assign_add(1)

    def put_in(self) -> None:
        """Gives the models the average for their weights, if a step was made."""
        if int(self._updates):
            for path, average in self._averages.items():
                weight = self._weights[path]
                weight.assign(tf.cast(average, weight.dtype))
