"""What a checkpoint is made of: its layers, variables and optimizers."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from hashlib import sha256
from typing import Any

import numpy as np
import tensorflow as tf

from ..compat import (
    generator_state,
    is_whole_number,
    keras,
    keras_version,
    named_variables,
)
from ..errors import ConfigurationError
from ..files import without_nan
from .card import ADDED, AXES, LayerEntry, Structure, VariableEntry, unique
from .graph import COUNTER, ObjectGraph, children, parts_of
from .mismatch import LAMBDA, is_lambda
from .naming import (
    models_of,
    named_layers,
    optimizers_of,
    stable_name,
    variable_paths,
)

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
    "vocabulary",  # of a layer for texts: what its tables tell in a few characters
}


def find_counter(checkpoint: tf.train.Checkpoint, given: tf.Variable | None) -> Any:
    """What tells the step: what was given, else a whole number that the checkpoint has as `step`.

    Raises:
        ConfigurationError: what was given is not one whole number.
    """
    counter = getattr(checkpoint, "step", None) if given is None else given
    if counter is None or is_whole_number(counter):
        return counter
    if given is None:
        return None  # a part of the checkpoint that happens to have this name
    raise ConfigurationError(f"step_counter is to be one whole number, not {given!r}.")


def describe_structure(
    parts: Mapping[str, Any],
    variables: list[VariableEntry],
    identity: Mapping[str, Any],
    others: Iterable[str] = (),
) -> Structure:
    """The structure of a checkpoint's parts, whose variables are described already."""
    # One Keras's optimizers and generators cannot go on from the other's.
    identity = {**identity, "keras": keras_version().partition(".")[0]}
    return Structure(
        describe_layers(parts), variables, optimizer_kinds(parts), without_nan(identity), [*others]
    )


def complete_graph(checkpoint: tf.train.Checkpoint) -> ObjectGraph:
    """The object graph of a checkpoint, with all variables of its models and optimizers in it.

    Those that TensorFlow would leave out, as it does with seed generators and with layers in lists
    under Keras 3, become its part `unlisted`.

    Raises:
        ConfigurationError: an optimizer keeps variables that no object graph shows, or this is
            inside of a `tf.Graph`, where a variable has no value to save.
    """
    if not tf.executing_eagerly():
        raise ConfigurationError(
            "CheckpointManager saves the values of variables, which they have in eager execution: "
            "make it outside of tf.Graph and tf.function."
        )
    graph = ObjectGraph(checkpoint)
    reached = {id(variable) for variable in graph.variables.values()}
    parts = parts_of(checkpoint)
    paths = variable_paths(parts)
    # A `TrainState` has traced its step: the generators that it draws from are a part of it.
    is_traced = "untracked" in parts
    untracked: dict[str, tf.Variable] = {}
    taken: set[str] = set()
    for node in graph.nodes:
        if hasattr(node.trackable, "get_slot_names"):
            raise ConfigurationError(
                f"{type(node.trackable).__name__} ({node.path}) keeps its slots outside of the "
                "object graph: take an optimizer of tf.keras.optimizers that is not a legacy one."
            )
        if isinstance(node.trackable, keras.layers.Layer | keras.optimizers.Optimizer):
            owned = named_variables(node.trackable)
            generator = None if is_traced else generator_state(node.trackable)
            if generator is not None:
                owned.append((f"{stable_name(node.trackable)}/generator", generator))
            for name, variable in owned:
                if id(variable) not in reached:
                    reached.add(id(variable))
                    path, _ = paths.get(id(variable)) or (name, "run")
                    untracked[unique(path, taken)] = variable
    if not untracked:
        return graph
    checkpoint.unlisted = {**getattr(checkpoint, "unlisted", {}), **untracked}
    return ObjectGraph(checkpoint)


def describe_variables(
    checkpoint: tf.train.Checkpoint, graph: ObjectGraph | None = None
) -> dict[str, tuple[VariableEntry, tf.Variable]]:
    """Every variable of the checkpoint with its entry, by path.

    Args:
        checkpoint: whose variables they are; its own counter of saves is left out.
        graph: its object graph, where that is known already.
    """
    parts = parts_of(checkpoint)
    paths = variable_paths(parts)
    described = {}
    taken = {path for path, _ in paths.values()}
    for key, variable in (graph or ObjectGraph(checkpoint)).variables.items():
        if key.startswith(f"{COUNTER}/"):
            continue
        if id(variable) in paths:
            path, role = paths[id(variable)]
        else:
            path = unique(key.partition("/.ATTRIBUTES")[0], taken)
            role = role_in_run(path, is_run="untracked" in parts)
        entry = VariableEntry(path, key, tuple(variable.shape), variable.dtype.name, role)
        described[path] = (entry, variable)
    return described


