"""The comparison of a checkpoint with another one, or with the model that its card describes."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from json import dumps
from typing import Any

import tensorflow as tf
from etils import epath

from ..checkpoint.card import Card, Structure
from ..checkpoint.mismatch import SideNames, find_differences
from ..checkpoint.reader import Tensors, require_good
from ..checkpoint.restore import Restorer
from ..errors import Difference
from ..files import without_nan
from ..run.rebuild import rebuild
from ..run.settings import CALL_SETTINGS, Project, flat
from .statistics import ValueDifference, value_difference


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


def compare_checkpoints(first: epath.Path, second: epath.Path, sides: SideNames) -> Comparison:
    """Compares two checkpoints to the last byte of every variable, one variable at a time.

    Raises:
        DamagedCheckpoint, CardMissing: one cannot be compared.
    """
    one, other = require_good(first), require_good(second)
    structure = find_differences(one.structure, other.structure, sides)
    if not structure and described(one.structure) != described(other.structure):
        text = f"described in another way by {writer(one)} and {writer(other)}"
        structure = [Difference("~", "structure", text)]
    settings = compare_configurations(one.settings, other.settings, sides)
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


def compare_with_model(project: Project, checkpoint: epath.Path, sides: SideNames) -> Comparison:
    """Compares a checkpoint with what the present code builds from its card, without the values.

    Raises:
        ConfigurationError: the present code cannot build it.
        DamagedCheckpoint, CardMissing: it cannot be compared.
    """
    card = require_good(checkpoint)
    rebuilt = rebuild(project, card)
    model = Restorer(tf.train.Checkpoint(**rebuilt.state.parts), {}).structure
    settings = asdict(rebuilt.experiment.config)
    return Comparison(
        structure=find_differences(card.structure, model, sides),
        settings=compare_configurations(card.settings, settings, sides),
    )


def described(structure: Structure) -> str:
    """A structure as text, for a strict comparison."""
    return as_stable_json(asdict(structure))


def as_stable_json(setting: Any) -> str:
    """A setting as JSON: in one order of its keys, and with null for NaN, as a card has it."""
    return dumps(without_nan(setting), sort_keys=True)


def writer(card: Card) -> str:
    """What wrote a card."""
    return f"TensorFlow {card.versions['tensorflow']}"


def compare_configurations(
    first: Mapping[str, Any], second: Mapping[str, Any], sides: SideNames
) -> list[Difference]:
    """Settings that differ, but for those that say nothing of the run itself."""
    one, other = flat(first), flat(second)
    differences = []
    for name in [*one, *(name for name in other if name not in one)]:
        if name in CALL_SETTINGS:
            continue
        if name not in other:
            text = f"only in {sides.saved}: {one[name]}"
            differences.append(Difference("-", name, text))
        elif name not in one:
            text = f"only in {sides.configuration}: {other[name]}"
            differences.append(Difference("+", name, text))
        elif as_stable_json(one[name]) != as_stable_json(other[name]):
            text = f"{one[name]} in {sides.saved}, {other[name]} in {sides.configuration}"
            differences.append(Difference("~", name, text))
    return differences
