"""A few numbers that tell what is in a tensor."""

from dataclasses import dataclass

import numpy as np
import tensorflow as tf


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
        if not is_numeric(values):
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


def is_numeric(values: np.ndarray) -> bool:
    """Whether a tensor holds real numbers or truth values: no strings, nothing complex."""
    dtype = tf.as_dtype(values.dtype)
    return dtype.is_floating or dtype.is_integer or dtype.is_bool


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
