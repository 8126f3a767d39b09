"""The comparison of a checkpoint with another one, or with the model that its card describes."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import tensorflow as tf
from etils import epath

from ...config_file import OF_THE_CALL, config_from, flat
from ...rebuild import rebuild
from ..card import Card
from ..difference import Difference, Places, canonical, compare
from ..restore import Restorer
from ..structure import Structure
from ..tensors import Tensors
from ..verification import require_good
from .value_difference import ValueDifference, value_difference


@dataclass(frozen=True)
class Comparison:
    """What differs between two sides.

    Attributes:
        structure: layers, variables and optimizers that differ.
        settings: settings that differ.
        values: variables that both have with one shape and dtype, and whose bytes differ.
        equal: how many variables have equal bytes.
    """

    structure: list[Difference]
    settings: list[Difference]
    values: list[ValueDifference] = field(default_factory=list)
    equal: int = 0

    @property
    def is_empty(self) -> bool:
        """Whether nothing differs."""
        return not (self.structure or self.settings or self.values)


def compare_checkpoints(first: epath.Path, second: epath.Path, places: Places) -> Comparison:
    """Compares two checkpoints to the last byte of every variable, one variable at a time.

    Raises:
        DamagedCheckpoint, ForeignCheckpoint: one cannot be compared.
    """
    one, other = require_good(first), require_good(second)
    structure = compare(one.structure, other.structure, places)
    if not structure and described(one.structure) != described(other.structure):
        text = f"described in another way by {writer(one)} and {writer(other)}"
        structure = [Difference("~", "structure", text)]
    settings = compare_configurations(one.settings, other.settings, places)
    pairs = matching_keys(one.structure, other.structure)
    values, equal = [], 0
    tensors, other_tensors = Tensors(first), Tensors(second)
    for path, (key, other_key) in pairs.items():
        found = value_difference(path, tensors.read(key), other_tensors.read(other_key))
        if found is None:
            equal += 1
        else:
            values.append(found)
    return Comparison(structure, settings, values, equal)


def matching_keys(first: Structure, second: Structure) -> dict[str, tuple[str, str]]:
    """The keys of the variables that both have with one shape and dtype, by path."""
    others = {entry.path: entry for entry in second.variables}
    return {
        entry.path: (entry.key, others[entry.path].key)
        for entry in first.variables
        if entry.path in others
        and (entry.shape, entry.dtype) == (others[entry.path].shape, others[entry.path].dtype)
    }


def compare_with_model(checkpoint: epath.Path, places: Places) -> Comparison:
    """Compares a checkpoint with what the present code builds from its card, without the values.

    Raises:
        ConfigurationError: the present code cannot build it.
        DamagedCheckpoint, ForeignCheckpoint: it cannot be compared.
    """
    card = require_good(checkpoint)
    state = rebuild(card)
    model = Restorer(tf.train.Checkpoint(**state.parts), {}).structure
    settings = asdict(config_from(card.settings))
    return Comparison(
        structure=compare(card.structure, model, places),
        settings=compare_configurations(card.settings, settings, places),
    )


def described(structure: Structure) -> str:
    """A structure as text, for a strict comparison."""
    return canonical(asdict(structure))


def writer(card: Card) -> str:
    """What wrote a card."""
    return f"TensorFlow {card.versions['tensorflow']}"


def compare_configurations(
    first: Mapping[str, Any], second: Mapping[str, Any], places: Places
) -> list[Difference]:
    """Settings that differ, but for those that say nothing of the run itself."""
    one, other = flat(first), flat(second)
    differences = []
    for name in [*one, *(name for name in other if name not in one)]:
        if name in OF_THE_CALL:
            continue
        if name not in other:
            text = f"only in {places.saved}: {one[name]}"
            differences.append(Difference("-", name, text))
        elif name not in one:
            text = f"only in {places.configuration}: {other[name]}"
            differences.append(Difference("+", name, text))
        elif canonical(one[name]) != canonical(other[name]):
            text = f"{one[name]} in {places.saved}, {other[name]} in {places.configuration}"
            differences.append(Difference("~", name, text))
    return differences
