"""What is in variables, and how a checkpoint differs from another one or from a model."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from json import dumps
from typing import Any

import numpy as np
from etils import epath

from ..checkpoint.card import Card, Structure
from ..checkpoint.index import is_real
from ..checkpoint.mismatch import SideNames, find_differences
from ..checkpoint.reader import Tensors, require_good
from ..errors import Difference
from ..files import without_nan
from ..run.settings import CALL_SETTINGS, Project, flat


@dataclass(frozen=True)
class Statistics:
    """What is in a tensor. Those of no finite value are None.

    Attributes:
        mean: of the finite values.
        deviation: their standard deviation, of the population.
        min: the smallest of them.
        max: the largest of them.
        zeros: the share of zeros in all values, 0 to 1.
        nan: how many values are NaN.
        inf: how many are infinite.
    """

    mean: float | None
    deviation: float | None
    min: float | None
    max: float | None
    zeros: float | None
    nan: int
    inf: int

    @classmethod
    def of(cls, values: np.ndarray) -> "Statistics | None":
        """Those of a tensor of any shape, in float64; None where it holds no real numbers."""
        if not is_real(values.dtype):
            return None
        numbers = values.astype(np.float64).reshape(-1)
        nan, inf = int(np.isnan(numbers).sum()), int(np.isinf(numbers).sum())
        zeros = float(np.mean(numbers == 0)) if len(numbers) else None
        finite = numbers[np.isfinite(numbers)] if nan or inf else numbers
        if not len(finite):
            return cls(None, None, None, None, zeros, nan, inf)
        with np.errstate(over="ignore"):  # the sum of the largest numbers is infinite
            mean, deviation = float(finite.mean()), float(finite.std())
        return cls(mean, deviation, float(finite.min()), float(finite.max()), zeros, nan, inf)

    @property
    def flag(self) -> str:
        """How many values are not finite: "3 NaN 1 Inf"; empty where all are."""
        counts = ((self.nan, "NaN"), (self.inf, "Inf"))
        return " ".join(f"{count} {name}" for count, name in counts if count)


BLOCK = 2**20  # values compared at a time, so that float64 takes no multiple of the largest tensor


@dataclass(frozen=True)
class ValueDifference:
    """A variable whose bytes differ between two checkpoints.

    Attributes:
        path: of the variable.
        absolute: the largest absolute difference of two values; infinite where only one of them is
            a finite number; None where they are no numbers.
        relative: the largest difference of two values in relation to the larger of the two.
    """

    path: str
    absolute: float | None = None
    relative: float | None = None


def value_difference(path: str, first: np.ndarray, second: np.ndarray) -> ValueDifference | None:
    """The difference of two tensors of one shape and dtype; None where every byte is equal."""
    first, second = first.reshape(-1), second.reshape(-1)
    if equal_bytes(first, second):
        return None
    if not is_real(first.dtype):
        return ValueDifference(path)
    blocks = [slice(start, start + BLOCK) for start in range(0, len(first), BLOCK)]
    largest = np.max([largest_gaps(first[block], second[block]) for block in blocks], axis=0)
    return ValueDifference(path, *map(float, largest))


def equal_bytes(first: np.ndarray, second: np.ndarray) -> bool:
    """Whether two tensors of one shape and dtype hold the same bytes, NaN included."""
    if first.dtype == object:
        return first.tolist() == second.tolist()
    return np.array_equal(first.view(np.uint8), second.view(np.uint8))


def largest_gaps(first: np.ndarray, second: np.ndarray) -> tuple[float, float]:
    """The largest absolute and the largest relative difference."""
    with np.errstate(invalid="ignore", over="ignore", divide="ignore"):
        gaps = gaps_between(first, second)
        sizes = [np.abs(values.astype(np.float64)) for values in (first, second)]
        ratios = np.where(gaps > 0, gaps / np.fmax(*sizes), 0.0)
    ratios[np.isnan(ratios)] = np.inf
    return gaps.max(), ratios.max()


def gaps_between(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """The absolute differences, in float64; infinite where only one value is a finite number."""
    if first.dtype in (np.int64, np.uint64):  # float64 does not tell large ones apart
        larger, smaller = np.maximum(first, second), np.minimum(first, second)
        return (larger.astype(np.uint64) - smaller.astype(np.uint64)).astype(np.float64)
    one, other = first.astype(np.float64), second.astype(np.float64)
    gaps = np.abs(one - other)
    gaps[(one == other) | (np.isnan(one) & np.isnan(other))] = 0
    gaps[np.isnan(gaps)] = np.inf
    return gaps


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
    if one.code and other.code and one.code != other.code:
        text = f"{one.code} in {sides.saved}, {other.code} in {sides.model}"
        settings.append(Difference("~", "commit", text))
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
    # With TensorFlow, which nothing else here needs.
    from ..run.rebuild import rebuild, restorer_of  # noqa: PLC0415

    card = require_good(checkpoint)
    rebuilt = rebuild(project, card)
    settings = asdict(rebuilt.experiment.config)
    return Comparison(
        structure=restorer_of(rebuilt.state, {}).differences(card.structure, sides),
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
