"""What the machinery asks of a data set."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import tensorflow as tf


class DataSpec(Protocol):
    """What a task must know of a data set to build its models.

    Attributes:
        element_spec: the `tf.TypeSpec`s of one batch: (x, y) or (x, y, weight), each any nest of
            tensors whose first axis counts the examples.
        identity: what one run must keep of its data, as JSON can hold it; its entry `data` tells
            the examples, and those of them that are held out, from others.
        steps_per_epoch: how many batches are an epoch.
    """

    @property
    def element_spec(self) -> Any: ...

    @property
    def identity(self) -> Mapping[str, Any]: ...

    @property
    def steps_per_epoch(self) -> int: ...


class Data(DataSpec, Protocol):
    """A data set, whose batch at a step is a function of the seed and that step alone."""

    def batches(self, seed: int, start: int, stop: int) -> tf.data.Dataset:
        """The training batches of the steps `start` to `stop - 1`, each of `element_spec`.

        Any step must be sought at once. Data that cannot are `SavedData` besides.
        """
        ...

    def validation_batches(self) -> tf.data.Dataset:
        """The examples held out, in batches of any size, in the same order at each call."""
        ...


@runtime_checkable
class SavedData(Protocol):
    """What data have besides whose place is not told by the step."""

    def saved(self, seed: int) -> Any:
        """What keeps the place, as `tf.train.Checkpoint` can hold it: the iterator of `batches`."""
        ...


@runtime_checkable
class SharedData(Protocol):
    """What data have besides that several machines can train on."""

    def share(self, index: int, count: int) -> Data:
        """The same data, of whose training batches each is the part `index` of `count`."""
        ...


DATA = "data"  # what it is called in the checkpoint


def data_state(data: Data, seed: int) -> dict[str, Any]:
    """What of the data a checkpoint must hold, by name: nothing where the step tells the place."""
    return {DATA: data.saved(seed)} if isinstance(data, SavedData) else {}


@dataclass(frozen=True)
class SavedSpec:
    """What a checkpoint tells of the data that it was trained on; a `DataSpec`."""

    element_spec: Any
    identity: Mapping[str, Any]
    steps_per_epoch: int


def any_batch_size(element_spec: Any) -> Any:
    """The same specs with the number of examples left open."""

    def opened(spec: tf.TensorSpec | tf.RaggedTensorSpec) -> tf.TypeSpec:
        shape = [None, *spec.shape[1:]]
        if isinstance(spec, tf.RaggedTensorSpec):
            return tf.RaggedTensorSpec(shape, spec.dtype, spec.ragged_rank, spec.row_splits_dtype)
        return tf.TensorSpec(shape, spec.dtype, spec.name)

    return tf.nest.map_structure(opened, element_spec)


def describe_spec(element_spec: Any) -> str:
    """The specs of a batch in few words: (float32 (None, 8, 8), int32 (None,))."""
    if isinstance(element_spec, Mapping):
        inside = ", ".join(f"{name}: {describe_spec(s)}" for name, s in element_spec.items())
        return f"{{{inside}}}"
    if isinstance(element_spec, tuple | list):
        return f"({', '.join(map(describe_spec, element_spec))})"
    shape = ", ".join(map(str, element_spec.shape))
    return f"{element_spec.dtype.name} ({shape}{',' if element_spec.shape.rank == 1 else ''})"


def spec_as_json(element_spec: Any) -> Any:
    """The specs of a batch as JSON can hold them: a list for a tuple, an object for a tensor."""
    if isinstance(element_spec, Mapping):
        return {"nest": {name: spec_as_json(inner) for name, inner in element_spec.items()}}
    if isinstance(element_spec, tuple | list):
        return [spec_as_json(inner) for inner in element_spec]
    described = {"shape": element_spec.shape.as_list(), "dtype": element_spec.dtype.name}
    if isinstance(element_spec, tf.RaggedTensorSpec):
        described["ragged_rank"] = element_spec.ragged_rank
    return described


def spec_from_json(value: Any) -> Any:
    """The specs that `spec_as_json` made the value from."""
    if isinstance(value, list):
        return tuple(spec_from_json(inner) for inner in value)
    if "nest" in value:
        return {name: spec_from_json(inner) for name, inner in value["nest"].items()}
    if "ragged_rank" in value:
        return tf.RaggedTensorSpec(value["shape"], value["dtype"], value["ragged_rank"])
    return tf.TensorSpec(value["shape"], value["dtype"])
