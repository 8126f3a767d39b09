"""How far apart the values of two tensors are."""

from dataclasses import dataclass

import numpy as np

from .statistics import is_numeric

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
    if not is_numeric(first):
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
