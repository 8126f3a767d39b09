"""The names that all formats are brought to: the paths of a card, with one name for each slot."""

import re
from collections.abc import Iterable, Mapping

import tensorflow as tf

from ..checkpoint.card import VariableEntry
from ..checkpoint.naming import layer_variables, named_layers, variable_paths
from ..checkpoint.structure import describe_variables
from ..compat import as_variable, keras, sublayers
from ..errors import ConfigurationError
from ..run.state import TrainState

STEP = "step"
ITERATION = "optimizer/iteration"

# What Keras 2 calls the slots that Keras 3 calls momentum and velocity.
MEANINGS = {"m": "momentum", "v": "velocity"}


def canonical_path(path: str) -> str:
    """The path with the one name of its slot: optimizer/m/x becomes optimizer/momentum/x."""
    slot = slot_of(path)
    return path if slot is None else f"optimizer/{slot[0]}/{slot[1]}"


def slot_of(path: str) -> tuple[str, str] | None:
    """The meaning of an optimizer's slot and the path of what it belongs to; None for others."""
    match = re.fullmatch(r"optimizer/([^/]+)/(.+)", path)
    return None if match is None else (MEANINGS.get(match[1], match[1]), match[2])


def is_generator_state(path: str) -> bool:
    """Whether a variable is the state of a random generator, which no other Keras can go on from.

    Keras 3 has a name for it; `TrainState` names those of Keras 2, which have none.
    """
    return path.rpartition("/")[2].startswith(("seed_generator_state", "generator_"))


def targets_of(state: TrainState) -> dict[str, tuple[VariableEntry, tf.Variable]]:
    """Every variable of a state with its entry, by its canonical path."""
    described = describe_variables(tf.train.Checkpoint(**state.parts))
    return {canonical_path(path): described[path] for path in described}


def model_paths(model: keras.Model) -> dict[int, str]:
    """The paths of a model's variables, by their `id`."""
    return {key: path for key, (path, _) in variable_paths({"model": model}).items()}


def trainable_paths(model: keras.Model) -> list[str]:
    """The paths of the variables that are trained, in the order in which an optimizer has them."""
    paths = model_paths(model)
    return [paths[id(as_variable(variable))] for variable in model.trainable_variables]


def layer_weights(model: keras.Model) -> list[dict[str, str]]:
    """For each layer that has weights of its own, in order, their paths by their short names."""
    paths = model_paths(model)
    layers: dict[str, dict[str, str]] = {f"{path}/": {} for path, _ in named_layers(model)}
    for layer, name, variable in layer_variables(model):
        path = paths[id(variable)]
        if not is_generator_state(path):
            layers.setdefault(layer, {})[name.rpartition("/")[2]] = path
    return [weights for weights in layers.values() if weights]


def match_in_order(found: Iterable[Mapping[str, str]], model: keras.Model) -> dict[str, str]:
    """Matches the layers of a file with those of a model in their order, weights by short name.

    Args:
        found: for each layer of the file that has weights, their names in it by short name.
        model: to match with; it may have more layers or fewer.

    Returns:
        The path of a weight by its name in the file.
    """
    return {
        name: weights[short]
        for layer, weights in zip(found, layer_weights(model), strict=False)
        for short, name in layer.items()
        if short in weights
    }


def find_part(model: keras.Model, path: str) -> tuple[str, keras.Model]:
    """The model inside of another that a path names, or that the layer there is made around.

    Args:
        model: to look in.
        path: of a layer, as `show` tells it.

    Returns:
        The path of the model, and the model.

    Raises:
        ConfigurationError: there is no model.
    """
    layers = dict(named_layers(model))
    parts = {
        outer: inner
        for inner, layer in layers.items()
        if isinstance(layer, keras.Model)
        for outer in (inner, inner.rpartition("/")[0])
        if outer == inner or sublayers(layers.get(outer)) == [layer]
    }
    if path not in parts:
        raise ConfigurationError(
            f"--into {path} is not possible: no model is there inside of the model. "
            f"{'Give ' + ' or '.join(parts) if parts else 'There is none anywhere'}."
        )
    return parts[path], layers[parts[path]]
