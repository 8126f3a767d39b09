"""The commands: `python -m {{ cookiecutter.package_name }} --help` lists them."""

from .durable import Project, expect_signals, run_command, run_main

if __name__ == "__main__":
    expect_signals()

from .config import Config
from .paths import Paths


def load_experiment() -> type:
    """Imports the experiment, for the commands that need the models."""
    from .experiment import Experiment  # noqa: PLC0415

    return Experiment


PROJECT = Project(Config, Paths, load_experiment)

if __name__ == "__main__":
    run_main(lambda: run_command(PROJECT))
