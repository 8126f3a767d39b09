"""What a checkpoint is made of: its layers, variables and optimizers."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import tensorflow as tf

from ..compat import as_variable, keras, keras_version
from ..files import without_nan
from .naming import models_of, named_layers, unique, variable_paths

# Settings of a layer that change nothing about a trained model, or that its shapes show anyway.
NOT_COMPARED = {
    "batch_input_shape",
    "batch_shape",
    "build_config",
    "filters",
    "function",  # of a Lambda layer: bytecode, which changes with the file it stands in
    "module",
    "name",
    "registered_name",
    "rng_type",
    "seed",
    "units",
}


@dataclass(frozen=True)
class VariableEntry:
    """One variable of a checkpoint.

    Attributes:
        path: its lasting name.
        key: its name in TensorFlow's files.
        shape: its shape.
        dtype: its type, by name.
        role: model, optimizer, metric or run. A metric may start anew.
    """

    path: str
    key: str
    shape: tuple[int, ...]
    dtype: str
    role: str


@dataclass(frozen=True)
class LayerEntry:
    """One layer: its path, its class and the settings it was made with."""

    path: str
    kind: str
    settings: dict[str, Any]


@dataclass(frozen=True)
class Structure:
    """What must agree for a checkpoint to fit.

    Attributes:
        layers: the layers of the models, in order.
        variables: every variable.
        optimizers: the class of each optimizer, by its name in the checkpoint.
        identity: the settings that a run must keep.
    """

    layers: list[LayerEntry]
    variables: list[VariableEntry]
    optimizers: dict[str, str]
    identity: dict[str, Any]

    @classmethod
    def of(
        cls,
        parts: Mapping[str, Any],
        variables: list[VariableEntry],
        identity: Mapping[str, Any],
    ) -> "Structure":
        """The structure of a checkpoint's parts, whose variables are described already."""
        # One Keras's optimizers and generators cannot go on from the other's.
        identity = {**identity, "keras": keras_version().partition(".")[0]}
        return cls(describe_layers(parts), variables, optimizer_kinds(parts), without_nan(identity))

    @classmethod
    def from_dictionary(cls, values: dict[str, Any]) -> "Structure":
        """The structure that `asdict` and JSON made `values` from."""
        layers = [LayerEntry(**entry) for entry in values["layers"]]
        variables = [
            VariableEntry(**entry | {"shape": tuple(entry["shape"]), "role": role_of(entry)})
            for entry in values["variables"]
        ]
        return cls(layers, variables, values["optimizers"], values["identity"])

    def has_variables_of(self, checkpoint: tf.train.Checkpoint) -> bool:
        """Whether it is that of a checkpoint with just these variables."""
        return reachable_variables(checkpoint).keys() == {entry.key for entry in self.variables}


def role_of(entry: Mapping[str, str]) -> str:
    """The role of a variable, as a card tells it; the first edition had none for its means."""
    return "metric" if entry["path"].startswith("totals/") else entry["role"]


def children(node: Any) -> dict[str, Any]:
    """The objects that an object of the graph tracks, by name: of a checkpoint, its parts.

    A checkpoint's own counter of saves is left out: TensorFlow makes it when it first needs it.
    """
    found = tf.train.TrackableView(node).children(node)
    if isinstance(node, tf.train.Checkpoint):
        found.pop("save_counter", None)
    return found


def reachable_variables(checkpoint: tf.train.Checkpoint) -> dict[str, tf.Variable]:
    """Each variable that the checkpoint saves, by the key that TensorFlow saves it under.

    TensorFlow names an object by its shortest path, breadth first.
    """
    queue: list[tuple[tuple[str, ...], Any]] = [((), checkpoint)]
    seen = {id(checkpoint)}
    variables = {}
    for path, node in queue:
        variable = as_variable(node)
        if variable is not None:
            variables["/".join((*path, ".ATTRIBUTES", "VARIABLE_VALUE"))] = variable
        for name, child in children(node).items():
            if id(child) not in seen:
                seen.add(id(child))
                escaped = name.replace(".", "..").replace("/", ".S")
                queue.append(((*path, escaped), child))
    return variables


def describe_variables(
    checkpoint: tf.train.Checkpoint,
) -> dict[str, tuple[VariableEntry, tf.Variable]]:
    """Every variable of the checkpoint with its entry, by path."""
    paths = variable_paths(children(checkpoint))
    described = {}
    taken = {path for path, _ in paths.values()}
    for key, variable in reachable_variables(checkpoint).items():
        if id(variable) in paths:
            path, role = paths[id(variable)]
        else:
            path = unique(key.partition("/.ATTRIBUTES")[0], taken)
            role = "metric" if path.startswith("metrics/") else "run"
        entry = VariableEntry(path, key, tuple(variable.shape), variable.dtype.name, role)
        described[path] = (entry, variable)
    return described


def describe_layers(parts: Mapping[str, Any]) -> list[LayerEntry]:
    """The layers of the models, in order."""
    return [
        LayerEntry(path, type(layer).__name__, layer_settings(layer))
        for part, model in models_of(parts)
        for path, layer in named_layers(model, "" if part == "model" else f"{part}/")
    ]


def layer_settings(layer: keras.layers.Layer) -> dict[str, Any]:
    """The settings of a layer that matter once it is trained, as JSON keeps them."""
    if isinstance(layer, keras.Model):
        return {}  # a model's settings are those of its layers
    try:
        settings = layer.get_config()
    except NotImplementedError:  # a layer of the user's that does not tell
        return {}
    relevant = without_nan(simplified(settings))
    policy = getattr(layer, "dtype_policy", None)
    return relevant if policy is None else relevant | {"dtype": policy.name}


def simplified(value: Any) -> Any:
    """A setting as JSON keeps it, without what differs between Keras versions."""
    if isinstance(value, Mapping):
        return {
            str(name): simplified(inner)
            for name, inner in value.items()
            if name not in NOT_COMPARED and not str(name).endswith("_initializer")
        }
    if isinstance(value, list | tuple):
        return [simplified(inner) for inner in value]
    return value if isinstance(value, str | int | float | bool | None) else str(type(value))


def optimizer_kinds(parts: Mapping[str, Any]) -> dict[str, str]:
    """The class of each optimizer, by the name it has in the checkpoint."""
    return {
        name: type(part).__name__
        for name, part in parts.items()
        if isinstance(part, keras.optimizers.Optimizer)
    }
