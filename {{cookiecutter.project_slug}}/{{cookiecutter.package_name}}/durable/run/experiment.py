"""The seam: all that the machinery ever sees of a user's zone.

A project fulfills it in its `experiment.py`, and hands it over in `train.py`, `evaluate.py` and
`__main__.py`. A `Task` says what is learned, with defaults for what most tasks have in common.
"""

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np
import tensorflow as tf

from ..checkpoint.naming import named_layers
from ..compat import apply_gradients, keras, scale_loss
from ..data.protocol import Data, DataSpec
from .optimization import joined, mean_gradients, slices_of
from .paths import RunPaths

if TYPE_CHECKING:  # training does not wait for what draws
    from matplotlib.figure import Figure


class Experiment(Protocol):
    """From a configuration to data, models and optimizers.

    Attributes:
        config: every setting.
        paths: where the run keeps its files.
    """

    @property
    def config(self) -> Any: ...

    @property
    def paths(self) -> RunPaths: ...

    def data(self) -> Data:
        """Opens the data set.

        Raises:
            ConfigurationError: it is not there, or not usable.
        """
        ...

    def task(self, data: DataSpec) -> "Task":
        """Builds the models and the optimizers for data of that kind.

        Called to train, and, with what a checkpoint tells of its data, to evaluate or export it.

        Raises:
            ConfigurationError: they cannot be built from these settings.
        """
        ...

    def hooks(self) -> Sequence["Hook"]:
        """What else is to be told how training goes."""
        ...


class Hook:
    """Is told how training goes, and may end it. Each method does nothing by default.

    Attributes:
        name: what it is called in the checkpoint.
        variables: its state by name; saved and restored with the run.
        stop: why the run should end, once it should.
    """

    name: str = ""
    variables: Mapping[str, tf.Variable] = {}
    stop: str | None = None
    is_chief: bool = True  # of several workers, each with its hooks: let the chief's alone write

    def on_start(self, step: int) -> None:
        """The run goes on from a step: what was told of later ones is void."""

    def on_log(self, step: int, epoch: int, metrics: Mapping[str, float]) -> None:
        """A line was logged."""

    def on_epoch_end(self, step: int, epoch: int, metrics: Mapping[str, float]) -> None:
        """An epoch has ended, with these means and validation metrics."""


# Nests of tensors: (x, y) or (x, y, weight), and what a model gives for x.
Batch = Any
Outputs = Any


