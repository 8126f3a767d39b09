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
