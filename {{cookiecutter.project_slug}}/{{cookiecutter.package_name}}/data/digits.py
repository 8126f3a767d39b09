"""The embedded digits: 1797 real images of 8 x 8 pixels, in ten classes."""

from ..config import DataConfig
from ..durable import Data
from ..paths import Paths
from .labeled import build_data, read_arrays


def load(config: DataConfig) -> Data:
    """Opens the data set."""
    x, y = read_arrays(Paths().digits, "x", "y")
    return build_data("digits", x, y, config)
