"""The only file that asks which Keras this is: 2 (TensorFlow 2.15, tf-keras) or 3."""

import platform
from collections.abc import Iterator
from contextlib import suppress
from importlib import import_module
from typing import Any

import tensorflow as tf

keras: Any = tf.keras

# Keras 3 brought keras.ops; tf.keras has no version attribute on every TensorFlow.
KERAS_3 = hasattr(keras, "ops")

if not KERAS_3:
    # Without it, dropout draws from operations whose state no checkpoint can hold.
    keras.backend.experimental.enable_tf_random_generator()


def keras_version() -> str:
    """The version of the Keras behind tf.keras.

    The package says it, since distributions of several names bring it: keras and keras-nightly,
    which may both be installed, and tf-keras.
    """
    package = import_module(keras.Model.__module__.split(".")[0])
    return str(package.__version__)


def versions() -> dict[str, str]:
    """The versions that write a checkpoint, for its card."""
    return {
        "tensorflow": tf.__version__,
        "keras": keras_version(),
        "python": platform.python_version(),
    }


def as_variable(trackable: object) -> tf.Variable | None:
    """The variable that a node of an object graph is (Keras 2) or wraps (Keras 3), else None."""
    if isinstance(trackable, tf.Variable):
        return trackable
    value = getattr(trackable, "value", None) if KERAS_3 else None
    return value if isinstance(value, tf.Variable) else None


# The class that defines, for all trackable objects, how one saves more than variables.
_TRACKABLE: Any = next(kind for kind in tf.Module.__mro__ if "_serialize_to_tensors" in vars(kind))


def has_own_state(trackable: Any) -> bool:
    """Whether TensorFlow saves of an object, which is no variable, something of its own.

    An iterator has that, a mutable table, Python state. There is no public way to ask, and an
    object may define either of the two hooks and give nothing, as optimizers of Keras 2 do.
    """
    kind: Any = type(trackable)
    newer, older = "_serialize_to_tensors", "_gather_saveables_for_checkpoint"
    for hook in (newer, older):
        if getattr(kind, hook, None) not in (None, getattr(_TRACKABLE, hook)):
            with suppress(NotImplementedError):
                if getattr(trackable, hook)():
                    return True
    return False


def is_whole_number(value: object) -> bool:
    """Whether a value is one whole number, or a variable or a tensor that holds one."""
    if not hasattr(value, "dtype") or not hasattr(value, "shape"):
        return isinstance(value, int)
    return tuple(value.shape) == () and tf.as_dtype(value.dtype).is_integer


def whole_number(value: Any) -> int:
    """The number that a number, a tensor or a variable, mirrored ones included, holds."""
    return int(tf.convert_to_tensor(value).numpy())


def named_variables(owner: object) -> list[tuple[str, tf.Variable]]:
    """All variables of a model, a layer or an optimizer, with the names that Keras gave them.

    A variable of Keras 3 knows its path; the TensorFlow variable that it wraps does not.
    """
    try:
        variables = getattr(owner, "variables", [])  # the operations of Keras 3 have none
    except ValueError:  # nor does a model of Keras 2 before it is built
        return []
    if KERAS_3:
        return [(variable.path, as_variable(variable)) for variable in variables]
    return [(variable.name.partition(":")[0], variable) for variable in variables]


def generator_state(layer: object) -> tf.Variable | None:
    """The state of the generator that a layer of Keras 2 draws from; Keras 3 counts it as its own.

    No list of a layer's variables has it, nor does the object graph, and there is no public way.
    """
    generator = getattr(getattr(layer, "_random_generator", None), "_generator", None)
    return generator.state if isinstance(generator, tf.random.Generator) else None


def variables_of(owner: object) -> list[tf.Variable]:
    """All variables of a model, a layer or an optimizer."""
    return [variable for _, variable in named_variables(owner)]


def sublayers(layer: keras.layers.Layer) -> list[keras.layers.Layer]:
    """The layers directly inside another, those in lists and dictionaries included.

    A functional model of Keras 3 has operations that are not layers, such as `keras.ops.relu`; they
    are among them. Neither Keras has a public way to ask a layer that is not a model; both have
    this method.
    """
    if hasattr(layer, "operations"):
        return list(layer.operations)
    if not isinstance(layer, keras.layers.Layer):
        return []
    return list(layer._flatten_layers(include_self=False, recursive=False))  # noqa: SLF001


def stateful_layers(model: keras.Model) -> Iterator[keras.layers.Layer]:
    """The recurrent layers that keep their states from batch to batch."""
    for layer in sublayers(model):
        if isinstance(layer, keras.layers.RNN) and layer.stateful and layer.built:
            yield layer
        yield from stateful_layers(layer)


def reset_states(model: keras.Model) -> None:
    """Lets recurrent layers that keep their states from batch to batch begin anew."""
    for layer in stateful_layers(model):
        reset = layer.reset_state if hasattr(layer, "reset_state") else layer.reset_states
        reset()


