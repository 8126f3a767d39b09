"""The object graph of a checkpoint: what TensorFlow saves, under which keys, and the graph itself.

It is walked and written as `tf.train.Checkpoint` does, so that TensorFlow reads what we write, but
it is made once: from save to save only the values change.
"""

import math
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tensorflow as tf
from etils import epath
from google.protobuf import descriptor_pool, message_factory

from ..compat import as_variable, has_own_state
from . import bundle
from .bundle import DAMAGE, attempt
from .tensor_bundle import require_possible

# What TensorFlow raises where files are damaged, and where a disk is full, gone or read-only.
READING_ERRORS = (*DAMAGE, tf.errors.OpError)
SAVING_ERRORS = (OSError, tf.errors.OpError)
ATTRIBUTES = "/.ATTRIBUTES/"
VARIABLE = "VARIABLE_VALUE"
COUNTER = "save_counter"


@dataclass(frozen=True)
class Node:
    """An object of the graph.

    Attributes:
        trackable: the object.
        path: its shortest path from the checkpoint, as TensorFlow escapes it.
        children: the places in the graph of what it tracks, by name.
        variable: the variable that it is or wraps, if it is one.
    """

    trackable: Any
    path: str
    children: Mapping[str, int]
    variable: tf.Variable | None


class ObjectGraph:
    """All that a checkpoint reaches, at the time of making this.

    Attributes:
        nodes: the checkpoint first, then what it reaches, breadth first.
        variables: each variable by the key that TensorFlow saves it under.
        others: what TensorFlow saves besides, by its path: iterators, tables, Python state.
        sizes: of the variables, in bytes, by key.
    """

    def __init__(self, checkpoint: tf.train.Checkpoint) -> None:
        self.nodes = walk(checkpoint)
        self.variables = {
            f"{node.path}{ATTRIBUTES}{VARIABLE}".lstrip("/"): node.variable
            for node in self.nodes
            if node.variable is not None
        }
        self.others = {
            node.path: node.trackable
            for node in self.nodes
            if node.variable is None and has_own_state(node.trackable)
        }

        self.sizes = {key: size_of(variable) for key, variable in self.variables.items()}
        self._read_all: Callable[[], list[tf.Tensor]] | None = None  # by `prepare`
        self._written: tuple[Mapping[str, list[str]], bytes] | None = None  # by `serialized`

    def is_still_that_of(self, checkpoint: tf.train.Checkpoint) -> bool:
        """Whether the checkpoint reaches the same objects by the same names."""
        return checkpoint is self.nodes[0].trackable and all(map(self._is_unchanged, self.nodes))

    def _is_unchanged(self, node: Node) -> bool:
        if node.variable is not None:
            return as_variable(node.trackable) is node.variable
        present = children(node.trackable)
        return present.keys() == node.children.keys() and all(
            child is self.nodes[node.children[name]].trackable for name, child in present.items()
        )

    @property
    def is_distributed(self) -> bool:
        """Whether a variable has copies on several devices."""
        return any(
            isinstance(variable, tf.distribute.DistributedValues)
            for variable in self.variables.values()
        )

    def prepare(self) -> None:
        """Traces a function that reads all variables at once; for thousands, it takes seconds."""

        @tf.function(autograph=False)
        def read_all() -> list[tf.Tensor]:
            return [read_value(variable) for variable in self.variables.values()]

        traced = read_all.get_concrete_function()
        traced()  # the first call compiles it
        self._read_all = traced

    def read_variables(self) -> dict[str, tf.Tensor]:
        """The present values of `variables` by key, in the memory of the host.

        A variable and what was read from it share their memory until the variable is changed:
        TensorFlow copies only then.
        """
        if self._read_all is not None:
            return dict(zip(self.variables, self._read_all(), strict=True))
        return {key: read_value(variable) for key, variable in self.variables.items()}

    def serialized(self, attributes: Mapping[str, list[str]]) -> bytes:
        """The graph as TensorFlow writes it beside the values.

        Args:
            attributes: the names of the values of `others`, by path.
        """
        if self._written is not None and self._written[0] == attributes:
            return self._written[1]
        kind = descriptor_pool.Default().FindMessageTypeByName("tensorflow.TrackableObjectGraph")
        graph = message_factory.GetMessageClass(kind)()
        for node in self.nodes:
            entry = graph.nodes.add()
            for name, place in node.children.items():
                entry.children.add(node_id=place, local_name=name)
            names = [VARIABLE] if node.variable is not None else attributes.get(node.path, [])
            for name in names:
                key = f"{node.path}{ATTRIBUTES}{name}".lstrip("/")
                entry.attributes.add(name=name, full_name=node.path, checkpoint_key=key)
        self._written = attributes, bytes(graph.SerializeToString())
        return self._written[1]

    def read_others(self) -> dict[str, tf.Tensor]:
        """The present values of `others` by key, as TensorFlow saves them."""
        if not self.others:
            return {}
        places = {f"part{number}": path for number, path in enumerate(self.others)}
        parts = dict(zip(places, self.others.values(), strict=True))
        with tempfile.TemporaryDirectory() as folder:
            written = tf.train.Checkpoint(**parts).write(str(Path(folder) / "others"))
            types = tf.train.load_checkpoint(written).get_variable_to_dtype_map()
            keys = [key for key in types if key.partition(ATTRIBUTES)[0] in places]
            values = read_keys(written, keys, types)
        renamed = (f"{places[part]}{ATTRIBUTES}{name}" for part, _, name in partitioned(keys))
        return dict(zip(renamed, values.values(), strict=True))


