"""The workers that train one run together: which there are, and which of them this process is."""

import json
import os
import re
import socket
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import tensorflow as tf

from ..errors import ConfigurationError, WorkerLost, in_one_line

FORM = (
    '{"cluster": {"worker": ["host0:2222", "host1:2222"]}, "task": {"type": "worker", "index": 0}}'
)
ADDRESS = re.compile(r"(?:[^\s:/]+|\[[0-9a-fA-F:]+\]):([0-9]{1,5})")
# Below those that systems give to outgoing connections, from 32768 on.
FIRST_PORT, PORTS = 15000, 10000
SECONDS_BETWEEN_TRIES = 0.1


@dataclass(frozen=True)
class Cluster:
    """The processes that train one run together, each on a machine or on a part of one.

    Attributes:
        addresses: of all of them, host:port; the first is the chief's.
        index: which of them this process is.

    Raises:
        ConfigurationError: it is not one of them, or an address is none or stands there twice.
    """

    addresses: tuple[str, ...]
    index: int

    def __post_init__(self) -> None:
        for address in self.addresses:
            match = ADDRESS.fullmatch(address)
            if match is None or not 0 < int(match[1]) < 65536:
                raise ConfigurationError(
                    f"The worker address {address!r} is not host:port, with a port of 1 to 65535."
                )
        if len(set(self.addresses)) < len(self.addresses):
            raise ConfigurationError(
                f"Two workers have one address in {', '.join(self.addresses)}: give each its own."
            )
        if not 0 <= self.index < len(self.addresses):
            raise ConfigurationError(
                f"Worker {self.index} is not one of {len(self.addresses)}, which count from 0."
            )

    @property
    def port(self) -> int:
        """The port that this process listens at."""
        return int(self.addresses[self.index].rpartition(":")[2])

    def wait_for_others(self, seconds: float) -> None:
        """Waits until every worker listens at its address; call it before TensorFlow does that.

        TensorFlow waits for an hour, deaf to everything, and has no public way to say how long.

        Raises:
            ConfigurationError: another process has the port of this one.
            WorkerLost: one has not started in time.
        """
        end = time.monotonic() + seconds
        with self._listening():
            for index, address in enumerate(self.addresses):
                while not answers(address):
                    if time.monotonic() > end:
                        raise WorkerLost(
                            f"Worker {index} did not start at {address} within the {seconds:g} s "
                            "of --worker-timeout: start all workers again."
                        )
                    time.sleep(SECONDS_BETWEEN_TRIES)

    def _listening(self) -> socket.socket:
        try:
            return socket.create_server(("", self.port))
        except (OSError, OverflowError) as error:
            raise ConfigurationError(
                f"Worker {self.index} cannot listen at {self.addresses[self.index]}: "
                f"{in_one_line(error)}. Stop what does, or give another port."
            ) from error


def answers(address: str) -> bool:
    """Whether a process listens at an address, host:port."""
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=1).close()
    except OSError:  # or its name is not known yet
        return False
    return True


def find_cluster(environment: Mapping[str, str] = os.environ) -> Cluster | None:
    """The cluster that TF_CONFIG, Kubernetes or Slurm describe; None where none of them does.

    Raises:
        ConfigurationError: the description makes no sense.
    """
    if environment.get("TF_CONFIG", "").strip():
        return cluster_of_tf_config(environment["TF_CONFIG"])
    if "WORKER_ADDRESS" in environment:
        return cluster_of_kubernetes(environment)
    if "SLURM_STEP_NUM_TASKS" in environment:
        return cluster_of_slurm(environment)
    return None


def cluster_of_tf_config(text: str) -> Cluster | None:
    """The cluster that a text in the form of TensorFlow's TF_CONFIG describes.

    A chief with a name of its own is the first worker. Without a cluster, there is one process.
    """
    try:
        described = json.loads(text)
        jobs = jobs_of(described)
        if not jobs:
            return None
        kind, index = described["task"]["type"], index_of(described["task"])
        require_workers(jobs, kind, index)
    except (AttributeError, LookupError, RecursionError, TypeError, ValueError) as error:
        is_told = isinstance(error, ValueError)
        reason = in_one_line(error) if is_told else "a part is missing, or of another kind"
        raise ConfigurationError(
            f"TF_CONFIG describes no cluster: {reason}. It is to be of the form {FORM}."
        ) from error
    addresses = (*jobs.get("chief", ()), *jobs.get("worker", ()))
    return Cluster(addresses, addresses.index(jobs[kind][index]))


