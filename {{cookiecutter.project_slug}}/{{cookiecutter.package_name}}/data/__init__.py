"""The data sets. A new one is one file that defines `load`, and one line in DATA."""

from collections.abc import Callable

from ..config import DataConfig
from ..durable import ConfigurationError, Data
from . import digits, labeled, mnist

DATA: dict[str, Callable[[DataConfig], Data]] = {
    "digits": digits.load,
    "mnist": mnist.load,
}


def load_data(config: DataConfig) -> Data:
    """Opens the data set that the configuration names, or the file that it gives.

    Raises:
        ConfigurationError: there is no such data set, or it is not usable.
    """
    if config.path is not None:
        return labeled.load(config)
    if config.name not in DATA:
        raise ConfigurationError(
            f"--data.name {config.name!r} is unknown. Known are: {', '.join(DATA)}."
        )
    return DATA[config.name](config)
