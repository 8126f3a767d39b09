"""The data sets. A new one is one file that defines `load`, and one line in DATA."""

from collections.abc import Callable

from ..config import DataConfig
from ..durable import ConfigurationError, Data
{%- if cookiecutter.starter == "classification" %}
from . import digits, labeled, mnist
{%- elif cookiecutter.starter == "segmentation" %}
from . import scenes
{%- else %}
from . import series, weather
{%- endif %}

DATA: dict[str, Callable[[DataConfig], Data]] = {
{%- if cookiecutter.starter == "classification" %}
    "digits": digits.load,
    "mnist": mnist.load,
{%- elif cookiecutter.starter == "segmentation" %}
    "scenes": scenes.load,
{%- else %}
    "weather": weather.load,
{%- endif %}
}

{%- if cookiecutter.starter != "segmentation" %}
EMBEDDED = {{ '("digits", "mnist")' if cookiecutter.starter == "classification" else '("weather",)' }}  # which a file can take the place of
{%- endif %}


def load_data(config: DataConfig) -> Data:
    """Opens the data set that the configuration names{% if cookiecutter.starter != "segmentation" %}, or the file that it gives{% endif %}.

    Raises:
        ConfigurationError: there is no such data set, or it is not usable.
    """
{%- if cookiecutter.starter != "segmentation" %}
    if config.path is not None and config.name in EMBEDDED:  # others are given it
        return {{ "labeled" if cookiecutter.starter == "classification" else "series" }}.load(config)
{%- endif %}
    if config.name not in DATA:
        raise ConfigurationError(
            f"--data.name {config.name!r} is unknown. Known are: {', '.join(DATA)}."
        )
    return DATA[config.name](config)
