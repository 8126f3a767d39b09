"""TrainState: all that a run must not lose."""

import re
from collections.abc import Sequence
from functools import partial
from itertools import count
from typing import Any

import tensorflow as tf

from ..checkpoint.graph import ObjectGraph
from ..checkpoint.naming import models_of, named_layers, variable_paths
from ..checkpoint.structure import fixed_tables
from ..compat import keras, variables_of
from ..data.protocol import any_batch_size, describe_spec
from ..errors import ConfigurationError
from .experiment import Batch, Hook, Outputs, Task
from .optimization import WeightAverage
from .settings import RunSettings
from .stopping import early_stopping, freezing, is_at_its_end, require_apart
from .validation import Means

OTHER_PARTS = {"step", "metrics", "untracked", "hooks"}
# What a traced step, loss or metric raises where models, labels and metrics do not go together.
TRACING_ERRORS = (
    AttributeError,
    LookupError,
    NotImplementedError,
    TypeError,
    ValueError,
    tf.errors.OpError,
)


class TrainState:
    """The models and optimizers of a task, built, with everything else that a run must not lose.

    Args:
        element_spec: the specs of its batches.
        hooks: whose variables are a part of it.
        config: how it is trained; by default as a task alone says.

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
    ) -> None:
        config = RunSettings() if config is None else config
        require_names(task, OTHER_PARTS if config.ema is None else {*OTHER_PARTS, "ema"})
        slice_batches(task, element_spec, config.accumulate)
        build(task, element_spec)
        require_apart(task)
        self.task = task
        self.step = task.steps_trained = tf.Variable(0, dtype=tf.int64, trainable=False)
        self.line, self.epoch = Means(task), Means(task)
        require_fitting(task, any_batch_size(element_spec))
        self.average = None if config.ema is None else WeightAverage(task, config.ema)
        # Not a part of it: a state with such a loss is not saved.
        self._bad_step = tf.Variable(0, dtype=tf.int64, trainable=False)
        self.hooks = [*hooks, *early_stopping(config, task), *freezing(task)]
        self.untracked = untracked_variables(task, element_spec)

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

        Remembers the first step whose loss is not a finite number. Where the loss is scaled, such a
        step is dropped and the next scale is half of it: it counts when that is over, at 1.
        """
        is_first = ~tf.math.is_finite(loss) & (self._bad_step == 0)
        is_first &= is_at_its_end(self.task, self.step)
        self._bad_step.assign(tf.where(is_first, self.step + 1, self._bad_step))
        self.line.update(batch, outputs, loss)
        self.epoch.update(batch, outputs, loss)

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


def slice_batches(task: Task, element_spec: Any, count: int) -> None:
    """Lets a task train on each batch in slices, whose gradients are averaged.

    Raises:
        ConfigurationError: its batches have no such slices, or its step is its own.
    """
    size = tf.nest.flatten(element_spec)[0].shape[0]
    if count > 1 and type(task).step is not Task.step:
        raise ConfigurationError(
            f"--accumulate {count} is not possible: {type(task).__name__} has a step of its own, "
            "which would have to do it."
        )
    if count > 1 and (size is None or size % count):
        raise ConfigurationError(
            f"--accumulate {count} is not possible: batches of {size or 'any number of'} examples "
            "have no so many equal slices."
        )
    task.slices = count


def build(task: Task, element_spec: Any) -> None:
    """Makes all variables of a task's models and optimizers."""
    layers = [layer for _, model in models_of(task.models) for _, layer in named_layers(model)]
    # The operations of Keras 3 have nothing to build.
    if not all(getattr(layer, "built", True) for layer in [*task.models.values(), *layers]):
        # A model without an input of its own has no variables before, and a layer that is only
        # called where it trains has none before that either.
        for training in (False, True):
            forward = tf.function(partial(task.forward, training=training))
            trace(task, forward, any_batch_size(element_spec))
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


