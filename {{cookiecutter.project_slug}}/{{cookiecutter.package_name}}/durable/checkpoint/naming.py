"""Names that last, for layers and variables.

They do not depend on Keras's automatic numbering (dense_12), nor on the Keras version.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import tensorflow as tf

from ..compat import keras, named_variables, slot_readings, sublayers
from .card import lasting, unique


def variable_paths(parts: Mapping[str, Any]) -> dict[int, tuple[str, str]]:
    """The path and the role of each variable of the models and the optimizers, by its `id`.

    A model's variable is called after its layer, hidden_1/kernel; a slot of an optimizer after
    what it belongs to, optimizer/momentum/hidden_1/kernel.
    """
    paths: dict[int, tuple[str, str]] = {}
    owners: dict[str, list[str]] = {}
    taken: set[str] = set()
    for part, model in models_of(parts):
        inside = "" if part == "model" else f"{part}/"
        for layer_path, name, variable in layer_variables(model):
            path = unique(inside + layer_path + lasting(name.rpartition("/")[2]), taken)
            paths[id(variable)] = (path, "model")
            owners.setdefault(name.replace("/", "_"), []).append(path)
    for part, optimizer in optimizers_of(parts).items():
        # Models may share the names of layers: its own model comes first, then their order.
        own = f"{part.removesuffix('_optimizer')}/"
        sorted_owners = {
            name: sorted(candidates, key=lambda path: not path.startswith(own))
            for name, candidates in owners.items()
        }
        for name, variable in named_variables(optimizer):
            path = unused(f"{part}/", slot_paths(name, sorted_owners), taken)
            paths.setdefault(id(variable), (path, "optimizer"))
    return paths


def optimizers_of(parts: Mapping[str, Any]) -> dict[str, keras.optimizers.Optimizer]:
    """The optimizers among the parts of a checkpoint and those that its models are compiled with.

    Those of the models are called after them: optimizer, generator_optimizer.
    """
    kind = keras.optimizers.Optimizer
    found = {name: part for name, part in parts.items() if isinstance(part, kind)}
    for name, model in models_of(parts):
        compiled = getattr(model, "optimizer", None)
        if isinstance(compiled, kind) and all(compiled is not known for known in found.values()):
            own = "optimizer" if name == "model" else f"{name}_optimizer"
            found[unique(own, {*parts, *found})] = compiled
    return found


def slot_paths(name: str, owners: Mapping[str, list[str]]) -> list[str]:
    """The slot's name and the paths of the variables it may belong to, or the name alone."""
    for slot, owner in slot_readings(name):
        if owner in owners:
            return [f"{slot}/{path}" for path in owners[owner]]
    return [lasting(name.rpartition("/")[2])]


def unused(inside: str, paths: Sequence[str], taken: set[str]) -> str:
    """The first of some paths that is not taken; where all are, the first with a number."""
    free = (path for path in paths if inside + path not in taken)
    return unique(inside + next(free, paths[0]), taken)


def models_of(parts: Mapping[str, Any]) -> list[tuple[str, keras.Model]]:
    """The models among the parts of a checkpoint, in the order in which one is searched."""
    return [(name, parts[name]) for name in sorted(parts) if isinstance(parts[name], keras.Model)]


def layer_variables(model: keras.Model) -> list[tuple[str, str, tf.Variable]]:
    """Each variable of a model: the path of the innermost layer that has it, its name, itself."""
    owners = {}
    for path, layer in [("", model), *named_layers(model)]:
        for name, variable in named_variables(layer):
            owners[id(variable)] = (f"{path}/" if path else "", name, variable)
    return list(owners.values())


def named_layers(layer: keras.layers.Layer, inside: str = "") -> Iterator[tuple[str, Any]]:
    """The layers inside another with their paths, in order, outer ones first."""
    taken: set[str] = set()
    for sublayer in sublayers(layer):
        if not isinstance(sublayer, keras.layers.InputLayer):
            path = inside + unique(stable_name(sublayer), taken)
            yield path, sublayer
            yield from named_layers(sublayer, f"{path}/")


def stable_name(layer: keras.layers.Layer) -> str:
    """The name that the layer was given; of an automatic one, the part before the number."""
    kind = re.sub(r"_\d+$", "", layer.name)
    bare = re.sub(r"^(forward|backward)_", "", kind)  # how Bidirectional calls its layers
    automatic = bare.replace("_", "") in (type(layer).__name__.lower(), "model")
    automatic = automatic or kind.startswith("tf.")  # an operation of Keras 2: tf.math.add_1
    return kind if automatic else layer.name
