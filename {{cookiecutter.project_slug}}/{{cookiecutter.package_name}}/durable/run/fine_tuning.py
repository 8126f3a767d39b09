"""Fine-tuning: a body that computes as in inference, and optimizers that begin later."""

import logging
from collections.abc import Mapping
from typing import Any

import tensorflow as tf

from ..compat import keras, loss_scale, whole_number
from ..errors import ConfigurationError
from .experiment import Hook, Task

log = logging.getLogger(__name__)


@keras.utils.register_keras_serializable("durable")
class InferenceMode(keras.layers.Layer):
    """Calls a model as in inference, whatever it is inside of does.

    Nothing is dropped, and batch normalisation goes by its moving statistics, which stay as they
    are, whether the weights are trained or not. Keras's guide "Transfer learning & fine-tuning"
    calls the body with `training=False` for that, also after it was unfrozen; but in a functional
    model of Keras 3 the `training=True` of the outer call takes the place of that argument.

    Args:
        body: the model.
    """

    def __init__(self, body: keras.Model, **settings: Any) -> None:
        super().__init__(**settings)
        self.body = body

    def call(self, inputs: Any) -> Any:
        """What the model gives in inference."""
        return self.body(inputs, training=False)

    def get_config(self) -> dict[str, Any]:
        """What it is made of."""
        return {**super().get_config(), "body": keras.layers.serialize(self.body)}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "InferenceMode":
        """The layer that `get_config` tells of."""
        settings = {**config}
        return cls(keras.layers.deserialize(settings.pop("body")), **settings)


class Freezing(Hook):
    """Tells when an optimizer begins, and that it does so with zeros. It has nothing to save.

    Args:
        task: whose optimizers they are.
    """

    def __init__(self, task: Task) -> None:
        self._task = task
        self._waiting: set[str] = set()

    def on_start(self, step: int) -> None:
        """Tells of those that are still to begin, and of those that begin with this step."""
        self._waiting = {
            name
            for name, begin in self._task.frozen_until.items()
            if step <= begin or whole_number(self._task.optimizers[name].iterations) == 0
        }
        for name in sorted(self._waiting):
            begin, count = self._task.frozen_until[name], len(self._task.trained_variables(name))
            if step < begin:
                log.info(
                    "%s begins after step %d: the %d variables that it trains stay as they are.",
                    name,
                    begin,
                    count,
                )
        self._tell_begun(step)

    def on_log(self, step: int, epoch: int, metrics: Mapping[str, float]) -> None:  # noqa: ARG002
        """Tells of those that have begun since the last line."""
        self._tell_begun(step)

    def _tell_begun(self, step: int) -> None:
        begun = {name for name in self._waiting if self._task.frozen_until[name] <= step}
        for name in sorted(begun):
            log.info(
                "%s has begun after step %d, with slots of zeros: it trains %d variables.",
                name,
                max(step, self._task.frozen_until[name]),
                len(self._task.trained_variables(name)),
            )
        self._waiting -= begun


def freezing(task: Task) -> list[Hook]:
    """The hook that tells when optimizers begin, where some begin later.

    Raises:
        ConfigurationError: there is no such optimizer, or a step of the task's own decides.
    """
    for name in task.frozen_until:
        if name not in task.optimizers:
            raise ConfigurationError(
                f"{type(task).__name__}.frozen_until names {name!r}. Its optimizers are: "
                f"{', '.join(task.optimizers)}."
            )
    if task.frozen_until and type(task).step is not Task.step:
        raise ConfigurationError(
            f"{type(task).__name__} has a step of its own, which would have to leave alone what "
            "is frozen: frozen_until is for the default step."
        )
    return [Freezing(task)] if any(task.frozen_until.values()) else []


def require_apart(task: Task) -> None:
    """Raises ConfigurationError if two optimizers of the default step train the same variable."""
    owners: dict[int, str] = {}
    for name in task.optimizers if type(task).step is Task.step else ():
        for variable in task.trained_variables(name):
            other = owners.setdefault(id(variable), name)
            if other != name:
                raise ConfigurationError(
                    f"{other} and {name} of {type(task).__name__} both train {variable.name}: "
                    "call them after what each trains, as in body_optimizer for the layer body."
                )


def is_at_its_end(task: Task, step: tf.Tensor) -> tf.Tensor:
    """Whether no scale of the loss can be lowered any more: () bool, inside a `tf.function`.

    A step whose gradients are no numbers is dropped and the scale halved, down to 1.
    """
    ended = tf.constant(value=True)
    for name, optimizer in task.optimizers.items():
        scale = loss_scale(optimizer)
        if scale is not None:
            ended &= (scale <= 1) | (step < task.frozen_until.get(name, 0))
    return ended