def trace(task: Task, function: Any, element_spec: Any) -> tf.types.experimental.ConcreteFunction:
    """Traces a function of one batch, without running it.

    Raises:
        ConfigurationError: shapes or types do not go together.
    """
    try:
        return function.get_concrete_function(element_spec)
    except ConfigurationError:
        raise
    except TRACING_ERRORS as error:
        raise ConfigurationError(
            f"{type(task).__name__} cannot learn from batches of {describe_spec(element_spec)}: "
            f"{reason_of(error)} Let models, labels, loss and metrics fit together; --debug tells "
            "where they do not."
        ) from error


def reason_of(error: Exception) -> str:
    """What an error in traced code says, in one line, without the way to it."""
    text = re.sub(r"\x1b\[\d+m", "", str(error))  # Keras prints in bold
    text = text.rpartition("Arguments received by")[0] or text
    # TensorFlow puts the lines of code before the error itself.
    found = re.search(r"^ *(\w+(?:Error|Exception): .*)", text, re.MULTILINE | re.DOTALL)
    reason = found[1] if found else f"{type(error).__name__}: {text}"
    return " ".join(reason.split())[:300].removesuffix(".") + "."


def untracked_variables(task: Task, element_spec: Any) -> dict[str, tf.Variable]:
    """The variables that a training step uses and `tf.train.Checkpoint` would leave out, by name.

    The step is traced, not run: its graph captures each variable, generator and table it touches.

    Raises:
        ConfigurationError: it uses state that is not in a variable.
    """
    traced = trace(task, tf.function(task.step), element_spec)
    refuse_hidden_randomness(task, traced)
    owners = {**task.models, **task.optimizers}
    known = {id(found) for found in ObjectGraph(tf.train.Checkpoint(**owners)).variables.values()}
    paths = variable_paths(owners)
    owned = [variable for owner in owners.values() for variable in variables_of(owner)]
    untracked: dict[str, tf.Variable] = {}
    generators = count()
    for variable in [*in_order_of_use(task, traced), *owned]:
        if id(variable) not in known:
            known.add(id(variable))
            path, _ = paths.get(id(variable)) or (nameless_path(variable, generators), "run")
            untracked[path] = variable
    return untracked


def nameless_path(variable: tf.Variable, generators: "count[int]") -> str:
    """A name for a variable that belongs to no layer."""
    name = variable.name.partition(":")[0]
    # What TensorFlow calls the state of each generator; Keras 2 puts the layer before it.
    is_generator = name.rpartition("/")[2] == "StateVar"
    return f"generator_{next(generators)}" if is_generator else name


def in_order_of_use(
    task: Task, traced: tf.types.experimental.ConcreteFunction
) -> list[tf.Variable]:
    """The variables that a traced step uses, in the order in which it first does."""
    by_handle = {id(variable.handle): variable for variable in traced.variables}
    fixed = {id(table.resource_handle) for table in fixed_tables(task.models.values())}
    used = {id(tensor) for tensor in traced.captured_inputs if tensor.dtype == tf.resource} - fixed
    if used - by_handle.keys():
        raise ConfigurationError(
            f"{names_of_models(task)} keeps state outside of variables (a lookup table, say), "
            "which a checkpoint of its variables would lose. Move that part into the data, or make "
            "it a tf.lookup.StaticHashTable that is an attribute of its layer."
        )
    return [by_handle[id(tensor)] for tensor in traced.captured_inputs if id(tensor) in used]


def refuse_hidden_randomness(task: Task, traced: tf.types.experimental.ConcreteFunction) -> None:
    """Raises ConfigurationError if a random operation keeps its state out of reach."""
    graph = traced.graph.as_graph_def()
    functions = graph.library.function
    nodes = [*graph.node, *(node for function in functions for node in function.node_def)]
    for node in nodes:
        # Only the random operations that keep their own counter have this attribute; recurrent
        # layers bring one for GPUs that draws nothing where there is no dropout.
        if "seed2" in node.attr and not ("dropout" in node.attr and node.attr["dropout"].f == 0):
            raise ConfigurationError(
                f"{names_of_models(task)} draws random numbers by {node.op} ({node.name}), whose "
                "state no checkpoint can hold. Use tf.random.Generator or a Keras seed generator."
            )


def names_of_models(task: Task) -> str:
    """What the models of a task are called, for messages."""
    names = ", ".join(repr(model.name) for model in task.models.values())
    return f"The model {names}" if len(task.models) == 1 else f"One of the models {names}"
