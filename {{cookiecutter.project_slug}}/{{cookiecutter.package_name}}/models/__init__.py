"""The model zoo. A new model is one file that defines `build`, and one line in MODELS."""

from collections.abc import Callable
{%- if cookiecutter.starter == "forecasting" %}
from typing import Any, NamedTuple
{%- endif %}

from ..config import ModelConfig
from ..durable import ConfigurationError, keras
{%- if cookiecutter.starter == "classification" %}
from . import cnn, mlp

Build = Callable[[ModelConfig, tuple[int, ...], int], keras.Model]
{%- elif cookiecutter.starter == "segmentation" %}
from . import unet

Build = Callable[[ModelConfig, tuple[int, ...], int], keras.Model]
{%- else %}
from . import linear, recurrent

Build = Callable[[ModelConfig, Any, int], Any]
{%- endif %}

MODELS: dict[str, Build] = {
{%- if cookiecutter.starter == "classification" %}
    "mlp": mlp.build,
    "cnn": cnn.build,
{%- elif cookiecutter.starter == "segmentation" %}
    "unet": unet.build,
{%- else %}
    "recurrent": recurrent.build,
    "linear": linear.build,
{%- endif %}
}

{% if cookiecutter.starter == "forecasting" %}
class Scale(NamedTuple):
    """What models are scaled by, so that they speak the units of the series.

    Attributes:
        mean: of each column.
        deviation: the standard deviation of each column.
        target: the number of the column that is to be found.
    """

    mean: tuple[float, ...]
    deviation: tuple[float, ...]
    target: int


def build_model(
    config: ModelConfig, shape: tuple[int, ...], horizon: int, scale: Scale
) -> keras.Model:
    """Builds the model that the configuration names, between the scaling of its inputs and outputs.

    What its `build` gives is the change since the last known value, in standard deviations.

    Args:
        config: the model's settings.
        shape: of one example, (history, columns).
        horizon: how many values are to be found.
        scale: of the series.

    Returns:
        A model: (batch, history, columns) → (batch, horizon), both in the units of the series.

    Raises:
        ConfigurationError: no such model, or it cannot be built from these settings.
    """
    if config.name not in MODELS:
        raise ConfigurationError(
            f"--model.name {config.name!r} is unknown. Known are: {', '.join(MODELS)}."
        )
    layers, target = keras.layers, scale.target
    variance = [value**2 for value in scale.deviation]
    inputs = keras.Input(shape)
    series = layers.Normalization(mean=list(scale.mean), variance=variance, name="scale")(inputs)
    try:
        change = MODELS[config.name](config, series, horizon)
    except (TypeError, ValueError) as error:
        reason = str(error).strip().splitlines()[0]
        raise ConfigurationError(f"Cannot build the model {config.name!r}: {reason}") from error
    last = series[:, -1, target : target + 1]
    forecast = layers.Add(dtype="float32", name="forecast")([change, last])
    unscale = layers.Normalization(
        axis=None, mean=scale.mean[target], variance=variance[target], invert=True, name="unscale"
    )
    return keras.Model(inputs, unscale(forecast), name=config.name)
{%- else %}
def build_model(config: ModelConfig, shape: tuple[int, ...], classes: int) -> keras.Model:
    """Builds the model that the configuration names.

    Args:
        config: the model's settings.
        shape: of one example, without the batch.
        classes: how many logits the model gives for each {{ "pixel" if cookiecutter.starter == "segmentation" else "example" }}.

    Raises:
        ConfigurationError: no such model, or it cannot be built from these settings.
    """
    if config.name not in MODELS:
        raise ConfigurationError(
            f"--model.name {config.name!r} is unknown. Known are: {', '.join(MODELS)}."
        )
    try:
        return MODELS[config.name](config, shape, classes)
    except (TypeError, ValueError) as error:
        reason = str(error).strip().splitlines()[0]
        raise ConfigurationError(f"Cannot build the model {config.name!r}: {reason}") from error
{%- endif %}