def slot_readings(name: str) -> Iterator[tuple[str, str]]:
    """Ways to read an optimizer variable's name as (slot, the name of what it belongs to).

    Keras 2: Adam/m/hidden_1/kernel. Keras 3: adam/mlp_hidden_1_kernel_momentum. Slashes in the
    second name are given as underscores.
    """
    if KERAS_3:
        words = name.rpartition("/")[2].split("_")
        for cut in range(len(words) - 1, 0, -1):
            yield "_".join(words[cut:]), "_".join(words[:cut])
    else:
        words = name.split("/")
        for cut in range(1, len(words)):
            yield words[cut - 1], "_".join(words[cut:])


def learning_rate_at(optimizer: keras.optimizers.Optimizer, step: int) -> float:
    """The learning rate of an optimizer at a step, whether it has a number or a schedule."""
    inner = getattr(optimizer, "inner_optimizer", optimizer)  # of one that scales the loss
    rate = inner.get_config()["learning_rate"]
    if isinstance(rate, dict):
        return float(keras.optimizers.schedules.deserialize(rate)(step))
    return float(rate)


def learning_rate_variable(optimizer: keras.optimizers.Optimizer) -> tf.Variable | None:
    """The variable that keeps a learning rate that was given as a number; a schedule has none."""
    inner = getattr(optimizer, "inner_optimizer", optimizer)  # of one that scales the loss
    try:
        given = inner.get_config()["learning_rate"]
    except (KeyError, NotImplementedError):  # an optimizer of the user's that does not tell
        return None
    return None if isinstance(given, dict) else as_variable(inner.learning_rate)


def loss_scale(optimizer: keras.optimizers.Optimizer) -> tf.Tensor | None:
    """What an optimizer multiplies the loss by, so that no gradient is lost in float16; or None."""
    if not hasattr(optimizer, "inner_optimizer"):
        return None
    return tf.convert_to_tensor(optimizer.dynamic_scale if KERAS_3 else optimizer.loss_scale)


def scale_loss(optimizer: keras.optimizers.Optimizer, loss: tf.Tensor) -> tf.Tensor:
    """The loss as its optimizer wants it: multiplied, if it scales it."""
    scale = loss_scale(optimizer)
    return loss if scale is None else loss * tf.cast(scale, loss.dtype)


def apply_gradients(
    optimizer: keras.optimizers.Optimizer, gradients: list[tf.Tensor], variables: list[Any]
) -> None:
    """Updates variables by the gradients of `scale_loss`; Keras 3 divides them by itself.

    Clips the sum over all replicas, on every Keras, and not the gradients of each replica.
    """
    if not KERAS_3 and hasattr(optimizer, "get_unscaled_gradients"):
        gradients = optimizer.get_unscaled_gradients(gradients)
    if KERAS_3:
        gradients = reduced_first(optimizer, gradients)
    optimizer.apply_gradients(zip(gradients, variables, strict=True))


def reduced_first(
    optimizer: keras.optimizers.Optimizer, gradients: list[tf.Tensor]
) -> list[tf.Tensor]:
    """A replica's share of what is to be applied, where that depends on the sum over all replicas.

    Keras 3 clips the gradients of each replica before it adds them up, and looks at those of the
    first alone for numbers that are not finite; Keras 2 does both to their sum, as with one
    replica. What Keras 3 then does to the shares changes nothing: they are equal, and smaller.
    """
    context = tf.distribute.get_replica_context()
    count = 1 if context is None else context.num_replicas_in_sync
    inner = getattr(optimizer, "inner_optimizer", optimizer)
    limits = (inner.clipvalue, inner.clipnorm, inner.global_clipnorm)
    if count == 1 or not (any(limits) or inner is not optimizer):
        return gradients
    places = [place for place, gradient in enumerate(gradients) if gradient is not None]
    found = context.all_reduce("SUM", [tf.convert_to_tensor(gradients[place]) for place in places])
    scale = loss_scale(optimizer)
    value, norm, global_norm = (
        limit if limit is None or scale is None else limit * scale for limit in limits
    )
    if value is not None:
        found = [tf.clip_by_value(gradient, -value, value) for gradient in found]
    elif norm is not None:
        found = [tf.clip_by_norm(gradient, norm) for gradient in found]
    elif global_norm is not None:
        found, _ = tf.clip_by_global_norm(found, global_norm)
    clipped = dict(zip(places, (gradient / count for gradient in found), strict=True))
    return [clipped.get(place) for place in range(len(gradients))]


class _FitPosition:
    """Tells `fit` of Keras 2 where to begin."""

    def __init__(self, epoch: int) -> None:
        self._epoch = epoch

    def maybe_load_initial_counters_from_ckpt(self, *_: Any, **__: Any) -> tuple[int, int]:
        return self._epoch, 0


def begin_fit_at(model: keras.Model, epoch: int | None) -> None:
    """Lets `fit`, which has begun, go on with an epoch; None and 0 leave it where it is told.

    Keras has no public way for that; its own BackupAndRestore does the same.
    """
    if KERAS_3:
        model._initial_epoch = epoch  # noqa: SLF001
    else:
        model._training_state = _FitPosition(epoch) if epoch else None  # noqa: SLF001
