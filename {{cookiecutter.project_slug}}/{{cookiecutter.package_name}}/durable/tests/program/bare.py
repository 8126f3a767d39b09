"""`bare COMMAND …`: the commands, of a project whose settings and paths need no TensorFlow."""

from ...cli.main import run_command
from ...run.paths import RunPaths
from ...run.session import expect_signals, run_main
from ...run.settings import Project, RunSettings


def load_experiment():
    raise AssertionError("no command without TensorFlow needs it")


if __name__ == "__main__":
    expect_signals()
    run_main(lambda: run_command(Project(RunSettings, RunPaths, load_experiment)))
