"""How steps are made: the warm-up of the rate, and batches in slices."""

from typing import Any

import tensorflow as tf

from ..compat import keras


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
