"""The halves of each digit as two inputs, and two labels: the digit, and how much ink it has."""

from ..config import DataConfig
from ..durable import ArrayData, Data, hold_out
from ..paths import Paths
from .labeled import check_examples, read_arrays


def load(config: DataConfig) -> Data:
    """Opens the data set."""
    x, digits = check_examples("digits", *read_arrays(Paths().digits, "x", "y"))
    halves = {"left": x[:, :, :4], "right": x[:, :, 4:]}
    labels = {"digit": digits, "ink": x.mean(axis=(1, 2))}
    training, validation = hold_out((halves, labels), config.validation)
    return ArrayData(training, validation, config.batch_size, details={"data.classes": 10})
