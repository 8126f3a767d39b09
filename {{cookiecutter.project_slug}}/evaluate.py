"""Score checkpoints, their average or their ensemble on the examples that training never saw."""

from collections.abc import Sequence

from {{ cookiecutter.package_name }}.durable import prepare_process, run_main

if __name__ == "__main__":
    prepare_process()

from {{ cookiecutter.package_name }}.config import Config
from {{ cookiecutter.package_name }}.durable import Project, evaluate
from {{ cookiecutter.package_name }}.experiment import Experiment
from {{ cookiecutter.package_name }}.paths import Paths

PROJECT = Project(Config, Paths, lambda: Experiment)


def main(arguments: Sequence[str] | None = None) -> int:
    """Evaluates what the command line names, and returns the exit code."""
    return evaluate(PROJECT, arguments)


if __name__ == "__main__":
    run_main(main)
