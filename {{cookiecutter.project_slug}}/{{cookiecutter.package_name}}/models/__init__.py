"""The model zoo. A new model is one file that defines `build`, and one line in MODELS."""

from collections.abc import Callable

from ..config import ModelConfig
from ..durable import ConfigurationError, keras
from . import cnn, mlp

Build = Callable[[ModelConfig, tuple[int, ...], int], keras.Model]

MODELS: dict[str, Build] = {
    "mlp": mlp.build,
    "cnn": cnn.build,
}


def build_model(config: ModelConfig, shape: tuple[int, ...], classes: int) -> keras.Model:
    """Builds the model that the configuration names.

    Args:
        config: the model's settings.
        shape: of one example, without the batch.
        classes: how many logits the model gives for each example.

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