def jobs_of(described: Mapping[str, Any]) -> dict[str, list[str]]:
    """The addresses in what TF_CONFIG describes, by the type of the workers."""
    if described.keys() & {"chief", "worker"}:
        raise ValueError('its workers stand outside of "cluster"')
    jobs = described.get("cluster") or {}
    return {job: list_of_texts(addresses) for job, addresses in jobs.items()}


def index_of(task: Mapping[str, Any]) -> int:
    """The index of a task, which must be a whole number from 0 on, or a text that is one."""
    value = task["index"]
    if isinstance(value, bool) or not re.fullmatch("[0-9]{1,9}", str(value)):
        raise ValueError(f"the index {value!r} is no number from 0 on")
    return int(value)


def require_workers(jobs: Mapping[str, Sequence[str]], kind: str, index: int) -> None:
    """Raises ValueError unless there are workers and at most one chief, this one among them."""
    if others := jobs.keys() - {"chief", "worker"}:
        raise ValueError(f"there is no use for {', '.join(sorted(others))} here, only for workers")
    if len(jobs.get("chief", ())) > 1:
        raise ValueError("there are several chiefs")
    if index >= len(jobs.get(kind, ())):
        raise ValueError(f"it has no {kind} {index}; they count from 0")


def list_of_texts(value: Any) -> list[str]:
    """The value, which must be a list of texts."""
    if not isinstance(value, list) or not all(isinstance(text, str) for text in value):
        raise ValueError(f"{value!r} is no list of addresses")
    return value


def cluster_of_kubernetes(environment: Mapping[str, str]) -> Cluster:
    """The cluster of an indexed Job, whose pods have names that count from 0.

    Kubernetes sets JOB_COMPLETION_INDEX; the manifest sets WORKER_COUNT and WORKER_ADDRESS, an
    address with {index} in the place of the number.
    """
    numbers = {}
    for name in ("WORKER_COUNT", "JOB_COMPLETION_INDEX"):
        value = environment.get(name, "")
        if not value.isdecimal():
            raise ConfigurationError(f"WORKER_ADDRESS is set, and {name} is {value!r}: no number.")
        numbers[name] = int(value)
    address, count = environment["WORKER_ADDRESS"], numbers["WORKER_COUNT"]
    if "{index}" not in address:
        raise ConfigurationError(
            f"WORKER_ADDRESS {address!r} is the same for all: put {{index}} where the number of "
            "the worker stands."
        )
    addresses = (address.replace("{index}", str(index)) for index in range(count))
    return Cluster(tuple(addresses), numbers["JOB_COMPLETION_INDEX"])


def cluster_of_slurm(environment: Mapping[str, str]) -> Cluster:
    """The cluster of a job step of Slurm: a worker for each of its tasks."""
    job = environment.get("SLURM_JOB_ID", "0")
    try:
        tasks = int(environment["SLURM_STEP_NUM_TASKS"])
        resolver = tf.distribute.cluster_resolver.SlurmClusterResolver(
            # Two jobs on one machine must not meet.
            port_base=FIRST_PORT + int(job) * 16 % PORTS,
            # Slurm gives each task its devices. Told of none, the resolver would fail.
            gpus_per_node=tasks,
            gpus_per_task=1,
            auto_set_gpu=False,
        )
        addresses = resolver.cluster_spec().as_dict()["worker"]
        index = int(environment["SLURM_PROCID"])
    except (LookupError, RuntimeError, ValueError) as error:
        raise ConfigurationError(
            f"Slurm's variables describe no cluster: {in_one_line(error)}. Start train.py by srun, "
            "or give --strategy none."
        ) from error
    # The resolver sorts by names, and has node10 before node2; Slurm counts its tasks otherwise.
    return Cluster(tuple(sorted(addresses, key=by_number)), index)


def by_number(address: str) -> list[tuple[int, str]]:
    """Sorts names with numbers in them by those numbers."""
    return [
        (int(part), "") if part.isdecimal() else (-1, part)
        for part in re.findall(r"\d+|\D+", address)
    ]