def size_of(variable: tf.Variable) -> int:
    """The bytes that a variable takes; of open lengths and of strings, none are counted."""
    return math.prod(length or 0 for length in variable.shape) * int(variable.dtype.size)


def read_value(variable: tf.Variable) -> tf.Tensor:
    """The value of a variable, in the memory of the host."""
    if isinstance(variable, tf.distribute.DistributedValues):
        value = variable.read_value()
    else:  # the operation alone: `read_value` takes three times as long, which thousands add up to
        value = tf.raw_ops.ReadVariableOp(resource=variable.handle, dtype=variable.dtype)
    if variable.device.endswith("CPU:0"):
        return value
    with tf.device("CPU:0"):
        return tf.identity(value)


def assign_value(variable: tf.Variable, value: tf.Tensor) -> None:
    """Gives a variable a value of its own shape and type."""
    if isinstance(variable, tf.distribute.DistributedValues):
        variable.assign(value)
    else:  # the operation alone, as for reading
        tf.raw_ops.AssignVariableOp(resource=variable.handle, value=value)


def read_keys(
    checkpoint: epath.PathLike, keys: list[str], types: Mapping[str, tf.DType]
) -> dict[str, tf.Tensor]:
    """Reads the values of some keys with one operation."""
    with tf.device("CPU:0"):
        values = tf.raw_ops.RestoreV2(
            prefix=str(checkpoint),
            tensor_names=keys,
            shape_and_slices=[""] * len(keys),
            dtypes=[types[key] for key in keys],
        )
    return dict(zip(keys, values, strict=True))


def read_tensors(checkpoint: epath.PathLike) -> dict[str, tf.Tensor]:
    """Reads everything in a checkpoint, by key. TensorFlow checks each tensor's checksum.

    Raises:
        DamagedCheckpoint: it is not there, or its files are damaged.
    """

    def read() -> dict[str, tf.Tensor]:
        require_possible(epath.Path(checkpoint))
        reader = tf.train.load_checkpoint(str(checkpoint))
        types = reader.get_variable_to_dtype_map()
        shapes = reader.get_variable_to_shape_map()
        sizes = {key: math.prod(shapes[key]) * types[key].size for key in types}
        shards = bundle.split(sizes, os.cpu_count() or 1)
        with ThreadPoolExecutor(len(shards)) as threads:
            tensors = threads.map(lambda keys: read_keys(checkpoint, keys, types), shards)
            return {key: value for shard in tensors for key, value in shard.items()}

    return attempt(checkpoint, read, READING_ERRORS)


def write_values(prefix: str, values: Mapping[str, tf.Tensor]) -> None:
    """Writes values by their keys with one operation."""
    tf.raw_ops.SaveV2(
        prefix=prefix,
        tensor_names=list(values),
        shape_and_slices=[""] * len(values),
        tensors=list(values.values()),
    )


def partitioned(keys: Iterable[str]) -> Iterator[tuple[str, str, str]]:
    """Each key as the path of the object, what stands between, and the name of the value."""
    return (key.partition(ATTRIBUTES) for key in keys)


def attribute_names(keys: Iterable[str]) -> dict[str, list[str]]:
    """The names of values by the path of the object that has them."""
    names: dict[str, list[str]] = {}
    for path, _, name in partitioned(keys):
        names.setdefault(path, []).append(name)
    return names


def walk(checkpoint: tf.train.Checkpoint) -> list[Node]:
    """Every object that a checkpoint reaches, breadth first, as TensorFlow numbers them."""
    places = {id(checkpoint): 0}
    queue: list[tuple[str, Any]] = [("", checkpoint)]
    nodes = []
    for path, trackable in queue:
        variable = as_variable(trackable)
        found = {} if variable is not None else children(trackable)
        for name, child in found.items():
            if id(child) not in places:
                places[id(child)] = len(queue)
                escaped = name.replace(".", "..").replace("/", ".S")
                queue.append((f"{path}/{escaped}" if path else escaped, child))
        by_name = {name: places[id(child)] for name, child in found.items()}
        nodes.append(Node(trackable, path, by_name, variable))
    return nodes


def children(trackable: Any) -> dict[str, Any]:
    """The objects that an object of the graph tracks, by name: of a checkpoint, its parts.

    What `tf.train.Checkpoint(root)` is given as its root stands in the place of the checkpoint.
    """
    found = dict(tf.train.TrackableView(trackable).children(trackable))
    if isinstance(trackable, tf.train.Checkpoint) and "root" in found:
        root = found.pop("root")
        found.pop("_root", None)
        return {**tf.train.TrackableView(root).children(root), **found}
    return found


def parts_of(checkpoint: tf.train.Checkpoint) -> dict[str, Any]:
    """The objects that a checkpoint was made of, by name, without its own counter of saves."""
    found = dict(tf.train.TrackableView(checkpoint).children(checkpoint))
    found.pop(COUNTER, None)
    root = found.pop("root", None)
    found.pop("_root", None)
    return found if root is None else {"model": root, **found}
