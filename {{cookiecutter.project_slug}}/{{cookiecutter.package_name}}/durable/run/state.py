"""TrainState: all that a run must not lose."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import tensorflow as tf

from ..checkpoint.naming import models_of, named_layers
from ..checkpoint.workers import Workers
from ..compat import keras
from ..data.protocol import any_batch_size
from ..errors import ConfigurationError
from .experiment import Batch, Hook, Outputs, Task
from .means import Means, MeansUpdate
from .optimization import WeightAverage
from .replicas import require_even, scope_of_optimizers, single_device
from .settings import RunSettings
from .stopping import early_stopping, freezing, is_at_its_end, require_apart
from .tracing import trace, untracked_variables

OTHER_PARTS = {"step", "metrics", "untracked", "hooks"}


class TrainState:
    """The models and optimizers of a task, built, with everything else that a run must not lose.

    Args:
        element_spec: the specs of its batches.
        hooks: whose variables are a part of it.
        config: how it is trained; by default as a task alone says.
        strategy: of `tf.distribute`, in whose scope the task was made; by default that of one
            device.

    Attributes:
        task: the task; all variables of its models and optimizers exist.
        step: () int64, how many steps were trained.
        line: the means since the last log line.
        epoch: the means since the epoch began.
        untracked: what a step uses and TensorFlow does not find, by name: the state of dropout's
            random generators, and in Keras 3 the layers held in lists.
        average: of the weights, where --ema is set; else None.
        hooks: those that were given, and the one that stops the run early, where that is set.

    Raises:
        ConfigurationError: the task cannot learn from such batches, or keeps state that no
            checkpoint can hold.
    """

    def __init__(
        self,
        task: Task,
        element_spec: Any,
        hooks: Sequence[Hook] = (),
        config: RunSettings | None = None,
        strategy: tf.distribute.Strategy | None = None,
    ) -> None:
        strategy = single_device() if strategy is None else strategy
        config = RunSettings() if config is None else config
        require_names(task, OTHER_PARTS if config.ema is None else {*OTHER_PARTS, "ema"})
        require_replicable(task, strategy)
        slice_batches(task, element_spec, config.accumulate, strategy)
        build(task, element_spec, strategy)
        require_apart(task)
        self.task = task
        self.step = task.steps_trained = tf.Variable(0, dtype=tf.int64, trainable=False)
        self.line, self.epoch = Means(task), Means(task)
        self._update_means = MeansUpdate(task, strategy, [self.line, self.epoch])
        require_fitting(task, any_batch_size(element_spec))
        self.average = None if config.ema is None else WeightAverage(task, config.ema)
        # Not a part of it: a state with such a loss is not saved.
        self._bad_step = tf.Variable(0, dtype=tf.int64, trainable=False)
        self.hooks = [*hooks, *early_stopping(config, task), *freezing(task)]
        is_chief = Workers(strategy).is_chief
        for hook in self.hooks:
            hook.is_chief = is_chief
        self.untracked = untracked_variables(task, element_spec, strategy)

    @property
    def parts(self) -> dict[str, Any]:
        """What a `tf.train.Checkpoint` of this state holds."""
        parts = {
            **self.task.models,
            **self.task.optimizers,
            "step": self.step,
            "metrics": {"line": self.line.variables, "epoch": self.epoch.variables},
            "untracked": self.untracked,
        }
        if self.average is not None:
            parts["ema"] = self.average.variables
        hooks = {hook.name: dict(hook.variables) for hook in self.hooks if hook.variables}
        return {**parts, "hooks": hooks} if hooks else parts

    @property
    def ended(self) -> str | None:
        """Why a hook wants the run to end, once one does."""
        return next(filter(None, (hook.stop for hook in self.hooks)), None)

    def update_means(self, batch: Batch, outputs: Outputs, loss: tf.Tensor) -> None:
        """Takes a batch into the means of the training; called inside a `tf.function`.

        A replica takes in its part of a batch, by `strategy.run`. Remembers the first step whose
        loss is not a finite number. Where the loss is scaled, such a step is dropped and the next
        scale is half of it: it counts when that is over, at 1.
        """
        tf.distribute.get_replica_context().merge_call(self._watch, args=(loss,))
        self._update_means(batch, outputs, loss)

    def _watch(self, strategy: tf.distribute.Strategy, losses: Any) -> None:
        loss = strategy.reduce("MEAN", losses, axis=None)
        is_first = ~tf.math.is_finite(loss) & (self._bad_step == 0)
        is_first &= is_at_its_end(self.task, self.step)
        self._bad_step.assign(tf.where(is_first, self.step + 1, self._bad_step))

    def average_weights(self) -> None:
        """Takes the weights after a step into their average, where --ema is set; in a graph."""
        if self.average is not None:
            self.average.update()

    @property
    def first_bad_step(self) -> int | None:
        """The first step whose loss was not a finite number."""
        return int(self._bad_step) or None

    def reset_means(self, *, epoch_ended: bool) -> None:
        """Starts the means since the last line anew, and at an epoch's end those of the epoch."""
        self.line.reset()
        if epoch_ended:
            self.epoch.reset()


