"""Training on several devices: one replica of the models on each, by `tf.distribute`."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import tensorflow as tf

from ..errors import ConfigurationError
from .settings import RunSettings


class WholeVariables:
    """Part of a strategy: its variables have the same value on every replica, and are known.

    Keras lets replicas keep their own statistics of batch normalisation. Saved would be their mean
    (Keras 2) or those of the first (Keras 3), so that a resumed run would be another one. Here they
    are the mean after each step.

    Attributes:
        variables: all that were made in the scope of the strategy.
    """

    def __init__(self, *arguments: Any, **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        self.variables: list[tf.Variable] = []

    @contextmanager
    def scope(self) -> Iterator[None]:
        """Makes variables that have the same value on every replica."""
        with self.scope_of_optimizers(), tf.variable_creator_scope(create_whole):
            yield

    @contextmanager
    def scope_of_optimizers(self) -> Iterator[None]:
        """Makes variables as they are asked for: optimizers take care of replicas themselves."""
        with super().scope(), tf.variable_creator_scope(self._create_known):  # type: ignore[misc]
            yield

    @contextmanager
    def scope_apart(self) -> Iterator[None]:
        """Makes variables that each replica has a value of its own for; they are not saved."""
        with super().scope(), tf.variable_creator_scope(create_apart):  # type: ignore[misc]
            yield

    def _create_known(self, create: Callable[..., tf.Variable], **settings: Any) -> tf.Variable:
        variable = create(**settings)
        self.variables.append(variable)
        return variable


def create_whole(create: Callable[..., tf.Variable], **settings: Any) -> tf.Variable:
    """Makes a variable that is the same on every replica: what is assigned is the mean of all."""
    if settings.get("synchronization") == tf.VariableSynchronization.ON_READ:
        settings["synchronization"] = tf.VariableSynchronization.AUTO
    if settings.get("aggregation") in {None, tf.VariableAggregation.NONE}:
        dtype = settings.get("dtype")
        is_number = dtype is None or tf.as_dtype(dtype).is_floating
        kinds = tf.VariableAggregation
        # Counters and the states of generators are the same on each.
        settings["aggregation"] = kinds.MEAN if is_number else kinds.ONLY_FIRST_REPLICA
    return create(**settings)


def create_apart(create: Callable[..., tf.Variable], **settings: Any) -> tf.Variable:
    """Makes a variable that each replica has a value of its own for; read, it is their sum."""
    settings["synchronization"] = tf.VariableSynchronization.ON_READ
    settings["aggregation"] = tf.VariableAggregation.SUM
    return create(**settings)


class Mirrored(WholeVariables, tf.distribute.MirroredStrategy):
    """A replica of the models on each of several devices of this machine."""


def scope_of_optimizers(strategy: tf.distribute.Strategy) -> AbstractContextManager[None]:
    """The scope in which the variables of optimizers are made."""
    if isinstance(strategy, WholeVariables):
        return strategy.scope_of_optimizers()
    return strategy.scope()


def start_strategy(config: RunSettings) -> tf.distribute.Strategy:
    """The strategy that --strategy names; call it before TensorFlow's first operation.

    Raises:
        ConfigurationError: there are no such devices.
    """
    if config.cpu_devices is not None:
        split_cpu(config.cpu_devices)
    kind = config.strategy
    devices = accelerators() if config.cpu_devices is None else []
    if kind == "none" or (kind == "auto" and len(devices) < 2):
        return single_device()
    if devices:
        return Mirrored(devices)
    cpus = [device.name for device in tf.config.list_logical_devices("CPU")]
    # TensorFlow's default for CPUs lets several strategies of one process get in each other's way.
    return Mirrored(cpus[: config.cpu_devices], tf.distribute.ReductionToOneDevice())


def single_device() -> tf.distribute.Strategy:
    """The strategy that TensorFlow has where none is chosen: everything once."""
    return tf.distribute.get_strategy()


def accelerators() -> list[str]:
    """The names of the devices that are faster than the CPU."""
    return [device.name for device in tf.config.list_logical_devices("GPU")]


def split_cpu(count: int) -> None:
    """Lets the CPU count as several devices.

    Raises:
        ConfigurationError: it is in use already.
    """
    (cpu,) = tf.config.list_physical_devices("CPU")
    parts = [tf.config.LogicalDeviceConfiguration()] * count
    try:
        tf.config.set_logical_device_configuration(cpu, parts)
    except RuntimeError as error:  # split before, as tests do: the first ones are taken
        if len(tf.config.list_logical_devices("CPU")) < count:
            raise ConfigurationError(
                f"--cpu-devices {count} is not possible: TensorFlow is in use already."
            ) from error


def is_on_a_replica() -> bool:
    """Whether what calls this was called by `strategy.run`, on one of several devices."""
    return tf.distribute.has_strategy() and not tf.distribute.in_cross_replica_context()


def require_even(batch_size: int | None, strategy: tf.distribute.Strategy) -> None:
    """Raises ConfigurationError unless a batch has an equal part for every replica."""
    count = strategy.num_replicas_in_sync
    if count > 1 and (batch_size is None or batch_size % count):
        raise ConfigurationError(
            f"Batches of {batch_size or 'any number of'} examples have no equal parts for "
            f"{count} replicas: give another batch size, or another number of devices."
        )


def deal(strategy: tf.distribute.Strategy, batch: Any) -> Any:
    """Gives each replica its part of a batch; called in a graph.

    The parts lie one behind the other in the batch, which is the same however many there are.
    """
    count = strategy.num_replicas_in_sync
    if count == 1:
        return batch

    def part(context: Any) -> Any:
        return part_of(batch, context.replica_id_in_sync_group, count)

    return strategy.experimental_distribute_values_from_function(part)


def part_of(batch: Any, number: int, count: int) -> Any:
    """One of the equal parts of a batch, whose first axis counts the examples."""

    def cut(values: Any) -> Any:
        size = (values.shape[0] or tf.shape(values)[0]) // count
        return values[number * size : (number + 1) * size]

    return tf.nest.map_structure(cut, batch)
