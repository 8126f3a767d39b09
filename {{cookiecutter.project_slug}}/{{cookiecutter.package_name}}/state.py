"""TrainState: all that a run must not lose."""

from itertools import count

import tensorflow as tf

from .checkpoints.naming import variable_paths
from .checkpoints.structure import reachable_variables
from .compat import keras, variables_of
from .errors import ConfigurationError


class Totals(tf.Module):
    """Sums since the last log line. They are saved, so that a resumed run logs the same means."""

    def __init__(self) -> None:
        super().__init__()
        self.examples = tf.Variable(0, dtype=tf.int64, trainable=False)
        self.correct = tf.Variable(0, dtype=tf.int64, trainable=False)
        self.loss = tf.Variable(0.0, dtype=tf.float64, trainable=False)

    def add(self, labels: tf.Tensor, logits: tf.Tensor, loss: tf.Tensor) -> None:
        """Adds one batch: labels (batch,), logits (batch, classes), loss () its mean loss."""
        predicted = tf.argmax(logits, axis=-1, output_type=labels.dtype)
        size = tf.size(labels, out_type=tf.int64)
        self.examples.assign_add(size)
        self.correct.assign_add(tf.math.count_nonzero(predicted == labels))
        self.loss.assign_add(tf.cast(loss, tf.float64) * tf.cast(size, tf.float64))

    def take(self) -> dict[str, float]:
        """Gives the mean loss and the accuracy, and starts again from zero."""
        examples = int(self.examples)
        means = {"loss": float(self.loss) / examples, "accuracy": int(self.correct) / examples}
        for variable in self.variables:
            variable.assign(tf.zeros_like(variable))
        return means


class TrainState:
    """A model and its optimizer, built, with everything else that a run must not lose.

    Attributes:
        model: the model; all its variables exist.
        optimizer: the optimizer; all its slots exist.
        step: () int64, how many steps were trained.
        totals: sums since the last log line.
        untracked: what the model uses and TensorFlow does not find in it, by name: the state of
            dropout's random generators, and in Keras 3 the layers held in lists.

    Raises:
        ConfigurationError: the model has state that no checkpoint can hold.
    """

    def __init__(
        self,
        model: keras.Model,
        optimizer: keras.optimizers.Optimizer,
        shape: tuple[int, ...],
    ) -> None:
        model(keras.Input(shape))  # a model without an input of its own has no variables before
        optimizer.build(model.trainable_variables)
        self.model = model
        self.optimizer = optimizer
        self.step = tf.Variable(0, dtype=tf.int64, trainable=False)
        self.totals = Totals()
        self.untracked = untracked_variables(model, optimizer, shape)

    @property
    def parts(self) -> dict[str, object]:
        """What a `tf.train.Checkpoint` of this state holds."""
        return {
            "model": self.model,
            "optimizer": self.optimizer,
            "step": self.step,
            "totals": self.totals,
            "untracked": self.untracked,
        }


def untracked_variables(
    model: keras.Model, optimizer: keras.optimizers.Optimizer, shape: tuple[int, ...]
) -> dict[str, tf.Variable]:
    """The variables that a training step uses and `tf.train.Checkpoint` would leave out, by name.

    The step is traced, not run: its graph captures each variable, generator and table it touches.

    Raises:
        ConfigurationError: it uses state that is not in a variable.
    """
    step = tf.function(lambda x: model(x, training=True))
    trace = step.get_concrete_function(tf.TensorSpec((None, *shape), tf.float32))
    refuse_hidden_randomness(model, trace)
    used = in_order_of_use(model, trace)
    checkpoint = tf.train.Checkpoint(model=model, optimizer=optimizer)
    known = {id(variable) for variable in reachable_variables(checkpoint).values()}
    paths = variable_paths({"model": model, "optimizer": optimizer})
    untracked: dict[str, tf.Variable] = {}
    nameless = count()
    for variable in [*used, *variables_of(model), *variables_of(optimizer)]:
        if id(variable) not in known:
            known.add(id(variable))
            name, _ = paths.get(id(variable)) or (f"generator_{next(nameless)}", "run")
            untracked[name] = variable
    return untracked


def in_order_of_use(
    model: keras.Model, trace: tf.types.experimental.ConcreteFunction
) -> list[tf.Variable]:
    """The variables that a traced step uses, in the order in which it first does."""
    by_handle = {id(variable.handle): variable for variable in trace.variables}
    resources = [tensor for tensor in trace.captured_inputs if tensor.dtype == tf.resource]
    if any(id(resource) not in by_handle for resource in resources):
        raise ConfigurationError(
            f"The model {model.name!r} keeps state outside of variables (a lookup table, say), "
            "which a checkpoint of its variables would lose. Move that part into data.py."
        )
    return [by_handle[id(resource)] for resource in resources]


def refuse_hidden_randomness(
    model: keras.Model, trace: tf.types.experimental.ConcreteFunction
) -> None:
    """Raises ConfigurationError if a random operation keeps its state out of reach."""
    graph = trace.graph.as_graph_def()
    functions = graph.library.function
    nodes = [*graph.node, *(node for function in functions for node in function.node_def)]
    for node in nodes:
        # Only the random operations that keep their own counter have this attribute; recurrent
        # layers bring one for GPUs that draws nothing where there is no dropout.
        if "seed2" in node.attr and not ("dropout" in node.attr and node.attr["dropout"].f == 0):
            raise ConfigurationError(
                f"The model {model.name!r} draws random numbers by {node.op} ({node.name}), whose "
                "state no checkpoint can hold. Use tf.random.Generator or a Keras seed generator."
            )