def require_names(task: Task, others: set[str]) -> None:
    """Raises ConfigurationError if two parts of the checkpoint would have one name."""
    names = [*task.models, *task.optimizers, *others]
    for name in names:
        if names.count(name) > 1:
            raise ConfigurationError(
                f"{name!r} of {type(task).__name__} is taken: models and optimizers need names of "
                f"their own, other than {', '.join(sorted(others))}."
            )


def require_replicable(task: Task, strategy: tf.distribute.Strategy) -> None:
    """Raises ConfigurationError if several replicas would run a step that does not know of them."""
    if strategy.num_replicas_in_sync > 1 and task.has_own_step and not task.replicable:
        raise ConfigurationError(
            f"{type(task).__name__} has a step of its own, which several replicas would run, each "
            "on a part of a batch: let it take the gradients of self.share(loss), and say so by "
            "replicable = True; or train with --strategy none."
        )


def slice_batches(
    task: Task, element_spec: Any, count: int, strategy: tf.distribute.Strategy
) -> None:
    """Lets a task train on each batch, or on a replica's part, in slices with averaged gradients.

    Raises:
        ConfigurationError: its batches have no such slices, or its step is its own.
    """
    size, replicas = tf.nest.flatten(element_spec)[0].shape[0], strategy.num_replicas_in_sync
    require_even(size, strategy)
    if count > 1 and task.has_own_step:
        raise ConfigurationError(
            f"--accumulate {count} is not possible: {type(task).__name__} has a step of its own, "
            "which would have to do it."
        )
    if count > 1 and (size is None or size % (count * replicas)):
        where = f" on each of {replicas} replicas" if replicas > 1 else ""
        raise ConfigurationError(
            f"--accumulate {count} is not possible: batches of {size or 'any number of'} examples "
            f"have no so many equal slices{where}."
        )
    task.slices = count


def build(task: Task, element_spec: Any, strategy: tf.distribute.Strategy) -> None:
    """Makes all variables of a task's models and optimizers."""
    layers = [layer for _, model in models_of(task.models) for _, layer in named_layers(model)]
    # The operations of Keras 3 have nothing to build.
    if not all(getattr(layer, "built", True) for layer in [*task.models.values(), *layers]):
        # A model without an input of its own has no variables before, and a layer that is only
        # called where it trains has none before that either.
        for training in (False, True):
            forward = tf.function(partial(task.forward, training=training))
            with strategy.scope():
                trace(task, forward, any_batch_size(element_spec))
    with scope_of_optimizers(strategy):
        for name, optimizer in task.optimizers.items():
            optimizer.build(task.trained_variables(name))


def require_fitting(task: Task, element_spec: Any) -> None:
    """Raises ConfigurationError unless loss and metrics can take what the models give."""
    means = Means(task)

    @tf.function
    def validate(batch: Batch) -> tf.Tensor:
        outputs = task.forward(batch, training=False)
        means.update(batch, outputs)
        _, y, _ = keras.utils.unpack_x_y_sample_weight(batch)
        return task.loss(y, outputs)

    losses = trace(task, validate, element_spec).structured_outputs
    if losses.shape.rank != 1 or not losses.dtype.is_floating:
        raise ConfigurationError(
            f"The loss of {type(task).__name__} is to be one number for each example, (batch,), "
            f"and is of shape {losses.shape} and type {losses.dtype.name}."
        )
    for name, shape in means.shapes().items():
        if shape.rank != 0:
            raise ConfigurationError(
                f"The metric {name!r} of {type(task).__name__} is to be one number, and is of "
                f"shape {shape}."
            )
