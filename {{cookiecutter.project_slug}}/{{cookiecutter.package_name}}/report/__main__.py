"""Draw the learning curves of runs, with marks for checkpoints, resumes, rewinds and forks."""

import json
from collections.abc import Sequence
from dataclasses import dataclass

import tyro
from etils import epath
from rich.console import Console

from .. import session
from ..checkpoints.files import write_bytes
from ..errors import ConfigurationError
from ..evaluation.pictures import png
from ..paths import Paths, absolute
from .curves import read_run
from .drawing import COLOURS, draw
from .table import as_json, table_of


@dataclass(frozen=True)
class Arguments:
    """Draw the learning curves of runs, with marks for checkpoints, resumes, rewinds and forks."""

    run: tuple[str, ...] = ("default",)
    """Names of the runs."""
    output: str | None = None
    """The PNG file to write; by default one in runs/, named after the runs."""
    root: str | None = None
    """Folder that holds runs/, as for train.py."""
    json: bool = False
    """Print JSON, for programs."""
    debug: bool = False
    """Show the traceback of an error."""

    def __post_init__(self) -> None:
        """Raises ConfigurationError for a value that is not possible."""
        count = len(set(self.run))
        if not 1 <= count <= len(COLOURS):
            raise ConfigurationError(f"--run: give 1 to {len(COLOURS)} runs, not {count}.")
        if self.output is not None and not self.output.endswith(".png"):
            raise ConfigurationError(f"--output {self.output} is not possible: give a .png file.")


def main(arguments: Sequence[str] | None = None) -> int:
    """Draws the runs that the command line names, and gives the exit code."""
    options = tyro.cli(Arguments, args=arguments, prog=f"python -m {__package__}")
    names = list(dict.fromkeys(options.run))
    runs = [read_run(Paths(options.root, name)) for name in names]
    if options.output is None:
        output = Paths(options.root).report(names)
    else:
        output = epath.Path(absolute(options.output))
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        write_bytes(output, png(draw(runs)))
    except OSError as error:
        raise ConfigurationError(f"{output} cannot be written: {error}") from error
    if options.json:
        entries = [as_json(run) for run in runs]
        print(json.dumps({"picture": str(output), "runs": entries}, indent=2))
    else:
        Console().print(table_of(runs))
        print(f"Drew {output}")
    return 0


if __name__ == "__main__":
    session.run(main)
