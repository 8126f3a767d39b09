"""The commands: `python -m {{ cookiecutter.package_name }} --help` lists them."""

import sys

from .config import Config
from .durable import Project, expect_signals, run_command, run_main
from .paths import Paths


def load_experiment() -> type:
    """Imports the experiment, for the commands that need the models."""
    from .experiment import Experiment  # noqa: PLC0415  (other commands work without)

    return Experiment


def training_command() -> tuple[str, ...]:
    """The command line that starts training: train.py, which a wheel has inside the package."""
    script = Paths().train
    return (sys.executable, *([str(script)] if script.exists() else ["-m", f"{__package__}.train"]))


if __name__ == "__main__":
    expect_signals()
    project = Project(Config, Paths, load_experiment, training_command())
    run_main(lambda: run_command(project))
