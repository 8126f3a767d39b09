"""The tasks. A new one is one file with a class, and one line in TASKS."""

from collections.abc import Callable

from ..config import Config
from ..durable import ConfigurationError, DataSpec, Task
from .{{ cookiecutter.starter }} import {{ cookiecutter.starter | capitalize }}

TASKS: dict[str, Callable[[Config, DataSpec], Task]] = {
    "{{ cookiecutter.starter }}": {{ cookiecutter.starter | capitalize }},
}


def build_task(config: Config, data: DataSpec) -> Task:
    """Builds the task that the configuration names, with its models and optimizers.

    Args:
        config: every setting.
        data: what it learns from.

    Raises:
        ConfigurationError: there is no such task, or it cannot be built from these settings.
    """
    if config.task.name not in TASKS:
        raise ConfigurationError(
            f"--task.name {config.task.name!r} is unknown. Known are: {', '.join(TASKS)}."
        )
    return TASKS[config.task.name](config, data)
