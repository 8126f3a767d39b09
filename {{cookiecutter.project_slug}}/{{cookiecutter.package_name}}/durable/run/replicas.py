"""Training on several devices and machines: a replica of the models on each, by `tf.distribute`."""

import faulthandler
import logging
import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import tensorflow as tf

from ..checkpoint.workers import Workers
from ..data.protocol import Data, SharedData
from ..errors import PACKAGE, ConfigurationError
from .agreement import require_same_settings
from .cluster import Cluster, find_cluster
from .settings import RunSettings, seconds_of

log = logging.getLogger(__name__)


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


class MultiWorker(WholeVariables, tf.distribute.MultiWorkerMirroredStrategy):
    """A replica of the models on each device of several workers."""


def scope_of_optimizers(strategy: tf.distribute.Strategy) -> AbstractContextManager[None]:
    """The scope in which the variables of optimizers are made."""
    if isinstance(strategy, WholeVariables):
        return strategy.scope_of_optimizers()
    return strategy.scope()


def start_strategy(config: RunSettings) -> tf.distribute.Strategy:
    """The strategy that --strategy names; call it before TensorFlow's first operation.

    Raises:
        ConfigurationError: there are no such devices, or the workers do not go together.
        WorkerLost: one of them has not started in time.
    """
    strategy = choose_strategy(config)
    replicas, workers = strategy.num_replicas_in_sync, Workers(strategy)
    if workers.count > 1 and workers.is_chief:
        log.info("Training with %d workers, on %d devices in all.", workers.count, replicas)
    elif workers.count == 1 and replicas > 1:
        log.info("Training on %d devices.", replicas)
    return strategy


def choose_strategy(config: RunSettings) -> tf.distribute.Strategy:
    """The strategy that --strategy names, with the other workers where there are some."""
    kind, named = config.strategy, cluster_in_tf_config()
    if named is None:
        os.environ.pop("TF_CONFIG", None)  # TensorFlow reads it too, and fails where it is empty
    if kind == "multi-worker":
        return start_workers(require_cluster(find_cluster(), config), config)
    if kind == "auto" and config.cpu_devices is None:
        cluster = find_cluster()
        if cluster is not None and len(cluster.addresses) > 1:
            return start_workers(cluster, config)
    else:
        require_no_cluster(named, config)
    cpus = config.cpu_devices or 1
    if kind == "none" and cpus > 1:
        raise ConfigurationError("--cpu-devices goes with --strategy mirrored, or auto.")
    if config.cpu_devices is not None:
        split_cpu(config.cpu_devices)
    devices = accelerators() if config.cpu_devices is None else []
    if kind == "none" or (kind == "auto" and max(len(devices), cpus) < 2):
        return single_device()
    if devices:
        return Mirrored(devices)
    parts = [device.name for device in tf.config.list_logical_devices("CPU")]
    # TensorFlow's default for CPUs lets several strategies of one process get in each other's way.
    return Mirrored(parts[: config.cpu_devices], tf.distribute.ReductionToOneDevice())


def require_cluster(cluster: Cluster | None, config: RunSettings) -> Cluster:
    """The cluster; raises ConfigurationError where there is none."""
    if config.cpu_devices is not None:
        raise ConfigurationError(
            "--cpu-devices goes with --strategy mirrored: a worker has one CPU, or its GPUs."
        )
    if cluster is None:
        raise ConfigurationError(
            "--strategy multi-worker needs to know the workers: set TF_CONFIG, start it by srun, "
            f"or try it on this machine: python -m {PACKAGE} launch --workers 2 -- train.py"
        )
    return cluster


def cluster_in_tf_config() -> Cluster | None:
    """The cluster that TF_CONFIG names, if it names one."""
    return find_cluster({"TF_CONFIG": os.environ.get("TF_CONFIG", "")})


def require_no_cluster(cluster: Cluster | None, config: RunSettings) -> None:
    """Raises ConfigurationError where TF_CONFIG names workers that would not know of each other."""
    if cluster is not None and len(cluster.addresses) > 1:
        raise ConfigurationError(
            f"TF_CONFIG names {len(cluster.addresses)} workers, and --strategy is "
            f"{config.strategy}: give --strategy multi-worker to let them train one run together, "
            "or unset TF_CONFIG."
        )


def start_workers(cluster: Cluster, config: RunSettings) -> tf.distribute.Strategy:
    """Waits for the other workers, and joins them.

    Raises:
        ConfigurationError: another process has the port of this one, or another worker was given
            other settings.
        WorkerLost: one of them has not started in time.
    """
    seconds = seconds_of("worker-timeout", config.worker_timeout)
    cluster.wait_for_others(seconds)
    gpus = len(tf.config.list_physical_devices("GPU"))
    resolver = tf.distribute.cluster_resolver.SimpleClusterResolver(
        tf.train.ClusterSpec({"worker": list(cluster.addresses)}),
        task_type="worker",
        task_id=cluster.index,
        rpc_layer="grpc",
        num_accelerators={"GPU": gpus},
    )
    # No time limit for messages among its options: see `Watchdog`.
    # Should one end just now, TensorFlow would wait for an hour, and no thread of Python's runs.
    faulthandler.dump_traceback_later(seconds, exit=True)  # with code 1
    try:
        strategy = MultiWorker(resolver)
    finally:
        faulthandler.cancel_dump_traceback_later()
    require_same_settings(Workers(strategy), config)
    return strategy


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
    """Gives each replica of this process its part of the batch; called in a graph.

    The parts lie one behind the other in the batch, which is the same however many there are. Of
    several workers, each has a part of the whole batch already, see `share_of`.
    """
    count = strategy.num_replicas_in_sync // Workers(strategy).count
    if count == 1:
        return batch

    def part(context: Any) -> Any:
        return part_of(batch, context.replica_id_in_sync_group % count, count)

    return strategy.experimental_distribute_values_from_function(part)


def share_of(data: Data, strategy: tf.distribute.Strategy) -> Data:
    """The data of which each batch is this worker's part of the whole one.

    Raises:
        ConfigurationError: there are several workers, and the data have no order by number.
    """
    workers = Workers(strategy)
    if workers.count == 1:
        return data
    if not isinstance(data, SharedData):
        raise ConfigurationError(
            f"{type(data).__name__} has no order by number, so that several machines cannot have "
            "a part of each batch: make it an IndexedData, or train on the devices of one machine."
        )
    return data.share(workers.index, workers.count)


def part_of(batch: Any, number: int, count: int) -> Any:
    """One of the equal parts of a batch, whose first axis counts the examples."""

    def cut(values: Any) -> Any:
        size = (values.shape[0] or tf.shape(values)[0]) // count
        return values[number * size : (number + 1) * size]

    return tf.nest.map_structure(cut, batch)


def draw_by_example(draw: Callable[[tf.Tensor], tf.Tensor], size: tf.Tensor) -> tf.Tensor:
    """Random numbers for the examples of a replica, the same whatever the number of replicas.

    Args:
        draw: gives the numbers of so many examples, (count, …); of the whole batch here, so that
            it must give the same on each replica, as the `tf.random.stateless_…` do.
        size: () int32, the number of examples that the replica has.

    Returns:
        (size, …): those of the replica's examples.
    """
    replica = tf.distribute.get_replica_context()
    count, number = 1, 0
    if replica is not None:
        count, number = replica.num_replicas_in_sync, replica.replica_id_in_sync_group
    return draw(count * size)[number * size : (number + 1) * size]