def role_in_run(path: str, *, is_run: bool) -> str:
    """The role of a variable that no model and no optimizer has.

    Args:
        path: of the variable.
        is_run: whether it is in a `TrainState`; in another checkpoint, its name means nothing.
    """
    if path.startswith("metrics/"):
        return "metric"
    added = (role for role in ADDED if path.startswith((f"{role}/", f"hooks/{role}/")))
    return next(added, "run") if is_run else "run"


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
        settings = {"config": layer.get_config()}
    except NotImplementedError:  # a layer of the user's that does not tell
        return {}
    if isinstance(layer, keras.layers.Layer):  # and no operation of Keras 3
        settings["build_config"] = layer.get_build_config()
    relevant = without_nan(simplified(settings)["config"]) | describe_tables(layer)
    policy = getattr(layer, "dtype_policy", None)
    return relevant if policy is None else relevant | {"dtype": policy.name}


def simplified(value: Any) -> Any:
    """A setting as JSON keeps it, without what differs between Keras versions.

    A layer that has an axis, inside of another too, gets the rank of its input: one Keras counts
    the axis from the front, the other from the end.
    """
    if isinstance(value, Mapping):
        if str(value.get("class_name")).endswith("DTypePolicy"):
            return value["config"]["name"]
        if is_lambda(value):
            return LAMBDA
        found = {
            str(name): simplified(inner)
            for name, inner in value.items()
            if not is_left_out(str(name), inner)
        }
        inside = found.get("config")
        if isinstance(inside, dict) and AXES & inside.keys():
            inside["input_rank"] = rank_of(value.get("build_config"))
        return found
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    if isinstance(value, list | tuple):
        return [simplified(inner) for inner in value]
    return value if isinstance(value, str | int | float | bool | None) else str(type(value))


def is_left_out(name: str, value: Any) -> bool:
    """Whether a setting is not compared: a model inside of a layer tells its own layers."""
    is_model = isinstance(value, Mapping) and "layers" in (value.get("config") or ())
    return is_model or name in NOT_COMPARED or name.endswith("_initializer")


def rank_of(build_config: Any) -> int | None:
    """The rank of what a layer is built for, of the first where it takes several."""
    shape = (build_config or {}).get("input_shape")
    if shape and isinstance(shape[0], list | tuple):
        shape = shape[0]
    return len(shape) if isinstance(shape, list | tuple) else None


def optimizer_kinds(parts: Mapping[str, Any]) -> dict[str, str]:
    """The class of each optimizer, by its name in the checkpoint, and of one inside of it.

    An optimizer that scales the loss says by its class nothing of the one that it wraps.
    """
    kinds = {}
    for name, optimizer in optimizers_of(parts).items():
        kinds[name] = type(optimizer).__name__
        if (inner := getattr(optimizer, "inner_optimizer", None)) is not None:
            kinds[f"{name}.inner_optimizer"] = type(inner).__name__
    return kinds


def fixed_tables(models: Iterable[keras.Model]) -> Iterator[tf.lookup.StaticHashTable]:
    """The tables that the layers of models have as attributes."""
    for model in models:
        for layer in (model, *(layer for _, layer in named_layers(model))):
            yield from tables_of(layer).values()


def tables_of(layer: Any) -> dict[str, tf.lookup.StaticHashTable]:
    """The tables that a layer has as attributes, by name."""
    if not isinstance(layer, keras.layers.Layer):
        return {}  # the operations of Keras 3 track nothing
    kind = tf.lookup.StaticHashTable
    return {name: child for name, child in children(layer).items() if isinstance(child, kind)}


def describe_tables(layer: Any) -> dict[str, str]:
    """How many entries each table of a layer has, and a fingerprint of them in any order.

    No checkpoint has them: where the code has others, variables such as an embedding would be
    taken for those of other words.
    """
    described = {}
    for name, table in tables_of(layer).items():
        keys, values = (part.numpy().tolist() for part in table.export())
        entries = repr(sorted(zip(keys, values, strict=True)))
        digest = sha256(entries.encode()).hexdigest()[:8]
        described[f"table {name}"] = f"of {len(keys)} entries ({digest})"
    return described


def unbuilt(saved: Structure, live: Structure) -> list[str]:
    """What to call first, where a model or an optimizer has no variables yet that are saved."""
    calls = {
        "model": "The model has no variables yet: call it on a batch, or build it, before this.",
        "optimizer": (
            "The optimizer has no slots yet: call optimizer.build(model.trainable_variables) "
            "before this."
        ),
    }
    counts = [
        Counter(entry.role for entry in side.variables if len(entry.shape) > 0)
        for side in (saved, live)
    ]
    return [text for role, text in calls.items() if counts[0][role] and not counts[1][role]]