class Task(Protocol):
    """What is learned, by which models, and how well it is done.

    A task of one model and one optimizer sets `models` and `optimizers` in its constructor and
    defines `loss` and `metrics`; all else has a default. Several optimizers train parts of the
    models for the one loss, each at its own rate and from its own step on, see `frozen_until`. One
    that trains otherwise, a GAN or a student with its teacher, overrides `step` and `forward`.

    Attributes:
        models: by the names that they have in the checkpoint: {"model": model}.
        optimizers: likewise: {"optimizer": optimizer}.
        best_metric: the metric that decides which checkpoint is the best.
        best_mode: whether its largest or its smallest value is the best.
        frozen_until: how many steps an optimizer leaves what it trains as it is, by its name, in
            the default step. It begins after them, with slots of zeros and a count of its own.
        slices: how many parts a batch is trained in, by the default step.
        replicable: whether a step of the task's own may be run by several replicas, each with its
            part of a batch: it takes the gradients of `share(loss)`.
        steps_trained: () int64, the steps trained so far; a `TrainState` gives it to its task.
    """

    models: Mapping[str, keras.Model]
    optimizers: Mapping[str, keras.optimizers.Optimizer]
    best_metric: str = "val_loss"
    best_mode: Literal["max", "min"] = "min"
    frozen_until: Mapping[str, int] = {}
    slices: int = 1
    replicable: bool = False
    steps_trained: tf.Variable
    _begun: Sequence[str] | None = None

    @abstractmethod
    def loss(self, y: Any, outputs: Outputs) -> tf.Tensor:
        """The loss of each example: (batch,), of a floating type."""

    @abstractmethod
    def metrics(self) -> dict[str, keras.metrics.Metric]:
        """New metric objects, each with a single number as its result, by their names in the log.

        The same are used for training and for validation, where `val_` stands before the name.
        """

    @property
    def model(self) -> keras.Model:
        """The model of a task that has one."""
        return next(iter(self.models.values()))

    @property
    def optimizer(self) -> keras.optimizers.Optimizer:
        """The optimizer of a task that has one."""
        return next(iter(self.optimizers.values()))

    @property
    def has_own_step(self) -> bool:
        """Whether it trains in another way than by the default step."""
        return type(self).step is not Task.step

    def trained_variables(self, optimizer: str) -> list[Any]:
        """The variables that an optimizer trains, in its order.

        By default, `generator_optimizer` trains the model `generator` and `body_optimizer` the
        layer `body` of a model; an optimizer without a name of that kind trains what is left.
        """
        own = self._trained_by_name(optimizer)
        if own is not None:
            return own
        others = [self._trained_by_name(name) or [] for name in self.optimizers]
        taken = {id(variable) for variables in others for variable in variables}
        models = self.models.values()
        left = [variable for model in models for variable in model.trainable_variables]
        return [variable for variable in left if id(variable) not in taken]

    def _trained_by_name(self, optimizer: str) -> list[Any] | None:
        """The variables of the model or the layer that an optimizer is called after; or None."""
        name = optimizer.removesuffix("_optimizer")
        if name == optimizer:
            return None
        layers = (layer for model in self.models.values() for layer in named_layers(model))
        parts = dict(layers) | {**self.models}
        return [*parts[name].trainable_variables] if name in parts else None

    def forward(self, batch: Batch, *, training: bool) -> Outputs:
        """What `loss` and the metrics are given for a batch: by default, the model's output."""
        return self.model(batch[0], training=training)

    def step(self, batch: Batch) -> tuple[Outputs, tf.Tensor]:
        """Trains on one batch; called inside a `tf.function`.

        Returns:
            The outputs, for the metrics, and the loss: (), with the regularization in it.
        """
        train = self.phased(self._train) if self._begun is None else self._train
        return train(batch)

    def phased(self, train: Callable[..., Any]) -> Callable[..., Any]:
        """Lets what trains by the default step train what has begun at a step, see `frozen_until`.

        Args:
            train: in a `tf.function`; with `strategy.run`, all of that. It returns tensors.
        """
        begins = sorted({0, *self.frozen_until.values()})

        def train_begun(begin: int, *arguments: Any, **settings: Any) -> Any:
            self._begun = [n for n in self.optimizers if self.frozen_until.get(n, 0) <= begin]
            try:
                return train(*arguments, **settings)
            finally:
                self._begun = None

        def train_phase(*arguments: Any, **settings: Any) -> Any:
            phases = [partial(train_begun, begin, *arguments, **settings) for begin in begins]
            if len(phases) == 1:
                return phases[0]()
            # A graph for each: none works out gradients that nobody takes.
            begun = [tf.cast(self.steps_trained >= begin, tf.int32) for begin in begins[1:]]
            return tf.switch_case(tf.add_n(begun), phases)

        return train_phase

    def _train(self, batch: Batch) -> tuple[Outputs, tf.Tensor]:
        """Trains on one batch what the optimizers train that have begun."""
        variables = {name: self.trained_variables(name) for name in self._begun or ()}
        sliced: list[tuple[Outputs, tf.Tensor, dict[str, list[Any]]]] = []
        for part in slices_of(batch, self.slices):
            before = [found for *_, gradients in sliced[-1:] for found in gradients.values()]
            # One after the other, so that no more than one is in memory.
            with tf.control_dependencies([x for found in before for x in found if x is not None]):
                sliced.append(self._differentiate(part, variables))
        outputs, losses, gradients = zip(*sliced, strict=True)
        for name, own in variables.items():
            mean = mean_gradients([found[name] for found in gradients])
            apply_gradients(self.optimizers[name], mean, own)
        return joined(outputs), tf.add_n(losses) / self.slices

    def _differentiate(
        self, batch: Batch, variables: Mapping[str, list[Any]]
    ) -> tuple[Outputs, tf.Tensor, dict[str, list[Any]]]:
        """The outputs for a batch, its loss, and the gradients for each optimizer.

        An optimizer that scales the loss is given gradients of its own scale.
        """
        with tf.GradientTape(persistent=True) as tape:
            outputs = self.forward(batch, training=True)
            loss = self.mean_loss(batch, outputs)
            for penalty in (term for model in self.models.values() for term in model.losses):
                loss += tf.cast(penalty, loss.dtype)
            share = self.share(loss)
            scaled = {name: scale_loss(self.optimizers[name], share) for name in variables}
        gradients = {name: tape.gradient(scaled[name], own) for name, own in variables.items()}
        return outputs, loss, gradients

    def share(self, loss: tf.Tensor) -> tf.Tensor:
        """What the loss of a replica's part counts in that of the whole batch: ().

        Optimizers add up the gradients of all replicas. Each has the mean over its part of the
        batch, all parts are of one size, and penalties are the same on each: divided by the number
        of replicas, they add up to the gradient of the mean over the whole batch.
        """
        return loss / tf.distribute.get_strategy().num_replicas_in_sync

    def mean_loss(self, batch: Batch, outputs: Outputs) -> tf.Tensor:
        """The mean loss of a batch: (). An example counts as much as its weight says.

        The sum is divided by the number of examples, as Keras does, and not by the sum of their
        weights: so the mean over several batches is that over their examples.
        """
        _, y, weight = keras.utils.unpack_x_y_sample_weight(batch)
        losses = self.loss(y, outputs)
        return tf.reduce_mean(losses if weight is None else losses * tf.cast(weight, losses.dtype))

    def update_metrics(
        self, metrics: Mapping[str, keras.metrics.Metric], batch: Batch, outputs: Outputs
    ) -> None:
        """Takes one batch into the metrics; a task with several outputs says which is for which."""
        _, y, weight = keras.utils.unpack_x_y_sample_weight(batch)
        for metric in metrics.values():
            metric.update_state(y, outputs, sample_weight=weight)

    def combine(self, members: Sequence[Outputs]) -> Outputs:
        """What an ensemble gives for a batch, from what its members give: by default the mean.

        What it gives must be such that `loss` and the metrics can take it.
        """
        return tf.nest.map_structure(lambda *values: tf.add_n(values) / len(values), *members)

    def inference(self, element_spec: Any) -> tuple[keras.Model, Any]:
        """The model that is exported, and the specs of what it is given: by default, of x."""
        return self.model, element_spec[0]

    def figures(self) -> "Figures | None":
        """Collects what an evaluation draws; None where there is nothing to draw."""
        return None


class Figures(Protocol):
    """The figures of an evaluation, collected batch by batch, so that memory stays flat."""

    def update(self, batch: Any, outputs: Any, losses: np.ndarray) -> None:
        """Takes in a batch and what was predicted for it.

        Args:
            batch: as the data give it, in NumPy arrays.
            outputs: what the model or the ensemble gave, in NumPy arrays.
            losses: (batch,), of each example.
        """
        ...

    def draw(self, title: str) -> Mapping[str, "Figure | str"]:
        """The figures by the names of their files, or why one cannot be drawn."""
        ...
