"""`python -m <package> COMMAND`: the commands in groups, each imported when it is called."""

import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from importlib import import_module

import tyro
from rich.console import Console
from rich.table import Table

from ..errors import PACKAGE, ConfigurationError
from ..quiet import import_tensorflow
from ..remote import is_remote
from ..run.references import again_if_removed
from ..run.settings import Project

# Each command: the module and the function in it, and a line for the help.
GROUPS = {
    "Look at checkpoints": {
        "list": ("list", "list_checkpoints", "every checkpoint of a run, and what is damaged"),
        "show": ("show", "show", "one checkpoint: its settings, layers and variables"),
        "verify": ("verify", "verify", "read every byte against its checksum"),
        "diff": ("diff", "diff", "what differs from another checkpoint, or from the model"),
        "report": ("report", "report", "draw the learning curves of runs"),
    },
    "Go back and keep": {
        "rewind": ("rewind", "rewind_run", "make an earlier checkpoint the newest"),
        "pin": ("pin", "pin", "keep a checkpoint, however many newer ones there are"),
        "unpin": ("pin", "unpin", "let the next save remove it, as any other"),
    },
    "Exchange with other programs": {
        "export": ("export", "export", "write a SavedModel, a .keras file and plain arrays"),
        "import": ("import_", "build_import", "make a run of a checkpoint that others wrote"),
    },
    "Look at the data": {
        "data": ("data", "build_data", "find the examples, draw some, try all of them"),
    },
    "Train": {
        "launch": ("launch", "launch", "start several workers on this machine"),
        "sweep": ("sweep", "sweep", "train many runs, and find the best settings"),
    },
    "Prove it": {
        "torture": ("torture", "torture", "kill a run again and again, and look what was lost"),
    },
}
MADE_FOR_PROJECT = {"import", "data"}  # their flags are its settings
TRAINING = {"launch", "sweep", "torture"}  # what stands after -- is for train.py
READING = {"list", "show", "verify", "diff", "report", "export", "pin"}  # beside a trainer
# These do without TensorFlow; diff --model imports it by itself.
WITHOUT_TENSORFLOW = READING - {"export"} | {"rewind", "unpin", "launch"}
COMMANDS = {name: entry for group in GROUPS.values() for name, entry in group.items()}


def run_command(
    project: Project, arguments: Sequence[str] | None = None, program: str | None = None
) -> int:
    """Runs one of the commands and returns its exit code.

    Args:
        project: what the commands work on.
        arguments: the name of the command and what it is given; by default the process's own.
        program: what stands before the command in its help.

    Raises:
        UserError: as the command does.
    """
    given = sys.argv[1:] if arguments is None else list(arguments)
    name, rest = (given[0], given[1:]) if given else ("--help", [])
    program = program or f"python -m {PACKAGE}"
    if name in ("-h", "--help"):
        print_help(program)
        return 0
    if name not in COMMANDS:
        raise ConfigurationError(
            f"{name!r} is no command. Known are: {', '.join(COMMANDS)}. "
            f"What they do tells: {program} --help"
        )
    if name in TRAINING and "--" in rest:
        cut = rest.index("--")
        project = replace(project, arguments=tuple(rest[cut + 1 :]))
        rest = rest[:cut]
    # Remote storage may be reached through TensorFlow.
    if name not in WITHOUT_TENSORFLOW or any(map(is_remote, rest)):
        import_tensorflow()
    command = partial(tyro.cli, load_command(project, name), args=rest, prog=f"{program} {name}")
    return again_if_removed(command) if name in READING else command()


def load_command(project: Project, name: str) -> Callable[..., int]:
    """Imports a command, and gives it the project."""
    module, function, _ = COMMANDS[name]
    command = getattr(import_module(f".{module}", __package__), function)
    return command(project) if name in MADE_FOR_PROJECT else partial(command, project)


def print_help(program: str) -> None:
    """Prints the commands in their groups."""
    console = Console(highlight=False)
    console.print(f"usage: {program} COMMAND [--help]\n", markup=False)
    console.print("Look at the checkpoints of a run, go back to one, and take it elsewhere.\n")
    for group, commands in GROUPS.items():
        table = Table.grid(padding=(0, 2))
        for name, (_, _, summary) in commands.items():
            table.add_row(f"  [bold]{name}[/]", summary)
        console.print(f"{group}:")
        console.print(table)
        console.print()
    console.print("Train with train.py, and score checkpoints with evaluate.py.")
